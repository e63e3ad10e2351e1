"""The map of each round: how its own frame lies to that of the first round, from the pairs of tiles of two rounds.

The own pairs of a round place its tiles: tile i by the affine W_i, in the own frame of its round. A pair with the affine A,
from tile j of round m to tile i of round f, shows the point q of tile j at p = A q of tile i. The maps R of the two rounds put
both at one place, and turn the tiles alike:

    R_f W_i p = R_m W_j q,    and the linear part of  R_f W_i A (R_m W_j)^-1  is the identity.

So a round is to these pairs what a tile is to the solver of the placement, and the same least squares finds shift, turn, scale,
aspect and shear of all rounds together (`placement/least_squares.py`), about the last maps (Gauss-Newton), robustly: from a
wide tolerance to the one that the pairs need. The map of the first round is the identity. Aspect and shear are taken in where
they are clearly larger than their standard deviation.

Tiles of a round that its own pairs do not join, its *islands*, lie to each other as the stage says. That errs by px, and by the
same for all tiles of an island. So each island has a shift of its own, which the stage tells as well as it does, and the
islands of a round have one turn and scale.

The maps have to be exact, since they turn all measurements: at 256 px from the middle of a tile, an error of 1e-5 is one of
.003 px. In a grid of 5 x 6 tiles, the places of the pairs tell turn and scale to about 1e-5, and their linear parts to 3e-5.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlir.core import affine, tables
from dlir.core.affine import BASIS, Array
from dlir.core.robust import INLIER, geman_mcclure
from dlir.core.tables import LINEAR_COVARIANCE
from dlir.core.tile_graph import groups
from dlir.placement.least_squares import least_squares, misfit, normal_matrix, residuals, reweighted
from dlir.placement.loops import LEAST_CONFIDENCE
from dlir.placement.measurements import Measurements
from dlir.placement.stage_model import LEAST_DEVIATION

STEPS, COOLING = 60, 0.65  # of Gauss-Newton, at most, and the factor of the tolerance from one to the next
CONVERGED = 1e-4  # px, in the middle of a round and at its edges
CLEAR = 4.0  # standard deviations, by which aspect and shear differ from zero
FIXED = 1e16  # precision of what is known for certain
LEAST_WIDTH = 1e-6  # px, and of turn and scale: nothing is known better before
ALIKE = 1e14  # precision of that the islands of a round are turned alike
TO_PARTS = BASIS.reshape(4, 4) / 2  # from the entries of a matrix to its parts along BASIS


class OwnTiles(NamedTuple):
    """The tiles of a round, as its own pairs place them."""

    affines: Array  # (n, 2, 3) W, from a pixel of the tile to the own frame of the round
    middles: Array  # (n, 2) px, of the tiles in the own frame
    deviation: Array  # (n,) px, of their places, both axes together
    group: NDArray[np.int64]  # (n,) number of the island of each tile: of the tiles that pairs join
    radius: float  # px, from the middle of all tiles to the corner of one that is farthest from it


class Islands(NamedTuple):
    """The islands that have pairs with other rounds, numbered from 0."""

    of_fixed: NDArray[np.int64]  # (n,) the island of the fixed tile of each pair
    of_moving: NDArray[np.int64]  # (n,)
    round: NDArray[np.int64]  # (islands,) the round of each
    main: NDArray[np.int64]  # (islands,) the island of the same round with the most pairs
    deviation: Array  # (islands,) px, on either axis, of where the stage puts it against that one


def fit_maps(
    own: Sequence[OwnTiles], between: pd.DataFrame, start: Array, deviation: Array, guess: Array | None = None
) -> Array:
    """Returns the maps R (rounds, 2, 3), from the own frames of the rounds to that of the first.

    Args:
        between: the accepted pairs of tiles of two rounds, with the columns of tables.AFFINES; fixed and moving are places in
            the lists of tiles, fixed_round and moving_round in the list of rounds.
        start: (rounds, 2, 3) the maps as they are known before. A round without pairs keeps its map, and so does the first of
            those that pairs join.
        deviation: (rounds,) px, by how much these may err at the edge of a round; it counts where pairs tell little.
        guess: (rounds, 2, 3) maps from which the search begins, where these are known better than the start.
    """
    if between.empty:
        return start.copy()
    start = _without_shear(start, np.stack([of.middles.mean(axis=0) for of in own]))
    fixed = np.zeros((len(own), 6), bool)
    joined = groups(between["fixed_round"].to_numpy(), between["moving_round"].to_numpy(), len(own))
    fixed[np.unique(joined, return_index=True)[1]] = True  # of rounds that pairs join, nothing tells turn and scale of all
    maps, variance = _fitted(own, between, start, deviation, fixed, start if guess is None else guess)
    unclear = np.abs(_parts(maps[:, :, :2])[:, 2:]) < CLEAR * np.sqrt(variance[:, 4:])
    if not unclear.any():
        return maps
    fixed[:, 4:] |= unclear
    return _fitted(own, between, start, deviation, fixed, maps)[0]


def _without_shear(maps: Array, centres: Array) -> Array:
    """Returns the maps (n, 2, 3) without aspect and shear; they move the points (n, 2) as before."""
    linear = maps[:, :, :2]
    similar = (linear + np.linalg.inv(linear).mT * np.linalg.det(linear)[:, None, None]) / 2
    return affine.moving(centres, affine.offsets(maps, centres), similar)


def _fitted(
    own: Sequence[OwnTiles], between: pd.DataFrame, start: Array, deviation: Array, fixed: NDArray[np.bool_], guess: Array
) -> tuple[Array, Array]:
    """Returns the maps (rounds, 2, 3), and the variances (rounds, 6) of their shifts and of their parts along BASIS.

    Args:
        fixed: (rounds, 6) which of these are those of the start.
    """
    radius, islands = np.array([of.radius for of in own]), _islands(own, between)
    lever, tolerance, maps = float(np.median(radius)), np.inf, guess.copy()
    centres = np.stack([of.middles.mean(axis=0) for of in own])[:, None]
    shift = np.zeros((len(islands.round), 2))  # px, of each island against the map of its round
    mains, zero = np.flatnonzero(islands.main == np.arange(len(shift))), np.zeros((len(maps), 4))
    of_main = islands.round[mains]
    for _ in range(STEPS):
        at = affine.apply(maps, centres)[:, 0]
        seen = _measurements(own, between, maps, at)._replace(i=islands.of_fixed, j=islands.of_moving)
        residual = residuals(seen, at[islands.round] + shift, zero[islands.round])
        typical = misfit(seen.shrunk(residual))
        tolerance = max(min(COOLING * tolerance, INLIER * typical), typical)
        wide = np.full(len(residual), tolerance)
        weight, spread = reweighted(residual, seen.covariance, wide, 1.0, seen)
        linear_weight, linear_spread = reweighted(seen.linear, seen.linear_covariance, wide / lever, 1.0, seen)
        precisions = [w[:, None, None] * np.linalg.inv(s) for w, s in ((weight, spread), (linear_weight, linear_spread))]
        tied, of_shift, of_linear = _with_ties(seen, islands, shift, precisions[0], precisions[1])
        before = np.c_[affine.apply(start, centres)[:, 0], _parts(start[:, :, :2] @ np.linalg.inv(maps[:, :, :2]))]
        # like the pairs, the start is taken for less exact at first; how far a round is shifted, the pairs alone know
        edge = np.hypot(deviation, tolerance)
        wide = np.c_[np.maximum(10 * edge, radius), edge / radius][:, [0, 0, 1, 1, 1, 1]]
        known = np.zeros((len(shift), 6))
        known[mains] = np.where(fixed, FIXED, np.maximum(wide, LEAST_WIDTH) ** -2.0)[of_main]
        solved = least_squares(tied, of_shift, of_linear, before[islands.round], known)
        shift = solved[:, :2] - solved[islands.main, :2]
        step = np.c_[at * 0, zero]
        step[of_main] = solved[mains] - np.c_[at, zero][of_main]
        maps = affine.compose(affine.moving(at, step[:, :2], affine.linear(step[:, 2:])), maps)
        moved = (np.abs(step[:, :2]).max(axis=1) + radius * np.abs(step[:, 2:]).max(axis=1)).max()
        if moved < CONVERGED and tolerance == typical:
            break
    variance = np.zeros((len(maps), 6))
    variance[of_main] = np.diag(np.linalg.inv(normal_matrix(tied, of_shift, of_linear, known).toarray())).reshape(-1, 6)[mains]
    maps[fixed.all(axis=1)] = start[fixed.all(axis=1)]
    return maps, variance


def _islands(own: Sequence[OwnTiles], between: pd.DataFrame) -> Islands:
    """Returns the islands that have pairs with other rounds."""
    ends = []
    for end in ("fixed", "moving"):
        of, tile = between[f"{end}_round"].to_numpy(np.int64), between[end].to_numpy(np.int64)
        ends.append(np.c_[of, [own[k].group[number] for k, number in zip(of, tile, strict=True)]])
    keys, index, count = np.unique(np.concatenate(ends), axis=0, return_inverse=True, return_counts=True)
    of_fixed, of_moving = np.split(index.ravel(), 2)
    order = np.lexsort((-count, keys[:, 0]))  # in each round, the island with the most pairs comes first
    main = order[np.searchsorted(keys[order, 0], keys[:, 0])]
    least = np.array([own[k].deviation[own[k].group == group].min() for k, group in keys])
    return Islands(of_fixed, of_moving, keys[:, 0], main, np.sqrt((least**2 + least[main] ** 2) / 2))


def _with_ties(
    pairs: Measurements, islands: Islands, shift: Array, precision: Array, linear_precision: Array
) -> tuple[Measurements, Array, Array]:
    """Returns the pairs and their precisions, with a pair from the main island of each round to each other one of it.

    Such a pair knows how these lie to each other as well as the stage does, robustly, and that they are turned alike.
    """
    other = np.flatnonzero(islands.main != np.arange(len(shift)))
    zero, deviation = np.zeros((len(other), 2)), islands.deviation[other].clip(min=LEAST_DEVIATION)
    ties = pairs.subset(np.zeros(len(pairs.i), bool))._replace(
        i=islands.main[other], j=other, at_i=zero, at_j=zero, linear=np.zeros((len(other), 4))
    )
    joined = {
        name: np.concatenate([getattr(of, name) for of in (pairs, ties)]) for name in ("i", "j", "at_i", "at_j", "linear")
    }
    weight = geman_mcclure((shift[other] ** 2).sum(axis=1) / deviation**2) / deviation**2
    return (
        pairs._replace(**joined),
        np.concatenate([precision, weight[:, None, None] * np.eye(2)]),
        np.concatenate([linear_precision, np.broadcast_to(ALIKE * np.eye(4), (len(other), 4, 4))]),
    )


def _parts(linear: Array) -> Array:
    """The parts (n, 4) of matrices (n, 2, 2) along BASIS, less the identity."""
    return np.asarray((linear - np.eye(2)).reshape(-1, 4) @ TO_PARTS.T)


def _measurements(own: Sequence[OwnTiles], between: pd.DataFrame, maps: Array, centres: Array) -> Measurements:
    """Returns what the pairs measure of the rounds, where these lie by `maps`, as of tiles with middles at `centres` (n, 2)."""
    fixed, moving = (between[f"{end}_round"].to_numpy(np.int64) for end in ("fixed", "moving"))
    placed = [affine.compose(maps[number], of.affines) for number, of in enumerate(own)]
    first = np.cumsum([0, *map(len, placed)])
    every, variance = np.concatenate(placed), np.concatenate([_variance_in_island(of) for of in own])
    i, j = first[fixed] + between["fixed"].to_numpy(), first[moving] + between["moving"].to_numpy()
    pair, centre = affine.from_table(between), between[["centre_y", "centre_x"]].to_numpy()[:, None]
    of_fixed = affine.compose(every[i], pair)
    at_fixed, at_moving = (affine.apply(affines, centre)[:, 0] for affines in (of_fixed, every[j]))
    confidence = between["confidence"].clip(lower=LEAST_CONFIDENCE).to_numpy()
    linear = of_fixed[:, :, :2] @ np.linalg.inv(every[j][:, :, :2])
    turned = turn_covariance(tables.shift_covariance(between), every[i][:, :, :2])
    of_places = variance[i] + variance[j] + LEAST_DEVIATION**2
    covariance = turned / confidence[:, None, None] + of_places[:, None, None] * np.eye(2)
    of_entries = between[LINEAR_COVARIANCE].to_numpy().reshape(-1, 4, 4)
    of_entries = turn_linear_covariance(of_entries, every[i][:, :, :2], every[j][:, :, :2])
    of_parts = TO_PARTS @ of_entries @ TO_PARTS.T / confidence[:, None, None]
    return Measurements(
        fixed, moving, at_fixed - centres[fixed], at_moving - centres[moving], covariance, _parts(linear), of_parts, confidence,
        certain=(between["method"] == "user").to_numpy(), of_rounds=np.ones(len(between), bool),
        loss_bound=np.ones(len(between)),
    )  # fmt: skip


def _variance_in_island(own: OwnTiles) -> Array:
    """The variance (n,), px^2, on either axis, of the place of each tile against its island."""
    least = np.full(own.group.max() + 1, np.inf)
    np.minimum.at(least, own.group, own.deviation)
    return np.asarray((own.deviation**2 - least[own.group] ** 2) / 2)


def turn_covariance(covariance: Array, linear: Array) -> Array:
    """Returns the covariances (n, 2, 2) of shifts that are turned by the matrices `linear` (n, 2, 2)."""
    return np.asarray(linear @ covariance @ linear.mT)


def turn_linear_covariance(covariance: Array, fixed: Array, moving: Array) -> Array:
    """Returns the covariances (n, 4, 4) of the entries of  fixed A moving^-1, row by row, where those of A are `covariance`.

    Args:
        fixed, moving: (n, 2, 2) matrices.
    """
    inverse = np.linalg.inv(moving)
    by = np.einsum("nab,ndc->nacbd", fixed, inverse).reshape(-1, 4, 4)
    return np.asarray(by @ covariance @ by.mT)
