"""Tiles of unequal size, and of two cameras with their own light, in one mosaic: against exact truth, from files to pixels."""

from pathlib import Path

import numpy as np
import pytest
import zarr
from scipy import ndimage
from support.specimens import Specimen
from support.unequal import LEVEL, SIDE, Light, Made, make, placed

import dlir
from dlir.core import affine, tables
from dlir.core.affine import Array

NEAR = 0.1  # px
CELLS = np.array(list(np.ndindex(4, 5)), float)
FEW = np.array(list(np.ndindex(3, 3)), float)
OTHER = (136, 184)  # px, of the tiles of the second camera


def two_cameras(which: Array) -> tuple[Array, Array]:
    """The sizes of the tiles of two cameras (n, 2), and where they lie in the middle of their cells (n, 2)."""
    sizes = np.array([(SIDE, SIDE), OTHER])[which]
    return sizes, (SIDE - sizes) / 2


def brightness(made: Made, placement: Array, store: Path) -> list[Array]:
    """The grey values of a mosaic over those of the specimen, at points of each tile."""
    mosaic = np.asarray(zarr.open_group(store, mode="r")["0"][...], float)
    found = []
    for matrix, true, (height, width) in zip(placement, made.truth, made.sizes.tolist(), strict=True):
        points = np.stack(np.meshgrid(np.arange(4, height - 4, 4), np.arange(4, width - 4, 4), indexing="ij"), -1)
        points = points.reshape(-1, 2).astype(float)
        specimen = LEVEL + 30 * Specimen(2, waves=200, shortest=5.0)(affine.apply(true, points))
        found.append(ndimage.map_coordinates(mosaic, affine.apply(matrix, points).T, order=3) / specimen)
    return found


def test_a_grid_whose_last_row_and_column_are_cropped_is_placed_exactly(tmp_path: Path) -> None:
    made = make(tmp_path, FEW, np.where(FEW.max(axis=0) == FEW, 96, SIDE))
    tiles = made.tiles("r{row}_c{col}.tif")
    affines, placement = placed(tiles)
    assert affines["accepted"].all() and made.errors(placement).max() < NEAR
    store = dlir.fuse(tiles, placement, tmp_path / "mosaic.ome.zarr")
    for ratio in brightness(made, affine.from_table(placement), store):
        assert np.abs(ratio - 1).max() < 0.03 and abs(ratio.mean() - 1) < 0.001


@pytest.mark.parametrize("order", ["at random", pytest.param("in alternating columns", marks=pytest.mark.slow)])
def test_two_cameras_of_their_own_size_and_light_make_one_mosaic(tmp_path: Path, order: str) -> None:
    which = np.random.default_rng(0).permutation(20) % 2 if order == "at random" else CELLS[:, 1].astype(int) % 2
    sizes, shift = two_cameras(which)
    shift = shift + which[:, None] * [5.0, -7.0]  # the second camera does not look quite where the first does
    made = make(tmp_path, CELLS, sizes, shift, [(Light(0.7, 100), Light(0.85, 250))[camera] for camera in which])
    tiles = made.tiles("r{row}_c{col}.tif")
    assert set(tiles["camera"]) == {0, 1} and tiles.groupby("camera")["height"].nunique().tolist() == [1, 1]
    light = dlir.estimate_illumination(tiles)
    assert [each.size for each in light] == [tuple(tables.sizes(tiles[tiles["camera"] == k])[0].tolist()) for k in (0, 1)]
    affines, placement = placed(tiles, light)
    assert affines["accepted"].all() and made.errors(placement).max() < NEAR
    store = dlir.fuse(tiles, placement, tmp_path / "mosaic.ome.zarr", light)
    ratios = brightness(made, affine.from_table(placement), store)
    of_cameras = [np.mean([ratio.mean() for ratio, camera in zip(ratios, which, strict=True) if camera == k]) for k in (0, 1)]
    assert of_cameras[0] == pytest.approx(of_cameras[1], rel=0.003)  # 0.7 and 0.85 in the corners: 8 % without a gain
    for ratio in ratios:
        assert np.abs(ratio / of_cameras[0] - 1).max() < 0.03  # also where tiles of two cameras meet


def test_a_table_of_places_of_tiles_of_random_sizes(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    made = make(tmp_path, FEW, rng.integers(140, 220, (9, 2)), rng.uniform(-15, 0, (9, 2)))
    lines = [f"{name},{y},{x}" for name, (y, x) in zip(made.names, made.stage, strict=True)]
    (tmp_path / "places.csv").write_text("\n".join(["path,y,x", *lines]))
    affines, placement = placed(made.tiles("*.tif", positions=tmp_path / "places.csv"))
    assert affines["accepted"].all() and made.errors(placement).max() < NEAR
