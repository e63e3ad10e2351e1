"""The smooth part of the flat-field: a polynomial in y and x, fitted to the pattern that all tiles have in common.

Each tile is reduced to the medians of square blocks. Where the specimen is even, a block of tile k shows

    dark + flat * u_k

with u_k the light level of the tile (the model of BaSiC: Peng et al. 2017, doi 10.1038/ncomms14836). `dark.py` finds dark from
how the tiles change with their light level. The pattern flat and the levels u_k are then fitted in turns, with the weights of a
robust fit (Tukey's). The scatter between tiles gives the standard error of each coefficient, and each coefficient is reduced by
how likely it is noise.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray
from scipy import special

from dlir.core.affine import Array
from dlir.illumination.blind import Mask

DEGREE = 6  # of the polynomials, in y and x together
BROAD = 2  # degree where the specimen is periodic: a higher one would follow its periods
BLOCKS = 32  # along the shorter side of a tile
ROUNDS = 30  # of the robust fit
TUKEY = 4.685  # robust standard deviations at which the weight of a block becomes 0
NOISE_ERRORS = 2.0  # standard errors up to which a coefficient of the pattern counts as noise and becomes 0
FOLDS = 8  # parts of the tiles that are left out in turn, to see whether they become more even by the fields of the others
CLEARER = 2.5  # standard errors by which held-out tiles have to become more even, in the mean of all
LEAST_FLAT = 0.05  # part of the mean of the flat-field that each of its pixels has at least
ORDERS = [(i, j) for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i)]  # in y and x; the first, (0, 0), is the mean


class Polynomials:
    """The polynomials up to a degree, at most DEGREE, for tiles of one shape.

    Blocks with blind pixels are left out, and blind pixels have the mean of the polynomial.

    Attributes:
        at_blocks: (c, blocks), the value of each polynomial at the centre of each block. The first is 1 everywhere.
    """

    def __init__(self, blind: Mask, degree: int = DEGREE) -> None:
        """Prepares polynomials for tiles whose blind pixels (y, x) are given."""
        self._blind, shape, side = blind, blind.shape, block_side(blind.shape)
        covered = [length // side for length in shape]
        block_axes = [_legendre(blocks, blocks) for blocks in covered]
        self._chosen = np.eye(len(ORDERS))[[i + j <= degree for i, j in ORDERS]]
        self._shown: NDArray[np.bool_] = ~in_blocks(blind).any(axis=-1).ravel()
        self.at_blocks = np.stack([_polynomial(one, *block_axes).ravel() for one in self._chosen])[:, self._shown]
        self._axes = [_legendre(length, blocks * side) for length, blocks in zip(shape, covered, strict=True)]

    def image(self, coefficients: Array) -> Array:
        """Returns the polynomial (y, x) with these coefficients (c,) at each pixel of a tile."""
        return np.asarray(np.where(self._blind, coefficients[0], _polynomial(coefficients @ self._chosen, *self._axes)))

    def medians(self, tile: NDArray[Any]) -> Array:
        """Returns the medians (blocks,) of the blocks of a tile (y, x)."""
        return np.asarray(block_medians(tile).ravel()[self._shown])

    def means(self, tile: NDArray[Any]) -> Array:
        """Returns the means (blocks,) of the blocks of a tile (y, x)."""
        return np.asarray(in_blocks(tile).mean(axis=-1).ravel()[self._shown], np.float64)


def without_polynomial(image: NDArray[np.floating]) -> Array:
    """Returns the image (y, x) less the polynomial of DEGREE that fits it best, which belongs to the smooth part."""
    in_y, in_x = (_legendre(length, length) for length in image.shape)
    i, j = np.transpose(ORDERS)
    normal = (in_y.T @ in_y)[np.ix_(i, i)] * (in_x.T @ in_x)[np.ix_(j, j)]
    return np.asarray(image - _polynomial(np.linalg.solve(normal, (in_y.T @ image @ in_x)[i, j]), in_y, in_x))


def block_medians(pixels: NDArray[Any]) -> Array:
    """Returns the medians (rows, columns) of square blocks of an image (y, x); an incomplete last row or column is left out."""
    return np.asarray(_medians(in_blocks(pixels)), np.float64)


def in_blocks(pixels: NDArray[Any]) -> NDArray[Any]:
    """Returns the pixels (rows, columns, n) of the square blocks of an image (y, x)."""
    side = block_side(pixels.shape)
    rows, columns = (length // side for length in pixels.shape)
    parts = pixels[: rows * side, : columns * side].reshape(rows, side, columns, side).swapaxes(1, 2)
    return parts.reshape(rows, columns, -1)


def _medians(values: NDArray[Any]) -> NDArray[Any]:
    """Returns the medians (...) of values (..., n): for many short rows, sorting is ten times faster than numpy.median."""
    ordered, middle = np.sort(np.ascontiguousarray(values), axis=-1), values.shape[-1] // 2
    return np.asarray(ordered[..., middle - 1 : middle + 1].mean(-1) if values.shape[-1] % 2 == 0 else ordered[..., middle])


def block_side(shape: tuple[int, ...]) -> int:
    """Returns the side of a block, px, for tiles of this shape (y, x)."""
    return max(1, min(shape) // BLOCKS)


def _legendre(count: int, span: int) -> Array:
    """Returns Legendre polynomials (count, orders) with the mean square 1 at the centres of `count` pixels or blocks.

    Their interval, -1 to 1, covers the first `span` of these.
    """
    places = (np.arange(count) + 0.5) / span * 2 - 1
    return np.asarray(legendre.legvander(places, DEGREE) * np.sqrt(2 * np.arange(DEGREE + 1) + 1))


def _polynomial(coefficients: Array, in_y: Array, in_x: Array) -> Array:
    """Returns the polynomial (y, x) with these coefficients (c,), in the order of ORDERS, from `_legendre` of both axes."""
    table = np.zeros((DEGREE + 1, DEGREE + 1))
    table[tuple(np.transpose(ORDERS))] = coefficients
    return np.asarray(in_y @ table @ in_x.T)


def normalised_flat(flat: Array) -> Array:
    """Returns the flat-field (y, x) with the mean 1; raises values below LEAST_FLAT, as polynomials may have in a corner."""
    positive = np.maximum(flat, LEAST_FLAT)
    return np.asarray(positive / positive.mean())


def fit_pattern(tiles: Array, polynomials: Array) -> Array:
    """Returns the coefficients (c,), the first of them 1, of the pattern that the tiles share, each at its own light level.

    Args:
        tiles: (n, blocks), grey values less the dark-field.
        polynomials: (c, blocks).
    """
    typical = np.median(tiles, axis=1)
    lit = typical > 0
    tiles = tiles[lit] / typical[lit, None]
    even: Array = np.eye(len(polynomials))[0]
    if len(tiles) < 2:
        return even
    pattern, level = even, np.ones(len(tiles))
    for _ in range(ROUNDS):
        weight = robust_weights(tiles - np.outer(level, pattern @ polynomials), np.ones(len(tiles)))
        level = (weight * tiles) @ (pattern @ polynomials) / np.maximum(weight @ (pattern @ polynomials) ** 2, 1e-12)
        normal = normal_matrix(polynomials, level**2 @ weight)
        pattern = np.asarray(np.linalg.solve(normal, polynomials @ (level @ (weight * tiles))))
        if pattern[0] <= 0:
            return even
        level, pattern = level * pattern[0], pattern / pattern[0]
    residuals = weight * (tiles - np.outer(level, pattern @ polynomials))
    variance = np.diag(covariance(normal, level[:, None] * (residuals @ polynomials.T), 1))
    return np.append(1.0, shrunk(pattern[1:], NOISE_ERRORS * np.sqrt(variance[1:])))


def proven_pattern(tiles: Array, polynomials: Array) -> Array:
    """Returns the coefficients (c,) of `fit_pattern` where tiles that it was not fitted to become more even by it.

    Where they do not, the pattern may be the specimen of few tiles, and the coefficients are those of an even flat-field.
    """
    gains = _held_out_gains(tiles, polynomials, tiles, unevenness)
    even: Array = np.eye(len(polynomials))[0]
    return fit_pattern(tiles, polynomials) if mean_over_error(gains) >= CLEARER else even


def _held_out_gains(tiles: Array, polynomials: Array, judged: Array, measure: Callable[[Array, Array], Array]) -> Array:
    """Returns the logarithm (n,) of how much more even each tile becomes by the pattern of other tiles.

    Args:
        tiles: (n, blocks), that the pattern is fitted to.
        judged: (n, blocks), the tiles that it is tried on.
        measure: returns how uneven (k,) tiles (k, blocks) are after division by a flat-field (blocks,).
    """
    fold, gains = np.arange(len(tiles)) % FOLDS, np.zeros(len(tiles))
    for k in np.unique(fold):
        pattern = fit_pattern(tiles[fold != k], polynomials) @ polynomials
        held_out = judged[fold == k]
        gains[fold == k] = np.log(measure(held_out, np.ones_like(pattern)) / measure(held_out, pattern))
    return gains


def broad_flat(tiles: NDArray[Any], dark: NDArray[Any], blind: Mask) -> Array:
    """Returns the flat-field (y, x), mean 1, of degree BROAD at most, of tiles (n, y, x) of a periodic specimen.

    Their dark-field is `dark` (y, x).

    A robust fit may take half of each period for an outlier. So the pattern has to make the means of the blocks of held-out
    tiles more even as well, by their root mean square, which no period escapes.
    """
    polynomials = Polynomials(blind, BROAD)
    medians, means = (np.stack([of(tile - dark) for tile in tiles]) for of in (polynomials.medians, polynomials.means))

    def scatter(held_out: Array, flat: Array) -> Array:
        corrected = held_out / np.maximum(flat, LEAST_FLAT)
        return np.asarray(np.maximum(corrected.std(axis=1), 1e-9))

    gains = _held_out_gains(medians, polynomials.at_blocks, means, scatter)
    even: Array = np.eye(len(polynomials.at_blocks))[0]
    proven = mean_over_error(gains) >= CLEARER
    return normalised_flat(polynomials.image(proven_pattern(medians, polynomials.at_blocks) if proven else even))


def unevenness(tiles: Array, flat: Array) -> Array:
    """Returns how uneven (n,) tiles less their dark-field (n, blocks) are after division by a flat-field (blocks,)."""
    corrected = tiles / np.maximum(flat, LEAST_FLAT)
    scatter = np.median(np.abs(corrected - np.median(corrected, axis=1, keepdims=True)), axis=1)
    return np.asarray(np.maximum(scatter, 1e-9))


def mean_over_error(values: Array) -> float:
    """Returns the mean of values (n,) in units of its standard error."""
    return float(values.mean() / max(float(values.std(ddof=1)) / np.sqrt(len(values)), 1e-9))


def covariance(normal: Array, scores: Array, fitted: int) -> Array:
    """Returns the covariance (c, c) of the coefficients of a weighted fit.

    It follows from the scatter between tiles (the cluster-robust "sandwich" estimate). The scatter between blocks would give
    too small a covariance, since the blocks of a tile show one specimen. For few tiles the covariance is enlarged, by Student's
    t over the normal distribution.

    Args:
        normal: (c, c), the normal matrix of the fit.
        scores: (n, c), the weighted residuals of each tile times the derivatives by the coefficients.
        fitted: the degrees of freedom that the fit takes from the n tiles.
    """
    inverse, free = np.linalg.inv(normal), max(len(scores) - fitted, 1)
    student = special.stdtrit(free, 0.975) / special.ndtri(0.975)
    return np.asarray(inverse @ (scores.T @ scores) @ inverse * len(scores) / free * student**2)


def normal_matrix(polynomials: Array, weight: Array) -> Array:
    """Returns the normal matrix (c, c) of a fit of polynomials (c, blocks) with weights (blocks,)."""
    return np.asarray((polynomials * weight) @ polynomials.T)


def robust_weights(residuals: Array, level: Array) -> Array:
    """Returns the weight of each block in a robust fit: Tukey's weight over the variance of the tile.

    The standard deviation of a tile, relative to its light level, counts as at least the median of all tiles.

    Args:
        residuals: (n, blocks), grey values less the fit.
        level: (n,), the light level of each tile.
    """
    scale = np.median(np.abs(residuals), axis=1) * 1.4826 / level
    scale = np.maximum(scale, max(float(np.median(scale)), 1e-6))[:, None]
    tukey = np.clip(1 - (residuals / (TUKEY * scale * level[:, None])) ** 2, 0, None) ** 2
    return np.asarray(tukey / (scale * level[:, None]) ** 2)


def shrunk(value: Array, error: Array | float) -> Array:
    """Returns the value reduced towards 0: to 0 up to its error, by little far beyond it (James and Stein, positive part)."""
    return np.asarray(value * np.clip(1 - (error / np.maximum(np.abs(value), 1e-12)) ** 2, 0, 1))
