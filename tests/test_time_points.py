"""Each time point is registered and placed by itself: the stage errs anew each time."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import zarr
from scipy import ndimage
from support.specimens import Specimen

import dlir
from dlir.core import affine, tables, time_points
from dlir.fusion.exposure import exposure
from dlir.fusion.mosaic import mosaic
from dlir.fusion.settings import Mosaic
from dlir.illumination import fields
from dlir.placement.export import export
from dlir.placement.place import place
from dlir.registration.inference.register import register
from dlir.registration.model.checkpoint import GENERIC
from dlir.reporting.accuracy import accuracy
from dlir.reporting.report import report

SIDE, STEP, TIMES = 128, 96, 3
NOMINAL = np.array([[STEP * row, STEP * col] for row, col in np.ndindex(2, 3)], float)
# Where the tiles lie in the specimen at each time (times, tiles, 2): the stage errs anew, and most at the last time
PLACES = 20 + NOMINAL + np.random.default_rng(5).uniform(-1, 1, (TIMES, 6, 2)) * np.array([2.0, 4.0, 8.0])[:, None, None]


class Made:
    """The tables of the steps before the placement, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        specimen = Specimen(3, waves=200, shortest=5.0)
        for time, (tile, (row, col)) in ((t, each) for t in range(TIMES) for each in enumerate(np.ndindex(2, 3))):
            pixels = specimen.tile(np.c_[np.eye(2), PLACES[time, tile]], SIDE, SIDE)
            scaled = (1000 + pixels - pixels.mean()).astype(np.float32)
            tifffile.imwrite(folder / f"r{row}_c{col}_t{time}.tif", scaled)
        self.tiles = dlir.read_tiles(str(folder / "r{row}_c{col}_t{time}.tif"), overlap=0.25, reference_time="each")
        tables.write(self.tiles, tables.TILES, self["tiles.csv"])
        fields.write(fields.without_light(self.tiles), self["light.tif"])
        self.pairs = dlir.find_pairs(self.tiles)
        tables.write(self.pairs, tables.PAIRS, self["pairs.csv"])
        inputs = [self[name] for name in ("tiles.csv", "light.tif", "pairs.csv", "affines.csv")]
        register(*inputs, model=GENERIC, device="cpu", cache=folder / "cache")
        place(self["tiles.csv"], self["affines.csv"], self["placement.csv"], stage=self["stage.csv"])
        self.placed = tables.read(self["placement.csv"], tables.PLACEMENT)

    def __getitem__(self, name: str) -> Path:
        return self.folder / name

    def fuse(self) -> np.ndarray:
        """Runs exposure and mosaic, and returns the mosaic (t, y, x)."""
        exposure(self["tiles.csv"], self["light.tif"], self["placement.csv"], self["exposure.csv"])
        inputs = [self[name] for name in ("tiles.csv", "light.tif", "exposure.csv", "placement.csv", "mosaic.ome.zarr")]
        mosaic(*inputs, sums=self["sums"], settings=Mosaic(chunk=64, shard=256))
        return np.asarray(zarr.open_array(self["mosaic.ome.zarr"] / "0", mode="r")[...])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("times"))


def relative(places: np.ndarray) -> np.ndarray:
    """Places (times, tiles, 2) less their mean at each time."""
    return np.asarray(places - places.mean(axis=1, keepdims=True))


def test_each_time_point_is_placed_where_its_tiles_were_cut(made: Made) -> None:
    assert made.tiles["reference_time"].isna().all()
    pairs = tables.read(made["affines.csv"], tables.AFFINES)
    assert time_points.listed(pairs) == [0, 1, 2] and len(pairs) == TIMES * len(made.pairs) and pairs["accepted"].all()
    found = made.placed[["y0", "x0"]].to_numpy().reshape(TIMES, 6, 2)
    assert np.abs(relative(found) - relative(PLACES)).max() < 0.05
    assert np.abs(relative(PLACES)[2] - relative(PLACES)[0]).max() > 4  # one placement for all would be wrong by so much
    assert len(tables.read(made["stage.csv"], tables.STAGE)) == TIMES
    assert {path.name for path in (made.folder / "cache").iterdir()} >= {"affines-0", "affines-1", "affines-2"}


def test_all_time_points_have_one_frame(made: Made) -> None:
    means = made.placed.groupby("time")[["y0", "x0"]].mean().to_numpy()
    np.testing.assert_allclose(means, means[[0, 0, 0]], atol=0.05)
    assert made.placed[["y0", "x0"]].min().tolist() == [0, 0]


def test_the_mosaic_shows_each_time_point_with_its_own_placement(made: Made) -> None:
    fused = made.fuse()
    assert fused.shape[0] == TIMES
    for time in range(TIMES):
        placed = time_points.at(made.placed, time)
        for path, matrix in zip(placed["path"], affine.from_table(placed), strict=True):
            tile = tifffile.imread(path.replace("{time}", str(time)))
            shown = np.stack(np.meshgrid(*(np.arange(48) + round(start) + 40 for start in matrix[:, 2]), indexing="ij"), -1)
            in_tile = affine.apply(affine.invert(matrix), shown.reshape(-1, 2))  # in its middle, where no other tile lies
            expected = ndimage.map_coordinates(tile, in_tile.T, order=1)
            np.testing.assert_allclose(fused[time, shown[..., 0], shown[..., 1]].ravel(), expected, atol=0.1)
    again = [made["tiles.csv"], made["light.tif"], made["exposure.csv"], made["placement.csv"], made["again.ome.zarr"]]
    mosaic(*again, sums=made["sums2"], settings=Mosaic(chunk=64, shard=256))
    np.testing.assert_array_equal(zarr.open_array(made["again.ome.zarr"] / "0", mode="r")[...], fused)


def test_the_report_shows_the_worst_time_point(made: Made, tmp_path: Path) -> None:
    made.fuse()
    pairs = tables.read(made["affines.csv"], tables.AFFINES)
    wrong = (pairs["time"] == 1) & (pairs["pair"] == 2)
    pairs.loc[wrong, "x0"] += 3.0
    tables.write(pairs, tables.AFFINES, tmp_path / "affines.csv")
    tables.write(pd.DataFrame(columns=list(tables.SELFCHECK.columns)), tables.SELFCHECK, tmp_path / "selfcheck.csv")
    inputs = [made[name] for name in ("tiles.csv", "light.tif", "placement.csv", "exposure.csv", "mosaic.ome.zarr")]
    of_pairs: dict[str, Any] = {"affines": tmp_path / "affines.csv", "stage": made["stage.csv"]}
    report(*inputs, tmp_path / "r.html", **of_pairs, selfcheck=tmp_path / "selfcheck.csv")
    page = (tmp_path / "r.html").read_text()
    assert "this page are about time point 1." in page.replace("\n", " ")
    (text,) = re.findall(r'id="facts">(.*?)</script>', page, re.DOTALL)
    facts = json.loads(text)
    assert (facts["time"], facts["pictures"]["reference"]["time"]) == (1, 1)  # of what the page shows at first
    tiles = pd.DataFrame(facts["tiles"]["rows"], columns=facts["tiles"]["columns"])
    assert tiles.groupby("time")["tile"].nunique().tolist() == [6] * TIMES
    rows = re.findall(r"<tr><td>(\d)</td><td>(\d+)</td><td>(\d+)</td>", page)
    assert rows[0][0] == "1" and {row[0] for row in rows[:3]} == {"0", "1", "2"}


def test_export_and_accuracy_know_all_time_points(made: Made, tmp_path: Path) -> None:
    export(made["tiles.csv"], made["placement.csv"], tmp_path / "positions.csv", fiji=tmp_path / "fiji.txt")
    positions = pd.read_csv(tmp_path / "positions.csv")
    assert list(positions) == ["path", "time", "y", "x", "unit"] and len(positions) == TIMES * 6
    assert len(re.findall(r"r\d_c\d_t0\.tif; ;", (tmp_path / "fiji.txt").read_text())) == 6
    true = made.tiles[["path"]].assign(**affine.to_columns(affine.translation(PLACES[0])))
    true.to_csv(tmp_path / "truth.csv", index=False)
    accuracy(made["tiles.csv"], made["placement.csv"], tmp_path / "truth.csv", tmp_path / "accuracy.csv")
    errors = tables.read(tmp_path / "accuracy.csv", tables.ACCURACY)
    assert len(errors) == 6 and errors["error"].max() > 4  # of the last time point, whose places are others


@pytest.mark.slow
def test_from_python(made: Made) -> None:
    affines = dlir.register_pairs(made.tiles, made.pairs, device="cpu")
    placement, stage = dlir.place(made.tiles, affines)
    np.testing.assert_allclose(placement[["y0", "x0"]], made.placed[["y0", "x0"]], atol=0.01)
    assert len(stage) == TIMES
    store = dlir.fuse(made.tiles, placement, made["python.ome.zarr"])
    assert zarr.open_array(store / "0", mode="r").shape[0] == TIMES


def test_each_of_one_time_point_is_that_one(tmp_path: Path) -> None:
    for col in range(2):
        tifffile.imwrite(tmp_path / f"r0_c{col}.tif", np.random.default_rng(col).integers(0, 99, (40, 40)).astype(np.uint8))
    tiles = dlir.read_tiles(str(tmp_path / "r{row}_c{col}.tif"), overlap=0.25, reference_time="each")
    assert (tiles["reference_time"] == 0).all()
