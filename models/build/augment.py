"""What a recipe calls an augmentation: how far images of one kind may be moved and changed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.build import changes
from models.build.changes import Change, Plane, match_grey_levels
from models.build.placement import Placement, reposition


@dataclass(frozen=True)
class Augmentation:
    """A kind of image: its placement, and its changes, each with the chance that it happens.

    `borrowed` is the share of strongly changed images that get the grey levels of another;
    below the level `air` nothing is borrowed.
    """

    placement: Placement
    light: tuple[tuple[float, Change], ...]
    strong: tuple[tuple[float, Change], ...]
    borrowed: float
    air: int


def augment(
    image: Plane,
    mask: Plane,
    style: Plane,
    size: int,
    kind: Augmentation,
    rng: np.random.Generator,
    *,
    strong: bool,
) -> tuple[Plane, Plane]:
    """One random version of an image at (size, size), and of its mask.

    All planes are uint8; the mask has 0 and 255 and comes back with soft edges. `style` lends its
    grey levels to some of the strongly changed images.
    """
    if strong and rng.random() < kind.borrowed:
        image = match_grey_levels(image, style, rng, kind.air)
    image, mask = reposition(image, mask, size, kind.placement, rng)
    for chance, change in kind.strong if strong else kind.light:
        if rng.random() < chance:
            image = change(image, rng)
    return image, mask


HEAD_MR = Augmentation(
    placement=Placement(
        turn_degrees=9,
        any_turn=0.1,
        zoom=(0.75, 1.2),
        stretch=0.09,
        shear=0.05,
        shift=0.05,
        cropped=0.35,
    ),
    light=(
        (0.5, changes.warp_grey_levels),
        (0.2, changes.add_bias_field),
        (0.15, changes.blur),
        (0.15, changes.add_noise),
        (0.1, changes.hide_corners),
        (0.15, changes.recompress),
    ),
    strong=(
        (0.12, changes.swap_contrast),
        (0.8, changes.warp_grey_levels),
        (0.4, changes.add_bias_field),
        (0.3, changes.blur),
        (0.2, changes.coarsen),
        (0.35, changes.add_noise),
        (0.2, changes.hide_corners),
        (0.06, changes.draw_border),
        (0.1, changes.lift_background),
        (0.35, changes.recompress),
    ),
    borrowed=0.3,
    air=changes.AIR,
)

# Neither lungs nor pneumonia are named by their side, so mirrored chests teach no wrong side;
# upside-down ones do not come out of an archive and are not drawn.
CHEST_XRAY = Augmentation(
    placement=Placement(
        turn_degrees=6,
        any_turn=0.0,
        zoom=(0.8, 1.2),
        stretch=0.07,
        shear=0.03,
        shift=0.04,
        cropped=0.0,
    ),
    light=(
        (0.5, changes.warp_grey_levels),
        (0.15, changes.blur),
        (0.15, changes.add_noise),
        (0.2, changes.hide_corners),
        (0.15, changes.recompress),
    ),
    strong=(
        (0.8, changes.warp_grey_levels),
        (0.4, changes.stretch_locally),
        (0.3, changes.add_bias_field),
        (0.3, changes.blur),
        (0.25, changes.coarsen),
        (0.35, changes.add_noise),
        (0.35, changes.hide_corners),
        (0.2, changes.collimate),
        (0.1, changes.lift_background),
        (0.35, changes.recompress),
    ),
    borrowed=0.4,
    air=0,
)

AUGMENTATIONS = {"head-mr": HEAD_MR, "chest-xray": CHEST_XRAY}
