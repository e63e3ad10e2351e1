"""CZI files: each tile of each scene is an image at its place; nothing is stitched, and damage is named.

The files were written with pylibCZIrw 6.1.0, with each of its compressions. They hold two scenes of four
overlapping tiles of 24 x 30 px, cut from one array of random numbers, in two channels; scene 1 lies 100 px to the right.
"""

from pathlib import Path

import numpy as np
import pytest

from dlir.reading import image_files
from dlir.reading.image_files import ImageError
from dlir.reading.inventory import find_tiles
from dlir.reading.settings import Dataset

FILES = Path(__file__).parent / "files"
SOURCE = np.random.default_rng(1).integers(0, 4000, (2, 60, 70)).astype(np.uint16)
PLACES = [(0, 0), (3, 22), (30, 2), (28, 25)]


@pytest.mark.parametrize("name", ["uncompressed", "zstd0", "zstd1"])
def test_each_tile_of_each_scene_is_an_image(name: str) -> None:
    for number in range(8):
        scene, (y, x) = number // 4, PLACES[number % 4]
        with image_files.opened(FILES / f"{name}.czi", image=number) as stack:
            assert stack.sizes == (1, 1, 2, 24, 30) and stack.names == ("DAPI", "GFP")
            assert stack.images[number].place == (y, x + 100 * scene) and stack.images[number].unit == "px"
            assert stack.images[number].pixel_size == pytest.approx((0.325, 0.325))
            np.testing.assert_array_equal(stack.read(), SOURCE[:, y : y + 24, x : x + 30])
            np.testing.assert_array_equal(stack.read(channel=1), SOURCE[1:, y : y + 24, x : x + 30])


def test_the_tiles_are_placed_by_the_file() -> None:
    table = find_tiles(Dataset.checked({"images": str(FILES / "zstd1.czi"), "positions": "metadata"}))
    numbers = [int(path.rpartition("#")[2]) for path in table["path"]]
    expected = np.array([(y, x + 100 * scene) for scene in (0, 1) for y, x in PLACES])[numbers]
    np.testing.assert_array_equal(table[["y", "x"]], expected)
    assert table["pixel_size"].iloc[0] == pytest.approx(0.325) and len(table) == 8


def test_a_file_of_several_tiles_needs_a_number() -> None:
    with pytest.raises(ImageError, match="holds 8 images, and a tile is one: set positions: metadata"):
        image_files.read(FILES / "zstd1.czi")
    with (
        pytest.raises(ImageError, match="has 8 images, numbered from 0, and no image 8"),
        image_files.opened(FILES / "zstd1.czi", image=8),
    ):
        pass


@pytest.mark.parametrize("name", ["uncompressed", "zstd1"])
def test_damage_is_an_error_and_never_other_pixels(name: str, tmp_path: Path) -> None:
    whole = (FILES / f"{name}.czi").read_bytes()
    rng = np.random.default_rng(0)
    for trial in range(150):
        cut = whole[: int(rng.integers(1, len(whole)))] if trial % 2 else whole
        damaged = bytearray(cut)
        if not trial % 2:
            for at in rng.integers(0, 2000, 3):
                damaged[at] = int(rng.integers(256))
        (tmp_path / "t.czi").write_bytes(damaged)
        try:
            with image_files.opened(tmp_path / "t.czi", image=2) as stack:
                pixels = stack.read()
        except ImageError as error:
            assert str(error).startswith(f"{tmp_path / 't.czi'}: ")
        else:
            assert pixels.shape == stack.sizes[2:]
