"""The results of a small grid of tiles, as the report reads them, with known truth."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dlir.core import affine, tables
from dlir.reporting.results import Results, read
from support.mosaics import SIDE, MosaicInputs, cut_tile, grid

STEP = 80  # px from tile to tile


def results_of_grid(
    folder: Path, rows: int = 3, columns: int = 4, wrong: float = 0.0, *, mosaic: bool = False, **more: Any
) -> Results:
    """Writes and reads the results of a grid whose tiles lie up to 5 px from where the stage says.

    Args:
        folder: where the files are written.
        rows, columns: of the grid.
        wrong: px, by how much the tile 5 is placed too far down; its pairs then have this residual.
        mosaic: whether the tiles are fused.
        more: what else `dlir.reporting.results.read` takes.
    """
    folder.mkdir(exist_ok=True)
    true = grid(5.0, rows, columns, STEP)
    inputs = MosaicInputs(folder, [1000 + 20 * cut_tile(matrix) for matrix in true], true)
    nominal = np.array([[row * STEP, column * STEP] for row in range(rows) for column in range(columns)], float)
    listed = tables.read(folder / "tiles.csv", tables.TILES).assign(y=nominal[:, 0], x=nominal[:, 1])
    listed = listed.assign(row=listed["tile"] // columns, col=listed["tile"] % columns)
    tables.write(listed, tables.TILES, folder / "tiles.csv")
    placed = tables.read(folder / "placement.csv", tables.PLACEMENT)
    placed.loc[placed["tile"] == 5, "y0"] += wrong
    tables.write(placed, tables.PLACEMENT, folder / "placement.csv")
    tables.write(true_pairs(true, rows, columns), tables.AFFINES, folder / "affines.csv")
    if mosaic:
        inputs.run()
    files = [folder / name for name in ("tiles.csv", "illumination.tif", "placement.csv", "exposure.csv", "mosaic.ome.zarr")]
    return read("grid", *files, affines=folder / "affines.csv", **more)


def true_pairs(true: np.ndarray, rows: int, columns: int) -> pd.DataFrame:
    """Returns the true affines (tables.AFFINES) of all neighbours; the last pair is rejected, and wrong by (30, 40) px."""
    ends = [(i, i + 1, "right") for i in range(rows * columns) if (i + 1) % columns]
    ends += [(i, i + columns, "down") for i in range((rows - 1) * columns)]
    offsets = np.array([true[moving, :, 2] - true[fixed, :, 2] for fixed, moving, _ in ends])
    offsets[-1] += (30, 40)
    table = pd.DataFrame(ends, columns=["fixed", "moving", "side"])
    table = table.assign(**affine.to_columns(affine.translation(offsets)), pair=range(len(ends)), cov_yx=0, method="phase")
    table["centre_y"] = np.where(table["side"] == "right", SIDE / 2, (SIDE - STEP) / 2)
    table["centre_x"] = np.where(table["side"] == "down", SIDE / 2, (SIDE - STEP) / 2)
    table = table.assign(var_y=0.01, var_x=0.04, score_before=0.1, score_after=0.9, confidence=0.99, bow_y=0.0, bow_x=0.0)
    table = table.assign(**dict.fromkeys(tables.LINEAR_COVARIANCE, 0.0), overruled=False)
    accepted = table["pair"] < len(ends) - 1
    return table.assign(accepted=accepted, reason=np.where(accepted, None, "score <too low>"))
