"""One frame -> what every model says of it: decode, prepare, run, map. Runs on any thread."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from inference.aggregation import calibrated
from inference.boundary import contained
from inference.errors import UndecodablePixels
from inference.explain.cam import class_maps
from inference.frames import FrameFacts
from inference.gates.quality import SliceQuality, measure_quality
from inference.instance import Instance, text_of, values_of
from inference.pixels import PixelSource
from inference.runtime import Runtime, SliceOutputs
from inference.segmentation import MaskScore, score_mask
from inference.volume import Place
from models.contract import FloatArray, ImageSlice, PixelArray, SliceScore
from models.errors import UnusablePixels
from models.preprocess import InputSpec, prepare

Score = SliceScore | MaskScore


@dataclass(frozen=True)
class ScoredSlice:
    """One frame after every model has seen it.

    `scores` follow the order of the runtimes that read along: a SliceScore of a classification, a
    MaskScore of a segmentation. `busy_ms` is the time of each step on its thread.
    """

    place: Place
    image: ImageSlice
    quality: SliceQuality
    scores: tuple[Score, ...]
    busy_ms: Mapping[str, float]


def place_of(instance: Instance, facts: FrameFacts) -> Place:
    """Name one frame of an instance and say where it lies."""
    layout, numbers = instance.layout, values_of(instance.header, "InstanceNumber")
    return Place(
        sop_instance_uid=instance.sop_instance_uid,
        instance_number=int(numbers[0]) if numbers else None,
        rows=layout.rows if layout else 0,
        columns=layout.columns if layout else 0,
        facts=facts,
        frame_of_reference=text_of(instance.header, "FrameOfReferenceUID"),
    )


def score_frame(source: PixelSource, place: Place, runtimes: Sequence[Runtime]) -> ScoredSlice:
    """Decode one frame and run every model on it.

    An image from which no input can be made is shown to the models as a black one, and its quality
    says so: nothing is dropped, and it can decide nothing. Raises UndecodablePixels, ModelFailed.
    """
    clock = _Clock()
    pixels, facts = source.plane(place.facts.frame - 1, place.facts)
    image = _image_slice(pixels, place, facts)
    clock.lap("decode")
    inputs = {runtime.package.manifest.input for runtime in runtimes}
    with contained(_undecodable):
        quality = measure_quality(pixels)
        prepared = {spec: model_input(image, spec) for spec in inputs}
    if any(not usable for _, usable in prepared.values()) and quality.usable:
        quality = SliceQuality("unusable")
    clock.lap("prepare")
    scores = tuple(
        score_of(runtime, runtime.run(prepared[runtime.package.manifest.input][0]), image)
        for runtime in runtimes
    )
    clock.lap("infer")
    return ScoredSlice(place, image, quality, scores, clock.laps_ms)


def model_input(image: ImageSlice, spec: InputSpec) -> tuple[FloatArray, bool]:
    """The model's input, and whether the image was usable; a black input where it was not."""
    try:
        return prepare(image.pixels, spec, image.pixel_aspect), True
    except UnusablePixels:
        return np.zeros((1, 1, spec.rows, spec.columns), np.float32), False


def score_again(runtime: Runtime, item: ScoredSlice) -> tuple[Score, Mapping[str, float]]:
    """What one more model says of a slice that is already decoded, and the time of each step."""
    clock = _Clock()
    with contained(_undecodable):
        prepared, _ = model_input(item.image, runtime.package.manifest.input)
    clock.lap("prepare")
    score = score_of(runtime, runtime.run(prepared), item.image)
    clock.lap("infer")
    return score, clock.laps_ms


def score_of(runtime: Runtime, outputs: SliceOutputs, image: ImageSlice) -> Score:
    """Calibrate one slice's outputs, and draw its class maps or its outline."""
    manifest = runtime.package.manifest
    if manifest.task == "segmentation":
        return score_mask(image, outputs, manifest)
    probabilities = calibrated(outputs.logits, manifest.calibration.temperature)
    if not runtime.class_weights.size:
        return SliceScore(probabilities, outputs.ood_score)
    maps = class_maps(outputs.feature_map, runtime.class_weights)
    return SliceScore(probabilities, outputs.ood_score, maps)


def _image_slice(pixels: PixelArray, place: Place, facts: FrameFacts) -> ImageSlice:
    return ImageSlice(
        pixels=pixels,
        sop_instance_uid=place.sop_instance_uid,
        frame=facts.frame,
        instance_number=place.instance_number,
        geometry=facts.geometry,
        spacing_mm=facts.spacing_mm,
        window=facts.window,
        sides=facts.sides,
    )


def _undecodable(reason: str) -> UndecodablePixels:
    return UndecodablePixels("No model input can be made of the pixel data.", reason)


class _Clock:
    def __init__(self) -> None:
        self.laps_ms: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, step: str) -> None:
        now = time.perf_counter()
        self.laps_ms[step] = (now - self._since) * 1e3
        self._since = now
