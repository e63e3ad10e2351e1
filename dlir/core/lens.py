"""The distortion of a camera: where its lens shows a pixel, against where an ideal lens would show it.

All tiles of a camera share it. The pixel u = (y, x) of an undistorted tile is seen at the raw pixel

    u + D(u),    D(u) = sum of  coefficient * v_y^i * v_x^j  over the powers 2 <= i + j <= 5,    v = (u - centre) / half,

where `centre` is the middle of the tile, and `half` the distance from there to the middle of a corner pixel, so that a
coefficient is in px at |v| = 1. There are no terms of degree 0 and 1: at its middle, an undistorted tile is neither shifted nor
turned nor scaled against the raw one. D is a function of undistorted pixels, so a tile is resampled without an inversion. A
radial distortion (k1: degree 3, k2: degree 5), one whose centre is off the middle, a tilted specimen (keystone: degree 2, and
little of the higher ones) and any smooth field are such polynomials (Brown 1966; Claus and Fitzgibbon, CVPR 2005).
"""

from collections.abc import Mapping
from functools import lru_cache
from math import ceil, floor
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from dlir.core import affine, tables
from dlir.core.affine import Array

LEAST_DEGREE, MOST_DEGREE = 2, 5  # of the terms
Powers = NDArray[np.int64]  # (n, 2), of v_y and v_x
POWERS: Powers = np.array([(d - j, j) for d in range(LEAST_DEGREE, MOST_DEGREE + 1) for j in range(d + 1)])  # all 18
NODES = np.cos(np.pi * (np.arange(MOST_DEGREE + 1) + 0.5) / (MOST_DEGREE + 1))  # Chebyshev's points
GRID = 41  # points along each side of a tile at which a polynomial is fitted to a field
CLOSE = 1e-7  # px, at which the inversion stops
MOST_STEPS = 100  # of the inversion
HALF_95 = 1.96  # standard deviations: half of a 95 % interval
STEEPEST = 0.5  # px by which the displacement may change from one px to the next: beyond, the tile nearly folds


class LensError(ValueError):
    """A distortion cannot be that of these tiles."""


class Lens(NamedTuple):
    """The distortion of a camera with tiles of one size."""

    size: tuple[int, int]  # height and width of the tiles, px
    powers: Powers  # (n, 2), of v_y and v_x
    coefficients: Array  # (n, 2), px along y and x
    interval: Array  # (n, 2), half of their 95 % intervals, px
    source: str = "found"  # or given

    @classmethod
    def of(cls, size: ArrayLike, coefficients: ArrayLike, powers: ArrayLike = POWERS, source: str = "given") -> Self:
        """Returns the lens with these coefficients (n, 2), px, without intervals."""
        height, width = np.asarray(size, int).tolist()
        chosen, numbers = np.asarray(powers, np.int64).reshape(-1, 2), np.asarray(coefficients, float).reshape(-1, 2)
        return cls((height, width), chosen, numbers, np.zeros_like(numbers), source)

    def displacement(self, points: ArrayLike) -> Array:
        """Returns how far (..., 2), px, undistorted `points` (..., 2) are seen from where they belong."""
        return np.asarray(basis(points, self.size, self.powers) @ self.coefficients)

    def to_raw(self, points: ArrayLike) -> Array:
        """Returns the raw pixels (..., 2) at which undistorted `points` (..., 2) are seen."""
        return np.asarray(np.asarray(points, float) + self.displacement(points))

    def from_raw(self, points: ArrayLike) -> Array:
        """Returns the undistorted pixels (..., 2) that are seen at raw `points` (..., 2); the inverse of `to_raw`.

        Raises:
            LensError: where the displacement is too steep to be inverted.
        """
        raw = np.asarray(points, float)
        found = raw - self.displacement(raw)
        with np.errstate(over="ignore", invalid="ignore"):  # where it does not converge
            for _ in range(MOST_STEPS):
                last, found = found, raw - self.displacement(found)
                if not np.size(found) or np.abs(found - last).max() < CLOSE:
                    return np.asarray(found)
        raise LensError(f"the distortion of tiles of {self.size[0]} x {self.size[1]} px folds them at some of these points")

    def on_grid(self, to_tile: Array, height: int, width: int) -> Array:
        """Returns the raw pixels (2, height, width) of a grid of points; exact and quick for many of them.

        On any affine grid the displacement is a polynomial of degree 5 of row and column, so it is known from 6 x 6 points
        (Lagrange's interpolation at Chebyshev's points).

        Args:
            to_tile: (2, 3), from row and column of the grid to px of the undistorted tile.
        """
        rows, columns = self.interpolants(to_tile, height, width)
        return np.stack([rows @ of_columns for of_columns in columns])

    def interpolants(self, to_tile: Array, height: int, width: int, start: Array | None = None) -> tuple[Array, Array]:
        """Returns (height, 6) and (2, 6, width), whose products are those of `on_grid`: for a band of rows at a time.

        With `start` (2,), px, they are less `start`, and less row and column themselves; so they are small numbers.
        """
        sides = [(NODES + 1) * (length - 1) / 2 for length in (height, width)]
        at = np.stack(np.meshgrid(*sides, indexing="ij"), -1).reshape(-1, 2)
        raw = self.to_raw(affine.apply(to_tile, at)) - (0.0 if start is None else start + at)
        rows, columns = _lagrange(height), _lagrange(width)
        return rows, np.stack([each @ columns.T for each in raw.T.reshape(2, len(NODES), len(NODES))])

    def outline(self, margin: float = 0.0) -> Array:
        """Returns the undistorted pixels (n, 2) that are seen at the border of a raw tile, `margin` px beyond its pixels."""
        sides = [np.linspace(-margin, length - 1 + margin, GRID) for length in self.size]
        ends = [[np.full(GRID, y), sides[1]] for y in sides[0][[0, -1]]] + [
            [sides[0], np.full(GRID, x)] for x in sides[1][[0, -1]]
        ]
        return self.from_raw(np.concatenate([np.stack(end, 1) for end in ends]))

    def then(self, increment: "Lens") -> "Lens":
        """Returns the lens of raw tiles, where `increment` is that of the tiles undistorted by this one.

        Its intervals and source are those of the increment. It has all terms, fitted by least squares.
        """
        points = grid(self.size)
        displacement = self.to_raw(increment.to_raw(points)) - points
        interval = np.zeros((len(POWERS), 2))
        for power, half in zip(increment.powers.tolist(), increment.interval, strict=True):
            interval[POWERS.tolist().index(power)] = half
        return fitted(points, displacement, self.size, increment.source)._replace(interval=interval)

    def offset_deviation(self, offset: ArrayLike) -> Array:
        """Returns how exactly the lens knows the offset of two of its tiles: the standard deviation (2,), px, along y and x.

        An error of the lens displaces both sides of an overlap, unlike, and so by its mean all pairs of that side alike. The
        errors of the terms count as independent; where they are not, as those of k1 and k2, this says up to 1.7 times too much.

        Args:
            offset: (2,) px, from the fixed tile to the moving one.
        """
        apart = np.asarray(offset, float)
        low, high = np.maximum(apart, 0), np.minimum(apart, 0) + np.array(self.size) - 1
        in_fixed = low + grid((GRID, GRID)) / (GRID - 1) * (high - low)
        change = basis(in_fixed - apart, self.size, self.powers) - basis(in_fixed, self.size, self.powers)
        return np.asarray(np.sqrt(change.mean(axis=0) ** 2 @ (self.interval / HALF_95) ** 2))

    def steepest(self) -> float:
        """Returns by how many px the displacement changes from one px to the next, at most, in the tile."""
        points, step = grid(self.size), 0.5
        slopes = [(self.displacement(points + d) - self.displacement(points - d)) / (2 * step) for d in step * np.eye(2)]
        return float(np.linalg.norm(np.stack(slopes, -1), 2, axis=(1, 2)).max())

    def at_corners(self) -> Array:
        """Returns the displacements (4, 2), px, of the corner pixels; see affine.corners."""
        return self.displacement(affine.corners(*self.size))


def needed(seen: Array, size: tuple[int, int], margin: int) -> tuple[slice, slice]:
    """Returns the rows and columns of a raw tile of this size (y, x) that are needed for pixels seen at `seen` (2, ...), px.

    Args:
        margin: px around them that the interpolation reaches.
    """
    ends = [(floor(float(at.min())) - margin, ceil(float(at.max())) + margin + 1) for at in seen]
    first = [min(max(low, 0), length - 1) for (low, _), length in zip(ends, size, strict=True)]
    rows, columns = (
        slice(low, min(max(high, low + 1), length)) for low, (_, high), length in zip(first, ends, size, strict=True)
    )
    return rows, columns


Lenses = Mapping[int, Lens]  # by the number of the camera; a camera without distortion has none
NO_LENSES: Lenses = MappingProxyType({})


def basis(points: ArrayLike, size: ArrayLike, powers: ArrayLike = POWERS) -> Array:
    """Returns the terms v_y^i v_x^j (..., n) at `points` (..., 2), px, of an undistorted tile of this size (y, x)."""
    middle = (np.asarray(size, float) - 1) / 2
    v = (np.asarray(points, float) - middle) / np.hypot(*middle)
    chosen = np.asarray(powers, np.int64).reshape(-1, 2)
    rising = np.ones((*v.shape, int(chosen.max(initial=0)) + 1))  # (..., 2, degrees)
    rising[..., 1:] = v[..., None]
    np.cumprod(rising, axis=-1, out=rising)
    return np.asarray(rising[..., 0, chosen[:, 0]] * rising[..., 1, chosen[:, 1]])


def grid(size: ArrayLike, number: int = GRID) -> Array:
    """Returns points (number^2, 2), px, evenly over a tile of this size (y, x), with those of its border."""
    sides = [np.linspace(0, length - 1, number) for length in np.asarray(size, int)]
    return np.stack(np.meshgrid(*sides, indexing="ij"), -1).reshape(-1, 2)


def fitted(points: Array, displacement: Array, size: ArrayLike, source: str = "given") -> Lens:
    """Returns the lens with all terms that is nearest to displacements (n, 2), px, at points (n, 2) of undistorted tiles.

    The displacements must be free of shift, turn and scale at the tile's middle; see `without_affine`.
    """
    return Lens.of(size, np.linalg.lstsq(basis(points, size), displacement, rcond=None)[0], source=source)


def without_affine(points: Array, raw: Array, size: ArrayLike, source: str = "given") -> Lens:
    """Returns the lens nearest to a field that sees `points` (n, 2) at the pixels `raw` (n, 2), px, less its affine part.

    The field's shift, turn, scale and shear at the tile's middle say only how the undistorted tile is laid down, so the points
    are moved by them first.
    """
    middle = (np.asarray(size, float) - 1) / 2
    low = np.array([(0, 0), (1, 0), (0, 1)])
    terms = np.linalg.lstsq(np.hstack([basis(points, size, low), basis(points, size)]), raw, rcond=None)[0]
    linear = terms[1:3].T / np.hypot(*middle)
    return fitted((points - middle) @ linear.T + terms[0], raw - ((points - middle) @ linear.T + terms[0]), size, source)


@lru_cache(maxsize=512)
def _lagrange(count: int) -> Array:
    """Returns the weights (count, 6) that interpolate a polynomial from NODES to `count` places evenly from -1 to 1."""
    at = np.linspace(-1, 1, count) if count > 1 else np.zeros(1)
    others = [np.delete(NODES, k) for k in range(len(NODES))]
    found = np.stack([np.prod((at[:, None] - o) / (node - o), axis=1) for node, o in zip(NODES, others, strict=True)], 1)
    found.flags.writeable = False  # since it is kept
    return found


def to_table(lenses: Lenses) -> pd.DataFrame:
    """Returns the lenses as a table (tables.LENS)."""
    rows = [
        {"camera": camera, "height": lens.size[0], "width": lens.size[1], "power_y": i, "power_x": j, "y": y, "x": x,
         "interval_y": near_y, "interval_x": near_x, "source": lens.source}
        for camera, lens in sorted(lenses.items())
        for (i, j), (y, x), (near_y, near_x) in zip(lens.powers.tolist(), lens.coefficients, lens.interval, strict=True)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(tables.LENS.columns))


def from_table(table: pd.DataFrame) -> dict[int, Lens]:
    """Returns the lenses in a table (tables.LENS)."""
    found = {}
    for camera, rows in table.groupby("camera"):
        first = rows.iloc[0]
        columns = (["power_y", "power_x"], ["y", "x"], ["interval_y", "interval_x"])
        powers, coefficients, interval = (rows[names].to_numpy() for names in columns)
        size = (int(first["height"]), int(first["width"]))
        found[int(str(camera))] = Lens(size, powers.astype(np.int64), coefficients, interval, str(first["source"]))
    return found


def write(lenses: Lenses, path: Path) -> None:
    """Writes the lenses as lens.csv, which is empty but for its header where no camera distorts."""
    tables.write(to_table(lenses), tables.LENS, path)


def read(path: Path) -> dict[int, Lens]:
    """Reads what `write` wrote; raises TableError where it is damaged."""
    return from_table(tables.read(path, tables.LENS))


def read_for(path: Path | None, tiles: pd.DataFrame) -> Lenses:
    """Reads what `write` wrote for these tiles (tables.TILES), and raises as `read` and `fitting` do; none without a file."""
    return fitting(read(path), tiles, path) if path else NO_LENSES


def fitting(lenses: Lenses, tiles: pd.DataFrame, path: Path) -> Lenses:
    """Returns the lenses where they are those of these tiles (tables.TILES); `path` is their file, for the message.

    Raises:
        LensError: when a camera has tiles of another size, or a lens folds its tiles.
    """
    sizes = dict(zip(tiles["camera"], map(tuple, tables.sizes(tiles).tolist()), strict=True))
    for camera, lens in lenses.items():
        if camera in sizes and sizes[camera] != lens.size:
            (height, width), (other_height, other_width) = lens.size, sizes[camera]
            raise LensError(
                f"{path}: holds the distortion of tiles of {height} x {width} px, and those of camera {camera} are "
                f"{other_height} x {other_width} px: give the distortion of a run with such tiles, or distortion: auto"
            )
        if (steepest := lens.steepest()) > STEEPEST:
            raise LensError(
                f"{path}: the distortion of camera {camera} changes by {steepest:.2g} px from one px to the next, which no "
                "lens does: check its units and its sign"
            )
    return {camera: lens for camera, lens in lenses.items() if camera in sizes}
