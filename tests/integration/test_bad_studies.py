"""Bad studies the whole way: each ends as itself, nothing is written, and the next one succeeds.

All are ordered at once, a good study behind each bad one, so that one worker meets them in turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import requests
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    EncapsulatedPDFStorage,
    EnhancedSRStorage,
    JPEG2000Lossless,
    ParametricMapStorage,
    SecondaryCaptureImageStorage,
)

from tests.doubles.faulty_http import FaultyServer
from tests.doubles.study_archive import Held, StudyArchive
from tests.doubles.toy_site import FINDING, MODEL, chart, drawn_series, toy_site
from tests.faults.dicom_bombs import BOMBS
from tests.peers.sekmet import Sekmet
from tests.peers.site import Site, said
from tests.peers.valkey import Valkey
from tests.reference.dicom_factory import encoded, head, instance, uid

pytestmark = pytest.mark.peer

ARCHIVE_S = 4
"""Time for one series, so that an archive that never gives a study is not asked for a minute."""


def changed(series: list[Dataset], at: int = 1, **elements: Any) -> list[Dataset]:
    """The series with elements of one instance changed."""
    for keyword, value in elements.items():
        setattr(series[at], keyword, value)
    return series


def partial(study: str) -> list[Held]:
    """Twelve are listed, eleven are there."""
    made = drawn_series(study, 12)
    held = Held.of(made[:11])
    held.listed = [str(made[11].SOPInstanceUID)]
    return [held]


def capped(study: str) -> list[Held]:
    """Eleven are listed and given, and twelve are counted."""
    counted = {"00201209": {"vr": "IS", "Value": [12]}}
    return [Held.of(drawn_series(study, 11), says=counted)]


def truncated_jpeg_2000(study: str) -> list[Held]:
    """Every codestream ends early."""
    files = []
    for each in drawn_series(study):
        pixels = np.frombuffer(each.PixelData, "<u2").reshape(each.Rows, each.Columns)
        frame = bytes(imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", reversible=True))
        each.PixelData = encapsulate([frame[:300]])
        each["PixelData"].is_undefined_length = True
        each["PixelData"].VR = "OB"
        files.append(encoded(each, JPEG2000Lossless))
    return [_renamed(study, files)]


def fewer_pixels(study: str) -> list[Held]:
    """The file is whole as the archive has it, and shorter than its header says."""
    return [Held.of(changed(drawn_series(study), Rows=97))]


def _renamed(study: str, files: list[bytes]) -> Held:
    series = f"{study}.1"
    return Held(series, {f"{series}.{i}": file for i, file in enumerate(files, 1)})


def bomb(name: str) -> Callable[[str], list[Held]]:
    """One of the bombs as the only instance, with the UIDs that were asked for."""

    def made(study: str) -> list[Held]:
        old = [uid("study"), uid("series"), uid("instance")]
        new = [study, f"{study}.1", f"{study}.1.1"]
        data = BOMBS[name]()
        for before, after in zip(old, new, strict=True):
            data = _same_length(data, before.encode(), after.encode())
        return [Held.raw(f"{study}.1", data)]

    return made


def _same_length(data: bytes, before: bytes, after: bytes) -> bytes:
    """UIDs swapped in place; the new one must be as long as the old one, or padded (PS3.5 9.1)."""
    return data.replace(before, after.ljust(len(before), b"\0"))


def mixed_patients(study: str) -> list[Held]:
    """One instance of somebody else in the middle of the series."""
    return [Held.of(changed(drawn_series(study), PatientID="SOMEBODY-ELSE"))]


def wrong_patient(study: str) -> list[Held]:
    """All of it is of somebody else."""
    return [Held.of(drawn_series(study, PatientID="SOMEBODY-ELSE"))]


def growing(study: str) -> list[Held]:
    """Whenever the archive is asked for its series, there is one instance more."""
    made = drawn_series(study, 40)

    def grow(held: Held) -> None:
        each = made[len(held.files) % len(made)]
        held.files[str(each.SOPInstanceUID)] = encoded(each)

    return [Held.of(made[:3], before=grow)]


def duplicate_positions(study: str) -> list[Held]:
    """Two slices in one place."""
    return [Held.of(changed(drawn_series(study), ImagePositionPatient=[-32.0, -32.0, 0.0]))]


def not_a_number(study: str) -> list[Held]:
    """A float image that holds nothing but NaN (PS3.3 C.7.6.24)."""
    (made,) = drawn_series(study, 1, SOPClassUID=ParametricMapStorage, BitsAllocated=32)
    del made.PixelData, made.BitsStored, made.HighBit, made.PixelRepresentation
    made.FloatPixelData = np.full((made.Rows, made.Columns), np.nan, "<f4").tobytes()
    return [Held.of([made])]


def one_pixel(study: str) -> list[Held]:
    """An MR image of 1 x 1."""
    return [Held.of(drawn_series(study, 1, side=1))]


def colour(study: str) -> list[Held]:
    """An MR image in RGB."""
    grey = head(96, 96, blob=FINDING).astype(np.uint8)
    made = instance(
        np.dstack([grey] * 3),
        StudyInstanceUID=study,
        SeriesInstanceUID=f"{study}.1",
        SOPInstanceUID=f"{study}.1.1",
    )
    return [Held.of([made])]


def secondary_capture(study: str) -> list[Held]:
    """A screen shot that says it is MR of the head, as workstations write them."""
    made = drawn_series(study, SOPClassUID=SecondaryCaptureImageStorage)
    return [Held.of(made)]


def _without_pixels(study: str, sop_class: str, modality: str) -> list[Held]:
    (made,) = drawn_series(study, 1, SOPClassUID=sop_class, Modality=modality)
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"):
        del made[keyword]
    return [Held.of([made])]


def report_only(study: str) -> list[Held]:
    """A text report (SR) and no image."""
    return _without_pixels(study, EnhancedSRStorage, "SR")


def claims_to_be_mr(study: str) -> list[Held]:
    """A PDF whose modality says MR: a model is asked, and there is nothing to read."""
    return _without_pixels(study, EncapsulatedPDFStorage, "MR")


def no_series(_study: str) -> list[Held]:
    """The archive knows the study and lists nothing in it."""
    return []


def no_instances(study: str) -> list[Held]:
    """A series without instances."""
    return [Held.raw(f"{study}.1")]


def not_dicom(study: str) -> list[Held]:
    """An error page where a file should be."""
    return [Held.raw(f"{study}.1", b"<html>Internal error</html>" * 40)]


def of_another_study(study: str) -> list[Held]:
    """The archive mixed up whose instances they are."""
    held = Held.of(drawn_series("2.25.999"))
    held.series_uid = f"{study}.1"
    return [held]


def good(study: str) -> list[Held]:
    """What the toy model says "glow" of."""
    return [Held.of(drawn_series(study))]


def grew_once(study: str) -> list[Held]:
    """An instance arrives after the first look: the second attempt sees them all."""
    made = drawn_series(study, 4)
    late = {str(made[3].SOPInstanceUID): encoded(made[3])}
    looks = iter(range(2))

    def arrive(held: Held) -> None:
        if next(looks, None) == 1:
            held.files |= late

    return [Held.of(made[:3], before=arrive)]


FAILED, ABSTAINED = "failed", "abstained"

CASES: dict[str, tuple[Callable[[str], list[Held]], str, set[str]]] = {
    "no series": (no_series, FAILED, {"gone"}),
    "no instances": (no_instances, FAILED, {"incomplete"}),
    "partial": (partial, FAILED, {"incomplete"}),
    "capped": (capped, FAILED, {"incomplete"}),
    "fewer pixels than declared": (fewer_pixels, FAILED, {"damaged"}),
    "truncated JPEG 2000": (truncated_jpeg_2000, FAILED, {"undecodable"}),
    "RLE bomb": (bomb("run_lengths_declared"), FAILED, {"too-large", "undecodable"}),
    "JPEG 2000 bomb": (bomb("jpeg_2000_size"), FAILED, {"too-large", "undecodable"}),
    "frames without end": (bomb("many_frames"), FAILED, {"damaged"}),
    "nested sequences": (bomb("nested_sequences"), FAILED, {"damaged"}),
    "not DICOM": (not_dicom, FAILED, {"bad-answer"}),
    "of another study": (of_another_study, FAILED, {"identity"}),
    "of the wrong patient": (wrong_patient, FAILED, {"identity"}),
    "of two patients": (mixed_patients, FAILED, {"identity"}),
    "growing": (growing, FAILED, {"grew", "incomplete"}),
    "no image under MR": (claims_to_be_mr, FAILED, {"undecodable"}),
    "NaN": (not_a_number, ABSTAINED, {"unusable-images"}),
    "duplicate positions": (duplicate_positions, ABSTAINED, {"duplicate-position"}),
    "1 x 1": (one_pixel, ABSTAINED, {"too-small"}),
    "colour": (colour, ABSTAINED, {"colour"}),
    "secondary capture": (secondary_capture, ABSTAINED, {"secondary-capture"}),
    "report only": (report_only, ABSTAINED, {"modality"}),
}


@dataclass(frozen=True)
class Outcome:
    """What became of a bad study and of the good one behind it."""

    card: dict[str, Any]
    good: dict[str, Any]
    reports: int

    @property
    def pages(self) -> list[str]:
        """Links to explanations on the bad study's card."""
        return [link["url"] for link in self.card.get("links", []) if "/e/" in link["url"]]


def study_of(name: str, number: int) -> str:
    """A Study UID as long as the factory's, so that bombs can be renamed in place."""
    return uid("bad study", name, number)[:30]


@pytest.fixture(scope="module")
def outcomes(
    valkey_server: Valkey, sekmet: Sekmet, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Outcome]]:
    archive = StudyArchive()
    with FaultyServer(archive) as server:
        site = toy_site(
            tmp_path_factory.mktemp("site"),
            redis_url=valkey_server.url,
            archive_url=f"{server.base_url}/dicom-web",
            fhir_base=sekmet.base_url,
            archive=f"deadline_s = {ARCHIVE_S}",
        )
        try:
            site.start()
            yield dict(_all(site, archive, sekmet))
        finally:
            site.stop()


def _all(site: Site, archive: StudyArchive, fhir: Sekmet) -> Iterator[tuple[str, Outcome]]:
    calls = {}
    for number, (name, (make, _, _)) in enumerate(CASES.items()):
        for kind, made in (("bad", make), ("good", grew_once if make is growing else good)):
            study, patient = study_of(kind, number), f"{kind}-{number}"
            archive.studies[study] = made(study)
            calls[name, kind] = (patient, chart(patient, study))
            site.cards(*calls[name, kind])
    for name in CASES:
        cards = {}
        for kind in ("bad", "good"):
            (cards[kind],) = ended(site, *calls[name, kind])
        written = requests.get(
            f"{fhir.base_url}/DiagnosticReport",
            params={"patient": calls[name, "bad"][0]},
            timeout=10,
        ).json()
        yield name, Outcome(cards["bad"], cards["good"], len(written.get("entry", [])))


def ended(site: Site, patient: str, sent: dict[str, Any]) -> list[Any]:
    """The cards once nothing is under way."""
    until = time.monotonic() + 100
    while True:
        cards = site.cards(patient, sent)
        if {said(card)["state"] for card in cards} <= {"final", "abstained", "failed"}:
            return cards
        assert time.monotonic() < until, (patient, cards, site.logs()[-4000:])
        time.sleep(0.2)


@pytest.mark.parametrize("name", CASES)
def test_a_bad_study_ends_in_a_state_that_says_why(name: str, outcomes: dict[str, Outcome]) -> None:
    _, state, kinds = CASES[name]
    result = said(outcomes[name].card)
    assert result["state"] == state, result
    assert set(result["reasons"]) & kinds, result
    assert "label" not in result


@pytest.mark.parametrize("name", CASES)
def test_nothing_of_a_failed_study_is_written_or_shown(
    name: str, outcomes: dict[str, Outcome]
) -> None:
    """A page and a report say that a model ran; of an abstention they say that it gave nothing."""
    outcome = outcomes[name]
    ran = "model" in said(outcome.card)
    assert ran or (outcome.reports, outcome.pages) == (0, [])
    if said(outcome.card)["state"] == FAILED:
        assert (outcome.reports, outcome.pages) == (0, [])


@pytest.mark.parametrize("name", CASES)
def test_the_next_study_succeeds(name: str, outcomes: dict[str, Outcome]) -> None:
    result = said(outcomes[name].good)
    assert (result["state"], result["model"], result["label"]) == ("final", MODEL, "glow")


def test_nothing_is_left_in_the_working_folder(
    outcomes: dict[str, Outcome], tmp_path_factory: pytest.TempPathFactory
) -> None:
    work = [p for p in Path(tmp_path_factory.getbasetemp()).glob("site*/state/work/**/*")]
    assert outcomes
    assert [path.name for path in work if path.suffix in (".dcm", ".png", ".tmp")] == []
