"""PNG and JPEG have the pixels that a viewer shows, by Pillow, which is one."""

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageOps

from dlir.reading import image_files

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
SMOOTH = np.stack([np.add.outer(np.arange(24) * a, np.arange(32) * b) for a, b in ((3, 1), (1, 4), (2, 2))], -1).astype(
    np.uint8
)


def shown_by_pillow(path: Path, channels: int) -> np.ndarray:
    with Image.open(path) as image:
        return np.moveaxis(np.atleast_3d(np.asarray(image.convert("L" if channels == 1 else "RGB"))), -1, 0)


@pytest.mark.parametrize(
    ("mode", "options", "channels"),
    [
        ("1", {}, 1), ("L", {}, 1), ("L", {"transparency": 3}, 1), ("LA", {}, 1), ("RGB", {"transparency": (1, 2, 3)}, 3),
        ("RGBA", {}, 3), ("P", {"bits": 1}, 3), ("P", {"bits": 2}, 3), ("P", {"bits": 4}, 3), ("P", {"transparency": 3}, 3),
    ],
)  # fmt: skip
def test_the_pixels_of_a_png_are_those_of_a_viewer(tmp_path: Path, mode: str, options: dict[str, int], channels: int) -> None:
    image = Image.fromarray(NOISE)
    image = image.quantize(2 ** options.get("bits", 8)) if mode == "P" else image.convert(mode)
    image.save(tmp_path / "a.png", **options)
    pixels = image_files.read(tmp_path / "a.png")
    np.testing.assert_array_equal(pixels, shown_by_pillow(tmp_path / "a.png", channels))


def test_a_palette_of_grey_is_one_channel(tmp_path: Path) -> None:
    grey = NOISE[..., 0] // 16 * 16
    Image.fromarray(grey).quantize(16).save(tmp_path / "a.png")
    np.testing.assert_array_equal(image_files.read(tmp_path / "a.png"), grey[None])


def test_an_animation_is_an_error(tmp_path: Path) -> None:
    Image.fromarray(NOISE).save(tmp_path / "a.png", save_all=True, append_images=[Image.fromarray(NOISE // 2)])
    with pytest.raises(image_files.ImageError, match=r"a\.png: is an animation of 2 pictures: export them as the pages of a"):
        image_files.read(tmp_path / "a.png")


@pytest.mark.parametrize("transform", ["CMYK", "YCCK"])
def test_the_inks_of_a_jpeg_are_colours(tmp_path: Path, transform: str) -> None:
    inks = np.asarray(Image.fromarray(SMOOTH).convert("CMYK")).copy()
    inks[..., 3] = 60
    encoded = imagecodecs.jpeg8_encode(255 - inks, colorspace="CMYK", outcolorspace=transform, level=98)
    (tmp_path / "a.jpg").write_bytes(encoded)
    with image_files.opened(tmp_path / "a.jpg") as stack:
        pixels = stack.read()
        assert stack.sizes == (1, 1, 3, 24, 32) and "inks (CMYK)" in stack.notes[0]
    assert np.abs(pixels - shown_by_pillow(tmp_path / "a.jpg", 3).astype(int)).max() <= 2
    assert np.abs(pixels - np.moveaxis(SMOOTH, -1, 0) * (195 / 255)).max() < 8


@pytest.mark.parametrize("number", range(1, 9))
def test_the_orientation_of_a_jpeg_is_that_of_a_viewer(tmp_path: Path, number: int) -> None:
    exif = Image.Exif()
    exif[274] = number
    Image.fromarray(SMOOTH).save(tmp_path / "a.jpg", exif=exif)
    with Image.open(tmp_path / "a.jpg") as image:
        wanted = np.moveaxis(np.asarray(ImageOps.exif_transpose(image)), -1, 0)
    with image_files.opened(tmp_path / "a.jpg") as stack:
        assert stack.sizes == (1, 1, *wanted.shape) and bool(stack.notes) == (number != 1)
        assert np.abs(stack.read() - wanted.astype(int)).max() <= 2


@pytest.mark.parametrize("at_the_end", [False, True])
@pytest.mark.parametrize("number", range(1, 9))
def test_the_orientation_of_a_png_is_that_of_a_viewer(tmp_path: Path, number: int, at_the_end: bool) -> None:
    exif = Image.Exif()
    exif[274] = number
    Image.fromarray(NOISE).save(tmp_path / "a.png", exif=exif)
    if at_the_end:  # where the standard allows it, too
        content = (tmp_path / "a.png").read_bytes()
        start = content.index(b"eXIf") - 4
        end = content.index(b"IDAT") - 4
        (tmp_path / "a.png").write_bytes(content[:start] + content[end:-12] + content[start:end] + content[-12:])
    with Image.open(tmp_path / "a.png") as image:
        image.load()
        wanted = np.moveaxis(np.asarray(ImageOps.exif_transpose(image)), -1, 0)
    with image_files.opened(tmp_path / "a.png") as stack:
        assert stack.sizes == (1, 1, *wanted.shape) and bool(stack.notes) == (number != 1)
        np.testing.assert_array_equal(stack.read(), wanted)
