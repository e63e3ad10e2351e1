"""The tiles as a graph, whose edges are the pairs: values at the tiles from their differences along the edges."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import breadth_first_order, connected_components
from scipy.sparse.linalg import SuperLU, splu

Tiles = NDArray[np.int64]  # (n,) one end of the pairs


def differences(i: Tiles, j: Tiles, count: int) -> sparse.csr_matrix:
    """The matrix (n, count) that takes values at the tiles to how much larger they are at j than at i."""
    ends, pairs = np.concatenate([i, j]), np.tile(np.arange(len(i)), 2)
    return sparse.csr_matrix((np.repeat([-1.0, 1.0], len(i)), (pairs, ends)), shape=(len(i), count))


def groups(i: Tiles, j: Tiles, count: int) -> NDArray[np.int64]:
    """The number (count,) of the group of tiles that pairs join, for each tile."""
    return np.asarray(connected_components(_edges(i, j, count), directed=False)[1], np.int64)


def neighbourhood(i: Tiles, j: Tiles, count: int, most: int) -> NDArray[np.int64]:
    """At most so many tiles that lie around one of them, of the largest group that pairs join; in order."""
    group = groups(i, j, count)
    largest = np.flatnonzero(group == np.bincount(group).argmax())
    found = breadth_first_order(_edges(i, j, count), largest[len(largest) // 2], directed=False, return_predecessors=False)
    return np.sort(found[:most]).astype(np.int64)


def _edges(i: Tiles, j: Tiles, count: int) -> sparse.csr_matrix:
    return sparse.csr_matrix((np.ones(len(i)), (i, j)), shape=(count, count))


def factorised(normal: sparse.spmatrix) -> SuperLU:
    """The factors of a symmetric positive definite matrix, with which it is solved."""
    options = {"SymmetricMode": True}
    return splu(sparse.csc_matrix(normal), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)
