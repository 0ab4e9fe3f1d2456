"""Pages as HTML. Autoescape is on for every value, and an undefined one is an error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup, escape

from cds_service.explanation import ExplanationPage
from cds_service.viewer.view import view_of


class Pages:
    """The pages; `root` is the path under which the service is reached, without an end slash."""

    def __init__(self, root: str = "") -> None:
        self._templates = Environment(
            loader=FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals["root"] = root

    def explanation(self, page: ExplanationPage, token: str) -> str:
        """The page that shows why; pictures are addressed below the same `token`."""
        return self._templates.get_template("explanation.html").render(
            view=view_of(page), token=token
        )

    def card(self, text: str) -> str:
        """A model card: Markdown in, and no HTML of its own comes through."""
        body = Markup(_markdown(text))  # noqa: S704 - made by the parser, which passes no HTML on
        return self._templates.get_template("card.html").render(body=body)

    def not_found(self) -> str:
        """What every address that does not open answers."""
        return self._templates.get_template("not_found.html").render()

    def closed(self) -> str:
        """What the permanent address answers, to everyone and for every id."""
        return self._templates.get_template("closed.html").render()


def _markdown(text: str) -> str:
    """CommonMark with tables; HTML is shown as text, pictures as their words, links are http(s)."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.validateLink = _is_web_address  # type: ignore[method-assign]  # as its documentation says
    parser.add_render_rule("image", _words_of_image)
    return str(parser.render(text))


def _is_web_address(url: str) -> bool:
    return url.startswith(("https://", "http://", "#"))


def _words_of_image(
    renderer: object, tokens: Sequence[Token], index: int, options: object, env: object
) -> str:
    """A picture in a card would be a request to somebody else."""
    return str(escape(tokens[index].content))
