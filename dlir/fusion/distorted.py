"""Tiles of a camera that distorts them, resampled once, through the affine of the tile and its lens together.

A pixel p of a part of the mosaic lies at u = A p in the undistorted tile, and is seen at u + D(u) in the raw one
(`core/lens.py`). That is a polynomial of row and column, which is evaluated exactly, for a band of rows at a time, whose arrays
stay in the cache of the processor. What is computed is the step from row and column to the raw pixel, less a whole number: it
is small, so single precision keeps a millionth of a pixel.

The weight of a pixel falls to the border of the raw tile, where the image ends. What lies beyond is not covered.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dlir.core.affine import Array
from dlir.core.lens import Lens
from dlir.reading.image_files import Plane

BAND = 2**15  # px, of a band of rows
EDGE = 0.5 + 1e-3  # px that a tile reaches beyond the centres of its border pixels, with a margin for single precision
COARSE = 33  # points along each side of a part, at which its reach in the raw tile is looked for
SHARE = 0.02  # of the range of the steps, by which it may reach further between them
Single = NDArray[np.float32]


class Seen(NamedTuple):
    """Where the pixels of a part of the mosaic are seen in a raw tile."""

    lens: Lens
    to_tile: Array  # (2, 3), from px of the part to px of the undistorted tile
    start: NDArray[np.int64]  # (2,), the raw pixel next to which the part starts
    rows: Single  # (height, 6) and
    columns: Single  # (2, 6, width): their products are the raw pixels less `start`, and less row and column

    @classmethod
    def of(cls, lens: Lens, to_tile: Array, height: int, width: int) -> Self:
        """Returns it for a part of this size."""
        start = np.rint(lens.to_raw(to_tile[:, 2])).astype(np.int64)
        rows, columns = lens.interpolants(to_tile, height, width, start.astype(float))
        return cls(lens, to_tile, start, rows.astype(np.float32), columns.astype(np.float32))

    def bands(self) -> Iterator[tuple[slice, Single, Single]]:
        """Yields rows of the part, and the steps (rows, width) along y and x from row and column plus `start` to raw pixels."""
        count = max(1, BAND // self.columns.shape[2])
        for first in range(0, len(self.rows), count):
            band = slice(first, min(first + count, len(self.rows)))
            yield band, *(self.rows[band] @ of_columns for of_columns in self.columns)

    def ends(self, margin: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Returns the first raw pixel (2,), and the one after the last, that the part needs, with `margin` px around it.

        They may lie outside the raw tile.
        """
        chosen = [np.unique(np.linspace(0, n - 1, COARSE).astype(int)) for n in (len(self.rows), self.columns.shape[2])]
        steps = [self.rows[chosen[0]] @ of_columns[:, chosen[1]] for of_columns in self.columns]
        raw = np.stack([steps[0] + chosen[0][:, None], steps[1] + chosen[1]]) + self.start[:, None, None]
        further = margin + 1 + SHARE * max(float(np.ptp(step)) for step in steps)
        low, high = raw.min(axis=(1, 2)) - further, raw.max(axis=(1, 2)) + further
        return np.floor(low).astype(np.int64), np.ceil(high).astype(np.int64) + 1


def weight(seen: Seen, fades: bool) -> Plane:
    """Returns the weight (y, x) of a raw tile in a part of the mosaic: 0 outside it, else it falls to its border, or is 1."""
    middle = (np.array(seen.lens.size) - 1) / 2
    numbers = [
        np.arange(length) + start for length, start in zip((len(seen.rows), seen.columns.shape[2]), seen.start, strict=True)
    ]
    rows, columns = ((number - mid).astype(np.float32) for number, mid in zip(numbers, middle, strict=True))
    found = np.empty((len(rows), len(columns)), np.float32)
    for band, y, x in seen.bands():
        y += rows[band, None]
        x += columns
        for place, mid in zip((y, x), middle, strict=True):
            np.subtract(np.float32(mid + 1), np.abs(place, out=place), out=place)  # 1 + distance to the nearer border
        inside = np.minimum(y, x) >= np.float32(1 - EDGE)
        np.multiply(np.multiply(y, x, out=y) if fades else np.float32(1), inside, out=found[band])
    return found


def resample(crop: Plane, first: NDArray[np.int64], seen: Seen, order: Literal[0, 1, 3]) -> Plane:
    """Interpolates a part of a raw tile (channels, y, x), which begins at `first` (2,), at the pixels of a part of the mosaic.

    Beyond its border the tile continues with the value at the border.

    Args:
        order: 0 nearest pixel, 1 linear, 3 cubic spline.

    Returns:
        The part (channels, height, width).
    """
    if order == 1:
        return _linear(crop, first, seen)
    at = seen.lens.on_grid(seen.to_tile, len(seen.rows), seen.columns.shape[2])
    at -= np.reshape(first, (2, 1, 1))
    return np.stack([ndimage.map_coordinates(channel, at, order=order, mode="nearest") for channel in crop])


def _linear(crop: Plane, first: NDArray[np.int64], seen: Seen) -> Plane:
    """Interpolates linearly, as `resample` does."""
    low, high = seen.ends(0)
    before, after = np.maximum(first - low, 0), np.maximum(high - first - crop.shape[1:], 0)
    padded = np.pad(crop, [(0, 0), *zip(before, after, strict=True)], mode="edge")
    length, (top, left) = padded.shape[2], seen.start - first + before
    corners = [channel.ravel() for channel in padded]
    offsets = (0, 1), (length, length + 1)  # of the pixels beside and below
    down, across = (np.arange(len(seen.rows)) + top) * length, np.arange(seen.columns.shape[2]) + left
    found = np.empty((len(crop), len(down), len(across)), np.float32)
    for band, y, x in seen.bands():
        whole_y, whole_x = np.floor(y), np.floor(x)
        y -= whole_y
        x -= whole_x
        step = whole_y.astype(np.int32)
        step *= length
        step += whole_x.astype(np.int32)
        place = down[band, None] + across
        place += step
        for values, part in zip(corners, found[:, band], strict=True):
            upper, lower = (_between(values[at:].take(place), values[beside:].take(place), x) for at, beside in offsets)
            part[...] = _between(upper, lower, y)
    return found


def _between(first: Single, second: Single, fraction: Single) -> Single:
    """Returns the values at a fraction of the way from the first ones to the second ones, which are overwritten."""
    second -= first
    second *= fraction
    second += first
    return second
