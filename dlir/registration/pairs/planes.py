"""The planes of tiles that are registered: read once, corrected for the illumination, and undistorted. Needs no torch."""

from collections.abc import Sequence
from functools import lru_cache, partial
from threading import Lock
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from dlir.core import affine, tables
from dlir.core.lens import NO_LENSES, Lens, Lenses
from dlir.illumination import fields
from dlir.illumination.blind import filled
from dlir.illumination.fields import Light
from dlir.reading import image_files
from dlir.reading.tile_reader import TileReader
from dlir.reading.undistorted import undistorted

CACHED_TILES, CACHED_BYTES = 256, 16 * 10**7  # kept in memory, at most: more than two rows of most grids of small tiles
LEAST_CACHED = 3  # tiles that are kept however large they are: both of a pair, and the next one
BLIND_MARGIN = 2  # px around blind pixels that the fine registration leaves out, since the filters reach so far


class TilePlanes:
    """The plane of each tile that is registered: the reference of the tile, (y, x) float32, corrected for the illumination.

    Blind and dim pixels are filled, so that they do not match each other. Where a camera distorts, the planes are undistorted
    by a cubic spline; what lies outside the raw tile is filled likewise.
    """

    def __init__(self, tiles: pd.DataFrame, light: Light, lenses: Lenses = NO_LENSES) -> None:
        """Prepares to read tiles (tables.TILES), which are undistorted with the lenses of their cameras."""
        self.lenses = lenses
        self.paths = dict(zip(tiles["tile"], tiles["path"], strict=True))
        self.cameras = dict(zip(tiles["tile"], tiles["camera"], strict=True))
        self.reader, self.reading = TileReader(tiles), Lock()  # one tile after the other: to read a large one takes memory
        self.light = [illumination.of(self.reader.chosen) for illumination in light]
        self.left_out = [illumination.blind | illumination.dim for illumination in light]
        seen = [
            _undistorted(left_out, lenses[camera]) if camera in lenses else left_out
            for camera, left_out in enumerate(self.left_out)
        ]
        self.masks = [_away_from(left_out) for left_out in seen] if any(map(np.any, seen)) else None
        channels = len(range(self.reader.channels)[self.reader.chosen])
        largest = tables.sizes(tiles).prod(axis=1).max() * channels * self.reader.dtype.itemsize
        self.pixels = lru_cache(maxsize=min(max(int(CACHED_BYTES / largest), LEAST_CACHED), CACHED_TILES))(self._pixels)

    @classmethod
    def of_arrays(cls, images: Sequence[image_files.Plane]) -> Self:
        """Takes images (y, x) in memory, already corrected, as the tiles 0, 1, ..."""
        planes = cls.__new__(cls)
        planes.masks, planes.lenses = None, NO_LENSES
        planes.cameras = {tile: tile for tile in range(len(images))}
        planes.light = [fields.identity((1, *image.shape)) for image in images]
        planes.pixels = lru_cache(maxsize=None)(lambda tile: images[tile][None])
        return planes

    def forget(self) -> None:
        """Frees the memory of the tiles that were read."""
        self.pixels.cache_clear()

    def shown(self, tile: int) -> image_files.Plane | None:
        """Returns 1 where a pixel (y, x) of a tile is farther than BLIND_MARGIN from blind and dim ones, else 0.

        None where no camera has such pixels.
        """
        return None if self.masks is None else self.masks[self.cameras[tile]]

    def _pixels(self, tile: int) -> image_files.Image:
        """The registered channels (channels, y, x) of a tile as they are read, with blind and dim pixels filled."""
        with self.reading:
            return filled(self.reader.reference(self.paths[tile]), self.left_out[self.cameras[tile]])

    def plane(self, tile: int, rows: slice = slice(None), columns: slice = slice(None)) -> image_files.Plane:
        """Returns the plane of a tile, or a part of it, given by its rows and columns of pixels."""
        return undistorted(self.lenses.get(self.cameras[tile]), partial(self._corrected, tile), rows, columns)

    def _corrected(self, tile: int, rows: slice, columns: slice) -> image_files.Plane:
        """Returns rows and columns of the raw plane of a tile, corrected for the illumination."""
        pixels, light = self.pixels(tile), self.light[self.cameras[tile]]
        total: image_files.Plane | None = None
        for channel, image in enumerate(pixels):  # one after the other, since those of a large tile take much memory
            plane = fields.correct(image[None, rows, columns], light.of(slice(channel, channel + 1)).part(rows, columns))[0]
            total = plane if total is None else np.add(total, plane, out=total)
        assert total is not None
        return total if len(pixels) == 1 else np.divide(total, len(pixels), out=total)

    def window(self, tile: int, y: int, x: int, height: int, width: int, step: int = 1) -> image_files.Plane:
        """Returns a part of a tile, whose first px is (y, x), pooled by `step`, with mean zero and standard deviation one."""
        part = self.plane(tile, slice(y, y + height), slice(x, x + width))
        if step > 1:
            part = part.reshape(height // step, step, width // step, step).mean(axis=(1, 3))
        return np.asarray((part - part.mean()) / (part.std() + 1e-6))


def _undistorted(left_out: NDArray[np.bool_], lens: Lens) -> NDArray[np.bool_]:
    """Returns which pixels (y, x) of an undistorted tile see a raw pixel that is left out, or lie outside the raw tile."""
    nearest = np.rint(lens.on_grid(affine.translation([0.0, 0.0]), *lens.size)).astype(np.int64)
    last = np.reshape(lens.size, (2, 1, 1)) - 1
    inside = ((nearest >= 0) & (nearest <= last)).all(axis=0)
    y, x = np.clip(nearest, 0, last)
    return np.asarray(~inside | left_out[y, x])


def _away_from(left_out: NDArray[np.bool_]) -> image_files.Plane:
    return (~ndimage.binary_dilation(left_out, iterations=BLIND_MARGIN)).astype(np.float32)
