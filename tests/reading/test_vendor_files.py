"""LIF and ND2 files, with stand-ins of the libraries that read them: no program writes such files here."""

import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dlir.reading import image_files
from dlir.reading.image_files import ImageError
from dlir.reading.inventory import find_tiles
from dlir.reading.settings import Dataset

HEADS = {"a.lif": b"\x70\0\0\0\x10\0\0\0*", "a.nd2": b"\xda\xce\xbe\x0a" + bytes(20)}
PIXELS = np.random.default_rng(0).integers(0, 999, (3, 2, 4, 2, 20, 30)).astype(np.uint16)  # tile, time, z, channel, y, x
PLACES = [(5.0, 7.0), (5.0, 19.0), (13.0, 7.0)]  # (y, x), micrometres
SIZE = 0.5


class Lif:
    """Two images: a tile scan of three tiles, and one of its own."""

    def __init__(self, path: Path) -> None:
        tiles = np.array([(y * 1e-6, x * 1e-6) for y, x in PLACES], [("pos_y", float), ("pos_x", float)])
        coords = {"Y": np.arange(20) * SIZE * 1e-6, "X": np.arange(30) * SIZE * 1e-6}
        scan = SimpleNamespace(
            name="scan", sizes={"M": 3, "T": 2, "Z": 4, "C": 2, "Y": 20, "X": 30}, dtype=PIXELS.dtype, coords=coords,
            tilescan=SimpleNamespace(tiles=tiles), frame=lambda **at: PIXELS[at["M"], at["T"], at["Z"], at["C"]],
        )  # fmt: skip
        alone = SimpleNamespace(name="b", sizes={"Y": 20, "X": 30, "S": 3}, dtype=np.dtype("u1"), coords={}, tilescan=None,
                                frame=lambda: np.full((20, 30, 3), (1, 2, 3), np.uint8))  # fmt: skip
        self.images = [scan, alone]

    def __enter__(self) -> "Lif":
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Nd2:
    """Three positions."""

    def __init__(self, path: Path) -> None:
        points = [SimpleNamespace(stagePositionUm=SimpleNamespace(y=y, x=x), name=None) for y, x in PLACES]
        self.sizes = {"T": 2, "P": 3, "Z": 4, "C": 2, "Y": 20, "X": 30}
        places = SimpleNamespace(type="XYPosLoop", parameters=SimpleNamespace(points=points))
        self.experiment = [SimpleNamespace(type="TimeLoop"), places]
        self.dtype = PIXELS.dtype
        channels = [SimpleNamespace(channel=SimpleNamespace(name=name)) for name in ("DAPI", "GFP")]
        self.metadata = SimpleNamespace(channels=channels)
        self.loop_indices = tuple({"T": t, "P": p, "Z": z} for t in range(2) for p in range(3) for z in range(4))

    def voxel_size(self) -> SimpleNamespace:
        return SimpleNamespace(x=SIZE, y=SIZE, z=1.0)

    def read_frame(self, index: int) -> np.ndarray:
        at = self.loop_indices[index]
        return PIXELS[at["P"], at["T"], at["Z"]]

    def __enter__(self) -> "Nd2":
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file of each kind; the libraries are stand-ins."""
    for name, head in HEADS.items():
        (tmp_path / name).write_bytes(head)
    stand_ins = {"liffile": SimpleNamespace(LifFile=Lif), "nd2": SimpleNamespace(ND2File=Nd2)}
    found = importlib.import_module

    def imported(name: str, package: str | None = None) -> Any:
        return stand_ins[name] if name in stand_ins else found(name, package)

    monkeypatch.setattr(importlib, "import_module", imported)
    return tmp_path


@pytest.mark.parametrize("name", HEADS)
def test_positions_are_images_with_their_planes_and_places(name: str, files: Path) -> None:
    for number, where in enumerate(PLACES):
        with image_files.opened(files / name, image=number) as stack:
            assert stack.sizes == (2, 4, 2, 20, 30) and stack.names == (("DAPI", "GFP") if name == "a.nd2" else ())
            told = stack.images[number]
            assert told.place == pytest.approx(where) and told.unit == "um" and told.pixel_size == pytest.approx((SIZE, SIZE))
            np.testing.assert_array_equal(stack.read(1, 3), PIXELS[number, 1, 3])
            np.testing.assert_array_equal(stack.read(0, 2, 1), PIXELS[number, 0, 2, 1:])


def test_the_tiles_of_an_nd2_file_are_placed_by_it(files: Path) -> None:
    table = find_tiles(Dataset.checked({"images": str(files / "a.nd2"), "positions": "metadata"}))
    assert [path.rpartition("#")[2] for path in table["path"]] == ["0", "1", "2"]
    np.testing.assert_allclose(table[["y", "x"]] - table[["y", "x"]].iloc[0], (np.array(PLACES) - PLACES[0]) / SIZE)


def test_an_image_in_colour_beside_a_tile_scan_has_its_channels(files: Path) -> None:
    with image_files.opened(files / "a.lif", image=3) as stack:
        assert stack.sizes == (1, 1, 3, 20, 30) and stack.read()[:, 0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize("name", HEADS)
def test_without_the_library_the_message_names_the_extra(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / name).write_bytes(HEADS[name])

    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ImageError, match=r"is a \w+ \w+ file: install its reader with pip install 'dlir\[vendor\]'"):
        image_files.read(tmp_path / name)
