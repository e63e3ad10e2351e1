"""The fine part of what sits still on the camera: dust, scratches and fringes, as all tiles show it.

The logarithm of each tile is cut into bands, each half as fine as the one before (Laplacian pyramid; Burt and Adelson 1983,
doi 10.1109/TCOM.1983.1095851), so that the large structure of the specimen does not hide the small one of the camera. In each
band B the pattern P is the mean over the tiles k, weighted by the inverse of the variance that each tile has around a place:
an even place says much, an edge of the specimen little. Its own variance N is what the tiles scatter, m of them in effect:

    P = sum w_k B_k / sum w_k,    m = (sum w_k)^2 / sum w_k^2,    N = (sum (w_k B_k)^2 / (sum w_k)^2 - P^2 / m) m / (m - 1)

Dust is sparse, so how much of P is more than chance is asked place by place (local Wiener filter; Lee 1980, doi
10.1109/TPAMI.1980.4766994), and more carefully in a band that on the whole shows no more than chance:

    gain = 1 - caution N / <P^2>, at least 0
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Band = NDArray[np.floating]  # (y, x), 32 bit

COARSEST = 8  # px, of the shorter side of the coarsest band, at least
HALVINGS = 3  # of a band, to cells over which the variance of a tile is taken,
AROUND = 3  # which is that of so many of them along either axis
LEAST_VARIANCE = 1e-9
QUIET, UNKNOWN = 0.1, np.float32(1e-6)  # part of px that differ, at which a cell says nothing, and its weight then
FEWEST = 1.5  # tiles in effect; of fewer the scatter is taken as that of so many
DARKEST = 0.05  # of a tile's level: what is darker is noise
SIGMA = 1.5  # px of a band, of the Gaussian under which P^2 is local
CAUTION, MORE_CAUTION = 1.5, 3.0  # times N is what P^2 may be by chance in few px, somewhere, and anywhere in the band
CHANCE, DEVIATIONS = 0.1, 3.0  # by which P^2 may exceed N on the whole: as px are not independent, and as they are few


def fixed_pattern(tiles: NDArray[Any], level: NDArray[np.float32], flat: Band, dark: Band) -> Band:
    """The logarithm (y, x) of the pattern that tiles (n, y, x) share in the light of flat and dark (y, x), each tile in units
    of its level (n,)."""
    sums: list[list[Band]] = []
    for tile, one in zip(tiles, level, strict=True):
        even = np.maximum((tile - dark) / (flat * one), np.float32(DARKEST))
        seen = [_weighed(band, alive) for band, alive in zip(_bands(np.log(even)), _noisy(tile), strict=False)]
        sums = [[a + b for a, b in zip(*both, strict=True)] for both in zip(sums, seen, strict=True)] if sums else seen
    *finer, pattern = (_believed(*band) for band in sums)
    for band in finer[::-1]:
        pattern = band + _doubled(pattern, band.shape)
    return pattern


def _bands(image: Band) -> Iterator[Band]:
    """The bands of an image (y, x), from fine to coarse, which add up to it but for its mean."""
    while min(image.shape) >= 2 * COARSEST:
        coarser = _halved(image)
        yield image - _doubled(coarser, image.shape)
        image = coarser
    yield image - image.mean()


def _noisy(tile: NDArray[Any]) -> Iterator[Band]:
    """The part of the px in each cell of each band that differ from their neighbours: none where the camera was saturated, or
    where too few grey values hide its noise, which says nothing of the pattern, however even it is."""
    part = _in_cells((tile != np.roll(tile, 1, axis=1)).astype(np.float32))
    while True:
        yield part
        part = _halved(part)


def _weighed(band: Band, noisy: Band) -> list[Band]:
    """What is summed over the tiles: weight and squared weight of each cell, band (y, x) times weight, and its square."""
    around = ndimage.uniform_filter(_in_cells(band * band), AROUND, mode="nearest")
    weight = np.where(noisy > QUIET, 1 / np.maximum(around, LEAST_VARIANCE, dtype=np.float32), UNKNOWN)
    weighed = _of_cells(weight, band) * band
    return [weight, weight * weight, weighed, weighed * weighed]


def _believed(weight: Band, squared_weight: Band, weighed: Band, squares: Band) -> Band:
    """What is more than chance in a band, from the sums of `_weighed`."""
    inverse = 1 / _of_cells(weight, weighed)
    count = _of_cells(np.maximum(weight**2 / squared_weight, FEWEST, dtype=np.float32), weighed)
    pattern = weighed * inverse
    power = pattern * pattern
    noise = np.maximum(squares * inverse**2 - power / count, 0) * count / (count - 1)
    excess = float(power.mean()) / max(float(noise.mean()), LEAST_VARIANCE) - 1
    clear = excess > CHANCE + DEVIATIONS * np.sqrt(2 / pattern.size)
    near, expected = (ndimage.gaussian_filter(each, SIGMA, mode="nearest") for each in (power, noise))
    chance = (CAUTION if clear else MORE_CAUTION) * expected / np.maximum(near, LEAST_VARIANCE)
    return np.asarray(pattern * np.clip(1 - chance, 0, 1))


def _in_cells(band: Band) -> Band:
    """The means of a band over its cells."""
    for _ in range(HALVINGS):
        band = _halved(band)
    return band


def _of_cells(cells: Band, band: Band) -> Band:
    """Values of cells at each px of a band."""
    side = 2**HALVINGS
    height, width = band.shape
    return cells.repeat(side, axis=0)[:height].repeat(side, axis=1)[:, :width]


def _halved(image: Band) -> Band:
    """The means (y / 2, x / 2) of 2 x 2 px; at the far edges of an image of odd sides, of what is there."""
    height, width = image.shape
    even = np.pad(image, ((0, height % 2), (0, width % 2)), mode="edge") if height % 2 or width % 2 else image
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4


def _doubled(image: Band, shape: tuple[int, ...]) -> Band:
    """The image twice as large, (y, x) of that shape, linear between the centres of its px."""
    for length in shape:  # along y, and, turned, along x
        before, after = np.concatenate([image[:1], image[:-1]]), np.concatenate([image[1:], image[-1:]])
        both = np.stack([0.75 * image + 0.25 * before, 0.75 * image + 0.25 * after], axis=1)
        image = both.reshape(-1, image.shape[1])[:length].T
    return image
