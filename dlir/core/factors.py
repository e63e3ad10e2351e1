"""The factors of sparse matrices that are symmetric and positive definite, which solve linear systems.

The order of the rows decides how many numbers the factors have. To find a good one (minimum degree; George and Liu, SIAM Review
31, 1989) takes several times as long as the factors themselves, and it follows from where the matrix is not zero. A robust fit
solves the same system again and again, with other weights. So the orders of the last matrices are kept.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import SuperLU, splu

from dlir.core.affine import Array

KEPT = 16  # orders, at most


class Order(NamedTuple):
    """A good order of the rows and columns of a matrix, and where the matrix is not zero in this order."""

    rows: NDArray[np.int64]  # (n,) of the matrix
    entries: NDArray[np.int64]  # (m,) of its data
    indices: NDArray[np.int32]  # (m,) of the ordered matrix, and where its columns begin
    starts: NDArray[np.int32]

    @classmethod
    def of(cls, matrix: sparse.csc_matrix, rows: NDArray[np.int64]) -> "Order":
        """Returns the order with these rows of a matrix."""
        numbered = sparse.csc_matrix((np.arange(1.0, matrix.nnz + 1), matrix.indices, matrix.indptr), shape=matrix.shape)
        ordered = numbered[rows][:, rows].tocsc()
        ordered.sort_indices()
        return cls(rows, ordered.data.astype(np.int64) - 1, ordered.indices, ordered.indptr)


class Factors(NamedTuple):
    """The factors of a matrix, of whose rows they have the order `rows` (n,)."""

    lu: SuperLU
    rows: NDArray[np.int64]

    def solve(self, side: Array) -> Array:
        """Returns the solution (n, ...) of the linear system with this right side (n, ...)."""
        found = np.empty_like(side, float)
        found[self.rows] = self.lu.solve(np.asarray(side, float)[self.rows])
        return found


_orders: dict[tuple[bytes, bytes], Order] = {}  # by where a matrix is not zero, the latest last


def factorised(normal: sparse.spmatrix) -> Factors:
    """Returns the factors of a symmetric positive definite matrix (n, n)."""
    matrix, options = sparse.csc_matrix(normal), {"SymmetricMode": True}
    matrix.sum_duplicates()
    key = matrix.indptr.tobytes(), matrix.indices.tobytes()
    if key not in _orders:
        first = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)
        if len(_orders) >= KEPT:
            del _orders[next(iter(_orders))]
        _orders[key] = Order.of(matrix, np.argsort(first.perm_c))  # `first` would round otherwise than the next ones
    order = _orders[key] = _orders.pop(key)
    ordered = sparse.csc_matrix((matrix.data[order.entries], order.indices, order.starts), shape=matrix.shape)
    return Factors(splu(ordered, permc_spec="NATURAL", diag_pivot_thresh=0.0, options=options), order.rows)
