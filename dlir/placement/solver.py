"""All tiles placed at once from the pairs: a robust, weighted, sparse least squares with the stage as a weak prior.

Tile i takes its pixel p, about its centre, to  p + t_i + E_i p  in the mosaic, where t_i is its place and E_i = sum e_ik B_k a
small turn, scale, aspect and shear (`affine.BASIS`); the model says how many of them are free. A pair measures

    d = t_j + E_j q - t_i - E_i p        l = e_j - e_i

where p and q are the same point of the specimen in both tiles, the one that the pair is surest of, d = p - q, and l the linear
part of the pair's affine. Its covariance C is widened by one over the probability that it is right. The places minimise

    sum over pairs  rho(r' C^-1 r)  +  sum over tiles  w |(t - M s) / 3 sigma|^2 + |e / tau|^2

with the residual r of d and l, the stage's place s, the map M from stage to camera, the stage's error sigma along both axes
(`stage.py`), and the spread tau of the tiles' linear parts. rho is the bounded loss of Geman and McClure, reached in steps from
a wide one about the stage's places (graduated non-convexity; Yang et al. 2020, arXiv 1909.08605), so that wrong pairs lose
their weight. Its bound is proportional to the log odds of the density of a right pair, which C and its confidence give, to
that of a wrong one: a pair that is sure and exact is overruled by several that are neither. The frame of the mosaic is the
camera's.
"""

from typing import NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import SuperLU
from scipy.special import chdtri, logit

from dlir.core import affine
from dlir.core.affine import BASIS, Array
from dlir.core.robust import INLIER, geman_mcclure
from dlir.core.tables import LINEAR_COVARIANCE
from dlir.core.tile_graph import factorised, groups
from dlir.placement.settings import Camera
from dlir.placement.stage_model import FLOOR, Stage, fit_stage

FREE_PARTS = {"translation": 0, "rigid": 1, "similarity": 2, "affine": 4}  # of BASIS, in each model
ROUNDS = 30  # at most
COOLING = 0.65  # of the tolerance, each round
STILL = 1e-3  # px, by which no place moves any more
RAYLEIGH = np.sqrt(2 * np.log(4))  # three quarters of the lengths of a normal vector in the plane, in deviations
WEAK = 3.0  # of the stage's error: so far a place may lie from the stage's before that costs as much
LEAST_SPARE = 0.5
AREA = 1000.0  # px^2, in which a wrong pair may lie anywhere
LEAST_SURE, MOST_SURE = 1e-3, 1 - 1e-4  # confidence
EXACT = 500  # tiles: with more, their uncertainty is estimated from random probes
PROBES = 64


class Measurements(NamedTuple):
    """What n pairs measured of the tiles i and j."""

    i: NDArray[np.int64]
    j: NDArray[np.int64]
    at_i: Array  # (n, 2) the point that the pair is surest of, px of tile i about its centre
    at_j: Array  # (n, 2) the same in tile j
    covariance: Array  # (n, 2, 2) px^2 of the offset at_i - at_j
    linear: Array  # (n, 4) the linear part of the affine less the identity, along BASIS
    linear_covariance: Array  # (n, 4, 4)
    certain: NDArray[np.bool_]  # (n,) pairs that are never doubted
    loss_bound: Array  # (n,) how much it costs to doubt a pair, one for the median of them

    @property
    def offset(self) -> Array:
        """How far (n, 2), px, tile j lies from tile i where neither is turned."""
        return self.at_i - self.at_j

    def subset(self, kept: NDArray[np.bool_]) -> Self:
        """Those pairs."""
        return self._replace(**{name: values[kept] for name, values in self._asdict().items()})

    def with_known_linear_parts(self, free: int) -> Self:
        """The pairs as they are where all linear parts but the first `free` are known to be nothing.

        A narrow overlap tells a turn from a shear only by what is likely of either; where there is no shear, it tells the turn.
        """
        linear, covariance = self.linear.copy(), self.linear_covariance.copy()
        both = self.linear_covariance[:, :free, free:]
        follows = np.linalg.solve(self.linear_covariance[:, free:, free:], both.mT).mT
        linear[:, :free] -= np.einsum("nab,nb->na", follows, self.linear[:, free:])
        covariance[:, :free, :free] -= follows @ both.mT
        return self._replace(linear=linear, linear_covariance=covariance)


class Solution(NamedTuple):
    """Where the tiles lie."""

    places: Array  # (n, 2) of the tiles' centres less the centre of the first tile's own frame, px
    linear: Array  # (n, 4) along BASIS
    deviation: Array  # (n,) of the places, px, both axes together
    residual: Array  # (pairs, 2) px
    weight: Array  # (pairs,) how far each pair is believed, 0 to 1
    stage: Stage


def measurements(tiles: pd.DataFrame, pairs: pd.DataFrame) -> Measurements:
    """What accepted pairs (tables.AFFINES) of the tiles (tables.TILES) measured."""
    index = pd.Index(tiles["tile"])
    i, j = (np.asarray(index.get_indexer(pairs[end]), np.int64) for end in ("fixed", "moving"))
    middle = (tiles[["height", "width"]].iloc[0].to_numpy(float) - 1) / 2
    centre, affines = pairs[["centre_y", "centre_x"]].to_numpy(), affine.from_table(pairs)
    here = affine.apply(affines, centre[:, None])[:, 0]
    sure = pairs["confidence"].clip(lower=LEAST_SURE).to_numpy()[:, None, None]
    covariance = pairs[["var_y", "cov_yx", "cov_yx", "var_x"]].to_numpy().reshape(-1, 2, 2)
    flat = BASIS.reshape(4, 4)
    along = flat / (flat**2).sum(axis=1, keepdims=True)
    linear = (affines[:, :, :2] - np.eye(2)).reshape(-1, 4) @ along.T
    spread = along @ pairs[LINEAR_COVARIANCE].to_numpy().reshape(-1, 4, 4) @ along.T
    doubted = covariance + FLOOR**2 * np.eye(2)
    certain = (pairs["method"] == "user").to_numpy()
    odds = logit(sure[:, 0, 0].clip(max=MOST_SURE)) + np.log(AREA / (2 * np.pi * np.sqrt(np.linalg.det(doubted))))
    loss_bound = odds.clip(1) / np.median(odds.clip(1)) if len(odds) else odds
    return Measurements(i, j, here - middle, centre - middle, doubted / sure, linear, spread / sure, certain, loss_bound)


def initial_stage(tiles: pd.DataFrame, pairs: Measurements, camera: Camera | None = None) -> Stage:
    """The stage of the tiles (tables.TILES) as the pairs alone show it."""
    lines = np.stack([pd.factorize(tiles[name], sort=True)[0] % 2 for name in ("row", "col")], 1).astype(float)
    given = None
    if camera is not None:
        turn = np.radians(camera.rotation)
        given = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) / camera.scale
    return fit_stage(pairs.i, pairs.j, pairs.offset, tiles[["y", "x"]].to_numpy(), lines, given)


def solve(pairs: Measurements, stage: Stage, spread: Array, stage_weight: float = 1.0) -> Solution:
    """Place the tiles.

    In each round a pair's covariance is widened by a tolerance, which falls from the stage's error to nothing, and scaled so
    that the median residual is as large as it says: a network may be too sure. The stage's map is fitted again to the places
    of the round, since over the whole grid it shows far better than in single pairs.

    Args:
        spread: of the tiles' linear parts, one for each of BASIS that is free.
    """
    count, free = len(stage.nominal), len(spread)
    places, linear = stage.prior, np.zeros((count, 4))
    tolerance = INLIER * np.sqrt(2) * float(np.mean(stage.error))
    # residuals are smaller than errors, by as much as the places follow the pairs
    group = groups(pairs.i, pairs.j, count)
    spare = max(1 - (count - 1 - group.max()) / max(len(pairs.i), 1), LEAST_SPARE)
    lever = float(np.median(np.linalg.norm(pairs.at_i, axis=1))) if len(pairs.i) else 1.0
    residual, weight = residuals(pairs, places, linear), np.ones(len(pairs.i))
    for _ in range(ROUNDS if len(pairs.i) else 1):
        weight, precision = _believed(residual, pairs.covariance, tolerance, spare, pairs)
        turned = pairs.linear[:, :free] - (linear[pairs.j] - linear[pairs.i])[:, :free]
        _, turn = _believed(turned, pairs.linear_covariance[:, :free, :free], tolerance / lever, spare, pairs)
        found, _ = _least_squares(pairs, precision, turn, stage, spread, stage_weight)
        moved = np.abs(found[:, :2] - places).max()
        places, linear[:, :free] = found[:, :2], found[:, 2:]
        residual = residuals(pairs, places, linear)
        stage = stage.with_fitted_map(places, group) if len(pairs.i) else stage
        misfit = float(np.quantile(np.linalg.norm(residual, axis=1), 0.75)) / RAYLEIGH if len(residual) else 0.0
        tolerance = max(COOLING * tolerance, misfit)  # tiles that are distorted never fit better than that
        if moved < STILL and tolerance == misfit:
            break
    stage = stage.with_measured_error(places, group) if len(pairs.i) else stage
    # how sure a place is, is told by the stage's error itself
    _, factor = _least_squares(pairs, precision, turn, stage, spread, WEAK**2 * stage_weight)
    return Solution(places, linear, _deviation(factor, count, 2 + free), residual, weight, stage)


def _believed(residual: Array, covariance: Array, tolerance: float, spare: float, pairs: Measurements) -> tuple[Array, Array]:
    """How far (n,) each residual (n, k) is believed, and the precision (n, k, k) that it then has."""
    count = residual.shape[1]
    precision = np.linalg.inv(covariance + tolerance**2 * np.eye(count))
    square = np.einsum("ni,nij,nj->n", residual, precision, residual)
    scale = max(1.0, float(np.median(square)) / chdtri(count, 0.5) / spare) if square.any() else 1.0
    weight = np.where(pairs.certain, scale, geman_mcclure(square / scale / pairs.loss_bound))
    return weight, precision * (weight / scale)[:, None, None]


def residuals(pairs: Measurements, places: Array, linear: Array) -> Array:
    """By how much (n, 2), px, places (tiles, 2) and linear parts (tiles, 4) miss what the pairs measured."""
    turned = np.einsum("nk,kab->nab", linear, BASIS)
    there = places[pairs.j] + np.einsum("nab,nb->na", turned[pairs.j], pairs.at_j)
    here = places[pairs.i] + np.einsum("nab,nb->na", turned[pairs.i], pairs.at_i)
    return np.asarray(there - here - pairs.offset)


def _least_squares(
    pairs: Measurements, precision: Array, turn: Array, stage: Stage, spread: Array, stage_weight: float
) -> tuple[Array, SuperLU]:
    """One solve of the normal equations, of a block for each tile and pair: the unknowns (tiles, 2 + free), and the factors.

    The precisions are those of the offsets (n, 2, 2) and of the linear parts (n, free, free).
    """
    count, free = len(stage.nominal), len(spread)
    pull = [np.concatenate([np.eye(2)[None].repeat(len(at), 0), np.einsum("kab,nb->nak", BASIS[:free], at)], 2)
            for at in (pairs.at_i, pairs.at_j)]  # fmt: skip
    shape = np.zeros((len(pairs.i), 2 + free, 2 + free))
    shape[:, 2:, 2:] = turn
    first, second = (np.einsum("nak,nab->nkb", p, precision) for p in pull)
    blocks = [first @ pull[0] + shape, second @ pull[1] + shape, -(first @ pull[1] + shape), -(second @ pull[0] + shape)]
    held = np.where(stage.certain[:, None], 1 / FLOOR**2, stage_weight / (WEAK * stage.error) ** 2)  # (tiles, 2)
    anchor = np.concatenate([held, np.broadcast_to(1 / spread**2, (count, free))], 1)
    tile = np.arange(count)
    rows = np.concatenate([tile, pairs.i, pairs.j, pairs.i, pairs.j])
    columns = np.concatenate([tile, pairs.i, pairs.j, pairs.j, pairs.i])
    values = np.concatenate([anchor[:, :, None] * np.eye(2 + free), *blocks])
    inner, zero = np.arange(2 + free), np.zeros((2 + free, 2 + free), int)
    y = (2 + free) * rows[:, None, None] + inner[:, None] + zero
    x = (2 + free) * columns[:, None, None] + inner + zero
    side = np.concatenate([stage.prior * held, np.zeros((count, free))], 1)
    told = np.einsum("nkl,nl->nk", shape, np.concatenate([np.zeros((len(pairs.i), 2)), pairs.linear[:, :free]], 1))
    np.add.at(side, pairs.j, np.einsum("nkb,nb->nk", second, pairs.offset) + told)
    np.subtract.at(side, pairs.i, np.einsum("nkb,nb->nk", first, pairs.offset) + told)
    matrix = sparse.csc_matrix((values.ravel(), (y.ravel(), x.ravel())), shape=(side.size, side.size))
    factor = factorised(matrix)
    return np.asarray(factor.solve(side.ravel())).reshape(side.shape), factor


def _deviation(factor: SuperLU, count: int, block: int) -> Array:
    """The deviation (count,), px, of the tiles' places against the mean of all.

    It is the root of the trace of the diagonal blocks of the inverse, less what all tiles have in common; with many tiles
    it is estimated, to a tenth or so, from products with random signs.
    """
    variance = np.zeros(count)
    for axis in (0, 1):
        if count <= EXACT:
            signs = np.sqrt(count) * np.eye(count)
        else:
            signs = np.random.default_rng(axis).choice([-1.0, 1.0], (count, PROBES))
        right = np.zeros((count, block, signs.shape[1]))
        right[:, axis] = signs - signs.mean(axis=0)
        spread = factor.solve(right.reshape(count * block, -1)).reshape(right.shape)[:, axis]
        variance += (signs * (spread - spread.mean(axis=0))).mean(axis=1)
    return np.asarray(np.sqrt(variance.clip(min=0)))
