"""Writes small grids of synthetic tiles and their tables, with exact truth."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from numpy.typing import NDArray

from dlir.core import affine, hashing, tables
from dlir.core.lens import Lens
from dlir.illumination import fields
from dlir.registration.pairs.neighbours import pairs
from dlir.registration.settings import Pairs
from support.distorted import raw_tile
from support.specimens import ONE_PLANE, Specimen


@dataclass(frozen=True)
class Grid:
    """The tables of a small grid of tiles, and its truth."""

    tiles: Path
    illumination: Path
    pairs: Path
    truth: NDArray[np.float64]  # (n, 2, 3) affines, tile px to specimen px
    size: tuple[int, int]  # height and width of a tile, px
    blank: tuple[int, ...] = ()  # tiles that show noise only

    def errors(self, found: pd.DataFrame) -> NDArray[np.float64]:
        """Returns the distances (n,), px, of `offsets`."""
        return np.asarray(np.linalg.norm(self.offsets(found), axis=1))

    def offsets(self, found: pd.DataFrame) -> NDArray[np.float64]:
        """Returns the found less the true place (n, 2), px, of the centre of each pair (tables.AFFINES) in the fixed tile."""
        centre = found[["centre_y", "centre_x"]].to_numpy()[:, None]
        fixed, moving = (self.truth[found[column]] for column in ("fixed", "moving"))
        true = affine.apply(affine.compose(affine.invert(fixed), moving), centre)
        return np.asarray((affine.apply(affine.from_table(found), centre) - true)[:, 0])


def record(table: Path) -> None:
    """Writes into a table of tiles what their files hold now."""
    tiles = tables.read(table, tables.TILES)
    tiles["sha256"] = [hashing.of_file(Path(path)) for path in tiles["path"]]
    tables.write(tiles, tables.TILES, table)


def make_grid(
    folder: Path,
    rows: int,
    cols: int,
    noise: float,
    blank: tuple[int, ...] = (),
    side: int = 160,
    lens: Lens | None = None,
    specimen: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None,
) -> Grid:
    """Writes tiles with 20 % overlap, a stage error of up to 4 px and a camera rotated by 0.5 degrees, and their tables.

    Args:
        folder: where the files are written.
        rows, cols: of the grid.
        noise: standard deviation, grey values; that of the specimen is about 200.
        blank: tiles that show noise only.
        side: of a tile, px.
        lens: distorts all tiles.
        specimen: the brightness (n,) at points (n, 2), px; random waves by default.
    """
    specimen, rng = specimen or Specimen(1, waves=200, shortest=5.0), np.random.default_rng(2)
    lens = lens or Lens.of((side, side), np.zeros((1, 2)), [(2, 0)])
    angle = np.deg2rad(0.5)
    camera = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    listed, truth = [], []
    for tile in range(rows * cols):
        stage = np.array(divmod(tile, cols)) * 0.8 * side
        truth.append(np.c_[camera, stage + rng.uniform(-4, 4, 2)])
        clean = 4000 + (0 if tile in blank else 30) * raw_tile(specimen, truth[-1], lens)
        pixels = np.rint(clean + noise * rng.standard_normal(clean.shape)).astype(np.uint16)
        tifffile.imwrite(folder / f"{tile}.tif", pixels)
        listed.append({"tile": tile, "path": str(folder / f"{tile}.tif"), "row": tile // cols, "col": tile % cols,
                       "y": stage[0], "x": stage[1], "height": side, "width": side, "channels": 1, "dtype": "uint16",
                       "pixel_size": None, "sha256": hashing.of_file(folder / f"{tile}.tif"), **ONE_PLANE})  # fmt: skip
    tables.write(pd.DataFrame(listed), tables.TILES, folder / "tiles.csv")
    pairs(folder / "tiles.csv", folder / "pairs.csv", settings=Pairs(search=0.5, min_overlap=8))
    fields.write([fields.identity((1, side, side))], folder / "illumination.tif")
    return Grid(folder / "tiles.csv", folder / "illumination.tif", folder / "pairs.csv", np.array(truth), (side, side), blank)
