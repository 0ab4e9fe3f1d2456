from __future__ import annotations

import numpy as np
import pytest

from inference.explain.cam import class_maps, heatmap
from inference.runtime import Runtime
from models.preprocess import prepare
from tests.reference import dicom_factory as factory
from tests.reference.toy import toy_package


def test_a_class_map_averages_to_the_logit_without_its_bias() -> None:
    """Zhou et al. 2016, equation 2."""
    runtime = Runtime(toy_package(), "fp32")
    outputs = runtime.run(prepare(factory.head(blob=0.4), runtime.package.manifest.input))
    maps = class_maps(outputs.feature_map, runtime.class_weights)
    bias = np.array([-3.0, 0.0, 3.0])
    assert maps.shape == (3, 7, 7)
    assert maps.mean(axis=(1, 2)) + bias == pytest.approx(outputs.logits, abs=1e-4)


def test_a_heatmap_is_between_0_and_1_and_keeps_only_what_speaks_for_the_label() -> None:
    heat = heatmap(np.array([[-1.0, 2.0], [4.0, 0.0]], np.float32))
    assert np.array_equal(heat, [[0, 0.5], [1, 0]])


def test_where_nothing_speaks_for_the_label_the_heatmap_is_empty() -> None:
    assert not heatmap(np.full((2, 2), -1, np.float32)).any()


def test_a_heatmap_on_the_scale_of_another_slice_says_which_of_them_speaks_more() -> None:
    scale = np.array([[-3.0, 2.0]], np.float32)
    assert heatmap(np.array([[1.0, 5.0]], np.float32), scale).tolist() == [[0.5, 1.0]]
    assert not heatmap(np.array([[1.0, 5.0]], np.float32), -abs(scale)).any()
