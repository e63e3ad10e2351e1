"""How far a tile may be turned, scaled and sheared against the others: translation, rigid, similarity or affine.

The pairs decide: their linear parts are predicted from those of the other pairs, a few of the pairs at a time. A part counts
as real where that is much better than saying nothing.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import chdtri

from dlir.core.affine import BASIS, Array
from dlir.core.robust import DEVIATIONS, geman_mcclure, intrinsic_deviation
from dlir.core.tables import LINEAR_PARTS
from dlir.core.tile_graph import differences, factorised, groups, neighbourhood
from dlir.placement.solver import FREE_PARTS, Measurements

MANY = 5000  # tiles
FOLDS = 24  # the fewer pairs are held out at a time, the more of their neighbours are there to tell
ENOUGH = 100  # pairs that are foretold
REAL = 0.35  # of the square of a linear part, at least, has to be foretold by other pairs
LEAST_SPARE = 0.2  # of the pairs: so many more than hold the tiles together tell how sure they are
SUREST = 0.1  # of what a method says of its deviation: translations all have the same linear part
TAIL = 0.9  # of the pairs, by which that is judged: some are far less sure than the most
ROUNDS, COOLING = 6, 0.7  # in which pairs are found that say little of the tiles: how much more is forgiven than in the next
HELD = 9.0  # square deviations, beyond which a pair counts no more


class TileModel(NamedTuple):
    """What the tiles may do, and why."""

    name: str
    deviations: Array  # of the tiles along each of BASIS that is free
    predicted_share: Array  # (4,) share of each part that other pairs foretell

    def described(self) -> str:
        return ", ".join(
            f"{100 * share:.0f} % of {part}" for share, part in zip(self.predicted_share.clip(0), LINEAR_PARTS, strict=True)
        )


def choose_model(pairs: Measurements, count: int, name: str = "auto") -> tuple[Measurements, TileModel]:
    """The pairs as the model of that name for so many tiles takes them, and the model; with `auto` the simplest that has all
    parts that are real.

    Where a part is not real, what a pair says of it is an error, and by their covariance tells of the errors of the others.
    """
    chosen = choose(calibrated(pairs, count), count, name)
    free = len(chosen.deviations)
    return calibrated(pairs.with_known_linear_parts(free), count, free), chosen


def choose(pairs: Measurements, count: int, name: str = "auto") -> TileModel:
    """The model of that name for so many tiles; with `auto` the simplest that has all parts that are real."""
    pairs, count = _some(pairs, count)
    spreads, foretold = np.full(len(BASIS), DEVIATIONS[0]), np.zeros(len(BASIS))
    for k in range(len(BASIS)) if len(pairs.i) else ():
        spreads[k], foretold[k] = _part(pairs, count, k)
    if name == "auto":
        real = np.flatnonzero(foretold > REAL)
        free = min(free for free in FREE_PARTS.values() if free > (real.max() if len(real) else -1))
        name = next(name for name, value in FREE_PARTS.items() if value == free)
    return TileModel(name, spreads[: FREE_PARTS[name]], foretold)


def calibrated(pairs: Measurements, count: int, free: int = len(BASIS)) -> Measurements:
    """The pairs with the covariances of the first `free` linear parts no larger than they contradict each other around loops.

    A method may be surer of turns and scales than it says: what tiles that are free to be turned and scaled leave of the
    pairs' linear parts tells how sure.
    """
    some, number = _some(pairs, count)
    spare = (len(some.i) - number + groups(some.i, some.j, number).max() + 1) / max(len(some.i), 1)
    if spare < LEAST_SPARE:
        return pairs
    factor = np.ones(len(BASIS))
    for k in range(free):
        difference, variance = some.linear[:, k], some.linear_covariance[:, k, k]
        value = _linear_part(some.i, some.j, difference, variance, DEVIATIONS[-1], number)
        square = (difference - value[some.j] + value[some.i]) ** 2 / variance
        seen = np.sqrt(np.quantile(square, TAIL) / chdtri(1, 1 - TAIL) / spare)
        factor[k] = np.clip(seen, SUREST, 1.0)
    return pairs._replace(linear_covariance=pairs.linear_covariance * np.outer(factor, factor))


def _some(pairs: Measurements, count: int) -> tuple[Measurements, int]:
    """The pairs of MANY tiles that lie together, which tell as much as all, and how many tiles that are."""
    if count <= MANY:
        return pairs, count
    tiles = neighbourhood(pairs.i, pairs.j, count, MANY)
    number = np.full(count, -1)
    number[tiles] = np.arange(len(tiles))
    kept = (number[pairs.i] >= 0) & (number[pairs.j] >= 0)
    some = pairs.subset(kept)
    return some._replace(i=number[some.i], j=number[some.j]), len(tiles)


def _part(pairs: Measurements, count: int, k: int) -> tuple[float, float]:
    """How far the tiles differ in one linear part, and which share of it in a pair the other pairs foretell."""
    difference, variance = pairs.linear[:, k], pairs.linear_covariance[:, k, k]
    apart = intrinsic_deviation(lambda deviation: difference**2 / (variance + 2 * deviation**2), 1)
    fold = np.random.default_rng(0).permutation(len(difference)) % FOLDS
    folds = min(FOLDS, -(-FOLDS * ENOUGH // len(difference)))
    copy, rest = np.nonzero(fold != np.arange(folds)[:, None])  # of the tiles for each fold, so that all are solved at once
    i, j = pairs.i[rest] + copy * count, pairs.j[rest] + copy * count
    value = _linear_part(i, j, difference[rest], variance[rest], apart, folds * count).reshape(folds, count)
    held = fold < folds
    told = value[fold[held], pairs.j[held]] - value[fold[held], pairs.i[held]]
    left = np.stack([difference[held], difference[held] - told]) / np.sqrt(variance[held] + 2 * apart**2)
    without, with_others = np.minimum(left**2, HELD).sum(axis=1)
    return apart, 1 - float(with_others / without) if without else 0.0


def _linear_part(
    i: NDArray[np.int64], j: NDArray[np.int64], difference: Array, variance: Array, spread: float, count: int
) -> Array:
    """One linear part (count,) of all tiles, from its differences (n,) between them, robustly."""
    apart = differences(i, j, count)
    weight, value = 1 / (variance + 2 * spread**2), np.zeros(count)
    tolerance = float(np.median(np.abs(difference)))
    for _ in range(ROUNDS):
        normal = apart.T @ sparse.diags(weight) @ apart + sparse.identity(count) / spread**2
        value = factorised(normal).solve(apart.T @ (weight * difference))
        tolerance *= COOLING
        wider = variance + tolerance**2
        square = (difference - apart @ value) ** 2 / wider
        scale = max(1.0, float(np.median(square)) / chdtri(1, 0.5))
        weight = geman_mcclure(square / scale) / wider
    return value
