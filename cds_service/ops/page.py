"""The operations page as HTML: autoescape is on for every value, an undefined one is an error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cds_service.ops import words
from cds_service.ops.reading import Standing
from cds_service.queue.listing import JobRow
from cds_service.queue.state import State
from cds_service.viewer.progress import duration
from cds_service.viewer.render import templates
from cds_service.wording import age

STEPS = tuple(str(state) for state in State if not state.ended)

Forms = Callable[[str], str]
"""What a form asks for -> its token."""


class OpsPages:
    """The pages; `root` is the path under which the service is reached, without an end slash."""

    def __init__(self, root: str = "", refresh_s: int = 0) -> None:
        self._templates = templates(Path(__file__).parent / "templates")
        self._templates.globals.update(root=root, refresh_s=refresh_s, steps=STEPS, words=words)
        self._templates.filters.update(age=age, took=_took)

    def overview(self, standing: Standing, forms: Forms) -> str:
        """Everything on one page."""
        return self._templates.get_template("overview.html").render(
            now=standing, attention=words.attention(standing), form=forms
        )

    def study(self, row: JobRow, forms: Forms) -> str:
        """One study, as it stands now."""
        return self._templates.get_template("study.html").render(row=row, form=forms)

    def message(self, title: str, sentence: str) -> str:
        """Why something is not shown or not done."""
        return self._templates.get_template("message.html").render(title=title, sentence=sentence)


def _took(seconds: float) -> str:
    return duration(round(seconds * 1000))
