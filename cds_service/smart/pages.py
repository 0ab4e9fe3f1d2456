"""The pages of a launch: leaving, coming back, choosing a study, the banner, and why it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from cds_service.smart.errors import LaunchError
from cds_service.smart.state import Departure
from cds_service.viewer.render import templates
from fhir_mapping.banner import PatientBanner

HERE = Path(__file__).parent
SCRIPT = HERE / "static" / "launch.js"


class LaunchPages:
    """Pages in the frame of the viewer's; `root` is the path under which we are reached."""

    def __init__(self, root: str = "") -> None:
        self._templates = templates(HERE / "templates")
        self._templates.globals["root"] = root

    def leave(self, departure: Departure, login_url: str) -> str:
        """Keeps the verifier in this window and goes to the EHR's login."""
        return self._page("leave.html", departure=departure, login_url=login_url)

    def arrive(self, code: str, state: str) -> str:
        """Brings the code back to us, with the verifier of this window."""
        return self._page("arrive.html", code=code, state=state)

    def choose(self, studies: Sequence[tuple[str, str]]) -> str:
        """A list of studies, as (name, address of its page)."""
        return self._page("choose.html", studies=studies)

    def under(self, banner: PatientBanner, studies: Sequence[tuple[str, str]]) -> str:
        """The patient's banner above the one study's page, or above the list to choose from.

        The page lies in a frame: its address stays one that names nobody.
        """
        return self._page("under.html", banner=banner, studies=studies)

    def ended(self, error: LaunchError) -> str:
        """One sentence that says why there is no page."""
        return self._page("ended.html", sentence=error.sentence)

    def _page(self, name: str, **values: object) -> str:
        said: Mapping[str, object] = values
        return self._templates.get_template(name).render(said)
