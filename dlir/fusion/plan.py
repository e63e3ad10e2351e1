"""The image that a placement asks for: its size, and the pixels of any part of it, from the tiles."""

import logging
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from dlir.core import affine, tables
from dlir.core.affine import Array
from dlir.fusion.blend import PlacedTiles
from dlir.fusion.pyramid import Node, Pyramid, to_dtype
from dlir.fusion.settings import Mosaic
from dlir.illumination import fields
from dlir.illumination.fields import Fields
from dlir.reading.image_files import Image
from dlir.reading.tile_reader import TileReader

log = logging.getLogger(__name__)
CACHE = 2**27  # bytes of tiles kept in memory, since the next blocks touch them too


class MosaicPlan(NamedTuple):
    """All that the pixels of a mosaic follow from."""

    reader: TileReader
    paths: list[str]
    contents: list[str]  # hashes of the tiles' pixels
    affines: Array  # (n, 2, 3) from px of the tiles to px of the mosaic
    gains: Array  # (n, channels)
    fields: Fields
    shape: tuple[int, int, int, int, int]  # t, c, z, y, x
    dtype: str
    pixel_size: float  # micrometres, NaN where unknown
    settings: Mosaic

    def write(self, pyramid: Pyramid, roots: list[Node], threads: int) -> None:
        """Write these blocks of the pyramid, and all under them; raises ImageError where a tile cannot be read."""
        for time in range(self.shape[0]):
            for z in range(self.shape[2]):
                pyramid.build(roots, 0, partial(self._pixels, pyramid, self._placed(time, z)), time, z, threads)

    def write_upper_levels(self, pyramid: Pyramid, parts: int, threads: int) -> None:
        """Write the levels above those that so many parts have written."""
        for time in range(self.shape[0]):
            for z in range(self.shape[2]):
                written = partial(pyramid.read, time, z)
                pyramid.build(pyramid.part(0, 1), pyramid.split(parts), written, time, z, threads)

    def _placed(self, time: int, z: int) -> PlacedTiles:
        """The tiles at a time and a z."""
        kept = max(1, CACHE // (self.fields.flat.size * np.dtype(self.dtype).itemsize))
        read = lru_cache(kept)(partial(self.reader.read, time=time, z=z))
        return PlacedTiles(
            self.paths, self.affines, self.gains, self.fields, read, self.settings.interpolation, self.settings.blend
        )

    def _pixels(self, pyramid: Pyramid, placed: PlacedTiles, node: Node) -> Image:
        values, _ = placed.fuse(pyramid.region(node))
        return to_dtype(values, self.dtype)


def plan_mosaic(
    tiles: pd.DataFrame, placement: pd.DataFrame, patterns: Fields, exposure: pd.DataFrame, settings: Mosaic = Mosaic()
) -> MosaicPlan:
    """The mosaic of tiles (tables.TILES) at their places (tables.PLACEMENT), corrected by `patterns` and their gains
    (tables.EXPOSURE)."""
    reader, affines, first = TileReader(tiles), affine.from_table(placement), tiles.to_dict("records")[0]
    times, channels, depth, dtype = reader.times, reader.channels, reader.depth, str(first["dtype"])
    height, width = _size(affines, *reader.size)
    log.info("mosaic of %d tiles: %d x %d px, %d channels of %s, %d z planes, %d time points",
             len(placement), height, width, channels, dtype, depth, times)  # fmt: skip
    return MosaicPlan(
        reader=reader,
        paths=list(placement["path"]),
        contents=list(tiles.set_index("path").loc[placement["path"], "sha256"]),
        affines=affines,
        gains=tables.gains(exposure, placement["tile"]),
        fields=patterns,
        shape=(times, channels, depth, height, width),
        dtype=dtype,
        pixel_size=float(first["pixel_size"]),
        settings=settings,
    )


def read_plan(tiles: Path, illumination: Path, exposure: Path, placement: Path, settings: Mosaic) -> MosaicPlan:
    """The mosaic that files of these tables and fields ask for; see `plan_mosaic`."""
    table = tables.read(tiles, tables.TILES)
    placed, gains = tables.read(placement, tables.PLACEMENT), tables.read(exposure, tables.EXPOSURE)
    return plan_mosaic(table, placed, fields.read(illumination, table), gains, settings)


def _size(affines: Array, height: int, width: int) -> tuple[int, int]:
    """The size (y, x) of the array that holds the centres of all pixels at or beyond (0, 0)."""
    largest = affine.apply(affines, affine.corners(height, width)).max((0, 1))
    rows, columns = np.ceil(largest - 1e-6).astype(int) + 1
    return int(rows), int(columns)
