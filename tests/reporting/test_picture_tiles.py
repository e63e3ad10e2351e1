"""The pictures of the mosaic: they show the pixels of the store, and say which grey values they hold."""

import base64
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pandas as pd
import pytest
import zarr
from support.specimens import ONE_PLANE

from dlir.fusion.ome_zarr_metadata import shown_by_pixels, write_metadata
from dlir.fusion.pyramid import Block, Pyramid
from dlir.fusion.settings import Mosaic
from dlir.reporting import picture_tiles
from dlir.reporting.page_files import PageFiles

LOSS = 2.5  # grey values of 255, root mean square: what JPEG may lose of a smooth picture


class Store:
    """A mosaic of smooth pixels, its pictures, and what the page is told of them."""

    def __init__(self, folder: Path, pixels: np.ndarray, window: dict[str, float] | None = None, **tiles: Any) -> None:
        """Takes pixels (t, c, z, y, x), a window of grey values other than the store's own, and columns of tables.TILES."""
        times, self.channels, depth, _, _ = pixels.shape
        self.mosaic = folder / "mosaic.ome.zarr"
        pyramid = Pyramid(self.mosaic, pixels.shape, str(pixels.dtype), Mosaic(chunk=128, shard=512))
        for time, z in np.ndindex(times, depth):
            roots = pyramid.band_blocks(0, 1)

            def make(block: Block, time: int = time, z: int = z) -> np.ndarray:
                return np.asarray(pixels[time, :, z][:, *pyramid.region(block).slices])

            pyramid.build(roots, 0, make, time, z, 1)
        write_metadata(self.mosaic, pyramid, "mosaic", np.nan, shown_by_pixels(pyramid, []))
        if window:
            group = zarr.open_group(self.mosaic, mode="r+")
            ome: Any = group.attrs["ome"]
            for channel in ome["omero"]["channels"]:
                channel["window"] = window
            group.attrs["ome"] = ome
        self.axes, self.levels = pyramid.axes, pyramid.arrays
        columns = {"path": "a.tif", "height": 9, "width": 9, "dtype": str(pixels.dtype), "sha256": "", **ONE_PLANE,
                   "channels": self.channels, "times": times, "depth": depth, **tiles}  # fmt: skip
        self.listed = pd.DataFrame([columns])
        self.folder = folder / "files"
        self.folder.mkdir()
        self.told = self.pictures(embed=0)

    def pictures(self, embed: float) -> dict[str, Any]:
        self.files = PageFiles(self.folder, embed)
        return picture_tiles.pictures(self.mosaic, self.listed, self.files)

    def content(self, name: str) -> bytes:
        """A picture, from the page or from the folder beside it."""
        embedded = self.files.embedded().get(name)
        return base64.b64decode(embedded.split(",")[1]) if embedded else (self.folder / name).read_bytes()

    def shown(self, plane: int, level: int, channel: int = 0) -> np.ndarray:
        """A whole level as its pictures show it, in grey values of 255; pixels without a picture are 0."""
        height, width = (self.told["levels"][level][name] for name in ("height", "width"))
        of_plane, side, found = self.told["planes"][plane], self.told["side"], np.zeros((height, width), np.uint8)
        columns, name = -(-width // side), self.told["levels"][level]["name"]
        for number, there in enumerate(of_plane["present"][level - of_plane["finest"]]):
            row, column = divmod(number, columns)
            path = f"{of_plane['name']}/{name}/{channel}_{row}_{column}.jpg"
            if there == "1":
                picture = imagecodecs.jpeg8_decode(self.content(path))
                top, left = (max(0, at * side - self.told["overlap"]) for at in (row, column))
                found[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
        return found


def smooth(shape: tuple[int, ...], low: float, high: float, dtype: str) -> np.ndarray:
    """Waves along y and x, other ones in each plane."""
    y, x = np.indices(shape[-2:]) / 40.0
    planes = [np.sin(y + seed) * np.cos(x - 2 * seed) for seed in range(int(np.prod(shape[:-2])))]
    return (low + (high - low) * (np.reshape(planes, shape) + 1) / 2).astype(dtype)


def test_pictures_of_8_bit_are_the_pixels_of_the_store(tmp_path: Path) -> None:
    pixels = smooth((1, 2, 1, 700, 1100), 1, 255, "uint8")
    store = Store(tmp_path, pixels)
    assert [(channel["low"], channel["high"]) for channel in store.told["channels"]] == [(0, 255)] * 2
    for channel in (0, 1):
        assert np.std(store.shown(0, 0, channel) - pixels[0, channel, 0].astype(float)) < LOSS
    coarse = np.asarray(store.levels[2][1]).astype(float)
    assert store.told["levels"][1] == {"name": "2", "factor": 4, "height": 175, "width": 275}
    assert np.std(store.shown(0, 1, 1) - coarse) < LOSS


def test_the_range_is_wider_than_the_window_and_is_told(tmp_path: Path) -> None:
    pixels = smooth((1, 1, 1, 300, 400), 500, 9000, "uint16")
    (channel,) = Store(tmp_path, pixels, {"min": 0, "max": 65535, "start": 2000, "end": 4000}).told["channels"]
    assert (channel["low"], channel["high"], channel["black"], channel["white"]) == (1800, 5000, 2000, 4000)


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_grey_values_follow_from_the_told_range(tmp_path: Path, dtype: str) -> None:
    pixels = smooth((1, 1, 1, 300, 400), 500, 9000, dtype)
    store = Store(tmp_path, pixels, {"min": 400, "max": 10_000, "start": 900, "end": 6000})
    (channel,) = store.told["channels"]
    expected = 255 * ((pixels[0, 0, 0].astype(float) - channel["low"]) / (channel["high"] - channel["low"])).clip(0, 1)
    assert channel["low"] == 400 and np.std(store.shown(0, 0) - expected) < LOSS


def test_places_without_a_tile_have_no_picture(tmp_path: Path) -> None:
    pixels = smooth((1, 2, 1, 1100, 1100), 100, 200, "uint8")
    pixels[..., :512, 512:1024] = 0
    pixels[:, 0, :, 512:1024, :512] = 0  # only one channel
    store = Store(tmp_path, pixels)
    assert store.told["planes"][0]["present"][0] == "101111111"
    assert {path.name for path in store.folder.glob("mosaic/*/0/*_0_1.jpg")} == set()
    assert {path.name for path in store.folder.glob("mosaic/*/0/*_1_0.jpg")} == {"0_1_0.jpg", "1_1_0.jpg"}


def test_the_maximum_over_z_is_the_reference_where_registration_saw_it(tmp_path: Path) -> None:
    pixels = smooth((1, 1, 3, 300, 300), 1, 255, "uint8")
    store = Store(tmp_path, pixels, reference_z=pd.NA)
    assert [plane["z"] for plane in store.told["planes"]] == [None, 0, 1, 2]
    assert store.told["reference"] == {"time": 0, "z": None}
    for number, expected in enumerate([pixels[0, 0].max(0), *pixels[0, 0]]):
        assert np.std(store.shown(number, 0) - expected.astype(float)) < LOSS


def test_other_planes_are_coarser_or_left_out_beyond_their_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = smooth((4, 1, 2, 600, 600), 1, 255, "uint8")
    monkeypatch.setattr(picture_tiles, "OTHERS", 8 * 300 * 300)
    coarser = Store(tmp_path, pixels, reference_time=1, reference_z=0)
    reference, *others = coarser.told["planes"]
    assert (reference["time"], reference["z"], reference["finest"]) == (1, 0, 0)
    assert [plane["finest"] for plane in others] == [1] * 7  # level 1 is the coarsest of this mosaic
    first = np.asarray(coarser.levels[1][0, 0]).astype(float)
    assert np.std(coarser.shown(1, 1) - first) < LOSS
    monkeypatch.setattr(picture_tiles, "OTHERS", 2 * 300 * 300)
    (tmp_path / "fewer").mkdir()
    fewer = Store(tmp_path / "fewer", pixels, reference_time=1, reference_z=0)
    assert {(plane["time"], plane["z"]) for plane in fewer.told["planes"]} == {(0, 0), (1, 0), (2, 0)}
    assert (fewer.told["times"], fewer.told["depth"]) == (4, 2)


def test_a_large_mosaic_gets_the_best_quality_within_its_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    pixels = (smooth((1, 1, 1, 1200, 1200), 60, 200, "uint8") + rng.integers(-30, 30, (1200, 1200))).astype(np.uint8)
    best = Store(tmp_path, pixels)
    whole = sum(path.stat().st_size for path in best.folder.rglob("mosaic/**/*.jpg"))
    monkeypatch.setattr(picture_tiles, "BUDGET", 0.8 * whole)
    (tmp_path / "less").mkdir()
    less = Store(tmp_path / "less", pixels)
    taken = sum(path.stat().st_size for path in less.folder.rglob("mosaic/**/*.jpg"))
    assert 0.5 * whole < taken < 0.85 * whole


def test_coarse_pictures_lie_in_the_page_in_any_case(tmp_path: Path) -> None:
    store = Store(tmp_path, smooth((1, 1, 1, 1500, 1500), 1, 255, "uint8"))
    assert set(store.files.embedded()) == {"mosaic/t0_z0/2/0_0_0.jpg"}
    assert not store.files.is_embedded and len(list(store.folder.glob("mosaic/t0_z0/0/*.jpg"))) == 9
    store.pictures(embed=1e9)
    assert store.files.is_embedded and len(store.files.embedded()) == 10


def test_the_thumbnail_has_the_colours_of_the_channels(tmp_path: Path) -> None:
    pixels = np.zeros((1, 3, 1, 300, 1200), np.uint8)
    pixels[0, 0, 0, :, :400], pixels[0, 1, 0, :, 400:800] = 200, 100
    store = Store(tmp_path, pixels)
    picture = imagecodecs.jpeg8_decode((store.folder / picture_tiles.THUMBNAIL).read_bytes())
    assert picture.shape == (38, 150, 3)
    for place, colour in ((25, [200, 0, 0]), (75, [0, 100, 0]), (125, [0, 0, 0])):
        assert np.abs(picture[19, place] - np.array(colour, float)).max() < 8
