"""The tile model: whether tiles may be turned, scaled and sheared against each other (translation, rigid, similarity, affine).

The pairs decide. The linear parts that a few of the pairs measure are predicted from those of all other pairs. A part, rotation
say, is real where the prediction is much better than what all tiles may have in common. In a small grid, which has few loops
of pairs, errors may cancel around all of them by chance, so there the prediction has to be better still. A distortion of the
camera is the same in every tile; each pair compares one side of it with the opposite side, so it adds one constant to all pairs
to the right, and another to all pairs downwards: a part that is linear in the offset of the pair. Such parts are consistent
around every loop, and tiles that follow them bend the mosaic. The step `register` takes most of them out of the tiles
(`registration/inference/lens_estimate.py`); what is left, and other methods of registration, need this.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri

from dlir.core.affine import BASIS, Array
from dlir.core.factors import factorised
from dlir.core.robust import DEVIATIONS, geman_mcclure, intrinsic_deviation
from dlir.core.tables import LINEAR_PARTS
from dlir.core.tile_graph import differences, groups, neighbourhood, normal_of_differences
from dlir.placement.measurements import Measurements
from dlir.placement.solver import FREE_PARTS

MOST_TILES = 5000  # of larger datasets, so many adjacent tiles decide
FOLDS = 24  # groups of pairs that are predicted in turn: the smaller they are, the more neighbours of a pair remain
LEAST_PREDICTED = 100  # pairs: when so many are predicted, no further fold is needed
REAL_SHARE = 0.35  # of the square of a real linear part, at least, is predicted by other pairs
CHANCE = 0.05  # probability at most, by which a part that is not real passes because the errors around all loops cancel
LEAST_REDUNDANCY = 0.2  # share of pairs beyond those that just join the tiles, without which covariances are not corrected
LEAST_FACTOR = 0.1  # of a deviation that a method reports: translations have equal linear parts, which look perfectly exact
TAIL = 0.9  # quantile of the pairs that decides this factor: a few pairs are far less certain than most
ROUNDS, COOLING = 6, 0.7  # of the robust fit of a linear part, and the factor of its tolerance from round to round
LEAST_DISTANCE = 1e-5  # of a linear part from what pairs have in common; no closer pair counts more
GAUGE = 1e-3  # px^2, keeps a single row of tiles solvable
LARGEST_SQUARE = 9.0  # in variances: a pair with a larger squared error counts as one with this


class TileModel(NamedTuple):
    """Which linear parts of the tiles are free, and why."""

    name: str
    deviations: Array  # (free,) standard deviation of the tiles' linear parts along BASIS, of those that are free
    predicted_share: Array  # (4,) share of the square of each part that other pairs predict; negative where they mislead

    def described(self) -> str:
        """The shares as text: 72 % of the rotation, 31 % of the scale, ..."""
        shares = zip(self.predicted_share.clip(0), LINEAR_PARTS, strict=True)
        return ", ".join(f"{100 * share:.0f} % of the {part}" for share, part in shares)


def choose_model(pairs: Measurements, count: int, name: str = "auto") -> tuple[Measurements, TileModel]:
    """Returns the tile model of that name for `count` tiles, and the measurements of the pairs as this model takes them.

    With `auto`, it is the simplest model that has all real parts. Parts that are not free are known to be zero; what a pair
    measures of them is its error, which corrects the other parts.
    """
    chosen = choose(calibrated(pairs, count), count, name)
    free = len(chosen.deviations)
    return calibrated(pairs.with_known_linear_parts(free), count, free), chosen


def choose(pairs: Measurements, count: int, name: str = "auto") -> TileModel:
    """Returns the tile model of that name for `count` tiles; with `auto` the simplest that has all real parts."""
    pairs, count = _neighbouring(pairs, count)
    deviations, predicted = np.full(len(BASIS), DEVIATIONS[0]), np.zeros(len(BASIS))
    for k in range(len(BASIS)) if len(pairs.i) else ():
        deviations[k], predicted[k] = _predicted_share(pairs, count, k)
    if name == "auto":
        real = np.flatnonzero(predicted > _needed_share(_loops(pairs, count)))
        free = min(free for free in FREE_PARTS.values() if free > (real.max() if len(real) else -1))
        name = next(name for name, value in FREE_PARTS.items() if value == free)
    return TileModel(name, deviations[: FREE_PARTS[name]], predicted)


def calibrated(pairs: Measurements, count: int, free: int = len(BASIS)) -> Measurements:
    """Returns the measurements with smaller covariances of the first `free` linear parts, where the pairs show that these hold.

    A method may measure turns and scales more exactly than it reports. How well the pairs agree around loops of tiles, after
    each tile got the linear parts that fit best, shows how exact they are.
    """
    some, number = _neighbouring(pairs, count)
    redundancy = _loops(some, number) / max(len(some.i), 1)
    if redundancy < LEAST_REDUNDANCY:
        return pairs
    factor = np.ones(len(BASIS))  # of the standard deviation of each part
    for k in range(free):
        difference, variance = some.linear[:, k], some.linear_covariance[:, k, k]
        value = _fit_linear_part(some.i, some.j, difference, variance, DEVIATIONS[-1], number)
        square = (difference - value[some.j] + value[some.i]) ** 2 / variance
        observed = np.sqrt(np.quantile(square, TAIL) / chdtri(1, 1 - TAIL) / redundancy)
        factor[k] = np.clip(observed, LEAST_FACTOR, 1.0)
    return pairs._replace(linear_covariance=pairs.linear_covariance * np.outer(factor, factor))


def _loops(pairs: Measurements, count: int) -> int:
    """The number of independent loops of pairs: of the pairs beyond those that just join the `count` tiles."""
    return int(len(pairs.i) - count + groups(pairs.i, pairs.j, count).max() + 1)


def _needed_share(loops: int) -> float:
    """The share of the square of a part that the other pairs have to predict.

    The prediction of a pair has the errors of the other three around a loop. So where nothing is real, its square is about four
    times that of the pair, on average over the loops; by chance it is smaller, as the chi-square distribution says.
    """
    by_chance = 4 * float(chdtri(max(loops, 1), 1 - CHANCE)) / max(loops, 1)
    return max(REAL_SHARE, 1 - by_chance)


def _neighbouring(pairs: Measurements, count: int) -> tuple[Measurements, int]:
    """Returns the pairs between at most MOST_TILES adjacent tiles, which are numbered anew, and how many tiles these are."""
    if count <= MOST_TILES:
        return pairs, count
    tiles = neighbourhood(pairs.i, pairs.j, count, MOST_TILES)
    number = np.full(count, -1)
    number[tiles] = np.arange(len(tiles))
    some = pairs.subset((number[pairs.i] >= 0) & (number[pairs.j] >= 0))
    return some._replace(i=number[some.i], j=number[some.j]), len(tiles)


def _predicted_share(pairs: Measurements, count: int, k: int) -> tuple[float, float]:
    """Returns the standard deviation of the tiles' linear part k, and the share of its square in a pair that others predict.

    The square is that about zero, or about what the pairs have in common, whichever is smaller. Each fold of pairs is predicted
    from all pairs outside it, by cross-validation.
    """
    difference, variance = pairs.linear[:, k], pairs.linear_covariance[:, k, k]
    deviation = intrinsic_deviation(lambda trial: difference**2 / (variance + 2 * trial**2), 1)
    fold = np.random.default_rng(0).permutation(len(difference)) % FOLDS
    folds = min(FOLDS, -(-FOLDS * LEAST_PREDICTED // len(difference)))
    # each fold has a copy of the tiles, and all copies are solved at once
    copy, rest = np.nonzero(fold != np.arange(folds)[:, None])
    i, j = pairs.i[rest] + copy * count, pairs.j[rest] + copy * count
    value = _fit_linear_part(i, j, difference[rest], variance[rest], deviation, folds * count).reshape(folds, count)
    left_out = fold < folds
    predicted = value[fold[left_out], pairs.j[left_out]] - value[fold[left_out], pairs.i[left_out]]
    common = _common_part(difference, pairs.offset, fold, folds)[left_out]
    errors = difference[left_out] - np.stack([np.zeros_like(common), common, predicted])
    squares = (errors / np.sqrt(variance[left_out] + 2 * deviation**2)) ** 2
    of_zero, of_common, of_prediction = np.minimum(squares, LARGEST_SQUARE).sum(axis=1)
    known = min(of_zero, of_common)
    return deviation, 1 - float(of_prediction / known) if known else 0.0


def _common_part(difference: Array, offset: Array, fold: NDArray[np.int64], folds: int) -> Array:
    """What (n,) the pairs have in common: their differences (n,) as far as they are linear in the offset (n, 2), px.

    That of each of the first `folds` folds (n,) follows from all pairs outside it, by least absolute errors; else it is zero.
    """
    others, slope = fold != np.arange(folds)[:, None], np.zeros((folds, 2))
    for _ in range(ROUNDS):
        weight = others / np.maximum(np.abs(difference - slope @ offset.T), LEAST_DISTANCE)  # (folds, n)
        normal = np.einsum("fn,na,nb->fab", weight, offset, offset, optimize=True) + GAUGE * np.eye(2)
        slope = np.linalg.solve(normal, (weight * difference @ offset)[:, :, None])[:, :, 0]
    left_out = fold < folds
    return np.where(left_out, (slope[np.where(left_out, fold, 0)] * offset).sum(axis=1), 0.0)


def _fit_linear_part(
    i: NDArray[np.int64], j: NDArray[np.int64], difference: Array, variance: Array, deviation: float, count: int
) -> Array:
    """Fits one linear part (count,) of all tiles to its differences (n,) between tiles j and i, robustly.

    Args:
        variance: (n,) of the differences.
        deviation: standard deviation of the part of a tile about zero.
    """
    to_differences, known = differences(i, j, count), np.full(count, 1 / deviation**2)
    weight, value = 1 / (variance + 2 * deviation**2), np.zeros(count)
    tolerance = float(np.median(np.abs(difference)))
    for _ in range(ROUNDS):
        value = factorised(normal_of_differences(i, j, weight, known)).solve(to_differences.T @ (weight * difference))
        tolerance *= COOLING
        wider = variance + tolerance**2
        square = (difference - to_differences @ value) ** 2 / wider
        scale = max(1.0, float(np.median(square)) / chdtri(1, 0.5))
        weight = geman_mcclure(square / scale) / wider
    return value
