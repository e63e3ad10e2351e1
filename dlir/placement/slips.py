"""Slips: where the pairs alone show that a part of the grid lies elsewhere than the stage says, by far more than it errs.

A stage errs by a little at each tile, and now and then loses steps: then a tile, a row or half of the grid lies far from where
it says. A prior with one standard deviation knows only the first. So the slips are found before the tiles are placed, from the
pairs alone, and taken out of the positions of the stage.

1. How far each tile lies from where the stage says, its displacement d, follows from the pairs alone (`displacements.py`), and
   so does which pairs testify to it.
2. Where d steps between two tiles of a testifying pair by more than the stage errs, the stage slipped. The grid falls into
   *parts* without such a step. The shift of a part is the median of d over its tiles, less that over the largest part.
3. Tiles of which no pair testifies go with the tile that pairs join them to and that agrees best with the stage, and groups of
   tiles that no pair joins to the others go with what lies around them.

A pair without which its tiles would not hang together has no loop that could support it. Where it says that the stage slipped,
the odds of that are those of the pair, c / (1 - c) for the confidence c, times the odds of a slip between two tiles.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree
from scipy.special import logit

from dlir.core.affine import Array
from dlir.core.tile_graph import Tiles, bridges, groups
from dlir.placement.displacements import displacements
from dlir.placement.loops import MOST_CONFIDENCE
from dlir.placement.measurements import Measurements
from dlir.placement.stage_model import Prior, error_of_pairs

STEP = 4.0  # times the stage's error of one tile: a larger step of d along both axes together is a slip
BROAD_STEP = 3.0  # likewise, for a step between the medians of d around two tiles
LEAST_STEP = 1.0  # px: a smaller step is no slip, however exact the stage
SLIP_PROBABILITY = 0.01  # of a slip between two neighbouring tiles, where the stage is not known to slip
MOST_SLIPS = 0.5  # of that probability, where it does
MOST_STEPS = 0.75  # share of the testifying pairs: where more lie across slips, the map to the camera is wrong instead
NEIGHBOURS = 4  # tiles around one that no pair joins to the others


class Slips(NamedTuple):
    """Where the stage slipped."""

    shift: Array  # (tiles, 2) px, from where the stage says to where the tile's part of the grid lies; zero in the largest part
    part: NDArray[np.int64]  # (tiles,) number of the part: tiles of one group of pairs with one shift
    single: NDArray[np.bool_]  # (pairs,) pairs without which their two tiles would not hang together
    probability: float  # of a slip between two neighbouring tiles
    scatter: Array  # (tiles,) px^2, variance on either axis of the shift of a tile that no pair joins to the largest group


def find_slips(pairs: Measurements, stage: Prior, linear_deviations: Array, by_one_pair: bool = True) -> Slips:
    """Returns where the stage slipped, as the pairs show it.

    Args:
        stage: before any tile is placed.
        linear_deviations: (free,) standard deviations of the tiles' linear parts, which offsets do not contain.
        by_one_pair: whether one pair that no loop supports may show a slip.
    """
    count, i, j = len(stage.prior), pairs.i, pairs.j
    group, single = groups(i, j, count), bridges(i, j, count)
    off = pairs.offset - (stage.prior[j] - stage.prior[i])
    turned = (linear_deviations**2).sum() * ((pairs.at_i**2).sum(axis=1) + (pairs.at_j**2).sum(axis=1)) / 2
    variance = np.linalg.eigvalsh(pairs.covariance)[:, 1] + turned
    wide_of_tile = np.maximum(STEP * np.broadcast_to(stage.error, (count, 2)), LEAST_STEP)
    wide = np.maximum(STEP * error_of_pairs(stage, i, j), LEAST_STEP)
    # along an edge a pair knows less than the stage, and shows no slip
    exact = pairs.more_exact_than(wide.min(axis=1) / STEP) | pairs.certain
    found = displacements(pairs.subset(exact), off[exact], variance[exact], count)
    testifying = np.flatnonzero(exact)[found.testifying]
    smooth = _smooth(found.of_tile, i[testifying], j[testifying], wide[testifying])
    if smooth.sum() < (1 - MOST_STEPS) * len(testifying):  # the map from stage to camera does not fit yet
        testifying = testifying[:0]
    large = ((off / wide) ** 2).sum(axis=1) > 2
    slipped = testifying[large[testifying]]
    probability = max(SLIP_PROBABILITY, min(len(slipped) / max(len(testifying), 1), MOST_SLIPS))
    surer = logit(pairs.confidence.clip(max=MOST_CONFIDENCE)) + logit(probability) > 0
    believed = np.flatnonzero(single & exact & large & ((surer & by_one_pair) | pairs.certain))
    testifying = np.union1d(testifying, believed)
    shift = _shifts_of_parts(found.of_tile, i[testifying], j[testifying], wide[testifying], wide_of_tile)
    scatter = np.zeros(count)
    if shift.any():
        told = np.isin(np.arange(count), np.r_[i[testifying], j[testifying]])
        shift = shift[_nearest_told(told, i, j, np.linalg.norm(off / wide, axis=1))]
        shift, scatter = _of_groups_around(shift, group, stage.prior)
        shift -= _commonest(shift, group)
        shift[stage.certain] = 0.0
        steps = shift[j[slipped]] - shift[i[slipped]]
        scatter += probability * float((steps**2).mean()) if len(steps) else 0.0
    part = np.unique(np.c_[group, shift], axis=0, return_inverse=True)[1].ravel().astype(np.int64)
    return Slips(shift, part, single, probability, scatter)


def _shifts_of_parts(displacement: Array, i: Tiles, j: Tiles, wide: Array, wide_of_tile: Array) -> Array:
    """Returns the shift (tiles, 2), px, of each tile's part against the largest part that testifying pairs i, j join it to.

    Args:
        wide: (n, 2) px, of a step along y and along x between the tiles of each pair.
        wide_of_tile: (tiles, 2) px, likewise, between two tiles like this one.
    """
    count, smooth = len(displacement), _smooth(displacement, i, j, wide)
    joined, part = groups(i, j, count), groups(i[smooth], j[smooth], count)
    middle, size = pd.DataFrame(displacement).groupby(part).transform("median").to_numpy(), np.bincount(part)[part]
    order = np.lexsort((part, -size, joined))  # in each joined group, the largest part comes first
    first = order[np.searchsorted(joined[order], np.arange(joined.max() + 1))]
    shift = middle - middle[first[joined]]
    # parts that no smooth step joins may still lie alike, as the rows above and below one that slipped
    left = np.lexsort((part, -size, (shift != 0).any(axis=1)))
    while len(left):
        alike = (((shift[left] - shift[left[0]]) / wide_of_tile[left]) ** 2).sum(axis=1) < (BROAD_STEP / STEP) ** 2
        shift[left[alike]] = shift[left[0]]
        left = left[~alike]
    return np.asarray(shift)


def _smooth(displacement: Array, i: Tiles, j: Tiles, wide: Array) -> NDArray[np.bool_]:
    """Which pairs (n,) join tiles that lie alike, and so do their neighbours."""
    around = _medians_around(displacement, i, j)
    step, broad = ((((values[j] - values[i]) / wide) ** 2).sum(axis=1) for values in (displacement, around))
    return np.asarray((step < 2) & (broad < (BROAD_STEP / STEP) ** 2))


def _medians_around(values: Array, i: Tiles, j: Tiles) -> Array:
    """The median (tiles, 2) of the values (tiles, 2) of each tile and of those that pairs join to it."""
    own = np.arange(len(values))
    tile, other = np.r_[own, i, j], np.r_[own, j, i]
    return np.asarray(pd.DataFrame(values[other]).groupby(tile).median().to_numpy())


def _nearest_told(told: NDArray[np.bool_], i: Tiles, j: Tiles, off: Array) -> NDArray[np.int64]:
    """The tile (tiles,) with testifying pairs that pairs join to each tile and that agrees best with the stage; else itself.

    Args:
        off: (n,) how far the pairs lie from where the stage says.
    """
    count = len(told)
    edges = sparse.csr_matrix((off + 1e-3, (i, j)), shape=(count, count))  # zero would be no edge
    _, _, source = dijkstra(edges, False, np.flatnonzero(told), return_predecessors=True, min_only=True)
    return np.where(source < 0, np.arange(count), source).astype(np.int64)


def _of_groups_around(shift: Array, group: NDArray[np.int64], places: Array) -> tuple[Array, Array]:
    """Moves each group of tiles with those of the largest group that lie around it.

    Returns:
        The shifts (tiles, 2), px, and the variance (tiles,), px^2, of the shifts around each tile about it, on either axis.
    """
    largest = group == np.bincount(group).argmax()
    shift, scatter = shift.copy(), np.zeros(len(shift))
    others = np.flatnonzero(~largest)
    if not len(others):
        return shift, scatter
    known = np.flatnonzero(largest)
    nearest = cKDTree(places[known]).query(places[others], k=range(1, min(NEIGHBOURS, len(known)) + 1))[1]
    around = shift[known[nearest]] - shift[others][:, None]
    for members in pd.DataFrame(index=others).groupby(group[others]).groups.values():
        candidates = around[np.searchsorted(others, members)].reshape(-1, 2)
        values, counts = np.unique(candidates, axis=0, return_counts=True)
        apart = np.linalg.norm(values[:, None] - values, axis=2)
        chosen = values[(apart @ counts).argmin()]  # the one that lies nearest to all others
        shift[members] += chosen
        scatter[members] = ((candidates - chosen) ** 2).sum(axis=1).mean() / 2
    return shift, scatter


def _commonest(shift: Array, group: NDArray[np.int64]) -> Array:
    """The shift (2,), px, of most tiles of the largest group."""
    values, counts = np.unique(shift[group == np.bincount(group).argmax()], axis=0, return_counts=True)
    return np.asarray(values[counts.argmax()])
