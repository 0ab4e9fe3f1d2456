"""Connected regions of a mask, and how they lie on the true outline."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.outlines import Mask, label_regions


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
    labels, areas = label_regions(mask)
    overlaps = np.bincount(labels[truth], minlength=len(areas) + 1)[1:]
    order = np.argsort(-areas, kind="stable")
    return Regions(
        tuple(int(a) for a in areas[order]),
        tuple(int(o) for o in overlaps[order]),
        int(truth.sum()),
        mask.size,
    )
