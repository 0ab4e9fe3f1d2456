"""A chained model follows one that is there, and waits for what that one can say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from models.chains import check_chains
from models.errors import ManifestError
from models.manifest import Chain, Manifest, parse_manifest
from tests.unit.models.facts import MANIFEST, SEGMENTATION

SPOTS = parse_manifest(MANIFEST)
OUTLINES = parse_manifest(SEGMENTATION)


def after(model: str, *when: str, witnesses: Sequence[str] = ()) -> Manifest:
    return replace(OUTLINES, chain=Chain(model, when, tuple(witnesses)))


def test_a_chain_that_holds_together_passes() -> None:
    chained = after("spots", "spot", "no-spot", witnesses=["no-spot"])
    check_chains([SPOTS, chained, replace(SPOTS, version="2")])
    check_chains([])


@pytest.mark.parametrize(
    ("chained", "words"),
    [
        (after("stains", "spot"), "'stains', which is not installed"),
        (after("spots", "stain"), "'stain', which spots never says"),
        (after("spots", "spot", witnesses=["spot"]), "no negative of spots"),
    ],
)
def test_a_chain_to_nothing_is_an_error(chained: Manifest, words: str) -> None:
    with pytest.raises(ManifestError, match=words):
        check_chains([SPOTS, chained])


@pytest.mark.parametrize("length", [2, 3, 5])
def test_a_circle_is_an_error(length: int) -> None:
    ring = [
        replace(SPOTS, id=f"m{number}", chain=Chain(f"m{(number + 1) % length}", ("spot",)))
        for number in range(length)
    ]
    with pytest.raises(ManifestError, match="runs after models that run after it"):
        check_chains(ring)


def test_a_line_that_leads_to_a_circle_ends() -> None:
    ring = [
        replace(SPOTS, id=f"m{number}", chain=Chain(f"m{1 - number}", ("spot",)))
        for number in range(2)
    ]
    line = replace(SPOTS, id="before", chain=Chain("m0", ("spot",)))
    with pytest.raises(ManifestError, match="m0 runs after"):
        check_chains([line, *ring])
