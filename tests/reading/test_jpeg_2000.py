"""JPEG 2000 is read with all its bits, as a file of boxes and as a bare code stream."""

import io
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from dlir.reading import image_files
from dlir.reading.jpeg_2000 import STREAM

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
GREY = RGB[..., 0].copy()
PICTURES = {
    "grey": GREY, "colours": RGB, "16 bit": RNG.integers(0, 65536, (24, 32), dtype=np.uint16),
    "signed": GREY.astype(np.int16) - 100, "colours of 16 bit": RNG.integers(0, 65536, (24, 32, 3), dtype=np.uint16),
}  # fmt: skip


def channels(pixels: np.ndarray) -> np.ndarray:
    return np.moveaxis(np.atleast_3d(pixels), -1, 0)


@pytest.mark.parametrize("form", ["jp2", "j2k"])
@pytest.mark.parametrize("picture", PICTURES)
def test_the_pixels_are_those_that_were_written(tmp_path: Path, picture: str, form: str) -> None:
    pixels = PICTURES[picture]
    (tmp_path / "a.jp2").write_bytes(imagecodecs.jpeg2k_encode(pixels, level=0, codecformat=form))
    with image_files.opened(tmp_path / "a.jp2") as stack:
        assert stack.sizes == (1, 1, *channels(pixels).shape) and stack.dtype == pixels.dtype and not stack.notes
        np.testing.assert_array_equal(stack.read(), channels(pixels))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_left_out(tmp_path: Path, mode: str) -> None:
    pixels = np.dstack([RGB if mode == "RGBA" else GREY, GREY])
    Image.fromarray(pixels).save(tmp_path / "a.jp2")
    np.testing.assert_array_equal(image_files.read(tmp_path / "a.jp2"), channels(pixels)[:-1])


def test_a_fourth_number_beside_three_colours_is_left_out_with_a_note(tmp_path: Path) -> None:
    (tmp_path / "a.jp2").write_bytes(imagecodecs.jpeg2k_encode(np.dstack([RGB, GREY]), level=0, codecformat="jp2"))
    with image_files.opened(tmp_path / "a.jp2") as stack:
        np.testing.assert_array_equal(stack.read(), channels(RGB))
        assert "fourth number of each pixel" in stack.notes[0]


def test_colours_of_other_kinds_are_named(tmp_path: Path) -> None:
    Image.fromarray(RGB).convert("YCbCr").save(tmp_path / "a.jp2")
    with pytest.raises(image_files.ImageError, match=r"a\.jp2: has colours of a kind, 18, which dlir does not read: export it"):
        image_files.read(tmp_path / "a.jp2")


def test_a_file_of_several_pictures_is_not_read_as_its_first(tmp_path: Path) -> None:
    one = imagecodecs.jpeg2k_encode(GREY, level=0, codecformat="jp2")
    second = imagecodecs.jpeg2k_encode(GREY, level=0, codecformat="j2k")
    (tmp_path / "old.nd2").write_bytes(one + (len(second) + 8).to_bytes(4, "big") + b"jp2c" + second)
    with pytest.raises(image_files.ImageError, match=r"old\.nd2: holds several pictures, as old ND2 files of Nikon do"):
        image_files.read(tmp_path / "old.nd2")
    (tmp_path / "a.jp2").write_bytes(one + b"anything")
    np.testing.assert_array_equal(image_files.read(tmp_path / "a.jp2"), channels(GREY))


@pytest.mark.parametrize("form", ["jp2", "j2k"])
def test_a_file_cut_short_anywhere_is_an_error(tmp_path: Path, form: str) -> None:
    whole = imagecodecs.jpeg2k_encode(RGB, level=0, codecformat=form)
    for size in (14, 40, 90, len(whole) // 2, len(whole) - 20, len(whole) - 1):
        (tmp_path / "a.jp2").write_bytes(whole[:size])
        with pytest.raises(image_files.ImageError, match=r"a\.jp2: is damaged .*: copy it again"):
            image_files.read(tmp_path / "a.jp2")


def test_a_header_that_announces_too_much_is_an_error(tmp_path: Path) -> None:
    data = bytearray(imagecodecs.jpeg2k_encode(GREY, level=0, codecformat="jp2"))
    place = data.index(STREAM) + 8
    data[place : place + 8] = (40_000).to_bytes(4, "big") * 2
    (tmp_path / "a.jp2").write_bytes(data)
    with pytest.raises(image_files.ImageError, match=r"announces 40000 x 40000 px, and the \d+ bytes of the file cannot hold"):
        image_files.read(tmp_path / "a.jp2")


def test_a_black_picture_is_no_damage(tmp_path: Path) -> None:
    file = io.BytesIO(imagecodecs.jpeg2k_encode(np.zeros((4096, 4096), np.uint8), level=0, codecformat="jp2"))
    (tmp_path / "a.jp2").write_bytes(file.getvalue())
    with image_files.opened(tmp_path / "a.jp2") as stack:
        assert stack.sizes.height == 4096
