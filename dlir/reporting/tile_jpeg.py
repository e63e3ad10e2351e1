"""One tile as an 8-bit grey JPEG: the plane that registration sees, corrected for illumination, exposure and distortion.

All tiles of a dataset share their black and their white, so that two that are laid over each other can be compared.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image as Picture

from dlir.core import tables
from dlir.core.lens import read_for as read_lenses
from dlir.fusion.display import grey_limits
from dlir.illumination import fields
from dlir.reading import image_files
from dlir.reading.image_files import Plane
from dlir.reading.tile_reader import TileReader, read_table
from dlir.reading.undistorted import undistorted

LONGEST = 1024  # px, of a side of the JPEG
SAMPLED = 5  # tiles, spread over the grid, from which black and white are taken
STEP = 4  # px, from one pixel that counts for that to the next
QUALITY = 90


class TileJpegs:
    """Reads the tiles of a folder of results; only those in tiles.csv, by their numbers."""

    def __init__(self, results: Path) -> None:
        self.tiles = read_table(results / "tiles.csv")
        self.reader = TileReader(self.tiles)
        self.light = fields.read(results / "illumination.tif", self.tiles)
        lens = results / "lens.csv"
        self.lenses = read_lenses(lens if lens.is_file() else None, self.tiles)
        self.gains = tables.gains(tables.read(results / "exposure.csv", tables.EXPOSURE), self.tiles["tile"])
        spread = np.unique(np.linspace(0, len(self.tiles) - 1, SAMPLED).astype(int))
        self.black, self.white = grey_limits(
            np.concatenate([self._plane(int(index))[::STEP, ::STEP].ravel() for index in spread])[None]
        )

    def jpeg(self, tile: int) -> bytes:
        """Returns a tile by its number, reduced so that its longer side has at most LONGEST px.

        Raises:
            KeyError: when there is no such tile.
            ImageError: when its file cannot be read, or is not the one that was stitched.
        """
        found = np.flatnonzero(self.tiles["tile"] == tile)
        if not len(found):
            raise KeyError(tile)
        shown = (self._plane(int(found[0])) - self.black) / max(self.white - self.black, 1e-6)
        picture = Picture.fromarray(np.rint(255 * shown.clip(0, 1)).astype(np.uint8))
        picture.thumbnail((LONGEST, LONGEST), Picture.Resampling.BOX)
        file = io.BytesIO()
        picture.save(file, "jpeg", quality=QUALITY)
        return file.getvalue()

    def _plane(self, index: int) -> Plane:
        """Returns the tile in this row of the table (y, x)."""
        row = self.tiles.iloc[index]
        illumination = self.light[row["camera"]].of(self.reader.chosen)
        pixels = fields.correct(self.reader.reference(row["path"]), illumination)
        raw = image_files.channel_mean(pixels / self.gains[index, self.reader.chosen, None, None])
        return undistorted(self.lenses.get(row["camera"]), lambda rows, columns: raw[rows, columns])
