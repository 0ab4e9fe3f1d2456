"""Pictures that are no heads, to see whether the out-of-distribution score notices."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.build.data import SPEC, Images
from models.preprocess import prepare

_EACH = 24


def strange_images(slices: Images, seed: int) -> Images:
    """Noise of many grains, slices with scrambled phase or shuffled tiles; uint8 (N, 224, 224)."""
    rng = np.random.default_rng(seed)
    drawn = [slices[index] for index in rng.integers(0, len(slices), _EACH)]
    grains = rng.integers(8, 512, _EACH)
    noise = [_prepared(rng.random((int(grain), int(grain)))) for grain in grains]
    scrambled = [_prepared(_scrambled(image, rng)) for image in drawn]
    shuffled = [_shuffled(image, 28, rng) for image in drawn]
    return np.stack(noise + scrambled + shuffled)


def _prepared(picture: npt.NDArray[np.float64]) -> Images:
    return np.asarray(np.rint(prepare(picture, SPEC)[0, 0] * 255), np.uint8)


def _scrambled(image: Images, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """The same spectrum with the phase of noise: texture without anatomy."""
    phase = np.angle(np.fft.rfft2(rng.random(image.shape)))
    spectrum = np.abs(np.fft.rfft2(image.astype(np.float64)))
    return np.asarray(np.fft.irfft2(spectrum * np.exp(1j * phase), image.shape))


def _shuffled(image: Images, tile: int, rng: np.random.Generator) -> Images:
    """The same tiles in another order: detail without anatomy."""
    rows, columns = image.shape[0] // tile, image.shape[1] // tile
    tiles = image.reshape(rows, tile, columns, tile).swapaxes(1, 2).reshape(-1, tile, tile)
    mixed = rng.permutation(tiles).reshape(rows, columns, tile, tile).swapaxes(1, 2)
    return np.asarray(mixed.reshape(image.shape))
