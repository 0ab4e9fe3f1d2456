"""The human-readable part of a resource (``Resource.text``): XHTML, generated and escaped."""

from __future__ import annotations

from collections.abc import Iterable

from fhir_mapping.context import Resource
from fhir_mapping.text import markup

XHTML = "http://www.w3.org/1999/xhtml"


def narrative(
    heading: str, sentences: Iterable[str], facts: Iterable[tuple[str, str]], link: str | None
) -> Resource:
    """Return ``Narrative``: a heading, sentences, a table of facts, and a link to why.

    R4 Narrative, invariants txt-1 and txt-2: no script, no style sheet, no form, not empty.
    """
    paragraphs = "".join(f"<p>{markup(sentence, 2000)}</p>" for sentence in sentences)
    rows = "".join(
        f"<tr><td>{markup(name)}</td><td>{markup(value)}</td></tr>"
        for name, value in facts
        if value
    )
    table = f"<table><tbody>{rows}</tbody></table>" if rows else ""
    why = f'<p><a href="{markup(link, 2000)}">See why</a></p>' if link else ""
    body = f"<p><b>{markup(heading)}</b></p>{paragraphs}{table}{why}"
    return {"status": "generated", "div": f'<div xmlns="{XHTML}">{body}</div>'}
