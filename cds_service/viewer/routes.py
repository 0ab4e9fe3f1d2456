"""The addresses of the pages. Every way in which one cannot be shown looks the same.

No cookies, no sessions, no third party, nothing kept by the browser: a page is opened by its link
alone, and an address that does not open answers one 404, byte for byte, whatever the reason was.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import quote

from flask import Blueprint, Response, jsonify, request

from cds_service.card_files import CardFile
from cds_service.queue.errors import QueueUnavailable
from cds_service.recalls import Concerned, nothing_recalled
from cds_service.security.links import Links, OpenedLink
from cds_service.security.pace import Pace
from cds_service.settings.pages import PagesSettings
from cds_service.store import ExplanationStore, StoreError
from cds_service.stored import StoredExplanation, StoredPage, StoredSlices
from cds_service.viewer.feedback import AnswerLedger, answer_of, lacks_reason, note
from cds_service.viewer.recalled import is_recalled, without
from cds_service.viewer.render import Pages, style_source
from cds_service.viewer.stack import KEY_IMAGE, index_of, key_image, slice_of
from cds_service.viewer.status import StatusDesk, Studies, add_status


class CardSource(Protocol):
    """The cards of the models in use (see `cds_service.card_files`)."""

    def text(self, model_id: str, version: str) -> str | None:
        """The card as Markdown, ``None`` if it is not served here."""

    def files(self, model_id: str, version: str) -> Sequence[str]:
        """The names of the files beside it."""

    def file(self, model_id: str, version: str, name: str) -> CardFile | None:
        """One of these files; ``None`` for every other name."""


_log = logging.getLogger(__name__)
Kept = TypeVar("Kept", bound=StoredPage)
_STATIC = Path(__file__).parent / "static"
_SCRIPTS = ("page.js", "viewer.js", "gestures.js", "picture.js", "slices.js", "status.js")
_ASSETS = {
    "page.css": "text/css",
    "icon.svg": "image/svg+xml",
    **dict.fromkeys(_SCRIPTS, "text/javascript"),
}


def viewer_blueprint(
    store: ExplanationStore,
    links: Links,
    cards: CardSource,
    *,
    clock_s: Callable[[], float] = time.time,
    frame_ancestors: Sequence[str] = (),
    studies: Studies | None = None,
    ledger: AnswerLedger | None = None,
    bounds: PagesSettings | None = None,
    recalled: Concerned = nothing_recalled,
) -> Blueprint:
    """The explanation page, its pictures, the permanent address and the model card page.

    With `studies` there is a status page of an analysis that runs, and with a `ledger` readers are
    asked whether they agree.

    `frame_ancestors` are origins that may show a page in a frame, as the EHR does; by default none
    may. An application that answers 404 in its own way must leave those of this blueprint alone.
    """
    bounds = bounds or PagesSettings()
    pages, pace = Pages(links.base_path), Pace(bounds.feedback_per_minute, clock_s)
    viewer = _Viewer(store, links, cards, clock_s, pages, ledger, pace, recalled)
    headers = _headers(frame_ancestors)
    blueprint = Blueprint("viewer", __name__)

    @blueprint.after_request
    def harden(response: Response) -> Response:
        response.headers.update(headers)
        return response

    if studies is not None:
        desk = StatusDesk(studies, links, pages, clock_s, bounds.status_streams)
        add_status(blueprint, desk, viewer.nothing_here)
    if ledger is not None:
        blueprint.add_url_rule("/e/<token>/answers", "answers", viewer.answer, methods=["POST"])
    routes: dict[str, Callable[..., Response]] = {
        "/e/<token>": viewer.explanation,
        "/e/<token>/<index>/slices.json": viewer.slice_index,
        "/e/<token>/<index>/slices/<number>": viewer.slice,
        "/e/<token>/<index>/<name>": viewer.picture,
        "/explanations/<explanation_id>": viewer.closed,
        "/models/<model_id>/<version>": viewer.card,
        "/models/<model_id>/<version>/<name>": viewer.card_file,
        "/viewer/<name>": viewer.asset,
        "/e/<path:rest>": viewer.nothing_here,
        "/s/<path:rest>": viewer.nothing_here,
        "/explanations/<path:rest>": viewer.nothing_here,
        "/models/<path:rest>": viewer.nothing_here,
        "/viewer/<path:rest>": viewer.nothing_here,
    }
    for number, (rule, view) in enumerate(routes.items()):
        blueprint.add_url_rule(rule, f"{view.__name__}-{number}", view)
    return blueprint


@dataclass(frozen=True)
class _Viewer:
    """What answers each address."""

    store: ExplanationStore
    links: Links
    cards: CardSource
    clock_s: Callable[[], float]
    pages: Pages
    ledger: AnswerLedger | None
    pace: Pace
    recalled: Concerned

    def explanation(self, token: str) -> Response:
        opened = self._opened(token)
        if opened is None:
            return self.nothing_here()
        stored = self._left_of(opened)
        if stored is None:
            return Response(self.pages.recalled(), status=410)
        if stored.superseded:
            return Response(self.pages.superseded(), status=410)
        _log.info("explanation-opened", extra={"explanation_id": stored.explanation_id})
        slices = self.store.slices(stored.explanation_id)
        shown = slices.index if slices else None
        answers = self.store.answers(stored.explanation_id) if self.ledger else None
        return Response(self.pages.explanation(stored.page, token, shown, answers))

    def answer(self, token: str) -> Response:
        """Take a reader's answer; one that was sent twice counts once."""
        stored = self._shown(token)
        if stored is None or self.ledger is None:
            return self.nothing_here()
        if lacks_reason(request.form):
            return self._not_taken(token, 400, "Choose a reason why you disagree.")
        answer = answer_of(request.form, int(self.clock_s() * 1000))
        if answer is None or request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            return self._not_taken(token, 400, "The form was not filled in on this page.")
        if not self.pace.admits(stored.explanation_id):
            return self._not_taken(token, 429, "Too many answers came at once. Wait a minute.")
        try:
            note(answer, stored.study_key, stored.page, self.ledger)
            self.store.answer(stored.explanation_id, answer)
        except (QueueUnavailable, StoreError):
            return self._not_taken(token, 503, "Answers cannot be kept at the moment.")
        where = f"{self.links.base_path}/e/{token}#thanks"
        return Response(status=303, headers={"Location": where})

    def _not_taken(self, token: str, status: int, sentence: str) -> Response:
        return Response(self.pages.not_taken(token, sentence), status=status)

    def picture(self, token: str, index: str, name: str) -> Response:
        stored = self._shown(token)
        png = self._picture(stored, index, name) if stored else None
        return Response(png, mimetype="image/png") if png is not None else self.nothing_here()

    def _picture(self, stored: StoredExplanation, index: str, name: str) -> bytes | None:
        if name == KEY_IMAGE:
            slices = self._slices(stored, index)
            return key_image(slices, index) if slices else None
        return _picture(stored, index, name)

    def slice_index(self, token: str, index: str) -> Response:
        """What can be scrolled through; 204 while there is nothing, or for good."""
        stored = self._shown(token)
        if stored is None or index not in map(str, range(len(stored.page.results))):
            return self.nothing_here()
        slices = self._slices(stored, index)
        found = index_of(stored.page, slices, index) if slices else None
        return jsonify(found) if found is not None else Response(status=204)

    def slice(self, token: str, index: str, number: str) -> Response:
        """One slice, compressed as it was kept: every browser takes gzip (RFC 9110, 8.4.1.3).

        Many are asked for one after the other: no picture of the page is read for them.
        """
        page = self._of(token, self.store.page)
        stored = self._left_of(page) if page else None
        slices = self._slices(stored, index) if stored else None
        content = slice_of(slices, index, number) if slices else None
        if content is None:
            return self.nothing_here()
        headers = {"Content-Encoding": "gzip"}
        return Response(content, mimetype="application/octet-stream", headers=headers)

    def closed(self, explanation_id: str) -> Response:
        """Known or not, the id changes nothing: it is not looked up."""
        del explanation_id
        return Response(self.pages.closed(), status=403)

    def card(self, model_id: str, version: str) -> Response:
        text = self.cards.text(model_id, version)
        if text is None:
            return self.nothing_here()
        address = f"/models/{quote(model_id, safe='')}/{quote(version, safe='')}"
        return Response(self.pages.card(text, address, self.cards.files(model_id, version)))

    def card_file(self, model_id: str, version: str, name: str) -> Response:
        found = self.cards.file(model_id, version, name)
        if found is None:
            return self.nothing_here()
        return Response(found.content, mimetype=found.media_type)

    def asset(self, name: str) -> Response:
        if name not in _ASSETS:
            return self.nothing_here()
        return Response((_STATIC / name).read_bytes(), mimetype=_ASSETS[name])

    def nothing_here(self, rest: str = "") -> Response:
        """The one answer to everything that cannot be shown, whatever was asked for."""
        del rest
        return Response(self.pages.not_found(), status=404)

    def _opened(self, token: str) -> StoredExplanation | None:
        """The explanation that the link opens."""
        return self._of(token, self.store.open)

    def _shown(self, token: str) -> StoredExplanation | None:
        """The same, of which only what was recalled is gone."""
        opened = self._opened(token)
        return self._left_of(opened) if opened else None

    def _of(self, token: str, kept: Callable[[str], Kept | None]) -> Kept | None:
        """What is kept under the link's id, if it is of the link's own study."""
        link = self._link(token)
        stored = kept(link.explanation_id) if link else None
        known = link and stored and self.links.concerns(link, stored.study_key)
        return stored if known else None

    def _left_of(self, stored: Kept) -> Kept | None:
        """What is kept, without the answers that were recalled; ``None`` if no other is left."""
        at_ms = stored.page.analysed_ms
        models = {(r.model_id, r.model_version) for r in stored.page.results}
        gone = {each for each in models if self.recalled(stored.tenant, [each], at_ms)}
        if not gone:
            return stored
        page = without(stored.page, gone)
        return None if all(map(is_recalled, page.results)) else replace(stored, page=page)

    def _slices(self, stored: StoredPage, index: str) -> StoredSlices | None:
        """The slices of the result at `index`, unless it was recalled."""
        emptied = {str(i) for i, each in enumerate(stored.page.results) if is_recalled(each)}
        return None if index in emptied else self.store.slices(stored.explanation_id)

    def _link(self, token: str) -> OpenedLink | None:
        return None if request.query_string else self.links.open(token, self.clock_s())


def _headers(frame_ancestors: Sequence[str]) -> dict[str, str]:
    ancestors = " ".join(frame_ancestors) or "'none'"
    return {
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Robots-Tag": "noindex, nofollow",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Content-Security-Policy": (
            f"default-src 'none'; img-src 'self'; style-src 'self' {style_source()}; "
            "script-src 'self'; connect-src 'self'; "
            f"base-uri 'none'; form-action 'self'; frame-ancestors {ancestors}"
        ),
    }


def _picture(stored: StoredExplanation, index: str, name: str) -> bytes | None:
    """One rendering of the result at `index`, counted from 0 and written without leading zeros."""
    drawn = {str(i): result.picture for i, result in enumerate(stored.page.results)}.get(index)
    if drawn is None:
        return None
    digests = {"image.png": drawn.image, "overlay.png": drawn.overlay, "figure.png": drawn.figure}
    return stored.pictures.get(digests.get(name, ""))
