"""Deviations: how far the place of a tile may be off, within its group of tiles and with the unknown offsets between groups.

Pairs hold the tiles of a group together. Where one group lies to another, the stage alone says. Its errors within a group
average out over the tiles; what all tiles of a group have in common, such as a slip or a slow drift, does not. So each group
but the largest has an offset with the variance of one position of the stage at least.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from dlir.core.affine import Array
from dlir.core.factors import Factors
from dlir.placement.stage_model import Prior

EXACT_TILES = 500  # up to so many, the deviations of places are computed exactly, else estimated from PROBES
PROBES = 64  # random vectors


def place_deviation(factor: Factors, scatter: sparse.csc_matrix, count: int, size: int) -> Array:
    """The standard deviation (count,), px, of the tiles' places relative to the mean of all, both axes together.

    With the matrix N of the normal equations, whose weights placed the tiles, and the mean square S of their right side, by the
    errors that pairs and stage really make, the covariance of the unknowns is N^-1 S N^-1 (a sandwich; Huber 1967). The
    deviation is the root of the trace of each tile's diagonal block, less what all tiles have in common. For many tiles the
    diagonal is estimated from products with random signs, to about a tenth.

    Args:
        factor: the factors of N.
        scatter: S.
        size: rows of a block.
    """
    variance, exact = np.zeros(count), count <= EXACT_TILES
    for axis in (0, 1):
        signs = np.eye(count) if exact else np.random.default_rng(axis).choice([-1.0, 1.0], (count, PROBES))
        right = np.zeros((count, size, signs.shape[1]))
        right[:, axis] = signs - signs.mean(axis=0)
        solved = factor.solve(right.reshape(count * size, -1))
        scattered = scatter @ solved
        if exact:
            variance += (solved * scattered).sum(axis=0)
        else:
            solved = factor.solve(scattered).reshape(right.shape)[:, axis]
            variance += (signs * (solved - solved.mean(axis=0))).mean(axis=1)
    return np.asarray(np.sqrt(variance.clip(min=0)))


def offset_variance(group: NDArray[np.int64], stage: Prior, scatter: Array, doubted: NDArray[np.int64], doubt: Array) -> Array:
    """Returns the variance (groups,), px^2, of the offset of each group from the largest, number 0, both axes together.

    What the errors of single tiles contribute is part of `place_deviation`, and not counted again.

    Args:
        group: (tiles,) number of the group of each tile.
        scatter: (tiles,) px^2, on either axis, by how much the stage may have slipped.
        doubted: (pairs,) the group that would lie elsewhere if the pair were right.
        doubt: (pairs,) px^2, how far it would, squared, times the probability of that.
    """
    size = np.bincount(group)
    of_tile = np.broadcast_to((stage.error**2).sum(axis=-1), len(group))
    variance = np.bincount(group, of_tile) / size * (1 - 1 / size)
    slipped, elsewhere = np.zeros(len(size)), np.zeros(len(size))
    np.maximum.at(slipped, group, 2 * scatter)
    np.maximum.at(elsewhere, doubted, doubt)
    variance = variance + slipped + elsewhere
    variance[np.unique(np.r_[0, group[stage.certain]])] = 0.0
    return np.asarray(variance)


def deviation_by_groups(group: NDArray[np.int64], variance: Array) -> Array:
    """Returns the deviation (tiles,), px, from the mean of all tiles, by the variances (groups,), px^2, of groups' offsets."""
    share = np.bincount(group) / len(group)
    of_all = (share**2 * variance).sum()
    return np.asarray(np.sqrt((of_all + (1 - 2 * share) * variance).clip(min=0))[group])
