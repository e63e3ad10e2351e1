"""The graph of the tiles, whose edges are the pairs: connected groups, and values of tiles from differences along pairs.

The pairs of a graph are two arrays, i and j: pair k joins the tiles i[k] and j[k], numbered from 0 to `count` - 1.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import breadth_first_order, connected_components

from dlir.core.affine import Array

Tiles = NDArray[np.int64]  # (n,) the first or the second tile of each pair


def differences(i: Tiles, j: Tiles, count: int) -> sparse.csr_matrix:
    """Returns the matrix D (n, count) with (D v)[k] = v[j[k]] - v[i[k]] for values v (count,) of the tiles."""
    ends, pairs = np.concatenate([i, j]), np.tile(np.arange(len(i)), 2)
    return sparse.csr_matrix((np.repeat([-1.0, 1.0], len(i)), (pairs, ends)), shape=(len(i), count))


def normal_of_differences(i: Tiles, j: Tiles, weight: Array, known: Array) -> sparse.csc_matrix:
    """Returns D' diag(weight) D + diag(known), with D = differences(i, j, count): the normal equations of values of the tiles.

    Args:
        weight: (n,) of the difference along each pair.
        known: (count,) how well the value of each tile is known to be zero.
    """
    tile = np.arange(len(known))
    values = np.concatenate([known, weight, weight, -weight, -weight])
    rows, columns = np.concatenate([tile, i, j, i, j]), np.concatenate([tile, i, j, j, i])
    return sparse.csc_matrix((values, (rows, columns)), shape=(len(known), len(known)))


def groups(i: Tiles, j: Tiles, count: int) -> NDArray[np.int64]:
    """Returns for each tile the number (count,) of its group: the tiles that pairs join, directly or through others."""
    return np.asarray(connected_components(_edges(i, j, count), directed=False)[1], np.int64)


def numbered_by_size(group: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the groups (count,) of tiles numbered anew: 0 is the largest; of two as large, the one with the first tile."""
    _, first, group, size = np.unique(group, return_index=True, return_inverse=True, return_counts=True)
    number = np.empty(len(size), np.int64)
    number[np.lexsort((first, -size))] = np.arange(len(size))
    return number[group]


def bridges(i: Tiles, j: Tiles, count: int) -> NDArray[np.bool_]:
    """Returns which pairs (n,) are bridges: without such a pair, its two tiles would lie in different groups.

    Each pair outside a spanning forest gets a random label. A pair of the forest is a bridge if the labels of all pairs that
    leave the subtree below it cancel out, which they do for another pair with a chance of 2^-48 (Pritchard and Thurimella, ACM
    Transactions on Algorithms 7, 2011).
    """
    _, first = np.unique(groups(i, j, count), return_index=True)
    root = count  # a further tile, from which all groups hang
    edges = _edges(np.r_[i, np.full(len(first), root)], np.r_[j, first], count + 1)
    order, parent = breadth_first_order(edges, root, directed=False)
    lower = np.where(parent[j] == i, j, np.where(parent[i] == j, i, root))  # the tile below each pair of the forest
    _, chosen = np.unique(lower, return_index=True)  # of two pairs of the same tiles, one belongs to the forest
    in_forest = (lower != root) & np.isin(np.arange(len(i)), chosen)
    label = np.where(in_forest, 0, np.random.default_rng(0).integers(1, 2**48, len(i)))
    total = np.zeros(count + 1, np.int64)
    np.add.at(total, i, label)
    np.subtract.at(total, j, label)
    sums, above = total.tolist(), parent.tolist()
    for tile in order[:0:-1].tolist():
        sums[above[tile]] += sums[tile]
    return np.asarray(in_forest & np.array([sums[tile] == 0 for tile in lower], bool))


def neighbourhood(i: Tiles, j: Tiles, count: int, most: int) -> NDArray[np.int64]:
    """Returns the up to `most` tiles nearest to one tile of the largest group, counted in pairs, in ascending order."""
    group = groups(i, j, count)
    largest = np.flatnonzero(group == np.bincount(group).argmax())
    found = breadth_first_order(_edges(i, j, count), largest[len(largest) // 2], directed=False, return_predecessors=False)
    return np.sort(found[:most]).astype(np.int64)


def _edges(i: Tiles, j: Tiles, count: int) -> sparse.csr_matrix:
    return sparse.csr_matrix((np.ones(len(i)), (i, j)), shape=(count, count))
