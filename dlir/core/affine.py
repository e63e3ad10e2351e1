"""The one convention of affines and points, and the few operations on them.

Points are `(y, x)` in pixels, pixel centres at integers. An affine is a 2 x 3 array `[[yy, yx, y0], [xy, xx, x0]]`:

    Y = yy*y + yx*x + y0        X = xy*y + xx*x + x0

The 2 x 2 part `[[yy, yx], [xy, xx]]` is called the linear part. The functions take stacks: affines are `(..., 2, 3)`, points
`(..., 2)`. Tables hold an affine in the columns `COLUMNS`.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

COLUMNS = ["yy", "yx", "y0", "xy", "xx", "x0"]  # of an affine, row by row
Array = NDArray[np.float64]
# What a unit of rotation (rad), scale, aspect and shear each adds to the identity (4, 2, 2); for small values
BASIS = np.array([[[0.0, 1.0], [-1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, -1.0]], [[0.0, 1.0], [1.0, 0.0]]])


def translation(offset: ArrayLike) -> Array:
    """Returns the affines (..., 2, 3) that move every point by `offset` (..., 2), px."""
    offset = np.asarray(offset, float)
    return np.concatenate([np.broadcast_to(np.eye(2), (*offset.shape[:-1], 2, 2)), offset[..., None]], -1)


def linear(parts: Array) -> Array:
    """Returns the linear parts (n, 2, 2) with the rotation, scale, aspect and shear `parts` (n, 4), in units of BASIS."""
    return np.asarray(np.eye(2) + np.einsum("nk,kab->nab", parts, BASIS))


def moving(at: Array, offset: Array, linear: Array) -> Array:
    """Returns the affines (n, 2, 3) with the linear parts (n, 2, 2) that move the point `at` (n, 2) by `offset` (n, 2), px."""
    shift = offset + at - np.einsum("nab,nb->na", linear, at)
    return np.concatenate([linear, shift[:, :, None]], 2)


def compose(second: Array, first: Array) -> Array:
    """Returns the affine that applies `first`, then `second`."""
    linear = second[..., :2] @ first[..., :2]
    return np.concatenate([linear, second[..., :2] @ first[..., 2:] + second[..., 2:]], -1)


def invert(affine: Array) -> Array:
    """Returns the inverse of `affine`.

    Raises:
        numpy.linalg.LinAlgError: when `affine` is singular.
    """
    linear = np.linalg.inv(affine[..., :2])
    return np.concatenate([linear, -linear @ affine[..., 2:]], -1)


def apply(affine: Array, points: ArrayLike) -> Array:
    """Returns `points` (..., n, 2) after the affines (..., 2, 3)."""
    return np.asarray(points, float) @ affine[..., :2].swapaxes(-1, -2) + affine[..., None, :, 2]


def corners(height: ArrayLike, width: ArrayLike) -> Array:
    """Returns the centres (..., 4, 2) of the corner pixels of images: top left, top right, bottom left, bottom right.

    Args:
        height, width: (...) px, of one image or of several.
    """
    bottom, right = np.broadcast_arrays(np.asarray(height, float) - 1, np.asarray(width, float) - 1)
    zero = np.zeros_like(bottom)
    ends = [[zero, zero], [zero, right], [bottom, zero], [bottom, right]]
    return np.stack([np.stack(point, -1) for point in ends], -2)


def mosaic_size(affines: Array, sizes: NDArray[np.int64]) -> tuple[int, int]:
    """Returns the size (y, x), px, of the smallest array from (0, 0) on that holds all tiles, placed by affines (n, 2, 3).

    Args:
        sizes: (n, 2) px, of the tiles.
    """
    largest = apply(affines, corners(*sizes.T)).max((0, 1))
    rows, columns = np.ceil(largest - 1e-6).astype(int) + 1
    return int(rows), int(columns)


def offsets(affines: Array, at: Array) -> Array:
    """Returns how far (n, 2), px, the affines (n, 2, 3) move the points `at` (n, 2), one point for each affine."""
    return apply(affines, at[:, None])[:, 0] - at


def from_table(table: pd.DataFrame) -> Array:
    """Returns the affines (n, 2, 3) in the columns `COLUMNS` of a table."""
    return table[COLUMNS].to_numpy(float).reshape(-1, 2, 3)


def to_columns(affines: Array) -> dict[str, Array]:
    """Returns the affines (n, 2, 3) as the columns `COLUMNS` of a table."""
    return dict(zip(COLUMNS, affines.reshape(-1, 6).T, strict=True))
