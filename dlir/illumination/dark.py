"""The dark-field, from how the shading of the tiles changes with their brightness.

With u' the mean light level, each block of the tiles (`smooth.py`) follows a line over the light level u_k:

    tile_k(y, x) = height(y, x) + slope(y, x) * (u_k - u'),    flat = slope / its mean,    dark = height - flat * light at u'

The lines and the weights of a robust fit (Tukey's) are estimated in turns. Then the simplest model is taken that does not
contradict the lines:

    a constant dark-field        slope - 1 = contrast * (height - 1), both of mean 1: one number from all coefficients
    a dark-field with a shape    flat and dark from the lines, where these clearly contradict a constant dark-field

In the second model, the tiles cannot distinguish a dark-field of the shape of flat from the light of an empty field of view. So
the light is taken as large as possible without a negative dark-field. This choice moves the zero of the grey values only.

**A specimen can look like a dark-field**, where brighter tiles happen to have more contrast, and then its dark parts would be
lost. So no dark-field is taken without three proofs:

1. Tiles that it was not fitted to become more even with it than without.
2. The offset of a constant dark-field is many times its error, which is found by leaving out parts of the tiles in turn (the
   jackknife; Tukey 1958). A dark-field with a shape makes the held-out tiles far more even instead.
3. It is nowhere above what the darkest pixels allow.
"""

import logging
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dlir.core.affine import Array
from dlir.illumination.smooth import (
    FOLDS,
    LEAST_FLAT,
    NOISE_ERRORS,
    ROUNDS,
    Polynomials,
    covariance,
    fit_pattern,
    in_blocks,
    mean_over_error,
    normal_matrix,
    normalised_flat,
    robust_weights,
    shrunk,
    unevenness,
)

log = logging.getLogger(__name__)
LEAST_TILES = 8  # with fewer tiles, a dark-field cannot be distinguished from chance
LEAST_SCATTER = 0.02  # standard deviation of the light levels as a part of their mean; with less, no line can be fitted
SHAPE_ERRORS = 5.0  # standard errors, root mean square, by which the slopes contradict a constant dark-field
SHRINKAGE = 3.0  # standard errors up to which a coefficient of the shape of a dark-field counts as noise
LEAST_OFFSET = 12.0  # standard errors; the offset of a constant dark-field is at least so large
CLEARER = 1.0  # standard errors by which a constant dark-field makes held-out tiles more even, in the mean of all
SHAPE_CLEARER, SHAPE_GAIN = 3.0, 0.05  # the same for a dark-field with a shape, and the part by which it makes them more even
NOISE_MARGIN = 1.5  # standard deviations of a pixel by which noise may lower the darkest mean of 3 x 3 px
DARK_SHARE = 1e-4  # of the pixels of a tile, the darkest, at which the noise of dark pixels is measured


class Smooth(NamedTuple):
    """The coefficients of a flat-field and of the dark-field that belongs to it."""

    flat: Array  # (c,), the first of them 1
    dark: Array  # (c,), grey values; of a dark-field with a shape, any multiple of flat may be added
    error: float  # standard error of a constant dark-field, grey values; infinite for one with a shape


class Lines(NamedTuple):
    """A line for each of the c coefficients of a tile, as a function of the standardised light level of the tile."""

    height: Array  # (c,) coefficients at the mean light level
    slope: Array  # (c,) change of the coefficients with the light level
    height_error: Array  # (c,) standard errors of the height
    slope_covariance: Array  # (c, c) of the slope


def find_dark(tiles: NDArray[Any], blocks: Array, polynomials: Polynomials) -> tuple[Array, Array] | None:
    """Returns the flat-field, mean 1, and the dark-field (y, x) that the tiles prove; None where they prove no dark-field.

    Args:
        tiles: (n, y, x), grey values of one channel.
        blocks: (n, blocks), their `smooth.block_medians`.
        polynomials: of the shape of the tiles.
    """
    found = _fit(blocks, polynomials.at_blocks)
    if found is None or not _proven(found, blocks, polynomials.at_blocks):
        return None
    flat, dark = normalised_flat(polynomials.image(found.flat)), polynomials.image(found.dark)
    if np.isinf(found.error):
        dark = dark - flat * float((dark / flat).min())
    if (in_blocks(dark).max(axis=-1) <= darkest(tiles)).all():
        return flat, dark
    log.info("a dark-field of %.0f grey values is not taken: pixels of the tiles are darker", dark.mean())
    return None


def darkest(tiles: NDArray[Any]) -> Array:
    """Returns the largest dark-field (rows, columns of blocks) that the darkest pixels of the tiles (n, y, x) allow.

    A place without light shows the dark-field and noise. So no mean of 3 x 3 px lies below the dark-field by more than noise
    makes it. The noise is the standard deviation within the darkest squares of all tiles.
    """
    lowest, noise = [], []
    for tile in tiles:
        above = (tile - np.float64(tile.min())).astype(np.float32)  # small where it is dark, so that its square is exact
        mean, square = (ndimage.uniform_filter(each, 3, mode="nearest") for each in (above, above**2))
        lowest.append(tile.min() + in_blocks(mean).min(axis=-1))
        dark = mean <= np.quantile(mean, DARK_SHARE)
        variance = np.maximum(square[dark] - mean[dark] ** 2, 0)
        noise.append((float(tile.min() + mean[dark].mean()), float(np.sqrt(np.median(variance)))))
    return np.asarray(np.min(lowest, axis=0) + NOISE_MARGIN * min(noise)[1])


def _fit(tiles: Array, polynomials: Array) -> Smooth | None:
    """Returns the fields with the dark-field that fits the tiles (n, blocks) best; None where none can be estimated.

    Args:
        polynomials: (c, blocks).
    """
    lines = _fit_lines(tiles, np.maximum(fit_pattern(tiles, polynomials) @ polynomials, LEAST_FLAT), polynomials)
    if lines is None:
        return None
    mean = float(lines.height[0])
    height = shrunk(lines.height[1:] / mean, NOISE_ERRORS * lines.height_error[1:] / mean)
    if not height.any():
        return None
    slope, spread = lines.slope[1:] / lines.slope[0], lines.slope_covariance[1:, 1:] / lines.slope[0] ** 2
    variance = np.diag(spread)
    weight = height / variance / np.sum(height**2 / variance)
    contrast, error = float(weight @ slope), float(np.sqrt(weight @ spread @ weight))
    contradiction = slope - contrast * height
    if np.mean(contradiction**2 / variance) >= SHAPE_ERRORS**2:
        flat = np.r_[1, contrast * height + shrunk(contradiction, SHRINKAGE * np.sqrt(variance))]
        return Smooth(flat, lines.height, np.inf)
    if contrast <= 1:
        return None
    offset = mean * (1 - 1 / contrast)
    dark = offset * np.eye(len(polynomials))[0]
    return Smooth(fit_pattern(tiles - offset, polynomials), dark, mean * error / contrast**2)


def _proven(found: Smooth, tiles: Array, polynomials: Array) -> bool:
    """Returns whether tiles (n, blocks) prove the dark-field that was fitted to them, by leaving out parts of them in turn."""
    shaped = np.isinf(found.error)
    if not shaped and found.dark[0] < LEAST_OFFSET * found.error:
        return False
    fold, offsets, gains = np.arange(len(tiles)) % FOLDS, [], np.zeros(len(tiles))
    for k in range(FOLDS):
        others, held_out = tiles[fold != k], tiles[fold == k]
        part = _fit(others, polynomials)
        if part is None or np.isinf(part.error) != shaped:
            return False
        offsets.append(part.dark[0])
        without = unevenness(held_out, fit_pattern(others, polynomials) @ polynomials)
        gains[fold == k] = np.log(without / unevenness(held_out - part.dark @ polynomials, part.flat @ polynomials))
    error = max(found.error, float(np.std(offsets)) * np.sqrt(FOLDS - 1))  # of the jackknife
    if shaped:
        return bool(mean_over_error(gains) >= SHAPE_CLEARER and gains.mean() >= SHAPE_GAIN)
    log.info("the tiles look like a dark-field of %.0f +- %.0f grey values", found.dark[0], error)
    return bool(mean_over_error(gains) >= CLEARER and found.dark[0] >= LEAST_OFFSET * error)


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
        weight = robust_weights(tiles - height @ polynomials - np.outer(standardised, slope @ polynomials), level)
        tile_weight = weight.sum(1) / weight.sum()
        mean = float(tile_weight @ level)
        scatter = float(np.sqrt(tile_weight @ (level - mean) ** 2))
        if scatter < LEAST_SCATTER * mean:
            return None
        standardised = (level - mean) / scatter
        normal = np.block([[normal_matrix(polynomials, standardised**p @ weight) for p in row] for row in ((0, 1), (1, 2))])
        right = np.concatenate([polynomials @ (weight * tiles).sum(0), polynomials @ (standardised @ (weight * tiles))])
        height, slope = np.split(np.linalg.solve(normal, right), 2)
        if slope[0] <= 0 or height[0] <= 0:
            return None
    residuals = weight * (tiles - height @ polynomials - np.outer(standardised, slope @ polynomials))
    scores = residuals @ polynomials.T
    spread = covariance(normal, np.concatenate([scores, standardised[:, None] * scores], axis=1), 2)
    count = len(height)
    return Lines(height, slope, np.sqrt(np.diag(spread)[:count]), spread[count:, count:])
