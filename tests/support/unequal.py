"""Grids of tiles of unequal size or of two cameras, cut from a specimen that is known at every point."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import tifffile
from numpy.typing import NDArray

import dlir
from dlir.core import affine, tables
from dlir.core.affine import Array
from dlir.reporting.accuracy import corner_errors
from support.specimens import Specimen

SIDE, STEP = 160, 128  # px, of the usual tile, and from tile to tile
LEVEL = 4000.0  # grey values of the specimen without structure
TURN = np.deg2rad(0.5)
CAMERA = np.array([[np.cos(TURN), np.sin(TURN)], [-np.sin(TURN), np.cos(TURN)]])


class Light(NamedTuple):
    """What a camera does to the light: its shading falls to `corner` in the corners, and its dark-field is `dark`."""

    corner: float = 1.0
    dark: float = 0.0

    def __call__(self, size: tuple[int, int]) -> Array:
        y, x = np.meshgrid(*(np.linspace(-1, 1, side) for side in size), indexing="ij")
        return np.asarray(1 - (1 - self.corner) * (y**2 + x**2) / 2)


class Made(NamedTuple):
    """Tiles that were written, and their truth."""

    folder: Path
    names: list[str]
    sizes: NDArray[np.int64]  # (n, 2) px
    truth: Array  # (n, 2, 3) tile px to specimen px
    stage: Array  # (n, 2) px, where the stage puts their first pixels

    def tiles(self, pattern: str, **layout: Any) -> pd.DataFrame:
        """The table of the tiles as dlir reads it, in the order in which they were made."""
        table = dlir.read_tiles(str(self.folder / pattern), **layout)
        return table.set_index("path").loc[[str(self.folder / name) for name in self.names]].reset_index()

    def errors(self, placed: pd.DataFrame) -> Array:
        """The errors (n,), px, of the places of the tiles (tables.PLACEMENT)."""
        by_path = placed.set_index("path").loc[[str(self.folder / name) for name in self.names]]
        return corner_errors(affine.from_table(by_path), self.truth, affine.corners(*self.sizes.T))


def make(folder: Path, cells: Array, sizes: Any, shift: Array | float = 0.0, lights: Any = None, seed: int = 2) -> Made:
    """Writes a tile for each cell of a grid, with a stage that errs by up to 4 px and a camera turned by 0.5 degrees.

    Args:
        cells: (n, 2) row and column.
        sizes: (n, 2) px, of the tiles.
        shift: (n, 2) px, of the first pixels of the tiles in their cells.
        lights: (n,) the light of the camera of each tile.
    """
    specimen, rng, sizes = Specimen(seed, waves=200, shortest=5.0), np.random.default_rng(seed), np.array(sizes)
    stage = cells * STEP + shift
    truth = np.stack([np.c_[CAMERA, CAMERA @ place + rng.uniform(-4, 4, 2)] for place in stage])
    names = [f"r{row:02.0f}_c{col:02.0f}.tif" for row, col in cells]
    for k, (name, (height, width)) in enumerate(zip(names, sizes.tolist(), strict=True)):
        light = lights[k] if lights is not None else Light()
        clean = (LEVEL + 30 * specimen.tile(truth[k], height, width)) * light((height, width)) + light.dark
        pixels = np.rint(clean + 5 * rng.standard_normal(clean.shape)).astype(np.uint16)
        tifffile.imwrite(folder / name, pixels)
    return Made(folder, names, sizes, truth, stage)


def placed(tiles: pd.DataFrame, light: Any = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The pairs (tables.AFFINES) and the placement of the tiles (tables.PLACEMENT)."""
    affines = dlir.register_pairs(tiles, dlir.find_pairs(tiles), light, device="cpu")
    return affines, tables.check(dlir.place(tiles, affines)[0], tables.PLACEMENT, Path("placement.csv"))
