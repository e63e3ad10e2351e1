"""Tiles into one image: each resampled by its affine, and blended where several cover a place.

By default a pixel is the weighted mean of the tiles that cover it. The weight of a tile falls linearly to its border,

    w(y, x) = (1 + distance to the nearer of top and bottom) * (1 + distance to the nearer of left and right),

so that one tile fades into the next across their overlap; a tile covers the whole area of its pixels, half a pixel
beyond their centres. The weights are summed first, from the geometry alone: dividing each by the sum before it meets a
grey value keeps a pixel that one tile covers exactly as it was. Tiles are added in their order: threads never change a bit.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dlir.core import affine
from dlir.core.affine import Array
from dlir.illumination.fields import Fields, correct
from dlir.reading.image_files import Image, ImageError, Plane

EDGE = 0.5 + 1e-6  # px that a tile reaches beyond the centres of its border pixels, and some rounding error
SPLINE = 12  # px around a window that a cubic spline still feels: beyond, less than a millionth of the value there
Order = Literal[0, 1, 3]
Blend = Literal["linear", "average", "max", "none"]


class Region(NamedTuple):
    """A window of an image, px."""

    y: int
    x: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)


class PlacedTiles(NamedTuple):
    """Tiles that have their place, and how they become one image."""

    paths: Sequence[str]
    affines: Array  # (n, 2, 3) from px of the tiles to px of the mosaic
    gains: Array  # (n, channels), how bright each tile was exposed
    light: Fields
    read: Callable[[str], Image]  # a path to (channels, y, x); raises ImageError
    interpolation: Order
    blend: Blend

    def fuse(self, region: Region) -> tuple[Plane, NDArray[np.bool_]]:
        """A region of the mosaic: its grey values (channels, y, x), 0 where no tile is, and where one is (y, x).

        Raises:
            ImageError: when a tile cannot be read, or has changed its shape.
        """
        views = self._views(region)
        weights = [_weight(to_tile, window, self.light.flat.shape[1:], self.blend) for *_, window, to_tile in views]
        total = np.zeros((region.height, region.width), np.float32)
        join = np.maximum if self.blend in ("none", "max") else np.add
        for (*_, window, _), weight in zip(views, weights, strict=True):
            join(part := total[window.slices], weight, out=part)
        values = np.full((len(self.light.flat), *total.shape), -np.inf if self.blend == "max" else 0, np.float32)
        for (tile, window, to_tile), weight in zip(views, weights, strict=True):
            seen, part = self._resampled(tile, to_tile, window), values[:, *window.slices]
            if self.blend == "max":
                np.maximum(part, seen, out=part, where=weight > 0)
            elif self.blend == "none":
                np.copyto(part, seen, where=(weight > 0) & (weight == total[window.slices]))
            else:
                # no weight is under 0.2: the floor only keeps 0 / 0 away beside turned tiles
                seen *= weight / np.maximum(total[window.slices], 0.1)
                part += seen
        covered = total > 0
        if self.blend == "max":
            values[:, ~covered] = 0
        return values, covered

    def _views(self, region: Region) -> list[tuple[int, Region, Array]]:
        """The tiles that a region touches: number, the part of the region, and the affine from its px to the tile's."""
        height, width = self.light.flat.shape[1:]
        border = affine.corners(height + 2 * EDGE, width + 2 * EDGE) - EDGE
        ends = affine.apply(self.affines, border) - (region.y, region.x)
        low = np.maximum(np.ceil(ends.min(axis=1)), 0).astype(int)
        high = np.minimum(np.floor(ends.max(axis=1)) + 1, (region.height, region.width)).astype(int)
        views = []
        for tile in np.flatnonzero((high > low).all(axis=1)).tolist():
            window = Region(*map(int, (*low[tile], *(high[tile] - low[tile]))))
            start = affine.translation([window.y + region.y, window.x + region.x])
            views.append((tile, window, affine.compose(affine.invert(self.affines[tile]), start)))
        return views

    def _resampled(self, tile: int, to_tile: Array, window: Region) -> Plane:
        """The tile (channels, y, x) in a window, without the patterns of the camera."""
        path, expected = self.paths[tile], self.light.flat.shape
        pixels = self.read(path)
        if pixels.shape != expected:
            raise ImageError(f"{path}: has the shape {pixels.shape}, not {expected} as before: run from the stage tiles again")
        shifts, whole = (to_tile[:, :2] == np.eye(2)).all(), not (to_tile[:, 2] % 1).any()
        around = 0 if whole and shifts else SPLINE if self.interpolation == 3 else 2
        ends = affine.apply(to_tile, affine.corners(window.height, window.width))
        size = np.array(pixels.shape[1:])
        low = np.clip(np.floor(ends.min(axis=0)).astype(int) - around, 0, size - 1)
        high = np.clip(np.ceil(ends.max(axis=0)).astype(int) + around + 1, low + 1, size)
        rows, columns = (slice(*ends) for ends in zip(low, high, strict=True))
        near = affine.compose(affine.translation(-low), to_tile)
        even = correct(pixels[:, rows, columns], self.light.part(rows, columns))
        seen = resample(even, near, window.height, window.width, self.interpolation)
        if (self.gains[tile] != 1).any():
            seen /= self.gains[tile].astype(np.float32)[:, None, None]
        return seen


def resample(tile: Plane, to_tile: Array, height: int, width: int, order: Order) -> Plane:
    """The tile (channels, y, x) in a window (height, width), whose pixels `to_tile` takes to those of the tile.

    Beyond its border a tile goes on with the value there. A translation by whole pixels copies, whatever the order.
    """
    linear, offset = to_tile[:, :2], to_tile[:, 2]
    whole = np.floor(offset).astype(int)
    part = offset - whole
    if (linear == np.eye(2)).all() and (order == 1 or not part.any()):
        return _between(_between(tile, 1, int(whole[0]), float(part[0]), height), 2, int(whole[1]), float(part[1]), width)
    return np.stack([ndimage.affine_transform(c, linear, offset, (height, width), order=order, mode="nearest") for c in tile])


def _between(tile: Plane, axis: int, start: int, part: float, length: int) -> Plane:
    """`length` samples along an axis from `start` on, each at the same `part` of the way to the next, linearly."""
    size, more = tile.shape[axis], int(part > 0)
    before, after = max(0, -start), max(0, start + length + more - size)
    if before or after:
        tile = np.pad(tile, [(before, after) if i == axis else (0, 0) for i in range(3)], mode="edge")
        start += before
    first = tile[:, start : start + length] if axis == 1 else tile[..., start : start + length]
    if not part:
        return first.copy()
    second = tile[:, start + 1 : start + 1 + length] if axis == 1 else tile[..., start + 1 : start + 1 + length]
    moved: Plane = second - first
    moved *= np.float32(part)
    moved += first
    return moved


def _weight(to_tile: Array, window: Region, shape: tuple[int, ...], blend: Blend) -> Plane:
    """The weight (y, x) of a tile in a window; 0 outside the tile."""
    axes = np.arange(window.height)[:, None], np.arange(window.width)[None]
    factors = []
    for (*steps, start), length in zip(to_tile, shape, strict=True):
        # a translation has no step across: leaving it out keeps its factors one-dimensional, hence cheap
        place = np.asarray(start + sum(step * axis for step, axis in zip(steps, axes, strict=True) if step))
        distance = np.minimum(place, length - 1 - place)
        weight = distance + 1 if blend in ("linear", "none") else 1.0
        factors.append(np.where(distance >= -EDGE, weight, 0).astype(np.float32))
    product: Plane = factors[0] * factors[1]
    return product
