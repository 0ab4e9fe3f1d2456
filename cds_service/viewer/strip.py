"""The strip of scores: one bar for each slice, drawn in a few elements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cds_service.explanation import PageLabel, PageResult, PageSlice
from cds_service.viewer import wording

_TABLE_ROWS = 400


@dataclass(frozen=True)
class BarView:
    """One slice in the strip; `height` is 0 to 100."""

    number: int
    height: float
    said: str
    used: bool
    deciding: bool
    strange: bool

    @property
    def kind(self) -> str:
        """How the bar is drawn."""
        part = "deciding" if self.deciding else "used" if self.used else "other"
        return f"{part} strange" if self.strange else part


@dataclass(frozen=True)
class StripView:
    """One number of every slice, in a drawing of 10 units a slice and 100 high.

    `paths` are what is drawn alike, by class.
    """

    column: str
    summary: str
    bars: tuple[BarView, ...]
    paths: tuple[tuple[str, str], ...]
    window: str

    @property
    def width(self) -> int:
        """Of the drawing, in its units."""
        return 10 * len(self.bars)

    @property
    def tabulated(self) -> bool:
        """Whether the bars are few enough to be read as a table."""
        return len(self.bars) <= _TABLE_ROWS

    @property
    def any_strange(self) -> bool:
        """Whether a slice is unlike the training data."""
        return any(bar.strange for bar in self.bars)


def _label_of_interest(result: PageResult) -> int | None:
    """The label whose scores are drawn: the one explained, the one stated, or the likeliest one."""
    keys = [label.key for label in result.labels]
    wanted = [result.picture.label_key] if result.picture else []
    wanted += [result.finding.key] if result.finding else []
    wanted += [label.key for label in ordered(result)]
    return next((keys.index(key) for key in wanted if key in keys), None)


def ordered(result: PageResult) -> list[PageLabel]:
    """Findings by probability, then what is no finding."""
    return sorted(result.labels, key=lambda label: (label.negative, -label.probability))


def strip_of(result: PageResult) -> StripView | None:
    """A score of every slice, or the outlined part of it; ``None`` where there is one slice."""
    if len(result.slices) <= 1:
        return None
    bars = _area_bars(result) if result.task == "segmentation" else _score_bars(result)
    if not bars:
        return None
    highest = max(bars, key=lambda bar: bar.height)
    label = _label_of_interest(result)
    column = "Outlined" if label is None else result.labels[label].display
    return StripView(
        column=column,
        summary=wording.highest(highest.number, highest.said, outlined=label is None),
        bars=bars,
        paths=_paths(bars),
        window="".join(f"M{10 * i} 0h10v100h-10z" for i, bar in enumerate(bars) if bar.used),
    )


def _score_bars(result: PageResult) -> tuple[BarView, ...]:
    label = _label_of_interest(result)
    if label is None:
        return ()
    return tuple(_score_bar(scored, label, result) for scored in result.slices)


def _score_bar(scored: PageSlice, label: int, result: PageResult) -> BarView:
    known = label < len(scored.probabilities)
    height = max(1.0, clamped(scored.probabilities[label])) if known else 0.0
    said = wording.percent(scored.probabilities[label]) if known else "not scored"
    return _bar(scored, height, said, result)


def _area_bars(result: PageResult) -> tuple[BarView, ...]:
    """The outlined part of each slice, the largest at full height."""
    found = {outline.slice_number: outline for outline in result.outlines}
    largest = max((outline.area_fraction for outline in found.values()), default=0.0)
    if not largest:
        return ()
    bars = []
    for scored in result.slices:
        outline = found.get(scored.number)
        height = clamped(outline.area_fraction / largest) if outline else 0.0
        bars.append(_bar(scored, height, wording.area(outline), result))
    return tuple(bars)


def _bar(scored: PageSlice, height: float, said: str, result: PageResult) -> BarView:
    return BarView(
        number=scored.number,
        height=height,
        said=said,
        used=scored.number in result.slices_used,
        deciding=scored.number == result.deciding_slice,
        strange=not scored.in_distribution,
    )


def _paths(bars: Sequence[BarView]) -> tuple[tuple[str, str], ...]:
    """(class, path): thousands of bars are a few elements."""
    drawn: dict[str, list[str]] = {}
    for i, bar in enumerate(bars):
        drawn.setdefault(bar.kind, []).append(
            f"M{10 * i + 1} 100v-{bar.height:g}h8v{bar.height:g}z"
        )
    return tuple((kind, "".join(parts)) for kind, parts in drawn.items())


def clamped(probability: float) -> float:
    """0 to 100 for a drawing, whatever a model may have said (NaN draws as 0)."""
    return round(100 * min(1.0, max(0.0, probability)), 2) if probability == probability else 0.0
