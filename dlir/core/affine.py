"""The one convention of affines and points, and the few operations on them.

Points are `(y, x)` in pixels, pixel centres at integers. An affine is a 2 x 3 array `[[yy, yx, y0], [xy, xx, x0]]`:

    Y = yy*y + yx*x + y0        X = xy*y + xx*x + x0

Every function takes stacks: affines are `(..., 2, 3)`, points `(..., 2)`. Tables hold an affine in the columns `COLUMNS`.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

COLUMNS = ["yy", "yx", "y0", "xy", "xx", "x0"]
Array = NDArray[np.float64]
# A small turn, scale, aspect and shear, as what they add to the identity
BASIS = np.array([[[0.0, 1.0], [-1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, -1.0]], [[0.0, 1.0], [1.0, 0.0]]])


def translation(offset: ArrayLike) -> Array:
    """The affine that moves by `offset` (..., 2), px."""
    offset = np.asarray(offset, float)
    return np.concatenate([np.broadcast_to(np.eye(2), (*offset.shape[:-1], 2, 2)), offset[..., None]], -1)


def linear(parts: Array) -> Array:
    """The linear parts (n, 2, 2) that lie `parts` (n, 4) along BASIS from the identity."""
    return np.asarray(np.eye(2) + np.einsum("nk,kab->nab", parts, BASIS))


def moving(at: Array, offset: Array, linear: Array) -> Array:
    """The affines (n, 2, 3) with the linear parts (n, 2, 2) that move a point (n, 2) by `offset` (n, 2)."""
    shift = offset + at - np.einsum("nab,nb->na", linear, at)
    return np.concatenate([linear, shift[:, :, None]], 2)


def compose(second: Array, first: Array) -> Array:
    """The affine that applies `first`, then `second`."""
    linear = second[..., :2] @ first[..., :2]
    return np.concatenate([linear, second[..., :2] @ first[..., 2:] + second[..., 2:]], -1)


def invert(affine: Array) -> Array:
    """The affine that undoes `affine`; numpy.linalg.LinAlgError where it is singular."""
    linear = np.linalg.inv(affine[..., :2])
    return np.concatenate([linear, -linear @ affine[..., 2:]], -1)


def apply(affine: Array, points: ArrayLike) -> Array:
    """The points (..., n, 2) that the affines (..., 2, 3) take `points` (..., n, 2) to."""
    return np.asarray(points, float) @ affine[..., :2].swapaxes(-1, -2) + affine[..., None, :, 2]


def corners(height: float, width: float) -> Array:
    """The centres (4, 2) of the corner pixels of an image."""
    bottom, right = height - 1, width - 1
    return np.array([[0, 0], [0, right], [bottom, 0], [bottom, right]], float)


def from_table(table: pd.DataFrame) -> Array:
    """The affines (n, 2, 3) in a table's columns."""
    return table[COLUMNS].to_numpy(float).reshape(-1, 2, 3)


def offsets(affines: Array, at: Array) -> Array:
    """How far (n, 2) affines (n, 2, 3) move a point (n, 2) each."""
    return apply(affines, at[:, None])[:, 0] - at


def to_columns(affines: Array) -> dict[str, Array]:
    """The columns of a table that hold the affines (n, 2, 3)."""
    return dict(zip(COLUMNS, affines.reshape(-1, 6).T, strict=True))
