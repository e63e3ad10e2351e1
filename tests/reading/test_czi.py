"""CZI files: each tile of each scene is an image at its place; nothing is stitched, and damage is named.

The files were written with pylibCZIrw 6.1.0, with each of its compressions. They hold two scenes of four
overlapping tiles of 24 x 30 px, cut from one array of random numbers, in two channels; scene 1 lies 100 px to the right.
What it does not write is made byte by byte (`support/czi_file.py`); it reads the same pixels in JPEG XR, grey and RGB.
"""

from pathlib import Path

import numpy as np
import pytest
from support.czi_file import JPEG, JPEG_XR, UNCOMPRESSED, Block, czi

from dlir.reading import image_files
from dlir.reading.image_files import ImageError
from dlir.reading.inventory import find_tiles
from dlir.reading.settings import Dataset

FILES = Path(__file__).parent / "files"
SOURCE = np.random.default_rng(1).integers(0, 4000, (2, 60, 70)).astype(np.uint16)
PLACES = [(0, 0), (3, 22), (30, 2), (28, 25)]
COLOURS = np.random.default_rng(2).integers(0, 255, (24, 30, 3))
SMOOTH = np.stack([np.linspace(start, start + 40, 24 * 30).reshape(24, 30) for start in (200, 100, 10)], -1)  # red first


def planes(scene: int, tile: int, compression: int = UNCOMPRESSED) -> list[Block]:
    """Returns the planes of a tile: two channels at two z."""
    y, x = PLACES[tile]
    start = {"Y": y, "X": x + 100 * scene, "S": scene, "M": tile, "T": 0}
    cut = SOURCE[:, y : y + 24, x : x + 30]
    return [Block(cut[c] + z, {**start, "C": c, "Z": z}, compression) for z in range(2) for c in range(2)]


def written(folder: Path, data: bytes) -> Path:
    (folder / "t.czi").write_bytes(data)
    return folder / "t.czi"


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


@pytest.mark.parametrize("compression", [UNCOMPRESSED, JPEG_XR])
@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_grey_and_coloured_pixels_are_those_that_were_stored(compression: int, kind: str, tmp_path: Path) -> None:
    for pixels in (COLOURS, COLOURS[..., 0]):
        file = written(tmp_path, czi([Block(pixels.astype(kind), {"Y": 0, "X": 0}, compression)]))
        found = image_files.read(file)
        assert found.dtype == kind
        np.testing.assert_array_equal(found, np.moveaxis(pixels.reshape(24, 30, -1), -1, 0))  # red first


def test_the_colours_of_jpeg_are_in_their_order(tmp_path: Path) -> None:
    file = written(tmp_path, czi([Block(SMOOTH.astype("uint8"), {"Y": 0, "X": 0}, JPEG)]))
    np.testing.assert_allclose(image_files.read(file), np.moveaxis(SMOOTH, -1, 0), atol=8)


def test_tiles_in_jpeg_xr_have_their_planes_and_places(tmp_path: Path) -> None:
    blocks = [block for scene in (0, 1) for tile in range(4) for block in planes(scene, tile, JPEG_XR)]
    file = written(tmp_path, czi(blocks[::-1]))  # in any order
    for number in range(8):
        scene, (y, x) = number // 4, PLACES[number % 4]
        with image_files.opened(file, image=number) as stack:
            assert stack.sizes == (1, 2, 2, 24, 30) and stack.images[number].place == (y, x + 100 * scene)
            for z in range(2):
                np.testing.assert_array_equal(stack.read(z=z), SOURCE[:, y : y + 24, x : x + 30] + z)


def test_pyramids_and_attachments_are_left_out(tmp_path: Path) -> None:
    preview = czi([Block(COLOURS[..., 0].astype("uint8"), {"Y": 0, "X": 0})])
    pyramid = Block(SOURCE[0, :12, :15], {"Y": 0, "X": 0, "S": 0, "T": 0, "C": 0, "Z": 0}, zoom=4)
    file = written(tmp_path, czi([pyramid, *planes(0, 0), *planes(0, 1)], attachment=preview))
    for number, (y, x) in enumerate(PLACES[:2]):
        with image_files.opened(file, image=number) as stack:
            assert len(stack.images) == 2 and stack.sizes == (1, 2, 2, 24, 30)
            np.testing.assert_array_equal(stack.read(), SOURCE[:, y : y + 24, x : x + 30])


@pytest.mark.parametrize("lost", [[3], [1, 3]], ids=["a plane", "a channel"])
def test_a_lost_plane_is_named_when_the_tile_is_opened(lost: list[int], tmp_path: Path) -> None:
    kept = [block for number, block in enumerate(planes(1, 1)) if number not in lost]
    file = written(tmp_path, czi([*planes(0, 0), *kept]))
    with image_files.opened(file, image=0) as stack:
        np.testing.assert_array_equal(stack.read(z=1), SOURCE[:, :24, :30] + 1)
    where = f"has no plane at time 0, z {2 - len(lost)}, channel 1 of scene 1, tile 1"
    with pytest.raises(ImageError, match=where), image_files.opened(file, image=1):
        pass


def test_a_plane_that_is_there_twice_is_an_error(tmp_path: Path) -> None:
    file = written(tmp_path, czi([*planes(0, 0), planes(0, 0)[2]]))
    with pytest.raises(ImageError, match="scene 0, tile 0 has a plane twice"), image_files.opened(file):
        pass


@pytest.mark.parametrize("compression", [UNCOMPRESSED, JPEG_XR])
def test_a_file_that_ends_anywhere_is_an_error_that_names_it(compression: int, tmp_path: Path) -> None:
    whole = czi([*planes(0, 0, compression), *planes(0, 1, compression)])  # the directory is its last part
    for end in np.linspace(10, len(whole) - 32, 50).astype(int):
        file = written(tmp_path, whole[:end])
        with pytest.raises(ImageError, match=r"t\.czi: is damaged"), image_files.opened(file, image=0) as stack:
            stack.read()
