"""The distortion that all tiles share is found in their overlaps, against exact truth; and none where there is none."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from support.distorted import barrel
from support.grids import Grid, make_grid
from support.lattices import vectors

from dlir.core import affine, lens, tables
from dlir.core.affine import Array
from dlir.core.lens import Lens
from dlir.illumination import fields
from dlir.registration.inference.lens_estimate import find_lenses
from dlir.registration.inference.register import register
from dlir.registration.model import checkpoint
from dlir.registration.pairs.planes import TilePlanes

SIZE = (160, 160)
NONE = Lens.of(SIZE, np.zeros((1, 2)), [(2, 0)])
TILTED = Lens.of(SIZE, [[1.6, 0], [1.2, 1.6], [0, 1.2]], [(2, 0), (1, 1), (0, 2)])


def registered(grid: Grid, folder: Path, distortion: str = "auto") -> tuple[pd.DataFrame, Lens]:
    """The pairs after the step `register` (tables.AFFINES), and the distortion that it found."""
    files = (grid.tiles, grid.illumination, grid.pairs, folder / "affines.csv")
    register(*files, lens=folder / "lens.csv", distortion=distortion, model=checkpoint.GENERIC, device="cpu")
    return tables.read(folder / "affines.csv", tables.AFFINES), lens.read(folder / "lens.csv").get(0, NONE)


def error(found: Lens, true: Lens) -> Array:
    """By how much (n,), px, the displacements of two lenses differ over the tile."""
    points = lens.grid(SIZE)
    return np.asarray(np.linalg.norm(found.displacement(points) - true.displacement(points), axis=1))


@pytest.mark.slow
@pytest.mark.parametrize("true", [barrel(SIZE, 1.0), barrel(SIZE, -2.0), TILTED])
def test_the_distortion_is_found(tmp_path: Path, true: Lens) -> None:
    grid = make_grid(tmp_path, 4, 4, 20.0, lens=true)
    pairs, found = registered(grid, tmp_path)
    assert error(found, true).max() < 0.1
    assert np.sqrt((error(found, true) ** 2).mean()) < 0.04
    assert (error(found, true) < np.linalg.norm(3 * found.interval, axis=1).sum()).all()
    # the affines are those of undistorted tiles
    assert pairs["accepted"].all() and grid.errors(pairs).max() < 0.05
    linear = np.abs(affine.from_table(pairs)[:, :, :2] - np.eye(2)).max()
    assert linear < 0.002


@pytest.mark.slow
@pytest.mark.parametrize("noise", [5.0, 200.0])
def test_without_distortion_nothing_changes(tmp_path: Path, noise: float) -> None:
    grid = make_grid(tmp_path, 4, 4, noise)
    _, found = registered(grid, tmp_path)
    assert found is NONE and lens.read(tmp_path / "lens.csv") == {}
    automatic = (tmp_path / "affines.csv").read_bytes()
    registered(grid, tmp_path, distortion="none")
    assert (tmp_path / "affines.csv").read_bytes() == automatic


def squares(points: Array) -> Array:
    """A specimen that repeats itself every 17 px."""
    waves = 2 * np.pi * np.linalg.inv(vectors("squares", 17.0, angle=0.2)).T
    return np.asarray(3 * np.cos(points @ waves.T).sum(axis=-1))


def test_a_specimen_that_repeats_itself_shows_no_distortion_where_there_is_none(tmp_path: Path) -> None:
    _, found = registered(make_grid(tmp_path, 3, 3, 20.0, specimen=squares), tmp_path)
    assert found is NONE


def test_blank_tiles_show_no_distortion(tmp_path: Path) -> None:
    grid = make_grid(tmp_path, 2, 3, 20.0, blank=tuple(range(6)), lens=barrel(SIZE, 3.0))
    pairs, found = registered(grid, tmp_path)
    assert found is NONE and not pairs["accepted"].any()


def test_few_pairs_show_no_distortion(tmp_path: Path) -> None:
    """Where only two tiles of six show the specimen, a single pair is all there is."""
    grid = make_grid(tmp_path, 2, 3, 20.0, blank=(2, 3, 4, 5), lens=barrel(SIZE, 3.0))
    _, found = registered(grid, tmp_path)
    assert found is NONE


def test_wrong_pairs_show_no_distortion(tmp_path: Path) -> None:
    """Half of the pairs lie some px off, where the specimen looks unlike in both tiles."""
    grid = make_grid(tmp_path, 4, 4, 20.0)
    pairs, _ = registered(grid, tmp_path)
    pairs.loc[::2, ["y0", "x0"]] += [7.0, -6.0]
    tiles = tables.read(grid.tiles, tables.TILES)
    planes_with = partial(TilePlanes, tiles, fields.read(grid.illumination, tiles))
    assert find_lenses(pairs, tiles, planes_with, torch.device("cpu")) == {}
