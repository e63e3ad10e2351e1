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

from dlir.core import tables
from dlir.core.affine import Array
from dlir.core.factors import factorised
from dlir.core.robust import INLIER
from dlir.core.tile_graph import groups, numbered_by_size
from dlir.placement.deviation import deviation_by_groups, offset_variance, place_deviation
from dlir.placement.least_squares import least_squares, misfit_by_kind, normal_matrix, residuals, reweighted
from dlir.placement.loops import WRONG_AREA, loops_of_four, probability_by_loops, student_density
from dlir.placement.measurements import Measurements, nominal_middles
from dlir.placement.settings import Camera
from dlir.placement.slips import find_slips
from dlir.placement.stage_model import DEFAULT_ERROR, LEAST_DEVIATION, Prior, Stage, error_of_pairs, fit_stage

FREE_PARTS = {"translation": 0, "rigid": 1, "similarity": 2, "affine": 4}  # linear parts along BASIS, of each tile model
ROUNDS = 30  # of reweighting, at most
COOLING = 0.65  # factor of the tolerance from round to round
CONVERGED = 1e-3  # px: the rounds end when no place moves by more
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
    of_two_tiles = np.sqrt(2) * float(np.mean(stage.error))  # px
    tolerance = np.full(len(pairs.i), INLIER * of_two_tiles)
    group = groups(pairs.i, pairs.j, count)
    # places follow the pairs, so the residuals are smaller than the errors: their variance is this part of that
    redundancy = max(1 - (count - 1 - group.max()) / max(len(pairs.i), 1), LEAST_REDUNDANCY)
    # px from the centre of a tile to its pairs: so a tolerance of px becomes one of linear parts
    lever = float(np.median(np.linalg.norm(pairs.at_i, axis=1))) if len(pairs.i) else 1.0
    residual, weight = residuals(pairs, places, linear), np.ones(len(pairs.i))
    for _ in range(ROUNDS if len(pairs.i) else 1):
        weight, spread = reweighted(residual, pairs.covariance, tolerance, redundancy, pairs)
        precision = weight[:, None, None] * np.linalg.inv(spread)
        linear_residual = pairs.linear[:, :free] - (linear[pairs.j] - linear[pairs.i])[:, :free]
        linear_covariance = pairs.linear_covariance[:, :free, :free]
        linear_weight, linear_spread = reweighted(linear_residual, linear_covariance, tolerance / lever, redundancy, pairs)
        linear_precision = linear_weight[:, None, None] * np.linalg.inv(linear_spread)
        known, how_well = _prior(stage, deviations, stage_weight)
        solved = least_squares(pairs, precision, linear_precision, known, how_well)
        moved = np.abs(solved[:, :2] - places).max()
        places, linear[:, :free] = solved[:, :2], solved[:, 2:]
        residual = residuals(pairs, places, linear)
        stage = stage.with_fitted_map(places, slips.part) if len(pairs.i) else stage
        typical = misfit_by_kind(pairs, residual)
        tolerance = np.maximum(COOLING * tolerance, typical)  # distorted tiles never fit better than that
        if moved < CONVERGED and (tolerance == typical).all():
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
    _, prior = _prior(stage, deviations, stage_weight)
    factor = factorised(normal_matrix(pairs, precision, linear_precision, prior))
    prior_error = np.where(stage.certain[:, None], LEAST_DEVIATION, stage.error)  # which is smaller than the prior is wide
    square = np.concatenate([(prior[:, :2] * prior_error) ** 2, prior[:, 2:]], 1)
    scatter = normal_matrix(pairs, precision @ error @ precision, linear_precision, square)
    group = numbered_by_size(groups(pairs.i[~overruled], pairs.j[~overruled], count))
    doubt = right * (apart**2).sum(axis=1) * overruled
    between = offset_variance(group, stage, slips.scatter, np.maximum(group[pairs.i], group[pairs.j]), doubt)
    deviation = np.hypot(place_deviation(factor, scatter, count, 2 + free), deviation_by_groups(group, between))
    probability = np.where(overruled | (slips.single & (slips.part[pairs.i] != slips.part[pairs.j])), right, by_loops)
    return Solution(places, linear, deviation, residual, group, slips.shift, overruled, probability, stage)


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


def _prior(stage: Prior, deviations: Array, stage_weight: float) -> tuple[Array, Array]:
    """What is known of the unknowns (tiles, 2 + free) before: their values, by the stage, and the precision of these."""
    count, free = len(stage.prior), len(deviations)
    by_stage = stage_weight / (PRIOR_WIDTH * np.broadcast_to(stage.error, (count, 2))) ** 2
    precision = np.where(stage.certain[:, None], 1 / LEAST_DEVIATION**2, by_stage)
    return (
        np.concatenate([stage.prior, np.zeros((count, free))], 1),
        np.concatenate([precision, np.broadcast_to(1 / deviations**2, (count, free))], 1),
    )
