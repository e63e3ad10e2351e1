"""Tiles of one file or of many are read plane by plane, and the reference is the plane that the settings name."""

import os
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
from dlir.reading.inventory import find_tiles, tiles
from dlir.reading.settings import Dataset
from dlir.reading.tile_reader import TileReader
from dlir.registration.inference.register import register
from dlir.registration.pairs.neighbours import pairs
from dlir.registration.pairs.planes import TilePlanes
from dlir.registration.settings import Pairs, Register

Make = Callable[..., Dataset]
TIMES, DEPTH, CHANNELS, SIZE = 2, 3, 2, (24, 32)
FLAT = np.stack([np.full(SIZE, 0.5), np.full(SIZE, 2)]).astype(np.float32)
NAMED = {"time": ["008", "010"], "z": ["9", "10", "11"], "channel": ["DAPI", "GFP"]}
FILE_AXES = [(), ("channel",), ("z",), ("time",), ("channel", "z"), ("time", "channel"), ("time", "z", "channel")]


def pixels(tile: int) -> np.ndarray:
    """Returns random pixels (t, z, c, y, x) of a tile; the brightest z differs from pixel to pixel."""
    return np.random.default_rng(tile).integers(0, 60000, (TIMES, DEPTH, CHANNELS, *SIZE), np.uint16)


def write_two_tiles(folder: Path, in_names: tuple[str, ...]) -> Path:
    """Writes two tiles with the axes `in_names` in the names of the files and the others in the files; returns the pattern."""
    folder.mkdir()
    pattern = "_".join(["s{index}", *("{" + name + "}" for name in in_names)]) + ".tif"
    inside = [letter for letter, name in zip("TZC", NAMED, strict=True) if name not in in_names]
    for tile in (1, 2):
        for at in np.ndindex(*(len(NAMED[name]) for name in in_names)):
            texts = {name: NAMED[name][i] for name, i in zip(in_names, at, strict=True)}
            where = dict(zip(in_names, at, strict=True))
            data = pixels(tile)[tuple(where.get(name, slice(None)) for name in NAMED)]
            axes = "".join(inside) + "YX"
            tifffile.imwrite(folder / pattern.format(index=tile, **texts), data, ome=True, metadata={"axes": axes},
                             photometric="minisblack")  # fmt: skip
    return folder / pattern


def listed(folder: Path, settings: Dataset) -> pd.DataFrame:
    """Runs the step `tiles` and returns its table."""
    tiles(folder / "tiles.csv", settings=settings)
    return tables.read(folder / "tiles.csv", tables.TILES)


@pytest.fixture
def table(tmp_path: Path, dataset: Make) -> Callable[..., pd.DataFrame]:
    """Makes the table of two tiles with these axes in the names of the files, and with a reference."""

    def make(*in_names: str, **reference: Any) -> pd.DataFrame:
        return listed(tmp_path, dataset(write_two_tiles(tmp_path / "in", in_names), columns=2, **reference))

    return make


@pytest.mark.parametrize("in_names", FILE_AXES)
def test_each_plane_is_the_one_that_was_written(table: Callable[..., pd.DataFrame], in_names: tuple[str, ...]) -> None:
    found = table(*in_names)
    reader = TileReader(found)
    assert (reader.times, reader.depth, reader.channels) == (TIMES, DEPTH, CHANNELS)
    assert set(reader.sizes.values()) == {SIZE}
    assert reader.channel_names == (NAMED["channel"] if "channel" in in_names else [])
    for tile, path in enumerate(found["path"], 1):
        for time, z in np.ndindex(TIMES, DEPTH):
            np.testing.assert_array_equal(reader.read(path, time, z), pixels(tile)[time, z])
            np.testing.assert_array_equal(reader.read(path, time, z, 1), pixels(tile)[time, z, 1:])


@pytest.mark.parametrize("in_names", FILE_AXES)
@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ({}, lambda data: (data[0].max(axis=0) / FLAT).mean(axis=0)),
        ({"reference_z": 2, "reference_time": 1}, lambda data: (data[1, 2] / FLAT).mean(axis=0)),
        ({"reference_channel": 1}, lambda data: data[0, :, 1].max(axis=0) / FLAT[1]),
        ({"reference_channel": 0, "reference_z": 1}, lambda data: data[0, 1, 0] / FLAT[0]),
    ],
)
def test_the_reference_is_the_plane_of_the_settings(
    table: Callable[..., pd.DataFrame],
    tmp_path: Path,
    in_names: tuple[str, ...],
    reference: dict[str, Any],
    expected: Callable[..., Any],
) -> None:
    found = table(*in_names, **reference)
    fields.write(
        [fields.Fields(FLAT, np.zeros_like(FLAT), *np.zeros((2, *FLAT.shape[1:]), bool))], tmp_path / "illumination.tif"
    )
    plane = TilePlanes(found, fields.read(tmp_path / "illumination.tif", found)).plane(1)
    assert plane.dtype == np.float32 and plane.shape == SIZE
    np.testing.assert_allclose(plane, expected(pixels(2).astype(float)), rtol=1e-6)


def test_the_reference_channel_is_a_name_or_a_number(table: Callable[..., pd.DataFrame], tmp_path: Path, dataset: Make) -> None:
    assert TileReader(table("channel", reference_channel="GFP")).channel == 1
    data, names = pixels(0)[0, 0], {"Channel": {"Name": ["405", "1"]}}
    tifffile.imwrite(tmp_path / "a1.tif", data, ome=True, metadata={"axes": "CYX", **names}, photometric="minisblack")
    for wanted, number in (("405", 0), (405, 0), (1, 1), (0, 0)):  # a name, where a channel has this name
        found = listed(tmp_path, dataset(tmp_path / "a{index}.tif", columns=1, reference_channel=wanted))
        assert TileReader(found).channel == number and TileReader(found).channel_names == ["405", "1"]


@pytest.mark.parametrize("in_names", [(), ("z",)])
def test_the_sample_lies_at_the_z_of_the_reference_or_in_the_middle(
    table: Callable[..., pd.DataFrame], in_names: tuple[str, ...]
) -> None:
    found = table(*in_names, reference_time=1)
    np.testing.assert_array_equal(TileReader(found).sample(found["path"][0]), pixels(1)[1, 1])
    chosen = TileReader(found.assign(reference_z=0))
    np.testing.assert_array_equal(chosen.sample(found["path"][0]), pixels(1)[1, 0])


def test_a_maximum_over_z_opens_each_file_once(table: Callable[..., pd.DataFrame], monkeypatch: pytest.MonkeyPatch) -> None:
    found, opened, original = table("channel"), [], image_files.opened

    def counted(path: str, *pages: image_files.Pages) -> Any:
        opened.append(Path(path).name)
        return original(path, *pages)

    monkeypatch.setattr(image_files, "opened", counted)
    TileReader(found).reference(found["path"][0])
    assert opened == ["s1_DAPI.tif", "s1_GFP.tif"]
    opened.clear()
    TileReader(found.assign(reference_channel=1)).reference(found["path"][0])
    assert opened == ["s1_GFP.tif"]


@pytest.mark.parametrize("other", [np.zeros((3, 24, 31), np.uint16), np.zeros((2, 24, 32), np.uint16)])
def test_a_file_whose_shape_has_changed_is_named(table: Callable[..., pd.DataFrame], tmp_path: Path, other: np.ndarray) -> None:
    found = table("time", "channel")
    tifffile.imwrite(tmp_path / "in" / "s2_008_GFP.tif", other, ome=True, metadata={"axes": "ZYX"}, photometric="minisblack")
    with pytest.raises(image_files.ImageError, match=r"s2_008_GFP\.tif.*: was changed, .*: run again"):
        TileReader(found).read(found["path"][1], 0, 2)
    (tmp_path / "in" / "s1_010_GFP.tif").unlink()
    with pytest.raises(image_files.ImageError, match=r"s1_010_GFP\.tif: cannot be read \(No such file"):
        TileReader(found).read(found["path"][0], 1, 2)


SIDE, STEP = 160, 128.0


def write_grid(folder: Path) -> np.ndarray:
    """Writes 2 x 2 tiles of two channels, with a file for each channel, and three z planes; returns their places (n, 2), px.

    Only GFP shows the specimen, which is in focus at another z in each place; DAPI shows the same dirt in every tile.
    """
    specimen, rng = Specimen(1, waves=200, shortest=5.0), np.random.default_rng(3)
    dirt = 300 * rng.random((SIDE, SIDE))
    places = np.array([[row, col] for row in (0, 1) for col in (0, 1)]) * STEP + rng.uniform(-4, 4, (4, 2))
    for tile, (y, x) in enumerate(places):
        bright = specimen.tile(affine.translation([y, x]), SIDE, SIDE)
        surface = np.add.outer(np.zeros(SIDE), np.arange(SIDE) + x) // 40 % 3  # the z in focus
        for channel in NAMED["channel"]:
            show = [30 * bright * (surface == z) if channel == "GFP" else dirt for z in range(3)]
            stack = 1000 + np.array(show) + rng.normal(0, 3, (3, SIDE, SIDE))
            path = folder / f"s_{tile // 2}_{tile % 2}_{channel}.tif"
            tifffile.imwrite(path, stack.astype(np.uint16), imagej=True, metadata={"axes": "ZYX"})
    return places


def test_tiles_are_placed_by_the_reference_channel(tmp_path: Path, dataset: Make) -> None:
    places, files = write_grid(tmp_path), {name: tmp_path / f"{name}.csv" for name in ("tiles", "pairs", "affines", "placed")}
    flat = tmp_path / "flat.tif"
    found = {}
    for channel in NAMED["channel"]:
        settings = dataset(tmp_path / "s_{row}_{col}_{channel}.tif", overlap=0.2, reference_channel=channel)
        tiles(files["tiles"], settings=settings)
        illumination(files["tiles"], flat, settings=Illumination(correct=channel == "GFP"))  # else the dirt is removed
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


@pytest.mark.parametrize("times", ["new", "kept"])
def test_other_pixels_than_those_in_the_table_are_an_error(tmp_path: Path, dataset: Callable[..., Dataset], times: str) -> None:
    path = tmp_path / "t1.tif"
    tifffile.imwrite(path, np.zeros((20, 30), np.uint16))
    reader = TileReader(find_tiles(dataset(tmp_path / "t{index}.tif", columns=1)))
    assert not reader.reference(str(path)).any()
    state, whole = path.stat(), path.read_bytes()
    tifffile.imwrite(path, np.ones((20, 30), np.uint16))
    if times == "kept":
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    with pytest.raises(image_files.ImageError, match=r"t1\.tif: was changed, or replaced by another file"):
        reader.reference(str(path))
    path.write_bytes(whole)
    assert not reader.reference(str(path)).any()


def test_a_file_that_changes_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "t1.tif"
    tifffile.imwrite(path, np.zeros((20, 30), np.uint16))
    with pytest.raises(image_files.ImageError, match=r"t1\.tif: changed while it was read"), image_files.opened(path) as stack:
        stack.read()
        path.write_bytes(path.read_bytes() + b"more")


@pytest.mark.parametrize("low", [0, -1000])
@pytest.mark.parametrize("dtype", ["int16", "int32", "float64"])
def test_pixels_of_another_type_have_the_values_of_the_file(tmp_path: Path, dataset: Make, dtype: str, low: int) -> None:
    data = (np.arange(2 * 24 * 32).reshape(2, 24, 32) + low).astype(dtype)
    for index, plane in enumerate(data):
        tifffile.imwrite(tmp_path / f"t{index}.tif", plane)
    found = listed(tmp_path, dataset(tmp_path / "t{index}.tif", columns=2))
    for path, plane in zip(found["path"], data, strict=True):
        pixels = TileReader(found).reference(path)
        assert pixels.dtype.name == found["dtype"][0] == ("uint16" if dtype.startswith("int") and low == 0 else "float32")
        np.testing.assert_array_equal(pixels, plane[None])


def test_a_tile_is_turned_upright_before_it_is_mirrored(tmp_path: Path, dataset: Make) -> None:
    """The orientation 6 says that the pixels are to be turned by 90 degrees clockwise."""
    data = np.arange(24 * 32, dtype=np.uint16).reshape(24, 32)
    tifffile.imwrite(tmp_path / "t1.tif", data, extratags=[(274, 3, 1, 6, True)])
    for mirrored, wanted in ((False, np.rot90(data, -1)), (True, np.fliplr(np.rot90(data, -1)))):
        found = listed(tmp_path, dataset(tmp_path / "t{index}.tif", columns=1, mirrored=mirrored))
        assert found.loc[0, ["height", "width"]].tolist() == [32, 24]
        np.testing.assert_array_equal(TileReader(found).reference(found["path"][0]), wanted[None])


def test_the_pages_of_a_tile_are_read_as_they_are_told(tmp_path: Path, dataset: Make) -> None:
    data = np.arange(3 * 24 * 32, dtype=np.uint16).reshape(3, 24, 32)
    tifffile.imwrite(tmp_path / "t1.tif", data, photometric="minisblack", metadata=None)
    at: dict[Any, Any] = {"z": (0, 2), "time": (2, 0), "channel": (0, 0, 2)}
    for pages, where in at.items():
        found = listed(tmp_path, dataset(tmp_path / "t{index}.tif", columns=1, pages=pages))
        np.testing.assert_array_equal(TileReader(found).read(found["path"][0], *where), data[2:])
