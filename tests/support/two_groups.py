"""Tiles of two parts of a specimen with nothing between them: no pair joins the two, and the stage slipped in between."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile
import yaml
from numpy.typing import NDArray

from support.specimens import Specimen

ROWS, COLUMNS, SIDE, STEP = 2, 4, 160, 128
SLIP = np.array([9.0, -14.0])  # px, by which columns 2 and 3 lie elsewhere than the stage says
EMPTY = (224, 304)  # px, columns of the specimen that show nothing: those that the tiles of columns 1 and 2 share


def true_places() -> NDArray[np.float64]:
    """Returns where the first pixels of the tiles truly lie (n, 2), px, row by row."""
    grid = np.array([[row * STEP, column * STEP] for row in range(ROWS) for column in range(COLUMNS)], float)
    stage_error = np.random.default_rng(3).integers(-3, 4, grid.shape)
    return np.asarray(grid + stage_error + (grid[:, 1] >= 2 * STEP)[:, None] * SLIP)


@cache
def pixels() -> NDArray[np.uint16]:
    """Returns the tiles (n, y, x), row by row."""
    specimen, rng = Specimen(5, waves=200, shortest=5.0), np.random.default_rng(4)
    tiles = []
    for place in true_places():
        x = place[1] + np.arange(SIDE)
        clean = 4000 + 30 * specimen.tile(np.c_[np.eye(2), place], SIDE, SIDE) * ~((x > EMPTY[0]) & (x < EMPTY[1]))
        tiles.append(np.rint(clean + 4 * rng.standard_normal(clean.shape)).astype(np.uint16))
    return np.stack(tiles)


def write(folder: Path, **settings: Any) -> Path:
    """Writes tiles/ROW_COLUMN.tif, truth.csv and mine.yaml with the dataset `two`, and returns the file of the settings."""
    (folder / "tiles").mkdir(parents=True)
    rows = []
    for tile, place, (row, column) in zip(pixels(), true_places(), np.ndindex(ROWS, COLUMNS), strict=True):
        path = f"tiles/{row}_{column}.tif"
        tifffile.imwrite(folder / path, tile)
        rows.append({"path": path, "yy": 1.0, "yx": 0.0, "y0": place[0], "xy": 0.0, "xx": 1.0, "x0": place[1]})
    pd.DataFrame(rows).to_csv(folder / "truth.csv", index=False)
    dataset = {"images": "tiles/{row}_{col}.tif", "overlap": 0.2, "truth": "truth.csv"}
    config = {"datasets": {"two": dataset}, "train": {"steps": 0}, "selfcheck": {"count": 2}, **settings}
    (folder / "mine.yaml").write_text(yaml.safe_dump(config))
    return folder / "mine.yaml"
