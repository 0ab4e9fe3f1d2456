"""How much of a probability a record holds: no certainty, and nothing beside the band."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fhir_mapping.observation import observation
from fhir_mapping.wording import probability_band
from tests.unit.fhir_mapping.cases import FULL_CONTEXT, FULL_REF, GLIOMA, RESULT, analysis_of


@pytest.mark.parametrize(
    ("probability", "stored"),
    [
        (0.0, 0.01),
        (0.0124, 0.012),
        (0.94999, 0.949),
        (float(np.float32(0.95)), 0.95),
        (float(np.float32(0.82)), 0.82),
        (0.99996, 0.99),
        (1.0, 0.99),
    ],
)
def test_no_more_is_stored_of_a_probability_than_is_known(
    probability: float, stored: float
) -> None:
    label = replace(GLIOMA, probability=probability)
    result = replace(RESULT, finding=label, probabilities=(label,))
    made: Any = observation(result, analysis_of(result), FULL_REF, FULL_CONTEXT)
    assert [part["valueQuantity"]["value"] for part in made["component"]] == [stored]


def test_what_is_stored_lies_in_the_band_that_is_said() -> None:
    for probability in (k / 2000 for k in range(2001)):
        stored = replace(GLIOMA, probability=probability).stored
        assert probability_band(stored) == probability_band(probability)
