from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from inference.explain import overlay, sheet
from inference.explain.overlay import Rendering, render, render_outline
from inference.placement import placement
from inference.sides import plane_edges
from models.contract import ImageSlice, PlaneGeometry
from models.preprocess import InputSpec, prepare
from tests.reference import dicom_factory as factory


class _SameThread(Executor):
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


SAME_THREAD = _SameThread()
SPEC = InputSpec("image", 224, 224, 0.5, 99.5)
AXIAL = PlaneGeometry((0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1))
SLICE = ImageSlice(factory.head(64, 64), "1.2", geometry=AXIAL, spacing_mm=(1, 1))
HEAT = np.zeros((7, 7), np.float32)
HEAT[1, 5] = 1


def _open(png: bytes) -> Image.Image:
    return Image.open(io.BytesIO(png))


def _alpha(image: ImageSlice) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    drawn = _open(render(image, HEAT, SPEC, "Glow", stated=True, encoders=SAME_THREAD).overlay_png)
    alpha = np.asarray(drawn)[: -sheet.FOOTER, :, 3]
    rows, columns = image.pixels.shape[:2]
    width = round(alpha.shape[0] * columns / rows)  # narrow pictures lie in the middle
    left = (alpha.shape[1] - width) // 2
    return alpha[:, left : left + width]


@pytest.mark.parametrize(
    ("row", "column", "marks"),
    [
        ((1, 0, 0), (0, 1, 0), ("R", "L", "A", "P")),
        ((1, 0, 0), (0, 0, -1), ("R", "L", "H", "F")),
        ((0, 1, 0), (0, 0, -1), ("A", "P", "H", "F")),
        ((-1, 0, 0), (0, -1, 0), ("L", "R", "P", "A")),
        ((0.8, 0.6, 0), (0, 0, -1), ("RA", "LP", "H", "F")),
        ((0.99, 0.14, 0), (0, 0, -1), ("R", "L", "H", "F")),
    ],
)
def test_marks_name_the_patients_sides(
    row: tuple[float, float, float],
    column: tuple[float, float, float],
    marks: tuple[str, str, str, str],
) -> None:
    """PS3.3 C.7.6.1.1.1: left, right, top, bottom of the picture."""
    assert plane_edges(PlaneGeometry((0, 0, 0), row, column, (1, 1))) == marks


def test_the_three_pictures_have_one_size_and_their_own_modes() -> None:
    drawn = render(SLICE, HEAT, SPEC, "Glow", stated=True, encoders=SAME_THREAD)
    pictures = [_open(png) for png in (drawn.image_png, drawn.overlay_png, drawn.figure_png)]
    assert len({picture.size for picture in pictures}) == 1
    assert [picture.mode for picture in pictures] == ["L", "RGBA", "RGB"]


@pytest.mark.parametrize("which", ["image_png", "overlay_png", "figure_png"])
def test_every_picture_carries_the_caption(which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with_caption = getattr(
        render(SLICE, HEAT, SPEC, "Glow", stated=True, encoders=SAME_THREAD), which
    )
    monkeypatch.setattr(sheet, "CAPTION", "")
    without = getattr(render(SLICE, HEAT, SPEC, "Glow", stated=True, encoders=SAME_THREAD), which)
    footer = [np.asarray(_open(png))[-sheet.FOOTER :] for png in (with_caption, without)]
    assert not np.array_equal(*footer)


def test_the_wording_is_what_was_agreed() -> None:
    assert sheet.CAPTION == "AI, not reviewed"
    assert overlay.DISCLAIMER == "Not for diagnosis on its own"


def test_what_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    for module in (overlay, sheet):
        monkeypatch.setattr(module, "write", lambda picture, at, text, *rest: written.append(text))
    render(replace(SLICE, geometry=None), HEAT, SPEC, "Glow", stated=False, encoders=SAME_THREAD)
    assert written.count("Orientation not stated") == 2
    assert {"Speaks for: Glow (not stated)", "low", "high", overlay.DISCLAIMER} < set(written)
    assert not {"L", "R", "A", "P", "H", "F"} & set(written)


@pytest.mark.parametrize("shape", [(64, 64), (60, 30), (30, 60)])
@pytest.mark.parametrize("aspect", [1.0, 2.0, 0.5])
def test_the_placement_is_where_the_model_saw_the_picture(
    shape: tuple[int, int], aspect: float
) -> None:
    pixels = np.full(shape, 1000, np.uint16)
    pixels[0, 0] = 0
    image = ImageSlice(pixels, "1.2", spacing_mm=(aspect, 1.0))
    seen = prepare(pixels, SPEC, aspect)[0, 0] > 0.5
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    found = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    assert np.abs(np.array(found) - placement(image, SPEC)).max() <= 1


@pytest.mark.parametrize("shape", [(64, 64), (64, 32), (32, 64)])
def test_heat_lies_where_the_cell_does(shape: tuple[int, int]) -> None:
    """Cell (1, 5) of 7 x 7; the margins that `prepare` added are not part of the picture."""
    image = ImageSlice(factory.head(*shape), "1.2", spacing_mm=(1.0, 1.0))
    alpha = _alpha(image)
    left, top, right, bottom = placement(image, SPEC)
    centre = (1.5 * 32 - top) / (bottom - top), (5.5 * 32 - left) / (right - left)
    at = np.unravel_index(int(alpha.argmax()), alpha.shape)
    if 0 < centre[0] < 1 and 0 < centre[1] < 1:
        assert at[0] / alpha.shape[0] == pytest.approx(centre[0], abs=0.03)
        assert at[1] / alpha.shape[1] == pytest.approx(centre[1], abs=0.03)
    assert alpha[-1, 0] == 0


def test_pixels_that_are_not_square_are_drawn_in_proportion() -> None:
    image = ImageSlice(factory.head(40, 50), "1.2", spacing_mm=(1.5, 1.0))
    width, height = _open(
        render(image, HEAT, SPEC, "x", stated=True, encoders=SAME_THREAD).image_png
    ).size
    assert (height - sheet.FOOTER) / width == pytest.approx(1.2, abs=0.01)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((8, 8), np.uint16),
        np.full((8, 8), np.nan, np.float32),
        np.zeros((8, 8, 3), np.uint8),
        factory.head(2000, 1500),
        factory.head(1, 1),
    ],
    ids=lambda pixels: f"{pixels.shape} {pixels.dtype}",
)
def test_any_plane_can_be_drawn(pixels: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> None:
    drawn = render(ImageSlice(pixels, "1.2"), HEAT, SPEC, "x", stated=True, encoders=SAME_THREAD)
    assert max(_open(drawn.figure_png).size) <= 1024 + sheet.FOOTER


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("anchor", ["la", "ra", "lm", "rm", "mt", "mb"])
def test_a_text_is_drawn_as_pillow_draws_it(mode: str, anchor: str) -> None:
    """Texts are kept as masks between pictures."""
    ground = np.random.default_rng(1).integers(0, 256, (80, 300, len(mode)), np.uint8)
    ours = Image.fromarray(ground.squeeze())
    theirs = ours.copy()
    white, black = (255, 0) if mode == "L" else ("white", "black")
    sheet.write(ours, (150, 40), "Speaks for: Glioma", 15, anchor)
    font = sheet._font(15)
    pen = ImageDraw.Draw(theirs)
    pen.text(
        (150, 40), "Speaks for: Glioma", white, font, anchor, stroke_width=2, stroke_fill=black
    )
    assert np.abs(np.asarray(ours, int) - np.asarray(theirs, int)).max() <= 1


def _outlined(image: ImageSlice, contour: object, *, stated: bool = True) -> Rendering:
    probability = np.zeros((28, 28), np.float32)
    line = np.asarray(contour, np.float32)
    return render_outline(
        image, probability, SPEC, [line], "Ring", stated=stated, encoders=SAME_THREAD
    )


@pytest.mark.parametrize("shape", [(64, 64), (64, 32), (300, 700)])
def test_a_contour_lies_around_the_pixels_it_encloses(shape: tuple[int, int]) -> None:
    rows, columns = shape
    image = ImageSlice(factory.head(*shape), "1.2", spacing_mm=(1.0, 1.0))
    box = (5, 8, 20, 30)  # left, top, right, bottom, in pixels, both included
    left, top, right, bottom = box[0] - 0.5, box[1] - 0.5, box[2] + 0.5, box[3] + 0.5
    drawn = _outlined(image, [(left, top), (right, top), (right, bottom), (left, bottom)])
    alpha = np.asarray(_open(drawn.overlay_png))[: -sheet.FOOTER, :, 3]
    scale = alpha.shape[0] / rows
    margin = (alpha.shape[1] - round(columns * scale)) / 2
    down, across = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    assert down[[0, -1]] == pytest.approx([8 * scale, 31 * scale], abs=4)
    assert across[[0, -1]] == pytest.approx([5 * scale + margin, 21 * scale + margin], abs=4)
    assert alpha[round(20 * scale), round(12 * scale + margin)] == 0, "only the line is drawn"


def test_what_is_written_below_an_outline(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    for module in (overlay, sheet):
        monkeypatch.setattr(module, "write", lambda picture, at, text, *rest: written.append(text))
    _outlined(SLICE, [(1, 1), (9, 1), (9, 9)], stated=False)
    assert {"Outlined: Ring (not stated)", "0 %", "100 %", overlay.DISCLAIMER} < set(written)
    assert sheet.CAPTION in written


def test_the_sides_that_a_radiograph_states_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(sheet, "write", lambda picture, at, text, *rest: written.append(text))
    radiograph = replace(SLICE, geometry=None, sides=("L", "F"))
    render(radiograph, HEAT, SPEC, "Glow", stated=True, encoders=SAME_THREAD)
    assert {"R", "L", "H", "F"} < set(written)
    assert "Orientation not stated" not in written
