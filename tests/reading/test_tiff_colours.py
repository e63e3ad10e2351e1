"""The pixels of a TIFF are those that a viewer shows, by Pillow, which is one, or by the numbers themselves."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from dlir.reading import image_files

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (24, 32), dtype=np.uint8)
RGB = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
SMOOTH = np.stack([np.add.outer(np.arange(24) * a, np.arange(32) * b) for a, b in ((3, 1), (1, 4), (2, 2))], -1).astype(
    np.uint8
)

UPRIGHT: dict[int, Any] = {  # of an orientation: what turns the pixels (y, x) upright
    1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, -1), 7: lambda a: np.swapaxes(np.rot90(a, 2), 0, 1), 8: np.rot90,
}  # fmt: skip


def read(path: Path) -> tuple[np.ndarray, str]:
    """Returns the pixels of a file (channels, y, x) and its notes; asserts that its header announces these."""
    with image_files.opened(path) as stack:
        pixels = stack.read()
        assert pixels.shape == stack.sizes[2:] and pixels.dtype.name == stack.dtype
        for channel in range(stack.sizes.channels):
            np.testing.assert_array_equal(stack.read(0, 0, channel), pixels[channel][None])
        return pixels, "; ".join(stack.notes)


def shown_by_pillow(path: Path, mode: str = "RGB") -> np.ndarray:
    with Image.open(path) as image:
        return np.moveaxis(np.atleast_3d(np.asarray(image.convert(mode))), -1, 0)


@pytest.mark.parametrize("mode", ["P", "PA", "CMYK", "YCbCr", "LA", "RGBA", "RGBX"])
def test_colours_are_those_of_a_viewer(tmp_path: Path, mode: str) -> None:
    grey = mode == "LA"
    image = Image.fromarray(GREY if grey else RGB).convert("P" if mode == "PA" else mode).convert(mode)
    image.save(tmp_path / "a.tif")
    pixels, notes = read(tmp_path / "a.tif")
    wanted = shown_by_pillow(tmp_path / "a.tif", "L" if grey else "RGB").astype(int)
    assert pixels.dtype == np.uint8 and pixels.shape == wanted.shape
    assert np.abs(pixels - wanted).max() <= (2 if mode in ("CMYK", "YCbCr") else 0)  # of Pillow's rounding
    assert ("palette" in notes, "CMYK" in notes) == (mode in ("P", "PA"), mode == "CMYK")


def test_a_jpeg_in_a_tiff_has_the_colours_of_a_viewer(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", SMOOTH, photometric="rgb", compression="jpeg", compressionargs={"level": 98})
    assert np.abs(read(tmp_path / "a.tif")[0] - np.moveaxis(SMOOTH, -1, 0).astype(int)).max() <= 6
    Image.fromarray(SMOOTH).convert("YCbCr").save(tmp_path / "a.tif", compression="jpeg", quality=98)
    assert np.abs(read(tmp_path / "a.tif")[0] - shown_by_pillow(tmp_path / "a.tif").astype(int)).max() <= 2


@pytest.mark.parametrize(
    ("factor", "dtype"), [(257, "uint8"), (256, "uint8"), (1, "uint8"), (251, "uint16")]
)  # of 8 bit by three customs, and of 16 bit
def test_the_palette_says_what_the_numbers_mean(tmp_path: Path, factor: int, dtype: str) -> None:
    colours = RNG.integers(0, 256, (3, 256)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="palette", colormap=colours * np.uint16(factor))
    pixels, notes = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(pixels, colours[:, GREY] * (factor if dtype == "uint16" else 1))
    assert pixels.dtype == dtype and "the colours of the palette" in notes


def test_a_palette_of_grey_is_one_channel(tmp_path: Path) -> None:
    ramp = np.arange(255, -1, -1, dtype=np.uint16) * 257
    tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="palette", colormap=np.stack([ramp] * 3))
    pixels, notes = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(pixels, 255 - GREY[None])
    assert "palette of grey values" in notes


def test_a_palette_of_named_channels_only_tells_how_to_show_them(tmp_path: Path) -> None:
    colours, data = RNG.integers(0, 65536, (3, 256)).astype(np.uint16), np.stack([GREY, GREY // 2])
    options: dict[str, Any] = {"photometric": "palette", "colormap": colours, "metadata": {"axes": "CYX"}}
    tifffile.imwrite(tmp_path / "a.tif", data, ome=True, **options)
    pixels, notes = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(pixels, data)
    assert "without it, since the file says that they are channels" in notes


def test_pages_with_palettes_of_their_own_are_an_error(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for _ in range(2):
            colours = RNG.integers(0, 65536, (3, 256)).astype(np.uint16)
            writer.write(GREY, photometric="palette", colormap=colours, metadata=None)
    with pytest.raises(image_files.ImageError, match=r"a\.tif: has a palette of its own for each page: export it as RGB"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize("bits", [8, 16, 12, 4])
def test_darkness_is_inverted(tmp_path: Path, bits: int) -> None:
    data = RNG.integers(0, 2**bits, (24, 32)).astype(np.uint8 if bits <= 8 else np.uint16)
    options = {} if bits in (8, 16) else {"bitspersample": bits}
    for name, wanted in (("miniswhite", 2**bits - 1 - data), ("minisblack", data)):
        tifffile.imwrite(tmp_path / "a.tif", data, photometric=name, **options)
        pixels, notes = read(tmp_path / "a.tif")
        np.testing.assert_array_equal(pixels[0], wanted)
        assert ("0 is white: its grey values are inverted" in notes) == (name == "miniswhite")


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_darkness_that_is_no_positive_number_stays_with_a_note(tmp_path: Path, dtype: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY.astype(dtype), photometric="miniswhite")
    pixels, notes = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(pixels[0], GREY)
    assert "0 is white: its grey values stay as they are" in notes


@pytest.mark.parametrize("compression", ["raw", "group4", "group3", "tiff_ccitt", "packbits", "tiff_lzw"])
@pytest.mark.parametrize("photometric", [0, 1])
def test_black_and_white_is_that_of_a_viewer(tmp_path: Path, compression: str, photometric: int) -> None:
    bilevel = Image.fromarray(GREY > 100)
    bilevel.save(tmp_path / "a.tif", compression=None if compression == "raw" else compression, tiffinfo={262: photometric})
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.pages[0].photometric == photometric and file.pages[0].bitspersample == 1
    pixels, _ = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(pixels, shown_by_pillow(tmp_path / "a.tif", "1"))


def test_bits_that_python_wrote_are_those_that_it_reads(tmp_path: Path) -> None:
    """tifffile states that 0 is white for true and false, and stores true as 1."""
    tifffile.imwrite(tmp_path / "a.tif", GREY > 100)
    pixels, notes = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(pixels[0], GREY > 100)
    assert not notes


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("alpha", [False, True])
def test_inks_of_16_bit_are_colours(tmp_path: Path, planar: bool, alpha: bool) -> None:
    """Full ink is 65535: magenta leaves red and blue, and half of black leaves half of these."""
    inks = np.zeros((4 + alpha, 24, 32), np.uint16)
    inks[1], inks[3], inks[4:] = 65535, 32767, 9
    tifffile.imwrite(
        tmp_path / "a.tif", inks if planar else np.moveaxis(inks, 0, -1), photometric="separated",
        planarconfig="separate" if planar else "contig", extrasamples=["unassalpha"] * alpha,
    )  # fmt: skip
    pixels, notes = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(pixels, np.broadcast_to(np.array([32768, 0, 32768])[:, None, None], (3, 24, 32)))
    assert pixels.dtype == np.uint16 and "CMYK" in notes


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("colours", [False, True])
def test_the_orientation_is_that_of_a_viewer(tmp_path: Path, number: int, colours: bool) -> None:
    stored = RGB if colours else GREY
    Image.fromarray(stored).save(tmp_path / "a.tif", tiffinfo={274: number})
    pixels, notes = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(pixels, np.moveaxis(np.atleast_3d(UPRIGHT[number](stored)), -1, 0))
    assert (f"orientation {number}" in notes) == (number != 1) and pixels.shape[1:] == ((32, 24) if number > 4 else (24, 32))


@pytest.mark.parametrize(
    ("tag", "value", "what"),
    [
        ("Compression", 32809, "is compressed as THUNDERSCAN, which dlir does not read: export it without compression"),
        ("PhotometricInterpretation", 32803, "has colours of the kind CFA, which dlir does not read: export it as grey or RGB"),
        ("PhotometricInterpretation", 8, "has colours of the kind CIELAB, which dlir does not read: export it as grey or RGB"),
        ("BitsPerSample", 37, "has pixels of 37 bits, which dlir does not read: export it with 8 or 16 bits"),
    ],
)
def test_what_tiff_can_hold_and_dlir_does_not_read_is_named(tmp_path: Path, tag: str, value: int, what: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY, metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        file.pages[0].tags[tag].overwrite(value)
    with pytest.raises(image_files.ImageError, match=rf"a\.tif: {what}"):
        read(tmp_path / "a.tif")
