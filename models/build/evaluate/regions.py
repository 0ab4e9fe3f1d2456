"""Connected regions of a mask, and how they lie on the true outline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Regions:
    """The regions outlined on one image, the largest first, in pixels.

    `areas` and `overlaps` (pixels that are also in the true mask) belong together; `truth` is the
    area of the true mask and `frame` that of the image.
    """

    areas: tuple[int, ...]
    overlaps: tuple[int, ...]
    truth: int
    frame: int

    def kept(self, min_area_fraction: float, parts: int) -> Regions:
        """The `parts` largest of those that are large enough."""
        large = [a for a in self.areas if a >= min_area_fraction * self.frame][:parts]
        return Regions(tuple(large), self.overlaps[: len(large)], self.truth, self.frame)

    @property
    def dice(self) -> float:
        """Twice the common area over the sum of both; 1 where both are empty."""
        total = sum(self.areas) + self.truth
        return 2 * sum(self.overlaps) / total if total else 1.0

    @property
    def missed(self) -> bool:
        """Whether there is something and nothing that was outlined touches it."""
        return self.truth > 0 and not sum(self.overlaps)

    @property
    def false(self) -> bool:
        """Whether something was outlined where there is nothing at all."""
        return self.truth == 0 and bool(self.areas)


def regions_of(mask: Mask, truth: Mask) -> Regions:
    """The regions of one mask (rows, columns), against the true one of the same shape."""
    labels, count = label_regions(mask)
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    overlaps = np.bincount(labels[truth], minlength=count + 1)[1:]
    order = np.argsort(-areas, kind="stable")
    return Regions(
        tuple(int(a) for a in areas[order]),
        tuple(int(o) for o in overlaps[order]),
        int(truth.sum()),
        mask.size,
    )


def label_regions(mask: Mask) -> tuple[npt.NDArray[np.int64], int]:
    """Number the regions of a mask from 1 (0 is none); pixels that share an edge belong together.

    Runs of each row are joined to the runs below that they touch.
    """
    runs = _runs(mask)
    parents = list(range(len(runs)))
    above: list[int] = []
    current: list[int] = []
    for index, (row, first, last) in enumerate(runs):
        if current and runs[current[-1]][0] != row:
            above, current = current, []
        if above and runs[above[-1]][0] != row - 1:
            above = []
        for other in above:
            if runs[other][1] < last and first < runs[other][2]:
                parents[_root(parents, other)] = _root(parents, index)
        current.append(index)
    numbers: dict[int, int] = {}
    labels = np.zeros(mask.shape, np.int64)
    for index, (row, first, last) in enumerate(runs):
        root = _root(parents, index)
        labels[row, first:last] = numbers.setdefault(root, len(numbers) + 1)
    return labels, len(numbers)


def _runs(mask: Mask) -> list[tuple[int, int, int]]:
    """(row, first column, one past the last) of every run, row by row."""
    edged = np.pad(mask, ((0, 0), (1, 1))).astype(np.int8)
    steps = np.diff(edged, axis=1)
    rows, firsts = np.nonzero(steps == 1)
    _, lasts = np.nonzero(steps == -1)
    return list(zip(rows.tolist(), firsts.tolist(), lasts.tolist(), strict=True))


def _root(parents: list[int], index: int) -> int:
    while parents[index] != index:
        parents[index] = parents[parents[index]]
        index = parents[index]
    return index
