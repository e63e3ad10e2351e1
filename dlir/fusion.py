"""Tiles into one image: each resampled by its affine, and blended where several cover a place.

A pixel is the weighted mean of the tiles that cover it. The weight of a tile falls linearly to its border,

    w(y, x) = (1 + distance to the nearer of top and bottom) * (1 + distance to the nearer of left and right),

so that one tile fades into the next across their overlap; a tile covers the whole area of its pixels, half a pixel
beyond their centres. The weights are summed first, from the geometry alone: dividing each by the sum before it meets a
grey value keeps a pixel that one tile covers exactly as it was. Tiles are added in their order: threads never change a bit.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple

import numpy as np
from scipy import ndimage

from dlir import affine, images, light
from dlir.affine import Array
from dlir.images import Plane
from dlir.light import Light

EDGE = 0.5 + 1e-6  # px that a tile reaches beyond the centres of its border pixels, and some rounding error
Order = Literal[0, 1, 3]


class Region(NamedTuple):
    """A window of an image, px."""

    y: int
    x: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)


def fuse(
    paths: Sequence[str],
    affines: Array,
    gains: Array,
    patterns: Light,
    region: Region,
    interpolation: Order,
    threads: int = 1,
) -> tuple[Plane, Plane]:
    """A region of a mosaic: its grey values (channels, y, x), 0 where no tile is, and the sum of the weights (y, x).

    `affines` (n, 2, 3) take pixels of the tiles to the mosaic, `gains` (n, channels) and `patterns` are taken out of each tile,
    and `interpolation` is the order of the resampling: 0, 1 or 3. Raises ImageError.
    """
    shape = patterns.flat.shape[1:]
    tiles = zip(paths, affines, gains, strict=True)
    views = [(path, gain, *view) for path, m, gain in tiles if (view := _view(m, shape, region))]
    total = np.zeros((region.height, region.width), np.float32)
    for _, _, window, to_tile in views:
        total[window.slices] += _weight(to_tile, window, shape)

    def share(view: tuple[str, Array, Region, Array]) -> Plane:
        path, gain, window, to_tile = view
        pixels = images.read(path)
        if pixels.shape != patterns.flat.shape:
            raise images.ImageError(
                f"{path}: has the shape {pixels.shape}, not {patterns.flat.shape} as before: run from the stage tiles again"
            )
        values = resample(light.correct(pixels, patterns), to_tile, window.height, window.width, interpolation)
        # no weight is under 0.2: the floor only keeps 0 / 0 away beside turned tiles
        values *= _weight(to_tile, window, shape) / np.maximum(total[window.slices], 0.1)
        values /= gain.astype(np.float32)[:, None, None]
        return values

    sums = np.zeros((len(patterns.flat), *total.shape), np.float32)
    with ThreadPoolExecutor(threads) as pool:
        for (_, _, window, _), values in zip(views, pool.map(share, views), strict=True):
            sums[:, *window.slices] += values
    return sums, total


def resample(tile: Plane, to_tile: Array, height: int, width: int, order: Order) -> Plane:
    """The tile (channels, y, x) in a window (height, width), whose pixels `to_tile` takes to those of the tile.

    Beyond its border a tile goes on with the value there. A translation by whole pixels copies, whatever the order.
    """
    linear, offset = to_tile[:, :2], to_tile[:, 2]
    whole = np.floor(offset).astype(int)
    part = offset - whole
    if (linear == np.eye(2)).all() and (order == 1 or not part.any()):
        return _shift(tile, whole, part, height, width)
    return np.stack([ndimage.affine_transform(c, linear, offset, (height, width), order=order, mode="nearest") for c in tile])


def _shift(tile: Plane, whole: Array, part: Array, height: int, width: int) -> Plane:
    """Linear interpolation at the same fraction of a pixel everywhere: along each axis the mean of two slices."""
    padded = np.pad(tile, ((0, 0), (1, 1), (1, 1)), mode="edge")
    top, left = whole + 1
    rows = padded[:, top : top + height]
    if part[0]:
        rows = rows + float(part[0]) * (padded[:, top + 1 : top + 1 + height] - rows)
    moved = rows[..., left : left + width]
    if part[1]:
        moved = moved + float(part[1]) * (rows[..., left + 1 : left + 1 + width] - moved)
    return moved


def _view(matrix: Array, shape: tuple[int, ...], region: Region) -> tuple[Region, Array] | None:
    """The part of the region that a tile touches, and the affine from its pixels to those of the tile; None if none."""
    edges = affine.corners(shape[0] + 2 * EDGE, shape[1] + 2 * EDGE) - EDGE
    ends = affine.apply(matrix, edges) - (region.y, region.x)
    low = np.maximum(np.ceil(ends.min(0)), 0).astype(int)
    high = np.minimum(np.floor(ends.max(0)) + 1, (region.height, region.width)).astype(int)
    if (high <= low).any():
        return None
    start = affine.translation([low[0] + region.y, low[1] + region.x])
    return Region(*map(int, (*low, *(high - low)))), affine.compose(affine.invert(matrix), start)


def _weight(to_tile: Array, window: Region, shape: tuple[int, ...]) -> Plane:
    """The weight (y, x) of a tile in a window; 0 outside the tile."""
    axes = np.arange(window.height)[:, None], np.arange(window.width)[None]
    factors = []
    for (*steps, start), length in zip(to_tile, shape, strict=True):
        # a translation has no step across: leaving it out keeps its factors one-dimensional, hence cheap
        place = np.asarray(start + sum(step * axis for step, axis in zip(steps, axes, strict=True) if step))
        distance = np.minimum(place, length - 1 - place)
        factors.append(np.where(distance >= -EDGE, distance + 1, 0).astype(np.float32))
    weight: Plane = factors[0] * factors[1]
    return weight
