"""Tiles of a camera that distorts are fused as if it did not."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from scipy import ndimage
from support.distorted import barrel, lens_of
from support.mosaics import SIDE, MosaicInputs, grid, specimen

from dlir.core import affine, lens, tables
from dlir.core.lens import Lens
from dlir.fusion import distorted
from dlir.fusion.blend import PlacedTiles, Region, border, borders, camera_weight
from dlir.fusion.distorted import Seen
from dlir.fusion.exposure import exposure, tile_gains
from dlir.fusion.settings import Exposure
from dlir.illumination import fields
from dlir.illumination.fields import Fields

SIZE = (SIDE, SIDE)
TURNED = np.array([[0.99, -0.05, 7.3], [0.06, 1.01, 4.6]])


def raw(matrix: np.ndarray, of: Lens) -> np.ndarray:
    """Returns the raw tile (1, y, x) whose undistorted pixels lie in the specimen at the affine `matrix` (2, 3)."""
    pixels = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij"), -1).reshape(-1, 2)
    return specimen(affine.apply(matrix, of.from_raw(pixels))).reshape(1, SIDE, SIDE).astype(np.float32)


def truth(shape: tuple[int, ...]) -> np.ndarray:
    return specimen(np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1))


@pytest.mark.parametrize("to_tile", [affine.translation([3.0, 4.0]), affine.translation([-4.3, 60.7]), TURNED])
@pytest.mark.parametrize("order", [0, 1, 3])
def test_pixels_are_those_of_the_raw_tile_where_they_are_seen(to_tile: np.ndarray, order: Literal[0, 1, 3]) -> None:
    of, tile = lens_of(SIZE, 4.0), np.random.default_rng(0).uniform(0, 1000, (2, *SIZE)).astype(np.float32)
    seen = Seen.of(of, to_tile, 50, 61)
    at = of.to_raw(affine.apply(to_tile, np.stack(np.meshgrid(np.arange(50), np.arange(61), indexing="ij"), -1)))
    wanted = np.stack([ndimage.map_coordinates(each, np.moveaxis(at, -1, 0), order=order, mode="nearest") for each in tile])
    found = distorted.resample(tile, np.zeros(2, np.int64), seen, order)
    assert np.abs(found - wanted).max() < 0.05  # of 1000
    low, high = (np.clip(end, 0, SIDE) for end in seen.ends(12))
    part = distorted.resample(tile[:, low[0] : high[0], low[1] : high[1]], low, seen, order)
    assert np.abs(part - wanted).max() < 0.05


@pytest.mark.parametrize("to_tile", [affine.translation([-4.3, -2.7]), TURNED])
def test_a_tile_ends_where_the_raw_one_does(to_tile: np.ndarray) -> None:
    of = lens_of(SIZE, 4.0)
    points = affine.apply(to_tile, np.stack(np.meshgrid(np.arange(110), np.arange(120), indexing="ij"), -1))
    distance = np.minimum(of.to_raw(points), SIDE - 1 - of.to_raw(points)) + 1
    wanted = np.where(distance.min(-1) >= 0.5, distance.prod(-1), 0)
    clear = np.abs(distance.min(-1) - 0.5) > 0.01
    found, flat = (distorted.weight(Seen.of(of, to_tile, 110, 120), fades=fades)[clear] for fades in (True, False))
    np.testing.assert_allclose(found, wanted[clear], rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(flat, wanted[clear] > 0)


def test_the_border_holds_all_that_a_tile_shows() -> None:
    of = barrel(SIZE, -4.0)  # the corners show more than an undistorted tile
    pixels = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij"), -1).reshape(-1, 2)
    shown, corners = of.from_raw(pixels), border(SIZE, of)
    assert shown.min() < -3
    assert (shown.min(axis=0) >= corners[0]).all() and (shown.max(axis=0) <= corners[3]).all()


@pytest.mark.parametrize("corner", [3.0, -3.0])
@pytest.mark.parametrize(("order", "blend"), [(0, "linear"), (1, "linear"), (1, "none"), (1, "max"), (3, "average")])
def test_the_mosaic_is_that_of_undistorted_tiles(tmp_path: Path, corner: float, order: int, blend: str) -> None:
    affines, of = grid(0.9), barrel(SIZE, corner)
    affines[:, :, 2] += 4
    inputs = MosaicInputs(tmp_path, [raw(matrix, of) for matrix in affines], affines)
    lens.write({0: of}, tmp_path / "lens.csv")
    fused = inputs.run(order=order, blend=blend, lens=tmp_path / "lens.csv")["0"][...]
    inner = (slice(10, -10), slice(10, -10))
    error = np.abs(fused - truth(fused.shape))[inner]
    allowed = {0: 25, 1: 3, 3: 0.5}[order]  # of a contrast of 1200; at order 0, half a pixel
    assert np.quantile(error, 0.95) < allowed and error.max() < 45  # a tile reaches half a px beyond its last one
    without = inputs.run("plain.ome.zarr", order=order, blend=blend)["0"][...]
    assert order == 0 or np.quantile(np.abs(without - truth(fused.shape))[inner], 0.95) > 2 * allowed


def test_parts_of_a_mosaic_are_as_in_the_whole_and_bands_join(tmp_path: Path) -> None:
    affines, of = grid(0.9), lens_of(SIZE, 3.0)
    inputs = MosaicInputs(tmp_path, [raw(matrix, of) for matrix in affines], affines)
    lens.write({0: of}, tmp_path / "lens.csv")
    whole = inputs.run("whole.ome.zarr", lens=tmp_path / "lens.csv")["0"][...]
    banded = inputs.run("bands.ome.zarr", bands=2, threads=2, lens=tmp_path / "lens.csv")["0"][...]
    assert np.abs(whole - banded).max() == 0
    placed = PlacedTiles(
        inputs.paths, [0] * 12, affines, np.ones((12, 1)), np.zeros(1), [fields.identity((1, *SIZE))],
        lambda path: raw(affines[inputs.paths.index(path)], of), 1, "linear", [None], [of] * 12,
        borders([fields.identity((1, *SIZE))], [0] * 12, [of] * 12),
    )  # fmt: skip
    part, _ = placed.fuse(Region(37, 41, 100, 90))
    assert np.abs(part[0] - whole[37:137, 41:131]).max() < 0.02


def test_blind_pixels_of_the_raw_tile_are_taken_from_others(tmp_path: Path) -> None:
    of, blind = barrel(SIZE, 3.0), np.zeros(SIZE, bool)
    blind[:, 80:] = True
    flat = fields.identity((1, *SIZE))
    light = [Fields(flat.flat, flat.dark, blind, flat.dim)]
    affines = affine.translation([[0.0, 0.0], [0.0, 50.0]])
    tiles = [np.where(blind, 0, raw(matrix, of)) for matrix in affines]
    placed = PlacedTiles(
        ["0", "1"], [0, 0], affines, np.ones((2, 1)), np.zeros(1), light, lambda path: tiles[int(path)], 1, "linear",
        [camera_weight(light[0], "linear")], [of, of], borders(light, [0, 0], [of, of]),
    )  # fmt: skip
    fused, covered = placed.fuse(Region(10, 10, 70, 100))
    assert covered.all()
    assert np.abs(fused[0] - truth((80, 110))[10:, 10:]).max() < 15
    assert not placed.fuse(Region(10, 135, 70, 10))[1].any()


def test_another_lens_fuses_all_again(tmp_path: Path) -> None:
    affines = grid(0.9)
    inputs = MosaicInputs(tmp_path, [raw(matrix, barrel(SIZE, 3.0)) for matrix in affines], affines)
    for corner in (3.0, 3.5):
        lens.write({0: barrel(SIZE, corner)}, tmp_path / "lens.csv")
        found = inputs.run(cache=tmp_path / "cache", lens=tmp_path / "lens.csv")["0"][...]
        scratch = inputs.run(f"{corner}.ome.zarr", lens=tmp_path / "lens.csv")["0"][...]
        np.testing.assert_array_equal(found, scratch)


def test_the_exposure_is_measured_where_both_tiles_show_the_same(tmp_path: Path) -> None:
    affines, of, gains = grid(0.9, 2, 2, step=60), barrel(SIZE, 8.0), np.array([0.9, 1.1, 1.0, 1.0])
    inputs = MosaicInputs(tmp_path, [gain * raw(m, of) for gain, m in zip(gains, affines, strict=True)], affines)
    listed, placed = (
        tables.read(tmp_path / "tiles.csv", tables.TILES),
        tables.read(tmp_path / "placement.csv", tables.PLACEMENT),
    )
    light = fields.read(tmp_path / "illumination.tif", listed)
    right = tile_gains(listed, placed, None, light, correct=True, lenses={0: of})[:, 0]
    wrong = tile_gains(listed, placed, None, light, correct=True)[:, 0]
    assert np.abs(right - gains).max() < 0.003 < np.abs(wrong - gains).max()
    lens.write({0: of}, tmp_path / "lens.csv")
    files = [tmp_path / name for name in ("tiles.csv", "illumination.tif", "placement.csv")]
    exposure(*files, inputs.folder / "found.csv", lens=tmp_path / "lens.csv", settings=Exposure(correct=True))
    np.testing.assert_allclose(tables.read(inputs.folder / "found.csv", tables.EXPOSURE)["gain"], right)
