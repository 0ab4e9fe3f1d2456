"""The synthetic head: deterministic, with the lesion where the truth says it is."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from cds_service.sandbox import anatomy
from cds_service.sandbox.anatomy import blurred, linear_matrix, ramp, smooth_noise
from cds_service.sandbox.demo_studies import HEADS
from cds_service.sandbox.lesions import Lesion
from cds_service.sandbox.phantom import FULL_SCALE, Protocol, axial_mask, axial_series

COARSE = Protocol(size=96, pixel_mm=2.5, slices=12, spacing_mm=11.0)
LESIONS = [head.lesion for head in HEADS if head.lesion is not None]


def test_the_same_seed_draws_the_same_pixels() -> None:
    first, second = (axial_series(LESIONS[0], COARSE, seed=5).pixels for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, axial_series(LESIONS[0], COARSE, seed=6).pixels)


def test_air_is_dark_and_the_scalp_is_bright() -> None:
    pixels = axial_series(None, COARSE).pixels
    assert pixels.dtype == np.int16
    assert pixels[:, :4, :4].mean() < 0.05 * FULL_SCALE
    assert np.percentile(pixels, 99.5) > 0.6 * FULL_SCALE


@pytest.mark.parametrize("lesion", LESIONS, ids=lambda lesion: lesion.kind)
def test_a_lesion_changes_the_image_inside_its_mask_and_not_far_from_it(lesion: Lesion) -> None:
    plain = _plain().astype(int)
    drawn = axial_series(lesion, COARSE).pixels.astype(int)
    mask = axial_mask(lesion, COARSE)
    assert mask.any()
    changed = np.abs(drawn - plain)
    assert changed[mask].mean() > 0.1 * FULL_SCALE
    rows, columns = np.nonzero(mask.any(axis=0))
    middle = (rows.mean(), columns.mean())
    far = np.hypot(*(np.indices(mask.shape[1:]) - np.array(middle)[:, None, None])) * 2.5 > 95
    assert changed[:, far].max() == 0


@pytest.mark.parametrize("lesion", LESIONS, ids=lambda lesion: lesion.kind)
def test_a_lesion_lies_where_its_definition_says_in_patient_coordinates(lesion: Lesion) -> None:
    mask = axial_mask(lesion, COARSE)
    z, y, x = (index.mean() for index in np.nonzero(mask))
    first = COARSE.position_mm(0)
    found = (first[0] + x * 2.5, first[1] + y * 2.5, first[2] + z * 11.0)
    assert np.allclose(found, lesion.centre_mm, atol=12.0)


@cache
def _plain() -> np.ndarray:
    return axial_series(None, COARSE).pixels


def test_linear_sampling_reads_between_samples_and_clamps() -> None:
    line = np.array([0.0, 10.0, 20.0], np.float32)
    assert np.allclose(linear_matrix(np.array([-1.0, 0.5, 2.0, 9.0]), 3) @ line, [0, 5, 20, 20])


def test_blurring_keeps_a_constant_and_spreads_a_point() -> None:
    flat = np.full((5, 6, 7), 3.0, np.float32)
    assert np.allclose(blurred(flat, 1.5), 3.0, atol=1e-5)
    point = np.zeros((9, 9, 9), np.float32)
    point[4, 4, 4] = 1
    spread = blurred(point, 1.0)
    assert spread.argmax() == point.argmax()
    assert 0 < spread[4, 4, 6] < spread[4, 4, 5] < spread[4, 4, 4] < 1


def test_noise_has_no_mean_and_unit_deviation() -> None:
    noise = smooth_noise(np.random.default_rng(3), 2.0, (48, 48, 48))
    assert noise.shape == (48, 48, 48)
    assert abs(float(noise.mean())) < 0.15
    assert 0.8 < float(noise.std()) < 1.2


def test_a_ramp_is_flat_outside_its_ends() -> None:
    assert ramp(np.array([-1.0, 0.5, 2.0]), 0.0, 1.0).tolist() == [0.0, 0.5, 1.0]


def test_the_templates_notice_travels_with_the_head() -> None:
    notice = (Path(anatomy.__file__).parent / "data" / "NOTICE-icbm152.txt").read_text()
    assert "Permission to use, copy, modify, and distribute" in notice
    assert "Louis Collins" in notice
    assert anatomy.HEAD_FILE.stat().st_size < 4_000_000
