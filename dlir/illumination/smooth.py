"""The smooth part of flat- and dark-field, from how the tiles darken towards the edges at different levels of light.

Seen in blocks, a tile k is dark + flat * u_k, u_k its level of light, wherever the specimen is even (the model of BaSiC:
Peng et al. 2017, doi 10.1038/ncomms14836). Flat and dark are polynomials. With u' the mean level, each block is a line,

    tile_k(y, x) = height(y, x) + slope(y, x) * (u_k - u'),    flat = slope / its mean,    dark = height - flat * light at u'

Levels, lines and the weights of a robust fit (Tukey's) are found in turn. Each tile is a witness of its own: of a coefficient
so much is believed as stands out of their scatter. Where the levels hardly differ, the slope is not known, and so the simplest
that does not contradict the lines is taken:

    no dark                      flat is the height
    a constant dark, an offset   slope - 1 = deeper * (height - 1), both of mean 1: one number from all coefficients
    a dark with a shape          the lines, where they clearly contradict the offset

In the first two, flat is fitted again as the one pattern of all tiles less the offset. No tile tells a dark of the shape of
flat from the light of an empty field; the last takes as little for light as leaves no dark negative, which moves the zero of
the grey values alone, never the shape of the tiles.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray
from scipy import special

from dlir.core.affine import Array

DEGREE = 6  # of the polynomials, in y and x together
BLOCKS = 32  # along the shorter side of a tile
WITNESSES = 8  # tiles; fewer cannot tell a dark-field from chance
DIFFERENT = 0.02  # part of the mean level by which levels have to scatter for lines to be seen
ROUNDS = 30  # of the robust fit
TUKEY = 4.685  # deviations at which a block counts no more
AGREED, CLEAR = 2.0, 3.0  # standard errors: of a coefficient that is kept, of one that says that there is a dark-field
CONTRADICTED = 5.0  # standard errors, root mean square, by which the slopes differ from those without a shape of dark
DIMMEST = 0.05  # part of the mean light that is left everywhere
ORDERS = [(i, j) for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i)]  # (0, 0), the mean, is the first


class Lines(NamedTuple):
    """Over the level of light, each coefficient of the tiles is a line: its height at the mean level, and its slope."""

    height: Array  # (c,)
    slope: Array  # (c,)
    height_error: Array  # (c,) standard errors
    slope_covariance: Array  # (c, c)


def smooth(blocks: Array, shape: tuple[int, ...], *, dark: bool) -> tuple[Array, Array]:
    """Flat and dark (y, x) of tiles of that shape, seen in blocks (n, rows, columns); `dark` false says that there is none."""
    coarse = np.stack([_surface(one, *(_along(n, n) for n in blocks.shape[1:])).ravel() for one in np.eye(len(ORDERS))])
    side = _side(shape)
    axes = [_along(length, length // side * side) for length in shape]
    tiles = blocks.reshape(len(blocks), -1)
    offset, even = 0.0, _pattern(tiles, coarse)
    if dark and (lines := _lines(tiles, np.maximum(even @ coarse, DIMMEST), coarse)):
        offset, slope = _dark_of(lines)
        if slope is not None:
            flat, height = _positive(_surface(slope, *axes)), _surface(lines.height, *axes)
            return flat, height - flat * float((height / flat).min())
        offset = min(offset, float(np.percentile(tiles, 1)))  # no place is darker than without light
    even = _pattern(tiles - offset, coarse) if offset else even
    return _positive(_surface(even, *axes)), np.full(shape, offset)


def without(image: NDArray[np.floating]) -> Array:
    """The image (y, x) less the smooth shapes that `smooth` would find in it."""
    down, along = (_along(length, length) for length in image.shape)
    i, j = np.transpose(ORDERS)
    normal = (down.T @ down)[np.ix_(i, i)] * (along.T @ along)[np.ix_(j, j)]
    return np.asarray(image - _surface(np.linalg.solve(normal, (down.T @ image @ along)[i, j]), down, along))


def in_blocks(pixels: NDArray[Any]) -> Array:
    """The medians (rows, columns) of square blocks of an image (y, x)."""
    side = _side(pixels.shape)
    rows, columns = (length // side for length in pixels.shape)
    parts = pixels[: rows * side, : columns * side].reshape(rows, side, columns, side).swapaxes(1, 2)
    return np.asarray(median(parts.reshape(rows, columns, -1)), np.float64)


def median(values: NDArray[Any]) -> NDArray[Any]:
    """The medians (...) of values (..., n): of many short rows ten times faster than NumPy's own, which does not sort."""
    ordered, middle = np.sort(np.ascontiguousarray(values), axis=-1), values.shape[-1] // 2
    return np.asarray(ordered[..., middle - 1 : middle + 1].mean(-1) if values.shape[-1] % 2 == 0 else ordered[..., middle])


def _side(shape: tuple[int, ...]) -> int:
    """Of a block, px."""
    return max(1, min(shape) // BLOCKS)


def _along(count: int, whole: int) -> Array:
    """Legendre polynomials (count, orders) of mean square 1 at the centres of pixels or blocks, `whole` of which they span."""
    places = (np.arange(count) + 0.5) / whole * 2 - 1
    return np.asarray(legendre.legvander(places, DEGREE) * np.sqrt(2 * np.arange(DEGREE + 1) + 1))


def _surface(coefficients: Array, down: Array, along: Array) -> Array:
    """The polynomial (y, x) of coefficients (c,) in the order of ORDERS."""
    table = np.zeros((DEGREE + 1, DEGREE + 1))
    table[tuple(np.transpose(ORDERS))] = coefficients
    return np.asarray(down @ table @ along.T)


def _positive(flat: Array) -> Array:
    """The flat-field (y, x) with the mean 1; polynomials may fall below zero in a corner."""
    pattern = np.maximum(flat, DIMMEST)
    return np.asarray(pattern / pattern.mean())


def _pattern(tiles: Array, shapes: Array) -> Array:
    """The coefficients (c,), the mean 1, of the one pattern that tiles (n, blocks) without dark show at levels of their own."""
    usual = np.median(tiles, axis=1)
    lit = usual > 0
    tiles = tiles[lit] / usual[lit, None]
    nothing: Array = np.eye(len(shapes))[0]
    if len(tiles) < 2:
        return nothing
    found, level = nothing, np.ones(len(tiles))
    for _ in range(ROUNDS):
        weight = _weights(tiles - np.outer(level, found @ shapes), np.ones(len(tiles)))
        level = (weight * tiles) @ (found @ shapes) / np.maximum(weight @ (found @ shapes) ** 2, 1e-12)
        normal = _normal(shapes, level**2 @ weight)
        found = np.asarray(np.linalg.solve(normal, shapes @ (level @ (weight * tiles))))
        if found[0] <= 0:
            return nothing
        level, found = level * found[0], found / found[0]
    rest = weight * (tiles - np.outer(level, found @ shapes))
    covariance = _covariance(normal, level[:, None] * (rest @ shapes.T), 1)
    return np.append(1.0, _kept(found[1:], AGREED * np.sqrt(np.diag(covariance)[1:])))


def _lines(tiles: Array, pattern: Array, shapes: Array) -> Lines | None:
    """The lines of tiles (n, blocks) over their levels in units of the pattern (blocks,); None where the levels are one.

    The levels are those of the pattern, not of flat as it is found here: that would follow the structure of the specimen.
    """
    usual = np.median(tiles / pattern, axis=1)
    tiles, usual = tiles[usual > 0], usual[usual > 0]
    if len(tiles) < WITNESSES:
        return None
    away, normal = usual, np.empty(0)
    height, slope = np.zeros(len(shapes)), shapes @ pattern / len(pattern)
    for _ in range(ROUNDS):
        weight = _weights(tiles - height @ shapes - np.outer(away, slope @ shapes), usual)
        each = weight.sum(1) / weight.sum()
        middle = float(each @ usual)
        spread = float(np.sqrt(each @ (usual - middle) ** 2))
        if spread < DIFFERENT * middle:
            return None
        away = (usual - middle) / spread
        normal = np.block([[_normal(shapes, away**p @ weight) for p in row] for row in ((0, 1), (1, 2))])
        right = np.concatenate([shapes @ (weight * tiles).sum(0), shapes @ (away @ (weight * tiles))])
        height, slope = np.split(np.linalg.solve(normal, right), 2)
        if slope[0] <= 0 or height[0] <= 0:
            return None
    rest = weight * (tiles - height @ shapes - np.outer(away, slope @ shapes))
    covariance = _covariance(normal, np.concatenate([rest @ shapes.T, away[:, None] * (rest @ shapes.T)], axis=1), 2)
    count = len(height)
    return Lines(height, slope, np.sqrt(np.diag(covariance)[:count]), covariance[count:, count:])


def _covariance(normal: Array, scores: Array, fitted: int) -> Array:
    """The covariance of a weighted fit from what each tile (n, c) pulls at it.

    The blocks of a tile share its specimen, so that their scatter alone would promise too much; and few tiles show too little
    scatter, by Student's t against Gauss.
    """
    inverse, free = np.linalg.inv(normal), max(len(scores) - fitted, 1)
    student = special.stdtrit(free, 0.975) / special.ndtri(0.975)
    return np.asarray(inverse @ (scores.T @ scores) @ inverse * len(scores) / free * student**2)


def _normal(shapes: Array, weight: Array) -> Array:
    return np.asarray((shapes * weight) @ shapes.T)


def _weights(rest: Array, usual: Array) -> Array:
    """Tukey's weights over squared scales; relative to a tile's usual level, no tile's scale is finer than the median's."""
    scale = np.median(np.abs(rest), axis=1) * 1.4826 / usual
    scale = np.maximum(scale, max(float(np.median(scale)), 1e-6))[:, None]
    return np.asarray(np.clip(1 - (rest / (TUKEY * scale * usual[:, None])) ** 2, 0, None) ** 2 / (scale * usual[:, None]) ** 2)


def _dark_of(lines: Lines) -> tuple[float, Array | None]:
    """The offset that the lines show, 0 if none clearly, and the coefficients of flat if dark has a shape."""
    mean = float(lines.height[0])
    height = _kept(lines.height[1:] / mean, AGREED * lines.height_error[1:] / mean)
    slope, covariance = lines.slope[1:] / lines.slope[0], lines.slope_covariance[1:, 1:] / lines.slope[0] ** 2
    variance = np.diag(covariance)
    deeper = 1.0
    if height.any():
        witness = height / variance / np.sum(height**2 / variance)
        doubt = float(np.sqrt(witness @ covariance @ witness))
        deeper += max(0.0, float(_kept(witness @ slope - 1, CLEAR * doubt)))
    against = slope - deeper * height
    if np.mean(against**2 / variance) < CONTRADICTED**2:
        return mean * (1 - 1 / deeper), None
    return 0.0, np.r_[1, deeper * height + _kept(against, CLEAR * np.sqrt(variance))]


def _kept(value: Array, doubt: Array | float) -> Array:
    """The part of a value to believe: none up to its doubt, nearly all far beyond it (James and Stein, positive part)."""
    return np.asarray(value * np.clip(1 - (doubt / np.maximum(np.abs(value), 1e-12)) ** 2, 0, 1))
