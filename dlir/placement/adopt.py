"""The step `adopt`: it takes the placement of another run for other images of the same grid, and nothing is registered.

The images may be masks or labels of the tiles, corrected tiles, or another modality. Since they have the places and the size of
the tiles there, both mosaics have one frame: a pixel of one shows the same place as that pixel of the other.
"""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from dlir.core import affine, tables
from dlir.core.affine import Array
from dlir.core.lens import Lenses
from dlir.core.lens import read_for as read_lenses
from dlir.core.lens import write as write_lenses
from dlir.core.tables import TableError
from dlir.placement import placement_table
from dlir.placement.placement_table import PlacementError
from dlir.reading import filenames
from dlir.reading.given_lens import given_lenses
from dlir.reading.settings import Dataset

log = logging.getLogger(__name__)
DETAILS = ("pairs", "residual", "deviation", "group", "slip_y", "slip_x", "loop")  # columns of tables.PLACEMENT
UNKNOWN = {"pairs": 0, "residual": np.nan, "deviation": np.nan, "group": 0, "slip_y": 0.0, "slip_x": 0.0, "loop": np.nan}
SAME_PIXEL_SIZE = 0.01  # by which the micrometres per pixel of both runs may differ


def adopt(
    files: Path, output: Path, *, placement: Path, layout: Dataset, lens: Path | None = None, distortion: str = "auto"
) -> None:
    """Writes the tiles with their nominal places (tables.TILES) to `output`, and their placement (tables.PLACEMENT).

    The distortion of the camera is that of the other run, unless another one is given.

    Args:
        files: the table of the step `tiles` (tables.FILES).
        placement: the placement that is written.
        layout: the dataset; its `placement` is the table that is read.
        lens: the file for the distortion (tables.LENS); None to write none.
        distortion: as `given_lens.given_lenses` takes it.

    Raises:
        PlacementError, TextTableError: when that table cannot be used for these tiles.
        LensError, TableError: when the distortion cannot be used for them.
    """
    listed = tables.read(files, tables.FILES)
    assert layout.placement, "the workflow runs this step for a dataset with a placement"
    tiles, placed = adopt_placement(listed, layout.placement, cells_known=layout.tells_cells)
    if lens:
        lenses = given_lenses(distortion, tiles)
        write_lenses(lens_beside(layout.placement, tiles) if lenses is None else lenses, lens)
    tables.write(placed, tables.PLACEMENT, placement)
    tables.write(tiles, tables.TILES, output)


def lens_beside(placement: Path, tiles: pd.DataFrame) -> Lenses:
    """Returns the distortion that another run found (tables.LENS), from beside its placement; none where there is no such file.

    Raises:
        LensError, TableError: when it cannot be used for these tiles (tables.TILES).
    """
    file = placement.with_name("lens.csv")
    return read_lenses(file if file.is_file() else None, tiles)


def adopt_placement(tiles: pd.DataFrame, table: Path, *, cells_known: bool = True) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns the tiles with the nominal places of a placement (tables.TILES), and their placement (tables.PLACEMENT).

    Args:
        tiles: tables.FILES or tables.TILES.
        table: the placement of another run, or any table with a path and an affine for each tile.
        cells_known: whether `row` and `col` of the tiles tell where they lie.

    Raises:
        PlacementError, TextTableError: when the table cannot be used for these tiles.
    """
    cells = list(zip(tiles["row"], tiles["col"], strict=True)) if cells_known else None
    paths = [filenames.paths_of(tile) for tile in tiles.to_dict("records")]
    rows = placement_table.read(table, paths, cells)
    own = placement_table.tiles_beside(table)
    tiles = _like_those_beside(tiles, table, [own.get(row.path, {}) for row in rows])
    affines = _from_origin(np.array([row.affine for row in rows]).reshape(-1, 2, 3), table)
    details = _details(table, [row.path for row in rows])
    placed = tiles[["tile", "path"]].assign(**affine.to_columns(affines), **details, placed_by="placement")
    more = len(placement_table.read_rows(table)) - len(rows)
    log.info("the placement of %d tiles is taken from %s%s", len(rows), table, f", which has {more} more" if more else "")
    return tiles.assign(y=affines[:, 0, 2], x=affines[:, 1, 2]), placed


def _like_those_beside(tiles: pd.DataFrame, table: Path, beside: list[dict[str, str]]) -> pd.DataFrame:
    """Returns the tiles with the pixel size of those of the other run, where their own is not known.

    Args:
        beside: the row of each tile in the tiles.csv of the other run; empty where there is none.

    Raises:
        PlacementError: when the tiles are not of the same size.
    """
    if not all(beside):
        log.warning("%s: no tiles.csv beside it tells the size of the tiles, which has to be the same as here", table)
        return tiles
    for tile, there in zip(tiles.to_dict("records"), beside, strict=True):
        sizes = [f"{row['height']} x {row['width']} px" for row in (tile, there)]
        if sizes[0] != sizes[1]:
            what = f"{tile['path']} is {sizes[0]}, and {there['path']}, whose place it takes, is {sizes[1]}"
            raise PlacementError(f"placement cannot be used:\n  {table}: {what}: give images of the same size")
    mirrored = [str(tiles["mirrored"].iloc[0]), beside[0]["mirrored"]]
    if mirrored[0] != mirrored[1]:
        log.warning(
            "%s: mirrored is %s there and %s here: right only if these images are mirrored already", table, *mirrored[::-1]
        )
    size, there_size = float(tiles["pixel_size"].iloc[0]), float(beside[0]["pixel_size"] or np.nan)
    if abs(size / there_size - 1) > SAME_PIXEL_SIZE:
        log.warning("%s: the pixel size is %g there and %g here: correct pixel_size", table, there_size, size)
    return tiles.assign(pixel_size=there_size) if np.isnan(size) else tiles


def _from_origin(affines: Array, table: Path) -> Array:
    """Returns the affines (n, 2, 3), moved by whole pixels where a tile starts before (0, 0), as no run of dlir has it."""
    outside = np.floor(np.minimum(affines[:, :, 2].min(axis=0), 0))
    if outside.any():
        log.warning("%s: tiles start before (0, 0), so the mosaic is moved by %d px down and %d px right", table, *-outside)
    return np.asarray(affines - np.concatenate([np.zeros((2, 2)), outside[:, None]], axis=1))


def _details(table: Path, paths: list[str]) -> dict[str, Array]:
    """Returns the other columns of tables.PLACEMENT for the tiles at these paths; unknown in a table of another kind."""
    try:
        placed = tables.read(table, tables.PLACEMENT).set_index("path").loc[paths]
    except TableError:
        placed = pd.DataFrame(UNKNOWN, index=paths)
    return {name: placed[name].to_numpy() for name in DETAILS}
