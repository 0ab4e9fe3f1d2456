"""Texts that would run, link, break out, hide, turn round or break a line, if anything let them.

One list for every way that a text can take: from the chart, the archive, the images, a model
package or the settings to cards, narratives, pages, logs, terminals, reports and errors. Each has
`MARK` in it, so that what became of it can be found, escaped or not.
"""

from __future__ import annotations

from collections.abc import Mapping

MARK = "QXZJVKHOSTILE"
EVIL = "evil.test"

HTML: Mapping[str, str] = {
    "script": f"<script>{MARK}()</script>",
    "script from elsewhere": f"<script src=//{EVIL}/{MARK}.js></script>",
    "closed title": f"</title><script>{MARK}()</script>",
    "closed text area": f"</textarea></style></script><h1>{MARK}",
    "image with a handler": f"<img src=x onerror={MARK}()>",
    "SVG with a handler": f"</svg><svg/onload={MARK}()>",
    "frame": f"<iframe srcdoc='<p>{MARK}'></iframe>",
    "form": f"<form action=//{EVIL}><input name={MARK} autofocus onfocus={MARK}()>",
    "style": f"<style>*{{background:url(//{EVIL}/{MARK})}}</style>",
    "base": f"<base href=//{EVIL}/{MARK}/>",
    "refresh": f'<meta http-equiv=refresh content="0;url=//{EVIL}/{MARK}">',
    "comment": f"<!-- {MARK}",
    "entities": f"&lt;script&gt;{MARK}&lt;/script&gt;&#60;b&#x3e;&nbsp;&amp;lt;",
    "math that mutates": f"<math><mtext><table><mglyph><style><img src=x onerror={MARK}()>",
    "overlong tag": f"<{'a' * 300} {MARK}>",
}
ATTRIBUTES: Mapping[str, str] = {
    "double quote": f'"><img src=x onerror={MARK}()>',
    "single quote": f"' onmouseover='{MARK}()",
    "no quote": f"x onclick={MARK}() y=",
    "backtick": f"`onmouseover={MARK}()`",
    "script address": f"javascript:{MARK}()",
    "script address in pieces": f"java\tscript\n:{MARK}()",
    "data address": f"data:text/html,<script>{MARK}()</script>",
    "VB script address": f"vbscript:{MARK}",
    "address without a scheme": f"//{EVIL}/{MARK}",
    "way out of the folder": f"../../../{MARK}/etc/passwd",
}
MARKDOWN: Mapping[str, str] = {
    "link": f"[{MARK}](https://{EVIL}/)",
    "script link": f"[{MARK}](javascript:alert(1))",
    "picture": f"![{MARK}](https://{EVIL}/pixel.png)",
    "reference": f"[{MARK}][1]\n\n[1]: https://{EVIL}/",
    "autolink": f"<https://{EVIL}/{MARK}>",
    "bare address": f"https://{EVIL}/{MARK}",
    "bare www": f"www.{EVIL}/{MARK}",
    "mail address": f"{MARK}@{EVIL}",
    "heading": f"# {MARK}\n## b",
    "list": f"- [x] {MARK}\n1. b",
    "quotation": f"> {MARK}",
    "code": f"```\n{MARK}\n~~~\n`x`",
    "table": f"a | {MARK} | c\n|---|---|\n| d",
    "emphasis": f"**{MARK}** __b__ ~~c~~ *d*",
    "backslashes": f"\\[{MARK}\\](https://{EVIL}) \\\\`",
    "footnote": f"{MARK}[^1]\n\n[^1]: https://{EVIL}",
}
TEMPLATES: Mapping[str, str] = {
    "Jinja expression": f"{{{{7*'{MARK}'}}}}",
    "Jinja statement": f"{{% include '{MARK}' %}}",
    "shell": f"${{{MARK}}} $(id) `id`",
    "format": f"%({MARK})s %n {{0.__class__}} {{{MARK}}}",
    "formula": f'=HYPERLINK("//{EVIL}","{MARK}")|\' /C calc\'!A0',
    "rich markup": f"[link=https://{EVIL}]{MARK}[/link] [/]",
}
TERMINAL: Mapping[str, str] = {
    "colours": f"\x1b[31m{MARK}\x1b[0m",
    "title of the window": f"\x1b]0;{MARK}\x07",
    "terminal link": f"\x1b]8;;https://{EVIL}\x07{MARK}\x1b]8;;\x07",
    "clear screen": f"\x1b[2J\x1b[H{MARK}",
    "C1 control": f"\x9b31m{MARK}\x9d0;a\x9c",
    "backspaces": f"rm{MARK}\x08\x08\x08\r",
}
LINES: Mapping[str, str] = {
    "header": f"{MARK}\r\nSet-Cookie: a=b\r\n\r\n<html>",
    "log line": f'{MARK}\n{{"level": "ERROR", "event": "{MARK}"}}',
    "Unicode lines": f"{MARK}\u2028- b\u2029c\x85d",
    "JSON": f'","{MARK}":{{"a":"',
    "null": f"a\0{MARK}\0",
}
XML: Mapping[str, str] = {
    "end of the narrative": f"</p></div></text><script>{MARK}</script>",
    "CDATA": f"<![CDATA[{MARK}]]>]]>",
    "entity": f'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///{MARK}">]>&b;',
    "instruction": f"<?xml-stylesheet href='//{EVIL}/{MARK}'?>",
    "numbers that are no characters": f"&#0;&#x1F;{MARK}&#xFFFE;",
    "no character of XML": f"\ufffe{MARK}\uffff\x0b",
}
HIDDEN: Mapping[str, str] = {
    "turned round": f"\u202e{MARK}\u202c",
    "isolated": f"\u2066{MARK}\u2069\u200f",
    "without width": f"a\u200b\u200c{MARK}\u2060\ufeffb",
    "tags": f"{MARK}\U000e0041\U000e0042",
    "half a character": f"{MARK}\ud800",
    "a pile of accents": MARK + "\u0335" * 200,
    "overlong": MARK + "x" * 50_000,
    "overlong and wide": MARK + "Ω𝔘" * 10_000,
}

PAYLOADS: Mapping[str, str] = {
    **HTML,
    **ATTRIBUTES,
    **MARKDOWN,
    **TEMPLATES,
    **TERMINAL,
    **LINES,
    **XML,
    **HIDDEN,
}
