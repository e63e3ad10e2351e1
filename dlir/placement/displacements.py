"""Displacements: how far each tile lies from where the stage says, by the pairs alone, and which pairs testify to it.

A pair measures the difference of the displacements d of its tiles,

    l = (offset) - (M s_j - M s_i) = d_j - d_i

1. d minimises  sum trust |d_j - d_i - l|,  by reweighted least squares (L1, which a minority of wrong pairs does not move far).
   Pairs none of whose loops closes have little trust.
2. A pair *testifies* where it fits d and lies on a loop of other such pairs: two wrong pairs seldom agree. The tiles that such
   pairs join are a *body*.
3. Where L1 was misled between two bodies, and two of the other pairs between them agree with each other better than the rest,
   one body is moved to where these pairs say; then they testify too.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from dlir.core.affine import Array
from dlir.core.factors import factorised
from dlir.core.tile_graph import bridges, differences, groups, normal_of_differences
from dlir.placement.loops import Loops, loops_of_four, loops_of_three
from dlir.placement.measurements import Measurements

FIT = 1.0  # px, by which a pair or a loop may miss and still be right; or four standard deviations
DOUBTED = 0.05  # trust in a pair that has loops, none of which closes
ROUNDS = 12  # of reweighting
LEAST_MISS = 0.1  # px: no pair that fits better counts more
GAUGE = 1e-7  # 1/px^2, weight with which displacements tend to zero
MOVES = 10  # rounds, at most, in which bodies are moved


class Displacements(NamedTuple):
    """How far tiles lie from where the stage says."""

    of_tile: Array  # (tiles, 2) px
    testifying: NDArray[np.bool_]  # (n,) pairs that fit it and lie on a loop of others that do


def displacements(pairs: Measurements, off: Array, variance: Array, count: int) -> Displacements:
    """Returns the displacements of `count` tiles, and which of the pairs testify to them.

    Args:
        off: (n, 2) px, l.
        variance: (n,) px^2, of l on the worst axis.
    """
    of_tile = _least_absolute(pairs, off, _trust(pairs, off, variance), count)
    tolerance, testifying = _tolerance(variance), np.zeros(len(off), bool)
    for _ in range(MOVES):
        miss = off - (of_tile[pairs.j] - of_tile[pairs.i])
        fitting = np.flatnonzero(np.linalg.norm(miss, axis=1) < tolerance)
        testifying[:] = False
        testifying[fitting[~bridges(pairs.i[fitting], pairs.j[fitting], count)]] = True
        body = groups(pairs.i[testifying], pairs.j[testifying], count)
        move = _moves(pairs, miss, tolerance, body)
        if not move.any():
            break
        of_tile = of_tile + move[body]
    return Displacements(of_tile, testifying)


def _trust(pairs: Measurements, off: Array, variance: Array) -> Array:
    """The weight (n,) of each pair by its own exactness, and by whether a loop of three or four pairs supports it."""
    closed, every = np.zeros(len(off), np.int64), np.zeros(len(off), np.int64)
    for loops in (loops_of_three(pairs.i, pairs.j), loops_of_four(pairs.i, pairs.j)):
        closes = _close(loops, off, variance)
        closed += np.bincount(loops.pairs[closes].ravel(), minlength=len(off))
        every += np.bincount(loops.pairs.ravel(), minlength=len(off))
    supported = (closed > 0) | (every == 0) | pairs.certain
    return np.asarray(np.where(supported, 1.0, DOUBTED) * pairs.loss_bound)


def _close(loops: Loops, off: Array, variance: Array) -> NDArray[np.bool_]:
    """Which loops (m,) close."""
    gap = np.einsum("mp,mpa->ma", loops.signs, off[loops.pairs])
    return np.asarray(np.linalg.norm(gap, axis=1) < _tolerance(variance[loops.pairs].sum(axis=1)))


def _tolerance(variance: Array) -> Array:
    """The distance (n,), px, within which offsets of this variance (n,) agree."""
    return np.asarray(np.maximum(FIT, 4 * np.sqrt(variance)))


def _least_absolute(pairs: Measurements, off: Array, trust: Array, count: int) -> Array:
    """The displacements (count, 2), px, that minimise the weighted sum of the absolute residuals."""
    to_differences, weight, found = differences(pairs.i, pairs.j, count), trust, np.zeros((count, 2))
    for _ in range(ROUNDS if len(off) else 0):
        normal = normal_of_differences(pairs.i, pairs.j, weight, np.full(count, GAUGE))
        found = np.asarray(factorised(normal).solve(to_differences.T @ (weight[:, None] * off)))
        weight = trust / np.maximum(np.linalg.norm(off - to_differences @ found, axis=1), LEAST_MISS)
    return found


def _moves(pairs: Measurements, miss: Array, tolerance: Array, body: NDArray[np.int64]) -> Array:
    """How far (bodies, 2), px, to move bodies, so that pairs between two bodies fit that agree with each other; mostly zero.

    Args:
        miss: (n, 2) px, by how much the pairs miss the displacements.
        tolerance: (n,) px, within which a pair agrees with another.
        body: (tiles,) number of the body of each tile.
    """
    moves = np.zeros((body.max() + 1, 2))
    between = np.flatnonzero(body[pairs.i] != body[pairs.j])
    if not len(between):
        return moves
    ends = np.sort(np.c_[body[pairs.i], body[pairs.j]][between], axis=1)
    # px, where the second body has to go, as seen from the first
    vote = miss[between] * np.where(body[pairs.j[between]] == ends[:, 1], 1, -1)[:, None]
    edge = np.unique(ends, axis=0, return_inverse=True)[1].ravel()
    scaled = np.c_[10.0 * edge, vote / tolerance[between, None]]
    alike = cKDTree(scaled).query_pairs(1.0, output_type="ndarray")
    first, second = np.r_[alike[:, 0], alike[:, 1]], np.r_[alike[:, 1], alike[:, 0]]
    voice = pairs.loss_bound[between]
    support = voice + np.bincount(first, voice[second], minlength=len(between))
    agree = np.bincount(first, minlength=len(between)) > 0
    best = pd.Series(support).groupby(edge).idxmax().to_numpy(int)
    best = best[agree[best]]
    size, moved, stays = np.bincount(body), np.zeros(len(moves), bool), np.zeros(len(moves), bool)
    for vote_index in best[np.argsort(-support[best], kind="stable")].tolist():
        other, mover = sorted(ends[vote_index].tolist(), key=lambda of: (-size[of], of))
        if moved[other] or moved[mover] or stays[mover]:
            continue
        moved[mover] = stays[other] = True
        mean = vote[np.r_[vote_index, second[first == vote_index]]].mean(axis=0)
        moves[mover] = mean if mover == ends[vote_index, 1] else -mean
    return moves
