"""Grids of tiles cut from a random specimen at known steps, written as files, for tests of the survey."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile
from scipy import ndimage

from dlir.reading.inventory import find_tiles
from dlir.reading.settings import Dataset
from dlir.survey.settings import LayoutCheck
from dlir.survey.survey import survey_tiles

SIDE = 128  # px, of a tile
Step = tuple[float, float]  # (y, x), px


def cut_grid(
    rows: int, cols: int, down: Step, right: Step, *, error: float = 2.0, seed: int = 1, blank: float = 0
) -> dict[Any, Any]:
    """The tiles (y, x) by row and column, whose stage errs by up to `error`, px; of these, a share holds noise alone."""
    rng = np.random.default_rng(seed)
    cells = [(row, col) for row in range(rows) for col in range(cols)]
    places = np.rint(np.array(cells) @ np.array([down, right]) + rng.uniform(-error, error, (len(cells), 2))).astype(int)
    places -= places.min(axis=0)
    height, width = places.max(axis=0) + SIDE
    image = ndimage.gaussian_filter(rng.normal(size=(height, width)), 1.5)
    image = 1000 + 200 * image / image.std()
    tiles = {}
    for cell, (y, x) in zip(cells, places, strict=True):
        content = np.full((SIDE, SIDE), 1000.0) if rng.uniform() < blank else image[y : y + SIDE, x : x + SIDE]
        tiles[cell] = (content + rng.normal(0, 20, (SIDE, SIDE))).clip(0).astype(np.uint16)
    return tiles


def write(folder: Path, tiles: dict[str, Any]) -> None:
    """Writes tiles by their names."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, pixels in tiles.items():
        tifffile.imwrite(folder / name, pixels, photometric="minisblack")


def surveyed(images: str, check: str = "stop", **keys: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tiles and the survey of a dataset."""
    dataset = Dataset.checked({"images": images, **keys})
    return survey_tiles(find_tiles(dataset), dataset, LayoutCheck.checked({"check": check}))
