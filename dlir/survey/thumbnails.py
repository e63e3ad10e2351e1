"""Small pictures of the tiles, whitened, so that two of them can be correlated over all shifts at little cost.

A thumbnail has about SIDE px along its longer side. What all tiles share, light and dirt, is divided out by the median of the
tiles. A band-pass takes away what is smooth; dividing by the local energy makes faint places count as much as bright ones, but
leaves places that hold noise alone as quiet as they are. At last each spatial frequency is divided by its mean amplitude over
all tiles,

    F / sqrt(P + WHITENING mean(P))

so that all frequencies count alike. In a specimen with a period the frequencies of the period have nearly all the power; after
whitening, what breaks the period decides.

Light and dirt are those of each camera. Thumbnails of tiles that are smaller than others are padded with zeros.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

Images = NDArray[np.float32]  # (n, y, x)

SIDE = 128  # px, of the longer side of a thumbnail, at least
FINE_SIGMA, COARSE_SIGMA = 0.6, 3.0  # px, of the two Gaussians of the band-pass
ENERGY_SIGMA = 6.0  # px, of the Gaussian that gives the local energy
QUIET = 8.0  # times the median of the band-passed pixels: where the local energy is below it, the place stays quiet
WHITENING = 0.01  # of the mean power, below which a frequency is not amplified any further
LARGEST = 4.0  # standard deviations, at which the pixels are clipped: a single bright spot must not decide
FEWEST_TILES = 5  # with fewer, the median of the tiles is specimen, not light
MOST_TILES = 64  # that the median is taken of
LEAST_LIGHT = 0.05  # of the mean light, which is never taken to be less


class Thumbnails(NamedTuple):
    """Whitened thumbnails of n tiles."""

    images: Images  # padded with zeros at the ends of both axes
    sizes: NDArray[np.int64]  # (n, 2) px, without what is padded


def factor(size: Sequence[int]) -> int:
    """Returns by how much the sides of tiles of this size (y, x), px, are divided to give thumbnails."""
    return max(1, max(size) // SIDE)


def shrunk(image: NDArray[np.generic], by: int) -> Images:
    """Returns the means of blocks of `by` x `by` px of an image (y, x); what does not fill a block is left out."""
    height, width = (side // by for side in image.shape)
    blocks = image[: height * by, : width * by].reshape(height, by, width, by)
    return np.asarray(blocks.mean(axis=(1, 3), dtype=np.float32))


def whitened(thumbnails: Sequence[NDArray[np.float32]], cameras: Sequence[int]) -> Thumbnails:
    """Returns thumbnails (y, x) without light and dirt, of even local energy and an even spectrum.

    Args:
        cameras: the number of the camera of each thumbnail; those of one camera have one size.
    """
    sizes = np.array([thumbnail.shape for thumbnail in thumbnails], np.int64)
    bands = np.zeros((len(thumbnails), *sizes.max(axis=0)), np.float32)
    for camera in np.unique(cameras):
        chosen = np.flatnonzero(np.asarray(cameras) == camera).tolist()
        height, width = sizes[chosen[0]]
        if height and width:
            bands[chosen, :height, :width] = _band(np.stack([thumbnails[k] for k in chosen]))
    spectrum = fft.rfft2(bands)
    power = (np.abs(spectrum) ** 2).mean(axis=0)
    even = fft.irfft2(spectrum / np.sqrt(power + WHITENING * power.mean() + 1e-20), bands.shape[1:])
    for image, (height, width) in zip(even, sizes, strict=True):
        image[height:], image[:, width:] = 0, 0
    return Thumbnails(np.asarray((even / (even.std() + 1e-20)).clip(-LARGEST, LARGEST), np.float32), sizes)


def _band(stack: Images) -> Images:
    """Returns the thumbnails (n, y, x) of a camera without light and dirt, and of even local energy."""
    floor = min(float(np.percentile(stack[:, ::4, ::4], 0.5)), float(stack.mean(axis=0).min()))
    above = np.asarray(stack, np.float32) - np.float32(floor)
    if len(stack) >= FEWEST_TILES:
        light = np.median(above[:: -(-len(stack) // MOST_TILES)], axis=0)
        above = above / np.maximum(light, LEAST_LIGHT * light.mean() + 1e-6)
    fine, coarse, energy = ((0, sigma, sigma) for sigma in (FINE_SIGMA, COARSE_SIGMA, ENERGY_SIGMA))
    band = ndimage.gaussian_filter(above, fine) - ndimage.gaussian_filter(above, coarse)
    quiet = QUIET * float(np.median(np.abs(band[:, ::2, ::2])))
    band /= np.sqrt(ndimage.gaussian_filter(band**2, energy) + quiet**2 + 1e-20)
    return np.asarray(band.clip(-LARGEST, LARGEST))
