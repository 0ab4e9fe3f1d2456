"""Pages as HTML. Autoescape is on for every value, and an undefined one is an error."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict
from markupsafe import Markup, escape

from cds_service.explanation import ExplanationPage, ReaderAnswer
from cds_service.slices import SliceIndex
from cds_service.viewer import wording
from cds_service.viewer.progress import Progress
from cds_service.viewer.view import view_of

_PICTURES = (".png",)
_STYLE = Path(__file__).parent / "static" / "page.css"


@cache
def page_style() -> Markup:
    """The style of a page, to stand in it: a page that waits for no second answer is painted in
    half the time."""
    return Markup(_STYLE.read_text(encoding="utf-8"))  # noqa: S704 - a file of ours


def style_source() -> str:
    """What lets that style through a Content-Security-Policy: its hash (CSP 3, 2.3.1)."""
    digest = sha256(page_style().encode()).digest()
    return f"'sha256-{b64encode(digest).decode()}'"


def templates(*folders: Path) -> Environment:
    """Of these folders and, after them, of the viewer, whose frame every page of ours has."""
    return Environment(
        loader=FileSystemLoader([*folders, Path(__file__).parent / "templates"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


class Pages:
    """The pages; `root` is the path under which the service is reached, without an end slash."""

    def __init__(self, root: str = "") -> None:
        self._templates = templates()
        for name in self._templates.list_templates(extensions=["html"]):
            self._templates.get_template(name)  # compiled now, and not while a reader waits
        self._root = root
        self._templates.globals["root"] = root

    def explanation(
        self,
        page: ExplanationPage,
        token: str,
        slices: SliceIndex | None = None,
        answers: Sequence[ReaderAnswer] | None = None,
    ) -> str:
        """The page that shows why; pictures lie below the same `token` (see `view_of`)."""
        return self._templates.get_template("explanation.html").render(
            view=view_of(page, slices, answers), token=token, style=page_style()
        )

    def status(self, progress: Progress, token: str) -> str:
        """The page of an analysis that is not ready."""
        return self._templates.get_template("status.html").render(
            progress=progress, token=token, style=page_style()
        )

    def progress(self, progress: Progress) -> str:
        """The part of it that changes."""
        return self._templates.get_template("progress.html").render(progress=progress)

    def not_known(self) -> str:
        """What is answered while the queue cannot be reached."""
        return self._templates.get_template("not_known.html").render()

    def not_taken(self, token: str, sentence: str) -> str:
        """Why an answer of a reader was not taken."""
        return self._templates.get_template("not_taken.html").render(token=token, sentence=sentence)

    def card(self, text: str, address: str = "", files: Sequence[str] = ()) -> str:
        """A model card: Markdown in, and no HTML of its own comes through.

        `files` lie under `address`; a picture of the card is shown if it is one of them.
        """
        base = f"{self._root}{address}"
        plots = {name: f"{base}/{quote(name)}" for name in files if name.endswith(_PICTURES)}
        body = Markup(_markdown(text, plots))  # noqa: S704 - the parser passes no HTML on
        others = [(wording.card_file(name), f"{base}/{quote(name)}") for name in files]
        return self._templates.get_template("card.html").render(body=body, files=others)

    def not_found(self) -> str:
        """What every address that does not open answers."""
        return self._templates.get_template("not_found.html").render()

    def superseded(self) -> str:
        """What the link of an analysis answers after a newer one of the same study."""
        return self._templates.get_template("superseded.html").render()

    def recalled(self) -> str:
        """What the link of an analysis answers whose model was recalled."""
        return self._templates.get_template("recalled.html").render()

    def closed(self) -> str:
        """What the permanent address answers, to everyone and for every id."""
        return self._templates.get_template("closed.html").render()


def _markdown(text: str, plots: Mapping[str, str]) -> str:
    """CommonMark with tables; HTML is shown as text, links are http(s), pictures are `plots`.

    A table lies in a box of its own that scrolls, and the keyboard reaches that as it reaches code
    (WCAG 2.1.1).
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    # markdown-it asks the same function of links and of pictures, and a plot has a bare name
    parser.validateLink = lambda url: _is_web_address(url) or url in plots  # type: ignore[method-assign]  # as its documentation says
    parser.add_render_rule("image", _image)
    parser.add_render_rule("link_open", _link)
    parser.add_render_rule("table_open", _table)
    parser.add_render_rule("table_close", lambda *_: "</table></div>\n")
    parser.add_render_rule("fence", _code)
    parser.add_render_rule("th_open", _head)
    parser.add_render_rule("th_close", _head)
    return str(parser.render(text, {"plots": plots}))


def _is_web_address(url: str) -> bool:
    return url.startswith(("https://", "http://", "#"))


def _link(
    renderer: RendererHTML,
    tokens: Sequence[Token],
    index: int,
    options: OptionsDict,
    env: Mapping[str, Mapping[str, str]],
) -> str:
    token = tokens[index]
    href = str(token.attrs.get("href", ""))
    token.attrs["href"] = env["plots"].get(href, href)
    return str(renderer.renderToken(tokens, index, options, dict(env)))


def _table(_: object, tokens: Sequence[Token], index: int, *__: object) -> str:
    """The box, called by the heads of the table's columns."""
    end = next(i for i in range(index, len(tokens)) if tokens[i].type == "thead_close")
    heads = [token.content for token in tokens[index:end] if token.type == "inline"]
    name = "Table: " + ", ".join(filter(None, heads))
    box = Markup('<div class="table" role="group" tabindex="0" aria-label="{}"><table>\n')
    return str(box.format(name))


def _code(
    renderer: RendererHTML,
    tokens: Sequence[Token],
    index: int,
    options: OptionsDict,
    env: Mapping[str, object],
) -> str:
    made = str(renderer.fence(tokens, index, options, dict(env)))
    return made.replace("<pre>", '<pre tabindex="0">', 1)


def _head(
    renderer: RendererHTML,
    tokens: Sequence[Token],
    index: int,
    options: OptionsDict,
    env: Mapping[str, object],
) -> str:
    """A head without words heads nothing: it is a cell (HTML 4.9.10)."""
    words = tokens[index + tokens[index].nesting]
    tokens[index].tag = "th" if words.content.strip() else "td"
    return str(renderer.renderToken(tokens, index, options, dict(env)))


def _image(
    renderer: object,
    tokens: Sequence[Token],
    index: int,
    options: object,
    env: Mapping[str, Mapping[str, str]],
) -> str:
    """A plot of the package itself; any other picture would be a request to somebody else."""
    token = tokens[index]
    address = env["plots"].get(str(token.attrs.get("src", "")))
    if address is None:
        return str(escape(token.content))
    return str(Markup('<img src="{}" alt="{}">').format(address, token.content))
