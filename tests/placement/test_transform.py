"""Points of tiles lie in the mosaic where the specimen does, and come back; the distortion counts."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.distorted import lens_of
from support.mosaics import SIDE, MosaicInputs, cut_tile, grid

from dlir.core import affine, lens, tables
from dlir.placement.transform import PointsError, transform

SIZE = (SIDE, SIDE)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Twelve tiles of a camera with a distortion, two turned a little."""
    affines = grid(0.9)
    affines[3:5, :, :2] += [[0.002, 0.01], [-0.01, -0.001]]
    MosaicInputs(tmp_path, [cut_tile(matrix) for matrix in affines], affines)
    lens.write({0: lens_of(SIZE, 3.0)}, tmp_path / "lens.csv")
    return tmp_path


def made(results: Path, text: str, **more: object) -> pd.DataFrame:
    (results / "points.csv").write_text(text)
    transform(results / "points.csv", results, results / "out.csv", **more)
    return pd.read_csv(results / "out.csv")


def test_a_point_of_a_tile_lies_where_it_was_seen(results: Path) -> None:
    places = affine.from_table(tables.read(results / "placement.csv", tables.PLACEMENT))
    true = np.array([[50.0, 60.0], [3.0, 90.0]])
    raw = lens_of(SIZE, 3.0).to_raw(true)
    text = "path,y,x\n" + "".join(f"tile{tile}.tif,{y},{x}\n" for tile, (y, x) in zip((4, 7), raw, strict=True))
    found = made(results, text)
    wanted = np.array([affine.apply(places[tile], at[None])[0] for tile, at in zip((4, 7), true, strict=True)])
    np.testing.assert_allclose(found[["mosaic_y", "mosaic_x"]], wanted, atol=1e-3)
    assert found["tile"].tolist() == [4, 7]


def test_points_go_there_and_back(results: Path) -> None:
    rng = np.random.default_rng(0)
    text = "tile,y,x\n" + "".join(f"{rng.integers(12)},{y:.3f},{x:.3f}\n" for y, x in rng.uniform(0, SIDE - 1, (40, 2)))
    there = made(results, text)
    back = made(results, "y,x\n" + "".join(f"{y},{x}\n" for y, x in there[["mosaic_y", "mosaic_x"]].to_numpy()), to_tiles=True)
    for point, row in there.iterrows():
        same = back[(back["point"] == int(str(point)) + 1) & (back["tile"] == row["tile"])].iloc[0]
        np.testing.assert_allclose(same[["tile_y", "tile_x"]].to_numpy(float), [row["y"], row["x"]], atol=1e-3)
    assert len(back) > 40  # in overlaps two tiles and more show a point


def test_without_a_distortion_it_is_the_affine_alone(results: Path) -> None:
    (results / "lens.csv").unlink()
    places = affine.from_table(tables.read(results / "placement.csv", tables.PLACEMENT))
    found = made(results, "tile;y;x\n3;10;20\n")
    np.testing.assert_allclose(found[["mosaic_y", "mosaic_x"]].iloc[0], affine.apply(places[3], [[10.0, 20.0]])[0], atol=1e-4)


def test_mirrored_tiles_have_the_pixels_of_their_files(results: Path) -> None:
    plain = made(results, f"tile,y,x\n3,10,{SIDE - 1 - 20}\n")
    listed = tables.read(results / "tiles.csv", tables.TILES)
    tables.write(listed.assign(mirrored=True), tables.TILES, results / "tiles.csv")
    mirrored = made(results, "tile,y,x\n3,10,20\n")
    np.testing.assert_allclose(mirrored[["mosaic_y", "mosaic_x"]], plain[["mosaic_y", "mosaic_x"]])


def test_a_point_outside_all_tiles_has_an_empty_row(results: Path) -> None:
    found = made(results, "y,x\n100,100\n-500,0\n", to_tiles=True)
    assert found["point"].tolist()[-1] == 2 and found["tile"].isna().tolist()[-1]
    assert found["tile"].notna().iloc[0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tile,y,x\n99,1,1\n", "line 2: there is no tile '99'"),
        ("path,y,x\nb.tif,1,1\n", "no tile"),
        ("tile,y,x\n1,a,1\n", "two numbers"),
    ],
)
def test_a_mistake_is_named_with_its_line(results: Path, text: str, words: str) -> None:
    with pytest.raises(PointsError, match=words):
        made(results, text)


def test_a_time_point_has_to_be_named(results: Path) -> None:
    placed = tables.read(results / "placement.csv", tables.PLACEMENT)
    both = pd.concat([placed.assign(time=0), placed.assign(time=1, y0=placed["y0"] + 7)])
    tables.write(both, tables.PLACEMENT, results / "placement.csv")
    with pytest.raises(PointsError, match="--time"):
        made(results, "tile,y,x\n0,1,1\n")
    first, second = (made(results, "tile,y,x\n0,1,1\n", time=time)["mosaic_y"].iloc[0] for time in (0, 1))
    assert second - first == pytest.approx(7)


@pytest.fixture
def specimen(tmp_path: Path) -> Path:
    """Two rounds of two tiles; those of the second are mirrored, and lie 30 px further down."""
    for name, down in (("R1", 0.0), ("R2", 30.0)):
        affines = grid(0.9)[:2]
        affines[:, 0, 2] += down
        folder = tmp_path / name
        folder.mkdir()
        MosaicInputs(folder, [cut_tile(matrix) for matrix in affines], affines)
    tiles = pd.read_csv(tmp_path / "R2" / "tiles.csv")
    tiles.assign(mirrored=True).to_csv(tmp_path / "R2" / "tiles.csv", index=False)
    rows = pd.DataFrame({"round": ["R1", "R2"], **affine.to_columns(np.repeat(np.eye(2, 3)[None], 2, axis=0))})
    rows = rows.assign(
        turn=0.0, scale=1.0, shift_y=0.0, shift_x=0.0, blocks=0, agreeing=0, spread=0.0, found="pixels", against="R1", advice=""
    )
    tables.write(rows, tables.ROUNDS, tmp_path / "rounds.csv")
    return tmp_path


def test_points_of_all_rounds_of_a_specimen(specimen: Path) -> None:
    found = made(specimen, "path,y,x\nR1/tile1.tif,10,20\nR2/tile1.tif,10,20\n")
    first, second = found[["mosaic_y", "mosaic_x"]].to_numpy()
    np.testing.assert_allclose(second - first, [30, SIDE - 1 - 40], atol=1e-3)  # the second is read from right to left
    back = made(specimen, f"y,x\n{second[0]},{second[1]}\n", to_tiles=True)
    row = back[back["path"].str.contains("R2") & (back["tile"] == 1)].iloc[0]
    np.testing.assert_allclose(row[["tile_y", "tile_x"]].to_numpy(float), [10, 20], atol=1e-3)
    assert back["path"].str.contains("R1").any()


def test_a_number_of_a_tile_means_none_of_a_specimen(specimen: Path) -> None:
    with pytest.raises(PointsError, match=r"line 2: tiles are numbered in each round by itself: give their path"):
        made(specimen, "tile,y,x\n1,10,20\n")
