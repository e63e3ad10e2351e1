"""The smooth part of the flat-field and the dark-field, from how the shading of the tiles changes with their brightness.

Each tile is reduced to the medians of square blocks. Where the specimen is even, a block of tile k shows dark + flat * u_k,
with u_k the light level of the tile (the model of BaSiC: Peng et al. 2017, doi 10.1038/ncomms14836). Flat and dark are
polynomials in y and x. With u' the mean light level, each block follows a line over the light level:

    tile_k(y, x) = height(y, x) + slope(y, x) * (u_k - u'),    flat = slope / its mean,    dark = height - flat * light at u'

The lines and the weights of a robust fit (Tukey's) are estimated in turns. The scatter between tiles gives the standard error
of each coefficient, and each coefficient is reduced by how likely it is noise. Where the light levels hardly differ, the slope
cannot be estimated. So the simplest model is taken that does not contradict the lines:

    no dark-field                flat is the height
    a constant dark-field        slope - 1 = contrast * (height - 1), both of mean 1: one number from all coefficients
    a dark-field with a shape    flat and dark from the lines, where these clearly contradict a constant dark-field

In the first two models, flat is then fitted again as the one pattern of all tiles less the constant. In the third, the tiles
cannot distinguish a dark-field of the shape of flat from the light of an empty field of view. So the light is taken as large as
possible without a negative dark-field. This choice moves the zero of the grey values only, not the shape of the tiles.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray
from scipy import special

from dlir.core.affine import Array

DEGREE = 6  # of the polynomials, in y and x together
BLOCKS = 32  # along the shorter side of a tile
LEAST_TILES = 8  # with fewer tiles, a dark-field cannot be distinguished from chance
LEAST_SCATTER = 0.02  # standard deviation of the light levels as a part of their mean; with less, no line can be fitted
ROUNDS = 30  # of the robust fit
TUKEY = 4.685  # robust standard deviations at which the weight of a block becomes 0
NOISE_ERRORS = 2.0  # standard errors up to which a coefficient of the pattern counts as noise and becomes 0
DARK_ERRORS = 3.0  # the same for what shows a dark-field: its offset, or a coefficient of its shape
SHAPE_ERRORS = 5.0  # standard errors, root mean square, by which the slopes contradict a constant dark-field
LEAST_FLAT = 0.05  # part of the mean of the flat-field that each of its pixels has at least
ORDERS = [(i, j) for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i)]  # in y and x; the first, (0, 0), is the mean


class Lines(NamedTuple):
    """A line for each of the c coefficients of a tile, as a function of the standardised light level of the tile."""

    height: Array  # (c,) coefficients at the mean light level
    slope: Array  # (c,) change of the coefficients with the light level
    height_error: Array  # (c,) standard errors of the height
    slope_covariance: Array  # (c, c) of the slope


def smooth_fields(blocks: Array, shape: tuple[int, ...], *, with_dark: bool) -> tuple[Array, Array]:
    """Returns the smooth flat-field, mean 1, and the smooth dark-field, each of the `shape` (y, x) of a tile.

    Args:
        blocks: (n, rows, columns), the `block_medians` of each tile.
        with_dark: whether the dark-field is estimated; otherwise it is 0.
    """
    block_axes = [_legendre(count, count) for count in blocks.shape[1:]]
    polynomials = np.stack([_polynomial(one, *block_axes).ravel() for one in np.eye(len(ORDERS))])
    side = _block_side(shape)
    axes = [_legendre(length, length // side * side) for length in shape]
    tiles = blocks.reshape(len(blocks), -1)
    offset, pattern = 0.0, _fit_pattern(tiles, polynomials)
    if with_dark and (lines := _fit_lines(tiles, np.maximum(pattern @ polynomials, LEAST_FLAT), polynomials)):
        offset, slope = _offset_or_slope(lines)
        if slope is not None:
            flat, height = _normalised_flat(_polynomial(slope, *axes)), _polynomial(lines.height, *axes)
            return flat, height - flat * float((height / flat).min())
        offset = min(offset, float(np.percentile(tiles, 1)))  # no block can be darker than the camera without light
    pattern = _fit_pattern(tiles - offset, polynomials) if offset else pattern
    return _normalised_flat(_polynomial(pattern, *axes)), np.full(shape, offset)


def without_polynomial(image: NDArray[np.floating]) -> Array:
    """Returns the image (y, x) less the polynomial of DEGREE that fits it best, which belongs to the smooth part."""
    in_y, in_x = (_legendre(length, length) for length in image.shape)
    i, j = np.transpose(ORDERS)
    normal = (in_y.T @ in_y)[np.ix_(i, i)] * (in_x.T @ in_x)[np.ix_(j, j)]
    return np.asarray(image - _polynomial(np.linalg.solve(normal, (in_y.T @ image @ in_x)[i, j]), in_y, in_x))


def block_medians(pixels: NDArray[Any]) -> Array:
    """Returns the medians (rows, columns) of square blocks of an image (y, x); an incomplete last row or column is left out."""
    side = _block_side(pixels.shape)
    rows, columns = (length // side for length in pixels.shape)
    parts = pixels[: rows * side, : columns * side].reshape(rows, side, columns, side).swapaxes(1, 2)
    return np.asarray(_medians(parts.reshape(rows, columns, -1)), np.float64)


def _medians(values: NDArray[Any]) -> NDArray[Any]:
    """Returns the medians (...) of values (..., n): for many short rows, sorting is ten times faster than numpy.median."""
    ordered, middle = np.sort(np.ascontiguousarray(values), axis=-1), values.shape[-1] // 2
    return np.asarray(ordered[..., middle - 1 : middle + 1].mean(-1) if values.shape[-1] % 2 == 0 else ordered[..., middle])


def _block_side(shape: tuple[int, ...]) -> int:
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


def _normalised_flat(flat: Array) -> Array:
    """Returns the flat-field (y, x) with the mean 1; raises values below LEAST_FLAT, as polynomials may have in a corner."""
    positive = np.maximum(flat, LEAST_FLAT)
    return np.asarray(positive / positive.mean())


def _fit_pattern(tiles: Array, polynomials: Array) -> Array:
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
        weight = _robust_weights(tiles - np.outer(level, pattern @ polynomials), np.ones(len(tiles)))
        level = (weight * tiles) @ (pattern @ polynomials) / np.maximum(weight @ (pattern @ polynomials) ** 2, 1e-12)
        normal = _normal_matrix(polynomials, level**2 @ weight)
        pattern = np.asarray(np.linalg.solve(normal, polynomials @ (level @ (weight * tiles))))
        if pattern[0] <= 0:
            return even
        level, pattern = level * pattern[0], pattern / pattern[0]
    residuals = weight * (tiles - np.outer(level, pattern @ polynomials))
    covariance = _covariance(normal, level[:, None] * (residuals @ polynomials.T), 1)
    return np.append(1.0, _shrunk(pattern[1:], NOISE_ERRORS * np.sqrt(np.diag(covariance)[1:])))


def _fit_lines(tiles: Array, pattern: Array, polynomials: Array) -> Lines | None:
    """Returns the lines of the tiles over their light levels; None where the levels differ too little or the tiles are too few.

    The light level of a tile is the median of its blocks, each divided by the pattern. Levels relative to the flat-field of
    this fit would follow the structure of the specimen.

    Args:
        tiles: (n, blocks), grey values.
        pattern: (blocks,), the pattern that the tiles share, of mean 1.
        polynomials: (c, blocks).
    """
    level = np.median(tiles / pattern, axis=1)
    tiles, level = tiles[level > 0], level[level > 0]
    if len(tiles) < LEAST_TILES:
        return None
    standardised, normal = level, np.empty(0)
    height, slope = np.zeros(len(polynomials)), polynomials @ pattern / len(pattern)
    for _ in range(ROUNDS):
        weight = _robust_weights(tiles - height @ polynomials - np.outer(standardised, slope @ polynomials), level)
        tile_weight = weight.sum(1) / weight.sum()
        mean = float(tile_weight @ level)
        scatter = float(np.sqrt(tile_weight @ (level - mean) ** 2))
        if scatter < LEAST_SCATTER * mean:
            return None
        standardised = (level - mean) / scatter
        normal = np.block([[_normal_matrix(polynomials, standardised**p @ weight) for p in row] for row in ((0, 1), (1, 2))])
        right = np.concatenate([polynomials @ (weight * tiles).sum(0), polynomials @ (standardised @ (weight * tiles))])
        height, slope = np.split(np.linalg.solve(normal, right), 2)
        if slope[0] <= 0 or height[0] <= 0:
            return None
    residuals = weight * (tiles - height @ polynomials - np.outer(standardised, slope @ polynomials))
    scores = residuals @ polynomials.T
    covariance = _covariance(normal, np.concatenate([scores, standardised[:, None] * scores], axis=1), 2)
    count = len(height)
    return Lines(height, slope, np.sqrt(np.diag(covariance)[:count]), covariance[count:, count:])


def _covariance(normal: Array, scores: Array, fitted: int) -> Array:
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


def _normal_matrix(polynomials: Array, weight: Array) -> Array:
    """Returns the normal matrix (c, c) of a fit of polynomials (c, blocks) with weights (blocks,)."""
    return np.asarray((polynomials * weight) @ polynomials.T)


def _robust_weights(residuals: Array, level: Array) -> Array:
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


def _offset_or_slope(lines: Lines) -> tuple[float, Array | None]:
    """Returns the constant dark-field that the lines clearly show, 0 if none; or the slope where the dark-field has a shape.

    Returns:
        The offset, grey values, and None; or 0 and the coefficients (c,) of the flat-field, the first of them 1.
    """
    mean = float(lines.height[0])
    height = _shrunk(lines.height[1:] / mean, NOISE_ERRORS * lines.height_error[1:] / mean)
    slope, covariance = lines.slope[1:] / lines.slope[0], lines.slope_covariance[1:, 1:] / lines.slope[0] ** 2
    variance = np.diag(covariance)
    contrast = 1.0  # of the flat-field relative to that of the height; a constant dark-field makes it larger than 1
    if height.any():
        weight = height / variance / np.sum(height**2 / variance)
        error = float(np.sqrt(weight @ covariance @ weight))
        contrast += max(0.0, float(_shrunk(weight @ slope - 1, DARK_ERRORS * error)))
    contradiction = slope - contrast * height
    if np.mean(contradiction**2 / variance) < SHAPE_ERRORS**2:
        return mean * (1 - 1 / contrast), None
    return 0.0, np.r_[1, contrast * height + _shrunk(contradiction, DARK_ERRORS * np.sqrt(variance))]


def _shrunk(value: Array, error: Array | float) -> Array:
    """Returns the value reduced towards 0: to 0 up to its error, by little far beyond it (James and Stein, positive part)."""
    return np.asarray(value * np.clip(1 - (error / np.maximum(np.abs(value), 1e-12)) ** 2, 0, 1))
