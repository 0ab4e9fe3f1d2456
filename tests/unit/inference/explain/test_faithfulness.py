from __future__ import annotations

import numpy as np
import pytest

from inference.explain.faithfulness import deletion_drop
from models.contract import FloatArray


def _corner(image: FloatArray) -> float:
    return float(image[0, 0, :32, :32].mean())


def _image() -> FloatArray:
    image = np.full((1, 1, 224, 224), 0.25, np.float32)
    image[0, 0, :32, :32] = 1
    return image


def test_blanking_what_the_model_uses_drops_its_answer() -> None:
    heat = np.zeros((7, 7), np.float32)
    heat[0, 0] = 1
    assert deletion_drop(_image(), heat, 1.0, _corner) == pytest.approx(0.75)


def test_blanking_what_it_does_not_use_drops_nothing() -> None:
    heat = np.ones((7, 7), np.float32)
    heat[0] = 0
    assert deletion_drop(_image(), heat, 1.0, _corner) == pytest.approx(0)


def test_an_empty_map_cannot_be_tested() -> None:
    assert deletion_drop(_image(), np.zeros((7, 7), np.float32), 1.0, _corner) is None


def test_a_fifth_of_the_cells_is_blanked() -> None:
    heat = np.arange(1, 50, dtype=np.float32).reshape(7, 7)
    blanked = deletion_drop(_ramp(), heat, 1.0, _nonzero)
    assert blanked == pytest.approx(10 / 49, abs=0.01)


def _ramp() -> FloatArray:
    ramp = np.ones((1, 1, 224, 224), np.float32)
    ramp[0, 0, 0, 0] = 0
    return ramp


def _nonzero(image: FloatArray) -> float:
    return float((image > 0).mean())
