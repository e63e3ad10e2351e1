"""The plan of a mosaic: its size, and all that its pixels are computed from. `write` fuses any blocks of it."""

import logging
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from dlir.core import affine, local_field, tables
from dlir.core.affine import Array
from dlir.core.lens import NO_LENSES, Lens, Lenses
from dlir.core.lens import read_for as read_lenses
from dlir.core.local_field import LocalField, bent_lenses
from dlir.fusion.blend import PlacedTiles, borders, camera_weight
from dlir.fusion.pyramid import Block, Pyramid, to_dtype
from dlir.fusion.settings import Mosaic
from dlir.illumination import fields
from dlir.illumination.blind import filled
from dlir.illumination.fields import Light
from dlir.reading.image_files import Image
from dlir.reading.tile_reader import TileReader, read_table

log = logging.getLogger(__name__)
CACHE = 2**27  # bytes of tiles kept in memory, since neighbouring blocks need the same tiles


class CanvasError(ValueError):
    """The tiles do not fit on the canvas that all rounds share."""


class MosaicPlan(NamedTuple):
    """All that the pixels of a mosaic are computed from, as `plan_mosaic` makes it.

    A tile that lies elsewhere at each time point counts as one of the n tiles for each of them.
    """

    reader: TileReader
    paths: list[str]  # of the tiles, as `reader` takes them
    contents: list[str]  # SHA-256 of each tile
    cameras: list[int]  # number of the camera of each tile
    times: list[int | None]  # the time point at which a tile lies there; None for all
    affines: Array  # (n, 2, 3), from px of a tile to px of the mosaic
    gains: Array  # (n, channels), relative brightness of each tile, by which it is divided
    pedestal: Array  # (channels,), grey values that are added then
    light: Light  # the fields of each camera
    lenses: list[Lens | None]  # of each tile; None where it is not distorted
    shape: tuple[int, int, int, int, int]  # t, c, z, y, x
    dtype: str  # of the tiles and of the mosaic
    pixel_size: float  # micrometres, NaN where unknown
    settings: Mosaic

    def write(self, pyramid: Pyramid, roots: list[Block], threads: int) -> None:
        """Fuses these blocks and all blocks under them, at all time points and z, and writes them to the store of `pyramid`.

        Raises:
            ImageError: when a tile cannot be read.
        """
        for time in range(self.shape[0]):
            for z in range(self.shape[2]):
                pyramid.build(roots, 0, partial(self._pixels, pyramid, self._placed_tiles(time, z)), time, z, threads)

    def write_upper_levels(self, pyramid: Pyramid, bands: int, threads: int) -> None:
        """Writes the levels above those that the jobs of so many bands have written."""
        for time in range(self.shape[0]):
            for z in range(self.shape[2]):
                stored_pixels = partial(pyramid.read, time, z)
                pyramid.build(pyramid.band_blocks(0, 1), pyramid.band_level(bands), stored_pixels, time, z, threads)

    def _placed_tiles(self, time: int, z: int) -> PlacedTiles:
        """Returns the tiles at one time point and z."""
        largest = max(illumination.flat.size for illumination in self.light)
        cached = max(1, CACHE // (largest * np.dtype(self.dtype).itemsize))
        camera_of = dict(zip(self.paths, self.cameras, strict=True))

        @lru_cache(cached)
        def read(path: str) -> Image:
            return filled(self.reader.read(path, time, z), self.light[camera_of[path]].blind)

        weights = [camera_weight(illumination, self.settings.blend) for illumination in self.light]
        settings = self.settings.interpolation, self.settings.blend
        outlines = borders(self.light, self.cameras, self.lenses)
        rows = [row for row, own in enumerate(self.times) if own in (None, time)]
        paths, cameras = [self.paths[row] for row in rows], [self.cameras[row] for row in rows]
        placed = paths, cameras, self.affines[rows], self.gains[rows], self.pedestal
        lenses = [self.lenses[row] for row in rows]
        return PlacedTiles(*placed, self.light, read, *settings, weights, lenses, outlines[rows])

    def _pixels(self, pyramid: Pyramid, placed_tiles: PlacedTiles, block: Block) -> Image:
        """Returns the fused pixels (channels, y, x) of a block of level 0."""
        values, _ = placed_tiles.fuse(pyramid.region(block))
        return to_dtype(values, self.dtype)


def plan_mosaic(
    tiles: pd.DataFrame,
    placement: pd.DataFrame,
    light: Light,
    exposure: pd.DataFrame,
    settings: Mosaic = Mosaic(),
    lenses: Lenses = NO_LENSES,
    canvas: pd.DataFrame | None = None,
    field: LocalField | None = None,
) -> MosaicPlan:
    """Returns the plan of a mosaic.

    Args:
        tiles: the tiles and their files (tables.TILES).
        placement: the affine of each tile (tables.PLACEMENT). The mosaic starts at (0, 0).
        light: the fields of each camera, that its tiles are corrected with.
        exposure: the gain of each tile and channel, and the grey levels (tables.EXPOSURE).
        lenses: of the cameras that distort their tiles; the affines are then those of undistorted tiles.
        canvas: the size of the mosaic (tables.CANVAS); None: it reaches to the last pixel of a tile.
        field: how the tissue was stretched against the first round, which the mosaic mends; None where it was not.

    Raises:
        CanvasError: when a tile lies outside the canvas.
    """
    reader, affines, first = TileReader(tiles), affine.from_table(placement), tiles.to_dict("records")[0]
    times, channels, depth, dtype = reader.times, reader.channels, reader.depth, str(first["dtype"])
    height, width = affine.mosaic_size(affines, tables.sizes(tiles, placement["tile"]))
    pixel_size = float(first["pixel_size"])
    cameras = tiles.set_index("path").loc[placement["path"], "camera"].tolist()
    of_tiles = bent_lenses(field, [lenses.get(camera) for camera in cameras], tables.sizes(tiles, placement["tile"]), affines)
    if canvas is not None:
        (height, width), pixel_size = _on_canvas(canvas, height, width), _pixel_size(canvas, pixel_size)
    log.info("mosaic of %d tiles: %d x %d px, %d channels of %s, %d z planes, %d time points",
             placement["path"].nunique(), height, width, channels, dtype, depth, times)  # fmt: skip
    return MosaicPlan(
        reader=reader,
        paths=list(placement["path"]),
        contents=list(tiles.set_index("path").loc[placement["path"], "sha256"]),
        cameras=cameras,
        times=placement["time"].tolist() if "time" in placement else [None] * len(placement),
        affines=affines,
        gains=tables.gains(exposure, placement["tile"]),
        pedestal=tables.pedestals(exposure),
        light=light,
        lenses=of_tiles,
        shape=(times, channels, depth, height, width),
        dtype=dtype,
        pixel_size=pixel_size,
        settings=settings,
    )


def read_plan(
    tiles: Path,
    illumination: Path,
    exposure: Path,
    placement: Path,
    settings: Mosaic,
    lens: Path | None = None,
    canvas: Path | None = None,
    local: Path | None = None,
) -> MosaicPlan:
    """Returns the plan of a mosaic from the files of its tables and of its illumination; see `plan_mosaic`.

    Raises:
        IlluminationError: when the illumination was estimated from tiles of another shape.
        LensError: when the distortion is that of other tiles.
        CanvasError: when a tile lies outside the canvas.
    """
    table = read_table(tiles)
    placed, gains = tables.read(placement, tables.PLACEMENT), tables.read(exposure, tables.EXPOSURE)
    lenses = read_lenses(lens, table)
    size = tables.read(canvas, tables.CANVAS) if canvas else None
    return plan_mosaic(table, placed, fields.read(illumination, table), gains, settings, lenses, size, local_field.read(local))


def _on_canvas(canvas: pd.DataFrame, height: int, width: int) -> tuple[int, int]:
    """Returns the size (y, x), px, of a canvas; raises CanvasError where the tiles reach to `height` and `width` beyond it."""
    size = int(canvas["height"][0]), int(canvas["width"][0])
    if height > size[0] or width > size[1]:
        what = f"the tiles reach to {height} x {width} px, and the canvas of all rounds has {size[0]} x {size[1]}"
        raise CanvasError(f"{what}: run the workflow again, which places all rounds anew")
    return size


def _pixel_size(canvas: pd.DataFrame, own: float) -> float:
    """Returns the size of a pixel on the canvas, micrometres; that of the tiles where the canvas does not tell it."""
    told = float(canvas["pixel_size"][0]) if "pixel_size" in canvas else float("nan")
    return own if np.isnan(told) else told
