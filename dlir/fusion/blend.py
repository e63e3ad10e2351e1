"""Fuses placed tiles into one image: resamples each tile by its affine and blends them where several cover a pixel.

Tiles with a lens, that of their camera or one of their own, are resampled by affine and lens together (`distorted.py`).

By default a pixel is the weighted mean of the tiles that cover it. The weight of a tile falls linearly to its border,

    w(y, x) = (1 + distance to the nearer of top and bottom) * (1 + distance to the nearer of left and right),

so that one tile fades into the next across their overlap. A tile covers the whole area of its pixels, half a pixel beyond their
centres. The weights follow from the places alone. They are summed first, and each is divided by the sum before it multiplies a
grey value, so a pixel that one tile covers keeps its exact value. Tiles are added in the order of the table, so the number of
threads does not change the result.

Blind pixels count as the outside of the tile: the distance is that to the nearest of them. Where they lie in a narrow gap, such
as a dead row, they are filled from both sides and have a small weight, which only matters where no other tile covers the place.
So have dim pixels.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dlir.core import affine
from dlir.core.affine import Array
from dlir.core.lens import Lens
from dlir.fusion import distorted
from dlir.fusion.distorted import Seen
from dlir.illumination.blind import enclosed
from dlir.illumination.fields import Fields, Light, correct
from dlir.reading.image_files import Image, ImageError, Plane
from dlir.reading.tile_reader import REMEDY

EDGE = 0.5 + 1e-6  # px that a tile reaches beyond the centres of its border pixels, with a margin for rounding errors
SPLINE_MARGIN = 12  # px around a region that its cubic spline depends on; pixels further away count less than a millionth
LINEAR_MARGIN = 2  # px, the same for linear and nearest interpolation
OUTLINE_MARGIN = 0.5  # px that the outline of a distorted tile may reach beyond the points at which it is known
LEAST_TOTAL = 0.1  # avoids 0 / 0 beside turned tiles; the weight inside a tile is at least 0.2
GAP_WEIGHT = 0.25  # of a blind pixel in a narrow gap, and of a dim pixel; other tiles mostly weigh far more
ORDERS: tuple[Literal[0, 1], ...] = (0, 1)
Order = Literal[0, 1, 3]  # of the interpolation: nearest pixel, linear, cubic spline
Blend = Literal["linear", "average", "max", "none"]


class Region(NamedTuple):
    """A rectangle of an image, px: its first pixel (y, x) and its size."""

    y: int
    x: int
    height: int
    width: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """The rows and the columns of the region in its image."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)


class PlacedTiles(NamedTuple):
    """The n tiles of one plane of a mosaic with their places, and how they are fused."""

    paths: Sequence[str]
    cameras: Sequence[int]  # numbers of the cameras of the tiles
    affines: Array  # (n, 2, 3), from px of a tile to px of the mosaic
    gains: Array  # (n, channels), relative brightness of each tile, by which it is divided
    pedestal: Array  # (channels,), grey values that are added then
    light: Light  # of each camera
    read: Callable[[str], Image]  # returns the tile (channels, y, x) at a path; raises ImageError
    interpolation: Order
    blend: Blend
    weights: Sequence[Plane | None]  # `camera_weight` of each camera
    lenses: Sequence[Lens | None]  # of the tiles; None where nothing is distorted. The affines start at undistorted pixels
    borders: Array  # (n, 4, 2) undistorted px, as `borders` returns them

    def fuse(self, region: Region) -> tuple[Plane, NDArray[np.bool_]]:
        """Fuses a region of the mosaic.

        Returns:
            The grey values (channels, y, x), float32, 0 where no tile lies; and whether a tile covers the pixel (y, x).

        Raises:
            ImageError: when a tile cannot be read, or its shape has changed.
        """
        views = self._views(region)
        seen = [self._seen(view) for view in views]
        weights = [self._weight(view, at) for view, at in zip(views, seen, strict=True)]
        total = np.zeros((region.height, region.width), np.float32)
        combine = np.maximum if self.blend in ("none", "max") else np.add
        for view, weight in zip(views, weights, strict=True):
            combine(part := total[view.part.slices], weight, out=part)
        values = np.full((len(self.pedestal), *total.shape), -np.inf if self.blend == "max" else 0, np.float32)
        for view, at, weight in zip(views, seen, weights, strict=True):
            pixels, part = self._resampled(view, at), values[:, *view.part.slices]
            if self.blend == "max":
                np.maximum(part, pixels, out=part, where=weight > 0)
            elif self.blend == "none":
                np.copyto(part, pixels, where=(weight > 0) & (weight == total[view.part.slices]))
            else:
                pixels *= weight / np.maximum(total[view.part.slices], LEAST_TOTAL)
                part += pixels
        covered = total > 0
        if self.blend == "max":
            values[:, ~covered] = 0
        return values, covered

    def _views(self, region: Region) -> "list[_View]":
        """Returns the tiles that touch a region, in the order of the table."""
        ends = affine.apply(self.affines, self.borders) - (region.y, region.x)
        low = np.maximum(np.ceil(ends.min(axis=1)), 0).astype(int)
        high = np.minimum(np.floor(ends.max(axis=1)) + 1, (region.height, region.width)).astype(int)
        views = []
        for tile in np.flatnonzero((high > low).all(axis=1)).tolist():
            part = Region(*map(int, (*low[tile], *(high[tile] - low[tile]))))
            to_mosaic = affine.translation([part.y + region.y, part.x + region.x])
            views.append(_View(tile, part, affine.compose(affine.invert(self.affines[tile]), to_mosaic)))
        return views

    def _illumination(self, tile: int) -> Fields:
        """Returns the fields of the camera of a tile."""
        return self.light[self.cameras[tile]]

    def _seen(self, view: "_View") -> Seen | None:
        """Returns where the pixels of a tile are seen in the raw tile; None where it is not distorted."""
        lens = self.lenses[view.tile]
        return Seen.of(lens, view.to_tile, view.part.height, view.part.width) if lens else None

    def _weight(self, view: "_View", seen: Seen | None) -> Plane:
        """Returns the weight (y, x) of a tile in its part of a region."""
        of_camera = self.weights[self.cameras[view.tile]]
        if seen:
            weight = distorted.weight(seen, self.blend in ("linear", "none"))
        else:
            weight = _weight(view.to_tile, view.part, self._illumination(view.tile).size, self.blend)
        if of_camera is None:
            return weight
        by_order = {
            order: distorted.resample(of_camera[None], np.zeros(2, np.int64), seen, order)[0]
            if seen
            else resample(of_camera[None], view.to_tile, view.part.height, view.part.width, order)[0]
            for order in ORDERS
        }
        return np.asarray(np.where((weight > 0) & (by_order[0] > 0), np.maximum(by_order[1], GAP_WEIGHT), 0), np.float32)

    def _resampled(self, view: "_View", seen: Seen | None) -> Plane:
        """Returns the tile (channels, y, x) in its part of a region, corrected for illumination and gain."""
        path, illumination, to_tile = self.paths[view.tile], self._illumination(view.tile), view.to_tile
        pixels, expected = self.read(path), illumination.flat.shape
        if pixels.shape != expected:
            raise ImageError(f"{path}: has the shape {pixels.shape}, not {expected} as before: {REMEDY}")
        size = np.array(expected[1:])
        translated, whole = (to_tile[:, :2] == np.eye(2)).all(), not (to_tile[:, 2] % 1).any()
        margin = 0 if whole and translated else SPLINE_MARGIN if self.interpolation == 3 else LINEAR_MARGIN
        if seen:
            first, last = seen.ends(margin)
        else:
            ends = affine.apply(to_tile, affine.corners(view.part.height, view.part.width))
            first, last = np.floor(ends.min(axis=0)).astype(int) - margin, np.ceil(ends.max(axis=0)).astype(int) + margin + 1
        low = np.clip(first, 0, size - 1)
        high = np.clip(last, low + 1, size)
        rows, columns = (slice(*ends) for ends in zip(low, high, strict=True))
        crop = correct(pixels[:, rows, columns], illumination.part(rows, columns))
        if seen:
            resampled = distorted.resample(crop, low, seen, self.interpolation)
        else:
            to_crop = affine.compose(affine.translation(-low), to_tile)
            resampled = resample(crop, to_crop, view.part.height, view.part.width, self.interpolation)
        gains = self.gains[view.tile]
        if (gains != 1).any():
            resampled /= gains.astype(np.float32)[:, None, None]
        if self.pedestal.any():
            resampled += self.pedestal.astype(np.float32)[:, None, None]
        return resampled


class _View(NamedTuple):
    """What a tile contributes to a region of the mosaic."""

    tile: int  # its row in the table
    part: Region  # the part of the region that the tile touches, px of the region
    to_tile: Array  # (2, 3), from px of this part to px of the tile


def borders(light: Light, cameras: Sequence[int], lenses: Sequence[Lens | None]) -> Array:
    """Returns the `border` of each tile (n, 4, 2), by the numbers of their cameras and their lenses."""
    known: dict[tuple[int, int], Array] = {}  # tiles of a camera mostly share a lens
    for camera, lens in zip(cameras, lenses, strict=True):
        if (camera, id(lens)) not in known:
            known[camera, id(lens)] = border(light[camera].size, lens)
    return np.stack([known[camera, id(lens)] for camera, lens in zip(cameras, lenses, strict=True)])


def border(size: tuple[int, int], lens: Lens | None) -> Array:
    """Returns the corners (4, 2), undistorted px, of a rectangle that holds all that a tile of this size (y, x) shows."""
    height, width = size
    if lens is None:
        return affine.corners(height + 2 * EDGE, width + 2 * EDGE) - EDGE
    outline = lens.outline(distorted.EDGE)
    low, high = outline.min(axis=0) - OUTLINE_MARGIN, outline.max(axis=0) + OUTLINE_MARGIN
    return np.asarray(low + affine.corners(*(high - low + 1)))


def camera_weight(illumination: Fields, blend: Blend) -> Plane | None:
    """Returns the weight (y, x) of each pixel of a tile of a camera, 0 where it is blind; None where no pixel is blind."""
    if not illumination.blind.any():
        return None
    blind = illumination.blind | illumination.dim
    weight = np.ones(blind.shape, np.float32)
    if blend in ("linear", "none"):
        for axis, length in enumerate(blind.shape):
            number = np.arange(length).reshape((-1, 1) if axis == 0 else (1, -1))
            before = np.maximum.accumulate(np.where(blind, number, -1), axis)
            after = np.flip(np.minimum.accumulate(np.flip(np.where(blind, number, length), axis), axis), axis)
            weight *= np.minimum(number - before, after - number)
    weight[illumination.blind] = 0
    weight[enclosed(illumination.blind) | illumination.dim] = GAP_WEIGHT
    return weight


def resample(tile: Plane, to_tile: Array, height: int, width: int, order: Order) -> Plane:
    """Interpolates a tile (channels, y, x) at the pixels of an image of this height and width.

    Beyond its border a tile continues with the value at the border. A translation by whole pixels copies the values exactly.

    Args:
        to_tile: (2, 3), from px of the image to px of the tile.
        order: 0 nearest pixel, 1 linear, 3 cubic spline.

    Returns:
        The image (channels, height, width).
    """
    linear, offset = to_tile[:, :2], to_tile[:, 2]
    whole = np.floor(offset).astype(int)
    fraction = offset - whole
    if (linear == np.eye(2)).all() and (order == 1 or not fraction.any()):
        rows = _shifted(tile, 1, int(whole[0]), float(fraction[0]), height)
        return _shifted(rows, 2, int(whole[1]), float(fraction[1]), width)
    return np.stack([ndimage.affine_transform(c, linear, offset, (height, width), order=order, mode="nearest") for c in tile])


def _shifted(tile: Plane, axis: int, start: int, fraction: float, length: int) -> Plane:
    """Interpolates linearly along an axis, 1 or 2, at `length` places: start + fraction, start + 1 + fraction, and so on."""
    size, more = tile.shape[axis], int(fraction > 0)
    before, after = max(0, -start), max(0, start + length + more - size)
    if before or after:
        tile = np.pad(tile, [(before, after) if i == axis else (0, 0) for i in range(3)], mode="edge")
        start += before
    first = tile[:, start : start + length] if axis == 1 else tile[..., start : start + length]
    if not fraction:
        return first.copy()
    second = tile[:, start + 1 : start + 1 + length] if axis == 1 else tile[..., start + 1 : start + 1 + length]
    shifted: Plane = second - first
    shifted *= np.float32(fraction)
    shifted += first
    return shifted


def _weight(to_tile: Array, part: Region, shape: tuple[int, ...], blend: Blend) -> Plane:
    """Returns the weight (y, x) of a tile of this shape (y, x) in its part of a region; 0 outside the tile."""
    axes = np.arange(part.height)[:, None], np.arange(part.width)[None]
    factors = []
    for (*linear, start), length in zip(to_tile, shape, strict=True):
        # skipping the zeros of a translation keeps its two factors one-dimensional, hence fast
        place = np.asarray(start + sum(element * axis for element, axis in zip(linear, axes, strict=True) if element))
        distance = np.minimum(place, length - 1 - place)
        weight = distance + 1 if blend in ("linear", "none") else 1.0
        factors.append(np.where(distance >= -EDGE, weight, 0).astype(np.float32))
    product: Plane = factors[0] * factors[1]
    return product
