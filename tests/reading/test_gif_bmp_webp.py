"""GIF, BMP and WebP are read as they were written, by Pillow, and what is wrong with one is named."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dlir.reading import image_files

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
GREY = RGB[..., 0].copy()
FEW = Image.fromarray(RGB).quantize(50)  # with a palette
PICTURES = {
    "grey": Image.fromarray(GREY), "black and white": Image.fromarray(GREY > 100), "palette": FEW,
    "colours": Image.fromarray(RGB),
       "palette of grey": Image.fromarray(GREY // 16 * 16).quantize(20), "alpha": Image.fromarray(np.dstack([RGB, GREY | 1])),
}  # fmt: skip


def shown(image: Image.Image, grey: bool) -> np.ndarray:
    """Returns the pixels (channels, y, x) of an image of Pillow without alpha."""
    pixels = np.moveaxis(np.asarray(image.convert("RGB")), -1, 0)
    return pixels[:1] if grey else pixels


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("name", ["a.bmp", "a.gif", "a.webp"])
def test_the_pixels_are_those_that_were_written(tmp_path: Path, name: str, picture: str) -> None:
    if name == "a.gif" and picture in ("colours", "alpha"):
        pytest.skip("a GIF has a palette")
    PICTURES[picture].save(tmp_path / name, **({"lossless": True, "exact": True} if name == "a.webp" else {}))
    grey = name != "a.webp" and picture in ("grey", "black and white", "palette of grey")
    with image_files.opened(tmp_path / name) as stack:
        assert stack.sizes == (1, 1, 1 if grey else 3, 24, 32) and stack.dtype == "uint8" and stack.unnamed_pages == 1
        np.testing.assert_array_equal(stack.read(), shown(PICTURES[picture], grey))


def test_a_bmp_with_runs_of_equal_pixels_is_read(tmp_path: Path) -> None:
    """Rows begin at the bottom: 5 pixels of 200, then 3 of 90; above it 8 of 10."""
    header = b"BM" + (1078 + 12).to_bytes(4, "little") + bytes(4) + (1078).to_bytes(4, "little")
    header += b"".join(n.to_bytes(size, "little") for n, size in ((40, 4), (8, 4), (2, 4), (1, 2), (8, 2), (1, 4), (12, 4)))
    palette = bytes(16) + b"".join(bytes([grey, grey, grey, 0]) for grey in range(256))
    (tmp_path / "a.bmp").write_bytes(header + palette + bytes([5, 200, 3, 90, 0, 0, 8, 10, 0, 0, 0, 1]))
    np.testing.assert_array_equal(image_files.read(tmp_path / "a.bmp")[0], [[10] * 8, [200] * 5 + [90] * 3])


@pytest.mark.parametrize(("pages", "sizes"), [("z", (1, 3, 1)), ("time", (3, 1, 1)), ("channel", (1, 1, 3))])
def test_the_pictures_of_an_animation_are_pages(tmp_path: Path, pages: image_files.Pages, sizes: tuple[int, ...]) -> None:
    data = np.stack([GREY, GREY // 2, GREY // 3])
    first, *others = (Image.fromarray(picture) for picture in data)
    first.save(tmp_path / "a.gif", save_all=True, append_images=others)
    first.save(tmp_path / "a.webp", save_all=True, append_images=others, lossless=True)
    for name in ("a.gif", "a.webp"):
        with image_files.opened(tmp_path / name, pages) as stack:
            each = stack.sizes.channels // sizes[2]  # Pillow gives each picture a palette of its own, or has three channels
            assert stack.sizes[:3] == (sizes[0], sizes[1], sizes[2] * each) and stack.unnamed_pages == 3
            for number, picture in enumerate(data):
                time, z = number * (pages == "time"), number * (pages == "z")
                channel = number * each * (pages == "channel")
                np.testing.assert_array_equal(stack.read(time, z, channel), picture[None])
                np.testing.assert_array_equal(stack.read(time, z)[channel], picture)


@pytest.mark.parametrize("name", ["a.bmp", "a.gif", "a.webp"])
def test_a_file_cut_short_anywhere_is_an_error(tmp_path: Path, name: str) -> None:
    FEW.save(tmp_path / name, **({"lossless": True} if name == "a.webp" else {}))
    whole = (tmp_path / name).read_bytes()
    for size in (20, 60, 200, len(whole) // 2, len(whole) - 20, len(whole) - 1):
        (tmp_path / name).write_bytes(whole[:size])
        with pytest.raises(image_files.ImageError, match=rf"{name}: is damaged .*: copy it again"):
            image_files.read(tmp_path / name)


@pytest.mark.parametrize(("name", "place", "size"), [("a.bmp", 18, 8), ("a.gif", 6, 4)])
def test_a_header_that_announces_too_much_is_an_error(tmp_path: Path, name: str, place: int, size: int) -> None:
    PICTURES["grey"].save(tmp_path / name)
    data = bytearray((tmp_path / name).read_bytes())
    data[place : place + size] = (40_000).to_bytes(size // 2, "little") * 2
    (tmp_path / name).write_bytes(data)
    with pytest.raises(image_files.ImageError, match=r"announces 40000 x 40000 px, and the \d+ bytes of the file cannot hold"):
        image_files.read(tmp_path / name)


def test_the_orientation_of_a_webp_is_that_of_a_viewer(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    PICTURES["colours"].save(tmp_path / "a.webp", lossless=True, exif=exif)
    np.testing.assert_array_equal(
        image_files.read(tmp_path / "a.webp"), np.rot90(shown(PICTURES["colours"], False), -1, (1, 2))
    )
