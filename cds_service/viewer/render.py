"""Pages as HTML. Autoescape is on for every value, and an undefined one is an error."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

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
    """CommonMark with tables; HTML is text, images are left out, links are http(s) or none."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.disable(["image", "html_block", "html_inline"])
    parser.validateLink = lambda url: url.startswith(("https://", "http://", "#"))  # type: ignore[method-assign]  # the documented way to narrow it
    return str(parser.render(text))
