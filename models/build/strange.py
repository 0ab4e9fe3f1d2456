"""Pictures that are none of the model's kind, to see whether the out-of-distribution score notices.

Where no images from elsewhere are at hand, they alone choose the score.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.build.packs import Images
from models.manifest import InputSpec
from models.preprocess import prepare

_EACH = 24
_TILES = 8


def strange_images(images: Images, spec: InputSpec, seed: int) -> Images:
    """Noise of many grains, images with scrambled phase or shuffled tiles; uint8 (N, R, C)."""
    rng = np.random.default_rng(seed)
    drawn = [images[index] for index in rng.integers(0, len(images), _EACH)]
    grains = rng.integers(8, 512, _EACH)
    noise = [_prepared(rng.random((int(grain), int(grain))), spec) for grain in grains]
    scrambled = [_prepared(_scrambled(image, rng), spec) for image in drawn]
    shuffled = [_shuffled(image, rng) for image in drawn]
    return np.stack(noise + scrambled + shuffled)


def _prepared(picture: npt.NDArray[np.float64], spec: InputSpec) -> Images:
    return np.asarray(np.rint(prepare(picture, spec)[0, 0] * 255), np.uint8)


def _scrambled(image: Images, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """The same spectrum with the phase of noise: texture without anatomy."""
    phase = np.angle(np.fft.rfft2(rng.random(image.shape)))
    spectrum = np.abs(np.fft.rfft2(image.astype(np.float64)))
    return np.asarray(np.fft.irfft2(spectrum * np.exp(1j * phase), image.shape))


def _shuffled(image: Images, rng: np.random.Generator) -> Images:
    """The same tiles in another order: detail without anatomy."""
    down, across = image.shape[0] // _TILES, image.shape[1] // _TILES
    whole = image[: down * _TILES, : across * _TILES]
    tiles = whole.reshape(_TILES, down, _TILES, across).swapaxes(1, 2).reshape(-1, down, across)
    mixed = rng.permutation(tiles).reshape(_TILES, _TILES, down, across).swapaxes(1, 2)
    out = np.zeros_like(image)
    out[: down * _TILES, : across * _TILES] = mixed.reshape(whole.shape)
    return out
