"""From the bytes of a series to the model's inputs, against pydicom and Pillow.

scanhook: vet the header, decode, measure the quality, window by percentiles, resize; on one thread
for each core, as the worker does it. The usual way: ``dcmread``, ``pixel_array``,
``apply_voi_lut``, Pillow, one slice after another. Rounds of both take turns.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import imagecodecs
import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless

from benchmarks.results import Aim, Result, Table, median, paired_ratio
from benchmarks.rivals import prepare as usual
from benchmarks.series import MANY, datasets
from inference.frames import FrameFacts, frame_facts
from inference.gates.quality import measure_quality
from inference.instance import read_instance
from inference.limits import Limits
from inference.pixels import PixelSource
from models.preprocess import InputSpec, prepare
from models.registry import load_registry

Encode = Callable[[npt.NDArray[np.uint16]], bytes]
RATIOS = {"uncompressed": 6.0, "JPEG-LS": 4.0, "JPEG 2000": 3.5}


def _jpegls(pixels: npt.NDArray[np.uint16]) -> bytes:
    return bytes(imagecodecs.jpegls_encode(pixels))


def _j2k(pixels: npt.NDArray[np.uint16]) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", reversible=True))


SYNTAXES: Mapping[str, tuple[UID, Encode | None]] = {
    "uncompressed": (ExplicitVRLittleEndian, None),
    "JPEG-LS": (JPEGLSLossless, _jpegls),
    "JPEG 2000": (JPEG2000Lossless, _j2k),
}


def run(quick: bool = False) -> Result:
    """Measure every transfer syntax."""
    rounds, slices = (1, 2) if quick else (11, MANY.slices)
    spec = load_registry(()).packages[0].manifest.input
    drawn = list(datasets(MANY))[:slices]
    rows: list[tuple[str | float, ...]] = []
    aims, notes = [], []
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for name, (syntax, encode) in SYNTAXES.items():
            files = [_file(dataset, syntax, encode) for dataset in drawn]
            quick_way, usual_way = partial(_ours, files, spec, pool), partial(_usual, files)
            _timed(quick_way)
            if not _pydicom_reads(files[0]):
                rows.append((name, _timed(quick_way), "–", "–"))
                notes.append(
                    f"{name}: pydicom has no decoder here; install pyjpegls for a comparison."
                )
                continue
            _timed(usual_way)
            pairs = [(_timed(quick_way), _timed(usual_way)) for _ in range(rounds)]
            mine, theirs = (list(times) for times in zip(*pairs, strict=True))
            ratio = paired_ratio(theirs, mine)
            rows.append((name, median(mine), median(theirs), ratio))
            what = f"decode and prepare, {name}, times as quick"
            aims.append(Aim(what, ratio, RATIOS[name], at_least=True))
    columns = ("transfer syntax", "scanhook ms", "pydicom + Pillow ms", "ratio (median of pairs)")
    title = f"Decode and prepare {slices} slices of 512x512, {rounds} rounds"
    return Result((Table(title, columns, tuple(rows)),), tuple(aims), tuple(notes))


def _ours(files: Sequence[bytes], spec: InputSpec, pool: ThreadPoolExecutor) -> None:
    def one(source: PixelSource, facts: FrameFacts) -> None:
        pixels, _ = source.plane(0, facts)
        measure_quality(pixels)
        prepare(pixels, spec)

    waiting = []
    for file in files:
        instance = read_instance(file, Limits())
        _ = instance.sha256
        waiting.append(pool.submit(one, PixelSource(instance), frame_facts(instance)[0]))
    for each in waiting:
        each.result()


def _usual(files: Sequence[bytes]) -> None:
    for file in files:
        usual(pydicom.dcmread(io.BytesIO(file)))


def _pydicom_reads(file: bytes) -> bool:
    try:
        _ = pydicom.dcmread(io.BytesIO(file)).pixel_array
    except (RuntimeError, NotImplementedError):
        return False
    return True


def _file(dataset: pydicom.FileDataset, syntax: UID, encode: Encode | None) -> bytes:
    copy = pydicom.dcmread(_saved(dataset))
    if encode is not None:
        copy.PixelData = encapsulate([bytes(encode(dataset.pixel_array))])
        copy["PixelData"].VR = "OB"
        copy["PixelData"].is_undefined_length = True
    copy.file_meta.TransferSyntaxUID = syntax
    return _saved(copy).getvalue()


def _saved(dataset: pydicom.FileDataset) -> io.BytesIO:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    buffer.seek(0)
    return buffer


def _timed(work: Callable[[], None]) -> float:
    since = time.perf_counter()
    work()
    return (time.perf_counter() - since) * 1e3
