"""ND2 files that were made byte by byte (`support/nd2_file.py`), read through the real library `nd2`."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.nd2_file import LOSSLESS, LOSSY, NONE, Points, nd2

from dlir.reading import image_files
from dlir.reading.image_files import ImageError
from dlir.reading.inventory import find_tiles
from dlir.reading.settings import Dataset

pytest.importorskip("nd2", reason="needs the extra vendor: pip install 'dlir[vendor]'")

PIXELS = np.random.default_rng(0).integers(0, 999, (2, 3, 4, 20, 30, 2, 1)).astype(np.uint16)  # t, tile, z, y, x, channel, 1
POINTS: Points = [(5.0, 7.0, "a"), (5.0, 19.0, ""), (13.0, 7.0, "")]  # (y, x), micrometres
SIZE = 0.5


def written(folder: Path, pixels: np.ndarray = PIXELS, points: Points = POINTS, **how: Any) -> Path:
    (folder / "t.nd2").write_bytes(nd2(pixels, points, **how))
    return folder / "t.nd2"


@pytest.mark.parametrize("how", [{}, {"compression": LOSSLESS}, {"gap": 4}], ids=["plain", "compressed", "rows with gaps"])
def test_each_position_is_an_image_with_its_planes_and_place(how: dict[str, int], tmp_path: Path) -> None:
    file = written(tmp_path, **how)
    for number, (y, x, _) in enumerate(POINTS):
        with image_files.opened(file, image=number) as stack:
            told = stack.images[number]
            assert stack.sizes == (2, 4, 2, 20, 30) and stack.names == ("channel 0", "channel 1")
            assert told.place == (y, x) and told.unit == "um" and told.pixel_size == pytest.approx((SIZE, SIZE))
            assert told.name == ("a" if number == 0 else f"position {number}")
            np.testing.assert_array_equal(stack.read(1, 3), np.moveaxis(PIXELS[1, number, 3, ..., 0], -1, 0))
            np.testing.assert_array_equal(stack.read(0, 2, 1)[0], PIXELS[0, number, 2, ..., 1, 0])


def test_the_tiles_are_placed_by_the_file(tmp_path: Path) -> None:
    file = written(tmp_path, PIXELS[:1, :, :1])
    table = find_tiles(Dataset.checked({"images": str(file), "positions": "metadata"}))
    assert [path.rpartition("#")[2] for path in table["path"]] == ["0", "1", "2"]
    places = np.array([point[:2] for point in POINTS])
    np.testing.assert_allclose(table[["y", "x"]] - table[["y", "x"]].iloc[0], (places - places[0]) / SIZE)


@pytest.mark.parametrize("samples", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_of_a_pixel_are_channels_and_colours_come_red_first(channels: int, samples: int, tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (1, 1, 1, 20, 30, channels, samples)).astype(np.uint8)
    expected = np.moveaxis((pixels[..., ::-1] if samples == 3 else pixels)[0, 0, 0].reshape(20, 30, -1), -1, 0)
    np.testing.assert_array_equal(image_files.read(written(tmp_path, pixels, POINTS[:1])), expected)


def test_pixels_that_are_not_calibrated_have_no_size(tmp_path: Path) -> None:
    with image_files.opened(written(tmp_path, calibration=None), image=0) as stack:
        assert stack.images[0].pixel_size is None


def test_channels_without_a_dye_have_no_names_but_pixels(tmp_path: Path) -> None:
    with image_files.opened(written(tmp_path, dye=False), image=2) as stack:
        assert stack.names == () and stack.images[2].place == POINTS[2][:2]
        np.testing.assert_array_equal(stack.read(1, 3), np.moveaxis(PIXELS[1, 2, 3, ..., 0], -1, 0))


@pytest.mark.parametrize("compression", [NONE, LOSSLESS])
@pytest.mark.parametrize("how", [{"lost": (18,)}, {"frames": 18}], ids=["a lost frame", "a stopped scan"])
def test_a_lost_frame_is_an_error_and_never_zeros(how: dict[str, Any], compression: int, tmp_path: Path) -> None:
    with image_files.opened(written(tmp_path, compression=compression, **how), image=1) as stack:
        np.testing.assert_array_equal(stack.read(1, 1), np.moveaxis(PIXELS[1, 1, 1, ..., 0], -1, 0))
        with pytest.raises(ImageError, match=r"t\.nd2: has no frame at time 1, z 2 of position 1: the scan was stopped"):
            stack.read(1, 2)


@pytest.mark.parametrize("place", ["the end", "another frame"])
def test_a_frame_that_is_not_where_the_map_says_is_an_error(place: str, tmp_path: Path) -> None:
    file = written(tmp_path, PIXELS[:1, :, :1])
    data = file.read_bytes()
    entry = data.rindex(b"ImageDataSeq|2!") + len(b"ImageDataSeq|2!")
    other = len(data) if place == "the end" else data.index(b"ImageDataSeq|1!") - 16
    file.write_bytes(data[:entry] + other.to_bytes(8, "little") + data[entry + 8 :])
    with (
        image_files.opened(file, image=2) as stack,
        pytest.raises(ImageError, match="has no frame at time 0, z 0 of position 2"),
    ):
        stack.read()


def test_a_damaged_number_of_planes_takes_no_memory(tmp_path: Path) -> None:
    file = written(tmp_path)
    count = "uiCount\0".encode("utf-16-le")
    data = file.read_bytes()
    at = data.index(count, data.index("SLxExperiment".encode("utf-16-le"))) + len(count)
    file.write_bytes(data[:at] + b"\xff" * 4 + data[at + 4 :])
    with pytest.raises(ImageError, match=r"is damaged \(it announces \d+ planes\)"), image_files.opened(file, image=0):
        pass


def test_losses_of_compression_are_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ImageError, match="is compressed with losses"),
        image_files.opened(written(tmp_path, compression=LOSSY), image=0),
    ):
        pass


def test_a_file_that_ends_anywhere_is_an_error_that_names_it(tmp_path: Path) -> None:
    file = written(tmp_path, PIXELS[:1, :, :1])
    whole = file.read_bytes()
    for end in np.linspace(10, len(whole) - 1, 50).astype(int):
        file.write_bytes(whole[:end])
        with pytest.raises(ImageError, match=r"t\.nd2: is damaged"), image_files.opened(file, image=2) as stack:
            stack.read()
