"""How far the stage errs, from offsets that are known modulo a lattice, and which of several offsets is right then.

In a specimen that repeats itself, the offset of a pair is known up to a vector of the lattice, and so is the error of the
stage. As long as the stage errs by little against the period, the errors modulo the lattice cluster around zero. If it errs
by more, they fill the cell of the lattice evenly, with a standard deviation of 0.29 periods. If an upper
bound of their standard deviation is below a fifth of a period, nearly all nearest offsets are right.

The errors are taken, in this order, from

1. the nominal offsets of the pairs;
2. what the pairs of each side have in common, like the turn of the camera, if that is less than a quarter of a period;
3. the places of the tiles, after what the pairs have in common is taken off: a tile errs by less than a pair, which has the
   errors of two tiles. The errors of the tiles follow from those of the pairs, along the shortest ways from one tile of the
   largest group.

Where the pixels decided several pairs of a side, the others are expected where these lie in the median, not at the nominal
offset.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import breadth_first_order
from scipy.special import chdtri

from dlir.core.affine import Array
from dlir.core.tile_graph import groups
from dlir.registration.model.estimate import STUDENT_FREEDOM
from dlir.registration.model.period import across_lines, nearest, neighbours

LEAST_DECIDED = 3  # pairs of a side that the pixels decided, which show where the stage puts the others
SURE_SPREAD = 0.2  # of a period: half of a period is two and a half standard deviations at the bound, and more below it
TAIL = 0.01  # probability that the true scatter is above the bound that is taken
LARGEST_COMMON = 0.25  # of a period, that the pairs of a side may lie off their nominal offset in common
CLOSED = 1.5  # px: pairs that lie further from what their two tiles say were registered wrongly


class Errors(NamedTuple):
    """The errors of the stage at n pairs, known modulo a lattice."""

    error: Array  # (n, 2) px, of the offset from the nominal one
    decided: NDArray[np.bool_]  # (n,) whether the pixels decided it, so that it is known fully
    side: NDArray[np.object_]  # (n,) right or down
    fixed: NDArray[np.int64]  # (n,) numbers of the tiles, from 0
    moving: NDArray[np.int64]

    def of(self, chosen: NDArray[np.bool_]) -> "Errors":
        """Returns those of the chosen pairs (n,)."""
        error, decided, side = self.error[chosen], self.decided[chosen], self.side[chosen]
        return Errors(error, decided, side, self.fixed[chosen], self.moving[chosen])


def nearest_offsets(errors: Errors, vectors: Array) -> tuple[Array, Array]:
    """Returns the lattice vector (n, 2), px, from the most probable offset to that of each pair, and its probability (n,).

    Where the stage is not surely better than half of a period, all offsets around the nominal one are equally probable.

    Args:
        vectors: (1 or 2, 2) px, the shortest vectors of the lattice.
    """
    common, shown = _common(errors, vectors)
    centre, deviation = np.zeros_like(errors.error), np.full(len(shown), np.inf)
    small = np.abs(_fractions(common[~shown], vectors)).max(initial=0) <= LARGEST_COMMON
    trials = [(common * shown[:, None], 0)] + [(common, len(np.unique(errors.side)))] * int(small)
    for middle, fitted in trials:
        left = errors.error - middle
        left -= nearest(vectors, left) * ~errors.decided[:, None]
        if spread_bound(left, vectors, fitted) <= SURE_SPREAD:
            centre, deviation = middle, np.full(len(shown), _deviation(left, vectors))
            break
    else:
        if small:
            less = errors._replace(error=errors.error - common)
            expected, probability = _by_tiles(less, vectors)
            period = nearest(vectors, less.error - expected)
            closed = np.linalg.norm(across_lines(less.error - expected - period, vectors), axis=1) <= CLOSED
            by_nothing = tie_probability(centre, vectors, deviation)
            if (period[errors.decided] != 0).any():  # the pixels show that the stage errs by periods
                return period, by_nothing
            return period, np.where(closed, np.maximum(by_nothing, probability), by_nothing)
    period = nearest(vectors, errors.error - centre)
    return period, tie_probability(errors.error - centre - period, vectors, deviation)


def _common(errors: Errors, vectors: Array) -> tuple[Array, NDArray[np.bool_]]:
    """What the pairs of each side have in common (n, 2), px, and whether pairs that the pixels decided show it (n,)."""
    common, shown = np.zeros_like(errors.error), np.zeros(len(errors.side), bool)
    for of_side in (errors.side == name for name in np.unique(errors.side)):
        decided = of_side & errors.decided
        shown[of_side] = decided.sum() >= LEAST_DECIDED
        common[of_side] = (
            np.median(errors.error[decided], axis=0)
            if decided.sum() >= LEAST_DECIDED
            else common_part(errors.error[of_side], vectors)
        )
    return common, shown


def _by_tiles(errors: Errors, vectors: Array) -> tuple[Array, Array]:
    """The errors (n, 2) of pairs that the errors of their tiles add up to, px, and the probability (n,) that both are right.

    The probability is 0 where the stage errs by too much, and for pairs outside of the largest group.
    """
    count, numbers = int(max(errors.fixed.max(), errors.moving.max())) + 1, np.arange(len(errors.side))
    graph = sparse.csr_matrix((numbers + 1, (errors.fixed, errors.moving)), shape=(count, count))
    group = groups(errors.fixed, errors.moving, count)
    root = int(np.argmax(group == np.bincount(group).argmax()))
    order, before = breadth_first_order(graph, root, directed=False)
    between = {(i, j): error for i, j, error in zip(errors.fixed, errors.moving, errors.error, strict=True)}
    place = np.zeros((count, 2))
    for tile in order[1:]:
        start = before[tile]
        step = between[start, tile] if (start, tile) in between else -between[tile, start]
        place[tile] = place[start] + step
    left = place[order] - common_part(place[order], vectors)
    left -= nearest(vectors, left)
    probability = np.zeros(count)
    if spread_bound(left, vectors, 1 + len(np.unique(errors.side))) <= SURE_SPREAD:
        probability[order] = tie_probability(left, vectors, np.full(len(order), _deviation(left, vectors)))
    place[order] = left
    return place[errors.moving] - place[errors.fixed], probability[errors.fixed] * probability[errors.moving]


def tie_probability(left: Array, vectors: Array, deviation: Array) -> Array:
    """Returns the probability (n,) of the nearest of several offsets that differ by vectors of the lattice.

    Args:
        left: (n, 2) px, from where the offset is expected to the nearest of them.
        vectors: (1 or 2, 2) the shortest vectors of the lattice.
        deviation: (n,) px, of the expectation on either axis; where it is infinite, all offsets are equally probable.
    """
    around = across_lines(left[:, None] + neighbours(vectors), vectors)
    square = (around**2).sum(axis=2) / (STUDENT_FREEDOM * np.maximum(deviation, 1e-6) ** 2)[:, None]
    density = (1 + square) ** (-(STUDENT_FREEDOM + len(vectors)) / 2)
    return np.asarray(density[:, 0] / density.sum(axis=1))


def spread_bound(left: Array, vectors: Array, fitted: int = 0) -> float:
    """Returns an upper bound of the standard deviation of offsets, in the direction where it is largest against the period.

    Args:
        left: (n, 2) px, offsets from where they are expected, modulo the lattice.
        vectors: (1 or 2, 2) px, the shortest vectors of the lattice.
        fitted: how many expected offsets were fitted to them.

    Returns:
        in units of the period in that direction.
    """
    count = len(left) - fitted
    if count < 1:
        return np.inf
    freedom = count * len(vectors)
    square = (_fractions(left, vectors) ** 2).sum(axis=0).max() / count
    return float(np.sqrt(square * freedom / chdtri(freedom, 1 - TAIL)))


def common_part(errors: Array, vectors: Array) -> Array:
    """Returns the mean (2,), px, of errors (n, 2) that are known modulo a lattice: the one nearest to zero (circular mean)."""
    turns = errors @ np.linalg.pinv(vectors)
    mean = np.angle(np.exp(2j * np.pi * turns).mean(axis=0)) / (2 * np.pi) @ vectors
    return np.asarray(mean - nearest(vectors, mean[None])[0])


def _fractions(shifts: Array, vectors: Array) -> Array:
    """The shifts (n, 2) along each of the shortest vectors of a lattice, in units of its length (n, k)."""
    ends = neighbours(vectors)[1:]
    return np.asarray(shifts @ ends.T / (ends**2).sum(axis=1))


def _deviation(left: Array, vectors: Array) -> float:
    """The root mean square, px on either axis that the lattice knows, of offsets (n, 2)."""
    return float(np.sqrt((across_lines(left, vectors) ** 2).mean()))
