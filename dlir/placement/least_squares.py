"""The least squares of the placement: residuals, weights and normal equations (`solver.py` has the objective).

The unknowns of a tile are its place t and the free ones of its linear parts e: 2 + free numbers.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import chdtri

from dlir.core.affine import BASIS, Array
from dlir.core.factors import factorised
from dlir.core.robust import geman_mcclure
from dlir.placement.measurements import Measurements

UPPER_QUARTILE = np.sqrt(2 * np.log(4))  # of the length of a normal vector in the plane, in standard deviations
GROSS = 10.0  # times the median: a larger residual is that of a wrong pair, and says nothing of how well right ones fit


def misfit(size: Array) -> float:
    """The standard deviation, px, of residuals of these sizes (n,).

    Where a quarter of the pairs and more are many times as far off as most, these are wrong, and only the others count.
    """
    if not len(size):
        return 0.0
    quartile = np.quantile(size, 0.75)
    if quartile > (largest := GROSS * np.median(size)):
        quartile = np.quantile(size[size <= largest], 0.75)
    return float(quartile / UPPER_QUARTILE)


def misfit_by_kind(pairs: Measurements, residual: Array) -> Array:
    """The standard deviation (n,), px, of the residuals (n, 2) of all pairs of the same kind: within a round, or of two.

    Pairs of two rounds may be off by ten times as much as neighbours in one, which would seem as inexact if all were one kind.
    """
    size, found = pairs.shrunk(residual), np.zeros(len(pairs.i))
    for of_kind in _kinds(pairs):
        found[of_kind] = misfit(size[of_kind])
    return found


def _kinds(pairs: Measurements) -> list[NDArray[np.bool_]]:
    return [of_kind for of_kind in (pairs.of_rounds, ~pairs.of_rounds) if of_kind.any()]


def residuals(pairs: Measurements, places: Array, linear: Array) -> Array:
    """The residuals (n, 2), px, of the pairs' offsets at places (tiles, 2), px, and linear parts (tiles, 4)."""
    turned = np.einsum("nk,kab->nab", linear, BASIS)
    at_j = places[pairs.j] + np.einsum("nab,nb->na", turned[pairs.j], pairs.at_j)
    at_i = places[pairs.i] + np.einsum("nab,nb->na", turned[pairs.i], pairs.at_i)
    return np.asarray(at_j - at_i - pairs.offset)


def reweighted(
    residual: Array, covariance: Array, tolerance: Array, redundancy: float, pairs: Measurements
) -> tuple[Array, Array]:
    """Returns the weight (n,) of each residual (n, k) under the robust loss, and its covariance (n, k, k).

    Args:
        covariance: (n, k, k) of the measurements.
        tolerance: (n,) standard deviation that widens it, in the unit of the residuals.
        redundancy: the part of the variance of the measurements that the residuals show.
    """
    size = residual.shape[1]
    wider = covariance + tolerance[:, None, None] ** 2 * np.eye(size)
    square = np.einsum("ni,nij,nj->n", residual, np.linalg.inv(wider), residual)
    scale = np.ones(len(square))
    for of_kind in _kinds(pairs):
        scale[of_kind] = max(1.0, float(np.median(square[of_kind])) / chdtri(size, 0.5) / redundancy)
    weight = np.where(pairs.certain, scale, geman_mcclure(square / scale / pairs.loss_bound))
    return weight, scale[:, None, None] * wider


def least_squares(
    pairs: Measurements, precision: Array, linear_precision: Array, prior: Array, prior_precision: Array
) -> Array:
    """Solves the normal equations; returns the unknowns (tiles, 2 + free) of each tile, t and e.

    Args:
        precision: (n, 2, 2) of the offsets.
        linear_precision: (n, free, free) of the linear parts.
        prior, prior_precision: (tiles, 2 + free) what is known of the unknowns before, and how well.
    """
    free = prior.shape[1] - 2
    matrix = normal_matrix(pairs, precision, linear_precision, prior_precision)
    side = prior * prior_precision
    weighted_i, weighted_j = (np.einsum("nak,nab->nkb", slope, precision) for slope in _slopes(pairs, free))
    from_linear = np.zeros((len(pairs.i), 2 + free))
    from_linear[:, 2:] = np.einsum("nkl,nl->nk", linear_precision, pairs.linear[:, :free])
    np.add.at(side, pairs.j, np.einsum("nkb,nb->nk", weighted_j, pairs.offset) + from_linear)
    np.subtract.at(side, pairs.i, np.einsum("nkb,nb->nk", weighted_i, pairs.offset) + from_linear)
    return np.asarray(factorised(matrix).solve(side.ravel())).reshape(side.shape)


def _slopes(pairs: Measurements, free: int) -> tuple[Array, Array]:
    """How the places of the points of pairs, in tiles i and j, depend on the unknowns of these tiles: (n, 2, 2 + free) each."""
    at_i, at_j = (
        np.concatenate([np.eye(2)[None].repeat(len(at), 0), np.einsum("kab,nb->nak", BASIS[:free], at)], 2)
        for at in (pairs.at_i, pairs.at_j)
    )
    return at_i, at_j


def normal_matrix(pairs: Measurements, precision: Array, linear_precision: Array, prior_precision: Array) -> sparse.csc_matrix:
    """The matrix of the normal equations.

    It consists of blocks of 2 + free rows and columns: one for each tile, from the priors, and four for each pair.

    Args:
        prior_precision: (tiles, 2 + free) of what is known of the unknowns before.
    """
    count, free = len(prior_precision), prior_precision.shape[1] - 2
    slope_i, slope_j = _slopes(pairs, free)
    weighted_i, weighted_j = (np.einsum("nak,nab->nkb", slope, precision) for slope in (slope_i, slope_j))
    of_linear = np.zeros((len(pairs.i), 2 + free, 2 + free))
    of_linear[:, 2:, 2:] = linear_precision
    of_tiles = prior_precision[:, :, None] * np.eye(2 + free)
    tile = np.arange(count)
    return _block_matrix(
        count,
        rows=np.concatenate([tile, pairs.i, pairs.j, pairs.i, pairs.j]),
        columns=np.concatenate([tile, pairs.i, pairs.j, pairs.j, pairs.i]),
        blocks=np.concatenate(
            [
                of_tiles,
                weighted_i @ slope_i + of_linear,
                weighted_j @ slope_j + of_linear,
                -(weighted_i @ slope_j + of_linear),
                -(weighted_j @ slope_i + of_linear),
            ]
        ),
    )


def _block_matrix(count: int, rows: NDArray[np.int64], columns: NDArray[np.int64], blocks: Array) -> sparse.csc_matrix:
    """The sparse matrix of count x count blocks with `blocks` (m, b, b), summed, at these block rows (m,) and columns (m,)."""
    size = blocks.shape[1]
    inner, zero = np.arange(size), np.zeros((size, size), int)
    y = size * rows[:, None, None] + inner[:, None] + zero
    x = size * columns[:, None, None] + inner + zero
    return sparse.csc_matrix((blocks.ravel(), (y.ravel(), x.ravel())), shape=(count * size, count * size))
