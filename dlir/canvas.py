"""The image that a placement asks for: its size, and the pixels of any part of it, from the tiles."""

import logging
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dlir import affine, images, tables
from dlir.affine import Array
from dlir.fusion import Placed
from dlir.images import Image
from dlir.pyramid import Node, Pyramid, to_dtype
from dlir.settings import Mosaic

log = logging.getLogger(__name__)
CACHE = 2**27  # bytes of tiles kept in memory, since the next blocks touch them too


class Canvas(NamedTuple):
    """All that the pixels of a mosaic follow from."""

    placed: Placed
    shape: tuple[int, int, int, int, int]  # t, c, z, y, x
    dtype: str
    pixel_size: float  # micrometres, NaN where unknown

    def paint(self, pyramid: Pyramid, roots: list[Node], threads: int) -> None:
        """Write these blocks of the pyramid, and all under them; raises ImageError where a tile cannot be read."""
        for time in range(self.shape[0]):
            for z in range(self.shape[2]):
                pyramid.build(roots, 0, partial(self._pixels, pyramid, time, z), time, z, threads)

    def join(self, pyramid: Pyramid, parts: int, threads: int) -> None:
        """Write the levels above those that so many parts have written."""
        floor = pyramid.split(parts)
        for time in range(self.shape[0]):
            for z in range(self.shape[2]):
                pyramid.build(pyramid.part(0, 1), floor, partial(pyramid.read, time, z), time, z, threads)

    def _pixels(self, pyramid: Pyramid, time: int, z: int, node: Node) -> Image:
        values, _ = self.placed.fuse(pyramid.region(node))
        return to_dtype(values, self.dtype)


def canvas(tiles: Path, illumination: Path, placement: Path, settings: Mosaic) -> Canvas:
    """The mosaic of the tiles (tables.TILES) at their places (tables.PLACEMENT)."""
    first = tables.read(tiles, tables.TILES).to_dict("records")[0]
    placed = tables.read(placement, tables.PLACEMENT)
    affines = affine.from_table(placed)
    shape = (1, first["channels"], 1, *_size(affines, first["height"], first["width"]))
    log.info("mosaic of %d tiles: %d x %d px, %d channels of %s", len(placed), *shape[3:], shape[1], first["dtype"])
    flat = images.read(illumination).astype(np.float32)
    size = flat.size * np.dtype(first["dtype"]).itemsize
    read = lru_cache(max(1, CACHE // size))(images.read)
    tiles_placed = Placed(list(placed["path"]), affines, flat, read, settings.interpolation, settings.blend)
    return Canvas(tiles_placed, shape, first["dtype"], first["pixel_size"])


def _size(affines: Array, height: int, width: int) -> tuple[int, int]:
    """The size (y, x) of the array that holds the centres of all pixels at or beyond (0, 0)."""
    largest = affine.apply(affines, affine.corners(height, width)).max((0, 1))
    rows, columns = np.ceil(largest - 1e-6).astype(int) + 1
    return int(rows), int(columns)
