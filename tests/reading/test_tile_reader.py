"""TilePlanes of tiles of one file or of many are those that were written, and the reference is the plane that was asked for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from support.specimens import Specimen

from dlir.core import affine, tables
from dlir.illumination import fields
from dlir.illumination.estimate import illumination
from dlir.illumination.settings import Illumination
from dlir.placement.place import place
from dlir.placement.settings import Place
from dlir.reading import image_files
from dlir.reading.inventory import tiles
from dlir.reading.settings import Dataset
from dlir.reading.tile_reader import TileReader
from dlir.registration.inference.register import register
from dlir.registration.pairs.neighbours import pairs
from dlir.registration.pairs.windows import TilePlanes
from dlir.registration.settings import Pairs, Register

Make = Callable[..., Dataset]
TIMES, DEPTH, CHANNELS, SIZE = 2, 3, 2, (24, 32)
FLAT = np.stack([np.full(SIZE, 0.5), np.full(SIZE, 2)]).astype(np.float32)
NAMED = {"time": ["008", "010"], "z": ["9", "10", "11"], "channel": ["DAPI", "GFP"]}
SPREADS = [(), ("channel",), ("z",), ("time",), ("channel", "z"), ("time", "channel"), ("time", "z", "channel")]


def pixels(tile: int) -> np.ndarray:
    """The pixels (t, z, c, y, x) of a tile; which z is the brightest differs from pixel to pixel."""
    return np.random.default_rng(tile).integers(0, 60000, (TIMES, DEPTH, CHANNELS, *SIZE), np.uint16)


def write(folder: Path, spread: tuple[str, ...]) -> Path:
    """Two tiles with these axes in the names of the files and the others in the files; the pattern of the names."""
    folder.mkdir()
    pattern = "_".join(["s{index}", *("{" + name + "}" for name in spread)]) + ".tif"
    inside = [letter for letter, name in zip("TZC", NAMED, strict=True) if name not in spread]
    for tile in (1, 2):
        for at in np.ndindex(*(len(NAMED[name]) for name in spread)):
            texts = {name: NAMED[name][i] for name, i in zip(spread, at, strict=True)}
            where = dict(zip(spread, at, strict=True))
            data = pixels(tile)[tuple(where.get(name, slice(None)) for name in NAMED)]
            axes = "".join(inside) + "YX"
            tifffile.imwrite(folder / pattern.format(index=tile, **texts), data, ome=True, metadata={"axes": axes},
                             photometric="minisblack")  # fmt: skip
    return folder / pattern


def listed(folder: Path, settings: Dataset) -> pd.DataFrame:
    tiles(folder / "tiles.csv", settings=settings)
    return tables.read(folder / "tiles.csv", tables.TILES)


@pytest.fixture
def table(tmp_path: Path, dataset: Make) -> Callable[..., pd.DataFrame]:
    """The table of two tiles whose files are spread like this, with a reference."""

    def make(*spread: str, **reference: Any) -> pd.DataFrame:
        return listed(tmp_path, dataset(write(tmp_path / "in", spread), columns=2, **reference))

    return make


@pytest.mark.parametrize("spread", SPREADS)
def test_each_plane_is_the_one_that_was_written(table: Callable[..., pd.DataFrame], spread: tuple[str, ...]) -> None:
    found = table(*spread)
    stacks = TileReader(found)
    assert (stacks.times, stacks.depth, stacks.channels, stacks.size) == (TIMES, DEPTH, CHANNELS, SIZE)
    assert stacks.channel_names == (NAMED["channel"] if "channel" in spread else [])
    for tile, path in enumerate(found["path"], 1):
        for time, z in np.ndindex(TIMES, DEPTH):
            np.testing.assert_array_equal(stacks.read(path, time, z), pixels(tile)[time, z])
            np.testing.assert_array_equal(stacks.read(path, time, z, 1), pixels(tile)[time, z, 1:])


@pytest.mark.parametrize("spread", SPREADS)
@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ({}, lambda data: (data[0].max(axis=0) / FLAT).mean(axis=0)),
        ({"reference_z": 2, "reference_time": 1}, lambda data: (data[1, 2] / FLAT).mean(axis=0)),
        ({"reference_channel": 1}, lambda data: data[0, :, 1].max(axis=0) / FLAT[1]),
        ({"reference_channel": 0, "reference_z": 1}, lambda data: data[0, 1, 0] / FLAT[0]),
    ],
)
def test_reference(
    table: Callable[..., pd.DataFrame],
    tmp_path: Path,
    spread: tuple[str, ...],
    reference: dict[str, Any],
    expected: Callable[..., Any],
) -> None:
    found = table(*spread, **reference)
    fields.write(fields.Fields(FLAT, np.zeros_like(FLAT)), tmp_path / "light.tif")
    seen = TilePlanes(found, fields.read(tmp_path / "light.tif", found)).plane(1)
    assert seen.dtype == np.float32 and seen.shape == SIZE
    np.testing.assert_allclose(seen, expected(pixels(2).astype(float)), rtol=1e-6)


def test_channels_by_name(table: Callable[..., pd.DataFrame], tmp_path: Path, dataset: Make) -> None:
    assert TileReader(table("channel", reference_channel="GFP")).channel == 1
    data, names = pixels(0)[0, 0], {"Channel": {"Name": ["405", "1"]}}
    tifffile.imwrite(tmp_path / "a1.tif", data, ome=True, metadata={"axes": "CYX", **names}, photometric="minisblack")
    for wanted, number in (("405", 0), (405, 0), (1, 1), (0, 0)):  # a name first of all, if there is such a one
        found = listed(tmp_path, dataset(tmp_path / "a{index}.tif", columns=1, reference_channel=wanted))
        assert TileReader(found).channel == number and TileReader(found).channel_names == ["405", "1"]


@pytest.mark.parametrize("spread", [(), ("z",)])
def test_the_sample_of_the_camera_is_the_reference_or_the_middle(
    table: Callable[..., pd.DataFrame], spread: tuple[str, ...]
) -> None:
    found = table(*spread, reference_time=1)
    np.testing.assert_array_equal(TileReader(found).sample(found["path"][0]), pixels(1)[1, 1])
    chosen = TileReader(found.assign(reference_z=0))
    np.testing.assert_array_equal(chosen.sample(found["path"][0]), pixels(1)[1, 0])


def test_a_maximum_over_z_opens_a_file_once(table: Callable[..., pd.DataFrame], monkeypatch: pytest.MonkeyPatch) -> None:
    found, opened, original = table("channel"), [], image_files.opened

    def counted(path: str) -> Any:
        opened.append(Path(path).name)
        return original(path)

    monkeypatch.setattr(image_files, "opened", counted)
    TileReader(found).reference(found["path"][0])
    assert opened == ["s1_DAPI.tif", "s1_GFP.tif"]
    opened.clear()
    TileReader(found.assign(reference_channel=1)).reference(found["path"][0])
    assert opened == ["s1_GFP.tif"]


@pytest.mark.parametrize("other", [np.zeros((3, 24, 31), np.uint16), np.zeros((2, 24, 32), np.uint16)])
def test_a_file_that_has_changed_is_named(table: Callable[..., pd.DataFrame], tmp_path: Path, other: np.ndarray) -> None:
    found = table("time", "channel")
    tifffile.imwrite(tmp_path / "in" / "s2_008_GFP.tif", other, ome=True, metadata={"axes": "ZYX"}, photometric="minisblack")
    with pytest.raises(image_files.ImageError, match=r"s2_008_GFP\.tif: .* before: run from the stage tiles again"):
        TileReader(found).read(found["path"][1], 0, 2)
    (tmp_path / "in" / "s1_010_GFP.tif").unlink()
    with pytest.raises(image_files.ImageError, match=r"s1_010_GFP\.tif: cannot be read \(No such file"):
        TileReader(found).read(found["path"][0], 1, 2)


SIDE, STEP = 160, 128.0


def write_grid(folder: Path) -> np.ndarray:
    """2 x 2 tiles of two channels, a file each, and three z planes; the places (n, 2), px, of the tiles.

    Only GFP shows the specimen, at a depth that differs from place to place; DAPI shows the same dirt in every tile.
    """
    specimen, rng = Specimen(1, waves=200, shortest=5.0), np.random.default_rng(3)
    dirt = 300 * rng.random((SIDE, SIDE))
    places = np.array([[row, col] for row in (0, 1) for col in (0, 1)]) * STEP + rng.uniform(-4, 4, (4, 2))
    for tile, (y, x) in enumerate(places):
        bright = specimen.tile(affine.translation([y, x]), SIDE, SIDE)
        surface = np.add.outer(np.zeros(SIDE), np.arange(SIDE) + x) // 40 % 3  # the z that is in focus
        for channel in NAMED["channel"]:
            show = [30 * bright * (surface == z) if channel == "GFP" else dirt for z in range(3)]
            stack = 1000 + np.array(show) + rng.normal(0, 3, (3, SIDE, SIDE))
            path = folder / f"s_{tile // 2}_{tile % 2}_{channel}.tif"
            tifffile.imwrite(path, stack.astype(np.uint16), imagej=True, metadata={"axes": "ZYX"})
    return places


def test_from_files_to_places(tmp_path: Path, dataset: Make) -> None:
    places, files = write_grid(tmp_path), {name: tmp_path / f"{name}.csv" for name in ("tiles", "pairs", "affines", "placed")}
    flat = tmp_path / "flat.tif"
    found = {}
    for channel in NAMED["channel"]:
        settings = dataset(tmp_path / "s_{row}_{col}_{channel}.tif", overlap=0.2, reference_channel=channel)
        tiles(files["tiles"], settings=settings)
        illumination(files["tiles"], flat, settings=Illumination(correct=channel == "GFP"))  # which would find the dirt
        pairs(files["tiles"], files["pairs"], settings=Pairs(search=0.5, min_overlap=8))
        chosen = Register(method="phase", accept=0.5, seed=1)
        register(files["tiles"], flat, files["pairs"], files["affines"], settings=chosen, device="cpu")
        how = Place(model="translation", camera=None, stage_weight=1.0)
        place(files["tiles"], files["affines"], files["placed"], stage=tmp_path / "stage.csv", settings=how)
        placed = tables.read(files["placed"], tables.PLACEMENT)
        apart = placed[["y0", "x0"]].to_numpy() - places
        found[channel] = np.linalg.norm(apart - np.median(apart, axis=0), axis=1).max()
    assert placed["path"].tolist() == [str(tmp_path / f"s_{i // 2}_{i % 2}_{{channel}}.tif") for i in range(4)]
    assert (placed["pairs"] == 2).all()
    assert found["GFP"] < 0.2 and found["DAPI"] > 2
