"""A second look at full resolution at some pairs, which makes the step from tile to tile exact to about a pixel.

A shift between two thumbnails is exact to a part of their pixel, and a little biased. So the strips of a few pairs are compared
at full resolution, by the cross-correlation of the strips after a band-pass.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.registration import phase_cross_correlation

from dlir.core.affine import Array

MOST_PAIRS = 6
BAND = (1.0, 6.0)  # px, sigmas of the two Gaussians of the band-pass
LEAST_SIDE = 8  # px, of a strip
MARGIN = 2.0  # px, beyond a pixel of a thumbnail, by which the two may differ

Plane = NDArray[np.float32]


def correction(plane: Callable[[int], Plane], pairs: list[tuple[int, int]], shifts: Array, factor: int) -> Array:
    """Returns by how much (2,), px, the shifts of pairs lie from those at full resolution, the median over MOST_PAIRS.

    Args:
        plane: gives the pixels (y, x) of a tile.
        shifts: (n, 2) px, of each pair: pixel (0, 0) of the second tile lies there in the first.
        factor: px of a tile in one px of a thumbnail.
    """
    chosen = np.linspace(0, len(pairs) - 1, min(len(pairs), MOST_PAIRS)).round().astype(int)
    found = [_difference(plane(pairs[k][0]), plane(pairs[k][1]), shifts[k]) for k in chosen]
    near = np.array([each for each in found if np.abs(each).max() <= factor + MARGIN]).reshape(-1, 2)
    return np.median(near, axis=0) if 2 * len(near) >= len(chosen) and len(near) else np.zeros(2)


def _difference(fixed: Plane, moving: Plane, shift: Array) -> Array:
    """How far (2,), px, the best shift of two tiles lies from `shift` (2,)."""
    start = np.rint(shift).astype(int)
    common = np.minimum(fixed.shape, start + moving.shape) - start.clip(min=0)
    if common.min() < LEAST_SIDE:
        return np.full(2, np.inf)
    strips = [
        tile[tuple(slice(first, first + length) for first, length in zip(corner, common, strict=True))]
        for tile, corner in ((fixed, start.clip(min=0)), (moving, (-start).clip(min=0)))
    ]
    bands = [ndimage.gaussian_filter(strip, BAND[0]) - ndimage.gaussian_filter(strip, BAND[1]) for strip in strips]
    moved = phase_cross_correlation(*bands, upsample_factor=4, normalization=None)[0]  # type: ignore[no-untyped-call]
    return np.asarray(start + moved - shift, float)
