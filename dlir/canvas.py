"""The image that a placement asks for: its size, and the pixels of any part of it, from the tiles."""

import logging
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dlir import affine, light, tables
from dlir.affine import Array
from dlir.fusion import Placed
from dlir.images import Image
from dlir.light import Light
from dlir.pyramid import Node, Pyramid, to_dtype
from dlir.settings import Mosaic
from dlir.stacks import Stacks

log = logging.getLogger(__name__)
CACHE = 2**27  # bytes of tiles kept in memory, since the next blocks touch them too


class Canvas(NamedTuple):
    """All that the pixels of a mosaic follow from."""

    stacks: Stacks
    paths: list[str]
    contents: list[str]  # hashes of the tiles' pixels
    affines: Array  # (n, 2, 3) from px of the tiles to px of the mosaic
    gains: Array  # (n, channels)
    light: Light
    shape: tuple[int, int, int, int, int]  # t, c, z, y, x
    dtype: str
    pixel_size: float  # micrometres, NaN where unknown
    settings: Mosaic

    def paint(self, pyramid: Pyramid, roots: list[Node], threads: int) -> None:
        """Write these blocks of the pyramid, and all under them; raises ImageError where a tile cannot be read."""
        for time in range(self.shape[0]):
            for z in range(self.shape[2]):
                pyramid.build(roots, 0, partial(self._pixels, pyramid, self._placed(time, z)), time, z, threads)

    def join(self, pyramid: Pyramid, parts: int, threads: int) -> None:
        """Write the levels above those that so many parts have written."""
        for time in range(self.shape[0]):
            for z in range(self.shape[2]):
                written = partial(pyramid.read, time, z)
                pyramid.build(pyramid.part(0, 1), pyramid.split(parts), written, time, z, threads)

    def _placed(self, time: int, z: int) -> Placed:
        """The tiles at a time and a z."""
        kept = max(1, CACHE // (self.light.flat.size * np.dtype(self.dtype).itemsize))
        read = lru_cache(kept)(partial(self.stacks.read, time=time, z=z))
        return Placed(self.paths, self.affines, self.gains, self.light, read, self.settings.interpolation, self.settings.blend)

    def _pixels(self, pyramid: Pyramid, placed: Placed, node: Node) -> Image:
        values, _ = placed.fuse(pyramid.region(node))
        return to_dtype(values, self.dtype)


def canvas(tiles: Path, illumination: Path, exposure: Path, placement: Path, settings: Mosaic) -> Canvas:
    """The mosaic of the tiles (tables.TILES) at their places (tables.PLACEMENT), in even light (tables.EXPOSURE)."""
    table, placed = tables.read(tiles, tables.TILES), tables.read(placement, tables.PLACEMENT)
    stacks, affines, first = Stacks(table), affine.from_table(placed), table.to_dict("records")[0]
    times, channels, depth, dtype = stacks.times, stacks.channels, stacks.depth, str(first["dtype"])
    height, width = _size(affines, *stacks.size)
    log.info("mosaic of %d tiles: %d x %d px, %d channels of %s, %d z planes, %d time points",
             len(placed), height, width, channels, dtype, depth, times)  # fmt: skip
    gains = tables.gains(tables.read(exposure, tables.EXPOSURE), placed["tile"])
    shape = (times, channels, depth, height, width)
    even = gains, light.read(illumination, table)
    contents = list(table.set_index("path").loc[placed["path"], "sha256"])
    return Canvas(stacks, list(placed["path"]), contents, affines, *even, shape, dtype, float(first["pixel_size"]), settings)


def _size(affines: Array, height: int, width: int) -> tuple[int, int]:
    """The size (y, x) of the array that holds the centres of all pixels at or beyond (0, 0)."""
    largest = affine.apply(affines, affine.corners(height, width)).max((0, 1))
    rows, columns = np.ceil(largest - 1e-6).astype(int) + 1
    return int(rows), int(columns)
