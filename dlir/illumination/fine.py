"""The fine part of the flat-field, found from all tiles together: dust, scratches and fringes.

The logarithm of each tile is split into octaves, ranges of spatial frequency of which each has half the resolution of the one
before (Laplacian pyramid; Burt and Adelson 1983, doi 10.1109/TCOM.1983.1095851). So the coarse structure of the specimen does
not hide the fine pattern of the camera. In each octave B, the pattern P is the mean over the tiles k. The weight w_k is the
inverse of the local variance of tile k: even areas count much, edges of the specimen little. N is the variance of P, its noise,
which follows from the scatter of the m tiles that effectively count:

    P = sum w_k B_k / sum w_k,    m = (sum w_k)^2 / sum w_k^2,    N = (sum (w_k B_k)^2 / (sum w_k)^2 - P^2 / m) m / (m - 1)

Dust is sparse, so each pixel of P is reduced by how likely it is noise, judged from the local mean <P^2> (local Wiener filter;
Lee 1980, doi 10.1109/TPAMI.1980.4766994). An octave whose P is, as a whole, no stronger than N is reduced more, by a larger
`caution`:

    gain = 1 - caution N / <P^2>, at least 0

**A periodic specimen is no dust.** Where its period divides the steps of the stage, it lies at nearly the same pixels of every
tile. But it moves with the errors of the stage, and dust does not. So in each octave it is measured how far the pattern is
displaced in each tile, by a Gauss-Newton step. The score and its variance, taken from cells that count as independent, are

    s_k = sum over cells  c,    V_k = sum over cells  c c',    c = sum over px of a cell  w_k (B_k - P) grad P

Where the pattern stays, s' V^-1 s is distributed as chi square with two degrees of freedom. Where its mean over the tiles is
far larger in any octave, the pattern is the specimen.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dlir.illumination.octaves import doubled, halved, repeated
from dlir.reading.image_files import Plane

Octave = NDArray[np.floating]  # (y, x), 32 bit; also an image that octaves are made of, and values of cells

COARSEST_SIDE = 8  # px, the shorter side of the coarsest octave is at least so long
CELL_HALVINGS = 3  # a cell is a square of 2**3 px of an octave; each tile has one weight in a cell
VARIANCE_CELLS = 3  # cells, along either axis, around a cell that its variance is taken from
LEAST_VARIANCE = 1e-9  # of the logarithm; avoids a division by zero
LEAST_NOISY = 0.1  # part of the pixels of a cell that differ from their left neighbour; with less, no noise is visible
QUIET_WEIGHT = np.float32(1e-6)  # weight of a cell without visible noise, negligible beside that of others
LEAST_TILES = 1.5  # the number m of tiles is taken as at least so many
LEAST_BRIGHTNESS = 0.05  # of a tile's level; darker pixels are mostly noise, and are raised to it before the logarithm
LOCAL_SIGMA = 1.5  # px of an octave, standard deviation of the Gaussian that weights the local means
CAUTION = 1.5  # times N: how large <P^2> may be by chance, in an octave that clearly shows a pattern
MORE_CAUTION = 3.0  # the same in an octave that does not
# An octave clearly shows a pattern when the mean of P^2 exceeds the mean of N by more than the sum of both:
CLEAR_EXCESS = 0.1  # part of the mean of N, since the pixels are not independent
CLEAR_DEVIATIONS = 3.0  # standard deviations of the mean of P^2, since the pixels are few
MOVED_TILES = 24  # tiles in which it is measured how far the pattern moves
MOVED_CELLS = 8  # cells along either axis of an octave, for that
MOST_MOVED = 18.0  # mean score of an octave; about 2 where its pattern stays, 35 or more where a periodic specimen moves
LEAST_SIDE = 32  # px, the shorter side of an octave that is fine enough for this


def fixed_pattern(tiles: NDArray[Any], level: NDArray[np.float32], flat: Plane, dark: Plane) -> Octave | None:
    """Estimates the fine pattern that all tiles have in common.

    Args:
        tiles: (n, y, x), grey values of one channel.
        level: (n,), the typical grey value of each tile after correction with `flat` and `dark`, positive.
        flat, dark: (y, x), the smooth parts of the flat-field and the dark-field.

    Returns:
        The natural logarithm (y, x) of the factor by which the smooth flat-field is to be multiplied; None where what the tiles
        have in common moves with the stage, and so is the specimen.
    """

    def logarithm(tile: NDArray[Any], tile_level: np.float32) -> Octave:
        return np.log(np.maximum((tile - dark) / (flat * tile_level), np.float32(LEAST_BRIGHTNESS)))

    totals: list[list[Octave]] = []
    for tile, tile_level in zip(tiles, level, strict=True):
        octaves = zip(_octaves(logarithm(tile, tile_level)), _noisy_parts(tile), strict=False)
        sums = [_summands(octave, noisy_part) for octave, noisy_part in octaves]
        totals = [[a + b for a, b in zip(*both, strict=True)] for both in zip(totals, sums, strict=True)] if totals else sums
    means = [weighted / _cells_to_pixels(weight, weighted) for weight, _, weighted, _ in totals]
    scores = []
    for chosen in range(0, len(tiles), -(-len(tiles) // MOVED_TILES)):
        with_means = zip(_octaves(logarithm(tiles[chosen], level[chosen])), _noisy_parts(tiles[chosen]), means, strict=False)
        scores.append([_score(octave, _summands(octave, noisy_part)[0], mean) for octave, noisy_part, mean in with_means])
    fine_enough = [min(mean.shape) >= LEAST_SIDE for mean in means]
    if (np.mean(scores, axis=0) > MOST_MOVED)[fine_enough].any():
        return None
    *finer, pattern = (_pattern_above_noise(*octave_totals) for octave_totals in totals)
    for octave in finer[::-1]:
        pattern = octave + doubled(pattern, octave.shape)
    return pattern


def _octaves(image: Octave) -> Iterator[Octave]:
    """Yields the octaves of an image (y, x), from fine to coarse. Enlarged to one size, they add up to it less a constant."""
    while min(image.shape) >= 2 * COARSEST_SIDE:
        coarser = halved(image)
        yield image - doubled(coarser, image.shape)
        image = coarser
    yield image - image.mean()


def _noisy_parts(tile: NDArray[Any]) -> Iterator[Octave]:
    """Yields for each octave the part of the pixels in each of its cells that differ from their left neighbour.

    Where no pixels differ, the camera was saturated, or the grey values are too few to show its noise. Such a place shows
    nothing of the pattern, although its variance is small.
    """
    part = _cell_means((tile != np.roll(tile, 1, axis=1)).astype(np.float32))
    while True:
        yield part
        part = halved(part)


def _summands(octave: Octave, noisy_part: Octave) -> list[Octave]:
    """Returns what is summed over the tiles: w and w^2 in each cell, w B and (w B)^2 in each pixel (y, x) of an octave B."""
    variance = ndimage.uniform_filter(_cell_means(octave * octave), VARIANCE_CELLS, mode="nearest")
    inverse_variance = 1 / np.maximum(variance, LEAST_VARIANCE, dtype=np.float32)
    weight = np.where(noisy_part > LEAST_NOISY, inverse_variance, QUIET_WEIGHT)
    weighted = _cells_to_pixels(weight, octave) * octave
    return [weight, weight * weight, weighted, weighted * weighted]


def _pattern_above_noise(weight: Octave, squared_weight: Octave, weighted: Octave, squares: Octave) -> Octave:
    """Returns the pattern (y, x) of an octave, reduced by its noise, from the sums of `_summands` over all tiles."""
    inverse = 1 / _cells_to_pixels(weight, weighted)
    count = _cells_to_pixels(np.maximum(weight**2 / squared_weight, LEAST_TILES, dtype=np.float32), weighted)
    pattern = weighted * inverse
    power = pattern * pattern
    noise = np.maximum(squares * inverse**2 - power / count, 0) * count / (count - 1)
    excess = float(power.mean()) / max(float(noise.mean()), LEAST_VARIANCE) - 1
    clear = excess > CLEAR_EXCESS + CLEAR_DEVIATIONS * np.sqrt(2 / pattern.size)
    local_power, local_noise = (ndimage.gaussian_filter(each, LOCAL_SIGMA, mode="nearest") for each in (power, noise))
    chance = (CAUTION if clear else MORE_CAUTION) * local_noise / np.maximum(local_power, LEAST_VARIANCE)
    return np.asarray(pattern * np.clip(1 - chance, 0, 1))


def _score(octave: Octave, weight: Octave, pattern: Octave) -> float:
    """Returns how clearly a pattern (y, x) is displaced in the octave of a tile: chi square with two degrees of freedom."""
    height, width = (length // MOVED_CELLS * MOVED_CELLS for length in octave.shape)
    difference = _cells_to_pixels(weight, octave) * (octave - pattern)
    slopes = [difference * slope for slope in np.gradient(pattern)]
    shape = MOVED_CELLS, height // MOVED_CELLS, MOVED_CELLS, width // MOVED_CELLS
    cells = np.stack([each[:height, :width].reshape(shape).sum((1, 3)).ravel() for each in slopes])
    total, variance = cells.sum(1), cells @ cells.T
    return float(total @ np.linalg.pinv(variance, rcond=1e-6, hermitian=True) @ total)


def _cell_means(octave: Octave) -> Octave:
    """Returns the mean of an octave over each of its cells."""
    for _ in range(CELL_HALVINGS):
        octave = halved(octave)
    return octave


def _cells_to_pixels(cells: Octave, octave: Octave) -> Octave:
    """Returns at each pixel of an octave the value of its cell."""
    return repeated(cells, CELL_HALVINGS, octave.shape)
