"""Where tissue was stretched: how far what a round shows lies from where the first round shows it, as a smooth field.

What the first round shows at the point P of the common frame, this round, as its rigid tiles are placed, shows at P + f(P).
f is a cubic B-spline on a square grid of nodes P_k,

    f(P) = sum of  c_k b((P - P_k) / spacing),

so it is nowhere longer than the longest c_k, and fades out beyond the grid. The mosaic shows at P what lies at P + f(P). A tile
with the affine A has its pixel u there with  A u = P,  and so sees it at  u + E(u),  E(u) = A^-1 (A u + f(A u)) - u.  Together
with the distortion D of its camera that is a lens of this tile alone (`lens.py`), with the powers 0 to 5 of y and of x. All
tiles of a round follow one field, so neighbours stay joined.
"""

from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import sparse

from dlir.core import affine, lens, tables
from dlir.core.affine import Array
from dlir.core.lens import MOST_DEGREE, Lens

POWERS = np.array([(i, j) for i in range(MOST_DEGREE + 1) for j in range(MOST_DEGREE + 1)])  # of the terms of a bent tile
BEYOND = 0.02  # of a tile, by which the points reach beyond it at which its lens is fitted
COLUMNS = ["y", "x", "shift_y", "shift_x"]


class LocalField(NamedTuple):
    """A smooth field in the common frame."""

    spacing: float  # px, from node to node
    start: Array  # (2,) px, of the first node
    shifts: Array  # (rows, columns, 2) px, c_k

    @classmethod
    def over(cls, height: int, width: int, spacing: float) -> Self:
        """Returns the field that is 0 everywhere, with nodes for all of a mosaic of this size."""
        rows, columns = (int(np.ceil(length / spacing)) + 3 for length in (height, width))
        return cls(spacing, np.array([-spacing, -spacing]), np.zeros((rows, columns, 2)))

    def weights(self, points: ArrayLike) -> sparse.csr_matrix:
        """Returns how much each node counts (n, nodes) at points (n, 2), px."""
        at = (np.asarray(points, float) - self.start) / self.spacing
        first = np.floor(at).astype(np.int64)
        t = at - first
        each = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 1 + 3 * (t + t**2 - t**3), t**3], -1) / 6  # (n, 2, 4)
        nodes = first[:, :, None] + np.arange(-1, 3)
        size = np.array(self.shifts.shape[:2])
        each = np.where((nodes >= 0) & (nodes < size[:, None]), each, 0.0)
        nodes = nodes.clip(0, size[:, None] - 1)
        number = nodes[:, 0, :, None] * size[1] + nodes[:, 1, None]
        value = each[:, 0, :, None] * each[:, 1, None]
        row = np.repeat(np.arange(len(at)), 16)
        return sparse.csr_matrix((value.ravel(), (row, number.ravel())), shape=(len(at), int(size.prod())))

    def at(self, points: ArrayLike) -> Array:
        """Returns f (..., 2), px, at points (..., 2) of the common frame."""
        places = np.asarray(points, float)
        return np.asarray(self.weights(places.reshape(-1, 2)) @ self.shifts.reshape(-1, 2)).reshape(places.shape)

    def bent(self, own: Lens | None, size: ArrayLike, to_mosaic: Array) -> Lens:
        """Returns the lens of one tile of this size (y, x) with the affine `to_mosaic` (2, 3): by this field and `own`."""
        middle = (np.asarray(size, float) - 1) / 2
        points = middle + (1 + 2 * BEYOND) * (lens.grid(size) - middle)
        shown = affine.apply(to_mosaic, points)
        seen = affine.apply(affine.invert(to_mosaic), shown + self.at(shown))
        raw = seen if own is None else own.to_raw(seen)
        return Lens.of(size, np.linalg.lstsq(lens.basis(points, size, POWERS), raw - points, rcond=None)[0], POWERS, "found")

    def table(self) -> pd.DataFrame:
        """Returns the field as a table (tables.LOCAL)."""
        node = np.indices(self.shifts.shape[:2]).reshape(2, -1).T
        return pd.DataFrame(np.c_[self.start + self.spacing * node, self.shifts.reshape(-1, 2)], columns=COLUMNS)


def from_table(table: pd.DataFrame) -> LocalField | None:
    """Returns the field in a table (tables.LOCAL); None where it is empty."""
    if table.empty:
        return None
    y, x = (np.unique(table[axis]) for axis in "yx")
    ordered = table.sort_values(["y", "x"])[["shift_y", "shift_x"]].to_numpy()
    return LocalField(float(y[1] - y[0]), np.array([y[0], x[0]]), ordered.reshape(len(y), len(x), 2))


def read(path: Path | None) -> LocalField | None:
    """Reads local.csv; None where there is no such file, or no field. Raises TableError where it is damaged."""
    return from_table(tables.read(path, tables.LOCAL)) if path and path.is_file() else None


def bent_lenses(field: LocalField | None, lenses: list[Lens | None], sizes: ArrayLike, affines: Array) -> list[Lens | None]:
    """Returns the lens of each of n tiles, with these of their cameras; the same where there is no field.

    Args:
        sizes: (n, 2) px, of the tiles.
        affines: (n, 2, 3), to the common frame.
    """
    if field is None:
        return lenses
    return [field.bent(*each) for each in zip(lenses, np.asarray(sizes, int), affines, strict=True)]
