"""The solver: it places all tiles at once by a robust, weighted, sparse least squares, with the stage as a weak prior.

**Unknowns.** Tile i takes its pixel p, about its centre, to  p + t_i + E_i p  in the mosaic. t_i is its place, and
E_i = sum e_ik B_k a small turn, scale, aspect and shear (`affine.BASIS`); the tile model says how many e_ik are free.

**Measurements.** A pair of tiles i and j measures

    d = t_j + E_j q - t_i - E_i p        l = e_j - e_i

where p and q are the same point of the specimen in both tiles, the one at which the pair is most certain, d = p - q, and l is
the linear part of the pair's affine. Its covariance C is divided by the probability that the pair is right.

**Objective.** The places minimise

    sum over pairs  rho(r' C^-1 r)  +  sum over tiles  w |(t - M s) / 3 sigma|^2 + |e / tau|^2

with the residual r of d and l, the stage's position s, the map M from stage to camera, the stage's error sigma along both axes
(`stage_model.py`), and the standard deviations tau of the tiles' linear parts (`tile_model.py`). The frame of the mosaic is
that of the camera.

**Slips.** Where the stage lost steps, a part of the grid lies far from where it says. Such slips are found from the pairs alone
and taken out of s first (`slips.py`); so the prior need not have heavy tails, and a wrong pair gains nothing.

**Robustness.** rho is the bounded loss of Geman and McClure, so wrong pairs lose their weight. It is reached in rounds from a
wide one about the stage's positions (graduated non-convexity; Yang et al. 2020, arXiv 1909.08605). Its bound is proportional to
the log odds of the density of a right pair, which C and the confidence give, to that of a wrong pair, which may lie anywhere:
several uncertain pairs cannot easily overrule one that is certain and exact.

**Deviations.** How far a place may be off follows from the weights with which the tiles were placed, and from the mean square
errors that pairs and stage really make. A pair may be wrong; then the tiles lie where the stage says, and the error is the
distance of the pair from that. How probably a pair is right, its loops (`loops.py`) and its distance from the stage say. Where
one group of tiles lies to another, only the stage says (`deviation.py`).
"""

from typing import Generic, NamedTuple, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import chdtri

from dlir.core import tables
from dlir.core.affine import BASIS, Array
from dlir.core.robust import INLIER, geman_mcclure
from dlir.core.tile_graph import factorised, groups, numbered_by_size
from dlir.placement.deviation import deviation_by_groups, offset_variance, place_deviation
from dlir.placement.loops import WRONG_AREA, loops_of_four, probability_by_loops, student_density
from dlir.placement.measurements import Measurements, nominal_middles
from dlir.placement.settings import Camera
from dlir.placement.slips import find_slips
from dlir.placement.stage_model import DEFAULT_ERROR, LEAST_DEVIATION, Prior, Stage, error_of_pairs, fit_stage

FREE_PARTS = {"translation": 0, "rigid": 1, "similarity": 2, "affine": 4}  # linear parts along BASIS, of each tile model
ROUNDS = 30  # of reweighting, at most
COOLING = 0.65  # factor of the tolerance from round to round
CONVERGED = 1e-3  # px: the rounds end when no place moves by more
UPPER_QUARTILE = np.sqrt(2 * np.log(4))  # of the length of a normal vector in the plane, in standard deviations
GROSS = 10.0  # times the median: a larger residual is that of a wrong pair, and says nothing of how well right ones fit
PRIOR_WIDTH = 3.0  # times the stage's error: standard deviation of the prior on places
OVERRULED_WEIGHT = 0.07  # the weight of a certain pair whose residual is five standard deviations
LEAST_REDUNDANCY = 0.5  # the share of spare measurements is never taken to be smaller


AnyStage = TypeVar("AnyStage", bound=Prior)


class Solution(NamedTuple, Generic[AnyStage]):
    """Where the tiles lie."""

    places: Array  # (tiles, 2) t, px: of the tiles' middles, less the middle of a tile of the usual size
    linear: Array  # (tiles, 4) e, along BASIS
    deviation: Array  # (tiles,) px, standard deviation of the places, both axes together
    residual: Array  # (pairs, 2) px, of the offsets
    group: NDArray[np.int64]  # (tiles,) number of the group of tiles that pairs join which are not overruled; 0: the largest
    slip: Array  # (tiles, 2) px, by which the stage slipped: from where it says to where the tile's part of the grid lies
    overruled: NDArray[np.bool_]  # (pairs,) pairs that hardly count, since other pairs or the stage contradict them
    probability: Array  # (pairs,) that the pair is right, in view of its loops; of an overruled one, also of the stage
    stage: AnyStage


def initial_stage(tiles: pd.DataFrame, pairs: Measurements, camera: Camera | None = None) -> Stage:
    """Returns the stage model of the tiles (tables.TILES) that the offsets of pairs show, before any tile is placed.

    Args:
        camera: turn and scale of the camera, where the user knows them; then only the backlash is fitted.
    """
    parity = np.stack([pd.factorize(tiles[name], sort=True)[0] % 2 for name in ("row", "col")], 1).astype(float)
    known_map = None
    if camera is not None:
        turn = np.radians(camera.rotation)
        known_map = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) / camera.scale
    exact = pairs.subset(pairs.more_exact_than(DEFAULT_ERROR))
    nominal = nominal_middles(tiles, tables.usual_size(tiles))
    return fit_stage(exact.i, exact.j, exact.offset, nominal, parity, known_map)


def solve(
    pairs: Measurements, stage: AnyStage, deviations: Array, stage_weight: float = 1.0, slip_by_one_pair: bool = True
) -> Solution[AnyStage]:
    """Places the tiles.

    Where the pairs show that the stage slipped, its positions are corrected first (`slips.py`).

    Each round solves the least squares with weights from the residuals of the last. The covariance of a pair is widened by a
    tolerance, which falls from the stage's error to what the pairs need, and is scaled so that the median residual is as large
    as it says: a method may take its estimates for too exact. The stage's map is fitted again to the places of each round,
    since it shows far better over the whole grid than in single pairs.

    Args:
        deviations: (free,) tau, of the tiles' linear parts, one for each part along BASIS that is free.
        stage_weight: w, of the prior from the stage.
        slip_by_one_pair: whether one pair that no other supports may show that the stage slipped.
    """
    count, free = len(stage.prior), len(deviations)
    slips = find_slips(pairs, stage, deviations, slip_by_one_pair)
    stage = stage.slipped(slips.shift)
    places, linear = stage.prior, np.zeros((count, 4))
    tolerance = INLIER * np.sqrt(2) * float(np.mean(stage.error))  # px; an offset has the errors of two tiles
    group = groups(pairs.i, pairs.j, count)
    # places follow the pairs, so the residuals are smaller than the errors: their variance is this part of that
    redundancy = max(1 - (count - 1 - group.max()) / max(len(pairs.i), 1), LEAST_REDUNDANCY)
    # px from the centre of a tile to its pairs: so a tolerance of px becomes one of linear parts
    lever = float(np.median(np.linalg.norm(pairs.at_i, axis=1))) if len(pairs.i) else 1.0
    residual, weight = residuals(pairs, places, linear), np.ones(len(pairs.i))
    for _ in range(ROUNDS if len(pairs.i) else 1):
        weight, spread = _reweighted(residual, pairs.covariance, tolerance, redundancy, pairs)
        precision = weight[:, None, None] * np.linalg.inv(spread)
        linear_residual = pairs.linear[:, :free] - (linear[pairs.j] - linear[pairs.i])[:, :free]
        linear_covariance = pairs.linear_covariance[:, :free, :free]
        linear_weight, linear_spread = _reweighted(linear_residual, linear_covariance, tolerance / lever, redundancy, pairs)
        linear_precision = linear_weight[:, None, None] * np.linalg.inv(linear_spread)
        solved = _least_squares(pairs, precision, linear_precision, stage, deviations, stage_weight)
        moved = np.abs(solved[:, :2] - places).max()
        places, linear[:, :free] = solved[:, :2], solved[:, 2:]
        residual = residuals(pairs, places, linear)
        stage = stage.with_fitted_map(places, slips.part) if len(pairs.i) else stage
        misfit = _misfit(pairs.shrunk(residual))
        tolerance = max(COOLING * tolerance, misfit)  # distorted tiles never fit better than that
        if moved < CONVERGED and tolerance == misfit:
            break
    exact = pairs.subset(pairs.more_exact_than(error_of_pairs(stage, pairs.i, pairs.j).mean(axis=1)))
    known = groups(exact.i, exact.j, count) * (slips.part.max() + 1) + slips.part
    stage = stage.with_measured_error(places, np.unique(known, return_inverse=True)[1]) if len(pairs.i) else stage
    overruled = weight * pairs.confidence < OVERRULED_WEIGHT  # a pair in doubt claims little, so that its residual may be small
    by_loops = probability_by_loops(loops_of_four(pairs.i, pairs.j), pairs.confidence, residual, spread)
    apart = (places - stage.prior)[pairs.j] - (places - stage.prior)[pairs.i] - residual
    apart = apart + np.where(slips.single[:, None], slips.shift[pairs.j] - slips.shift[pairs.i], 0.0)
    by_stage = spread + 2 * error_of_pairs(stage, pairs.i, pairs.j)[:, None] ** 2 * np.eye(2)  # of two tiles
    of_slip = np.where(slips.single, slips.probability, 0.0)  # other pairs would have shown it
    right = _probability_by_stage(pairs, by_loops, apart, by_stage, of_slip)
    # a pair may be wrong; then the tiles lie where the stage says
    of_wrong = by_stage + apart[:, :, None] * apart[:, None, :]
    error = right[:, None, None] * spread + (1 - right)[:, None, None] * of_wrong  # mean square error of offsets, px^2
    prior = _prior_precision(stage, stage_weight)
    factor = factorised(_normal_matrix(pairs, precision, linear_precision, prior, deviations))
    prior_error = np.where(stage.certain[:, None], LEAST_DEVIATION, stage.error)  # which is smaller than the prior is wide
    scatter = _normal_matrix(pairs, precision @ error @ precision, linear_precision, (prior * prior_error) ** 2, deviations)
    group = numbered_by_size(groups(pairs.i[~overruled], pairs.j[~overruled], count))
    doubt = right * (apart**2).sum(axis=1) * overruled
    between = offset_variance(group, stage, slips.scatter, np.maximum(group[pairs.i], group[pairs.j]), doubt)
    deviation = np.hypot(place_deviation(factor, scatter, count, 2 + free), deviation_by_groups(group, between))
    probability = np.where(overruled | (slips.single & (slips.part[pairs.i] != slips.part[pairs.j])), right, by_loops)
    return Solution(places, linear, deviation, residual, group, slips.shift, overruled, probability, stage)


def _misfit(size: Array) -> float:
    """The standard deviation, px, of residuals of these sizes (n,).

    Where a quarter of the pairs and more are many times as far off as most, these are wrong, and only the others count.
    """
    if not len(size):
        return 0.0
    quartile = np.quantile(size, 0.75)
    if quartile > (largest := GROSS * np.median(size)):
        quartile = np.quantile(size[size <= largest], 0.75)
    return float(quartile / UPPER_QUARTILE)


def residuals(pairs: Measurements, places: Array, linear: Array) -> Array:
    """The residuals (n, 2), px, of the pairs' offsets at places (tiles, 2), px, and linear parts (tiles, 4)."""
    turned = np.einsum("nk,kab->nab", linear, BASIS)
    at_j = places[pairs.j] + np.einsum("nab,nb->na", turned[pairs.j], pairs.at_j)
    at_i = places[pairs.i] + np.einsum("nab,nb->na", turned[pairs.i], pairs.at_i)
    return np.asarray(at_j - at_i - pairs.offset)


def _reweighted(
    residual: Array, covariance: Array, tolerance: float, redundancy: float, pairs: Measurements
) -> tuple[Array, Array]:
    """Returns the weight (n,) of each residual (n, k) under the robust loss, and its covariance (n, k, k).

    Args:
        covariance: (n, k, k) of the measurements.
        tolerance: standard deviation that widens it, in the unit of the residuals.
        redundancy: the part of the variance of the measurements that the residuals show.
    """
    size = residual.shape[1]
    wider = covariance + tolerance**2 * np.eye(size)
    square = np.einsum("ni,nij,nj->n", residual, np.linalg.inv(wider), residual)
    scale = max(1.0, float(np.median(square)) / chdtri(size, 0.5) / redundancy) if square.any() else 1.0
    weight = np.where(pairs.certain, scale, geman_mcclure(square / scale / pairs.loss_bound))
    return weight, scale * wider


def _probability_by_stage(pairs: Measurements, probability: Array, apart: Array, covariance: Array, slip: Array) -> Array:
    """The probability (n,) that each pair is right, lower where it lies far from where the stage says.

    Near that, it is not higher, since the confidence of a pair has taken the stage into account.

    Args:
        probability: (n,) before that.
        apart: (n, 2) px, how far the pair lies from where the stage says.
        covariance: (n, 2, 2) px^2, of that for right pairs.
        slip: (n,) probability that the stage slipped between the two tiles; then a right pair may lie anywhere.
    """
    ratio = (WRONG_AREA * student_density(apart, covariance)).clip(slip, 1)
    return np.where(pairs.certain, 1.0, probability * ratio / (probability * ratio + 1 - probability))


def _prior_precision(stage: Prior, stage_weight: float) -> Array:
    """The precision (tiles, 2), 1/px^2, of the prior on places."""
    by_stage = stage_weight / (PRIOR_WIDTH * stage.error) ** 2
    return np.where(stage.certain[:, None], 1 / LEAST_DEVIATION**2, by_stage)


def _least_squares(
    pairs: Measurements, precision: Array, linear_precision: Array, stage: Prior, deviations: Array, stage_weight: float
) -> Array:
    """Solves the normal equations; returns the unknowns (tiles, 2 + free) of each tile, t and e.

    Args:
        precision: (n, 2, 2) of the offsets.
        linear_precision: (n, free, free) of the linear parts.
    """
    count, free = len(stage.prior), len(deviations)
    prior = _prior_precision(stage, stage_weight)
    matrix = _normal_matrix(pairs, precision, linear_precision, prior, deviations)
    side = np.concatenate([stage.prior * prior, np.zeros((count, free))], 1)
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


def _normal_matrix(
    pairs: Measurements, precision: Array, linear_precision: Array, prior: Array, deviations: Array
) -> sparse.csc_matrix:
    """The matrix of the normal equations.

    It consists of blocks of 2 + free rows and columns: one for each tile, from the priors, and four for each pair.

    Args:
        prior: (tiles, 2) precision of the prior on places.
    """
    count, free = len(prior), len(deviations)
    slope_i, slope_j = _slopes(pairs, free)
    weighted_i, weighted_j = (np.einsum("nak,nab->nkb", slope, precision) for slope in (slope_i, slope_j))
    of_linear = np.zeros((len(pairs.i), 2 + free, 2 + free))
    of_linear[:, 2:, 2:] = linear_precision
    of_tiles = np.concatenate([prior, np.broadcast_to(1 / deviations**2, (count, free))], 1)[:, :, None] * np.eye(2 + free)
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
