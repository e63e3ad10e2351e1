"""Whatever bytes of a file are changed or missing, it is read with the announced shape, or the error names the file."""

import itertools
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from dlir.reading import image_files

PIXELS = np.random.default_rng(0).integers(0, 4000, (3, 24, 32)).astype(np.uint16)
COLOURS = np.ascontiguousarray(np.moveaxis(PIXELS >> 4, 0, -1)).astype(np.uint8)
SHADES = [Image.fromarray(COLOURS // (1 + n)) for n in range(3)]
ON_ITS_SIDE = Image.Exif()
ON_ITS_SIDE[274] = 6
TRIES = 150  # damaged copies of each file
MEMORY = 1.5e8  # bytes that one of these small files may take at most, whatever its header announces


def as_tiff(pixels: image_files.Image, **options: object) -> Callable[[Path], object]:
    return lambda path: tifffile.imwrite(path, pixels, **options)


FILES: dict[str, Callable[[Path], object]] = {
    "raw": as_tiff(PIXELS[0]),
    "big": as_tiff(PIXELS[0], bigtiff=True),
    "zlib": as_tiff(PIXELS[0], compression="zlib", predictor=True, rowsperstrip=8),
    "lzw": as_tiff(PIXELS[0], compression="lzw", rowsperstrip=8),
    "zstd": as_tiff(PIXELS[0], compression="zstd", rowsperstrip=8),
    "packbits": as_tiff(PIXELS[0], compression="packbits"),
    "jpeg in tiff": as_tiff(COLOURS, compression="jpeg", photometric="rgb"),
    "colours": as_tiff(COLOURS, photometric="rgb"),
    "tiles": as_tiff(PIXELS[0], tile=(16, 16), compression="zlib"),
    "ome": as_tiff(PIXELS, ome=True, metadata={"axes": "ZYX"}, compression="zlib"),
    "imagej": as_tiff(PIXELS, imagej=True, metadata={"axes": "ZYX"}),
    "png": lambda path: path.write_bytes(imagecodecs.png_encode(PIXELS[0])),
    "png of colours": lambda path: path.write_bytes(imagecodecs.png_encode(COLOURS)),
    "png with a palette": lambda path: Image.fromarray(COLOURS).quantize(20).save(path, "PNG"),
    "jpeg": lambda path: path.write_bytes(imagecodecs.jpeg_encode(COLOURS)),
    "jpeg of inks": lambda path: Image.fromarray(COLOURS).convert("CMYK").save(path, "JPEG"),
    "jpeg on its side": lambda path: Image.fromarray(COLOURS).save(path, "JPEG", exif=ON_ITS_SIDE),
    "jpeg 2000": lambda path: path.write_bytes(imagecodecs.jpeg2k_encode(PIXELS[0], level=0, codecformat="jp2")),
    "code stream": lambda path: path.write_bytes(imagecodecs.jpeg2k_encode(COLOURS, level=0, codecformat="j2k")),
    "bmp": lambda path: Image.fromarray(COLOURS).save(path, "BMP"),
    "bmp with a palette": lambda path: Image.fromarray(COLOURS).quantize(20).save(path, "BMP"),
    "gif": lambda path: Image.fromarray(COLOURS).quantize(20).save(path, "GIF"),
    "animated gif": lambda path: SHADES[0].save(path, "GIF", save_all=True, append_images=SHADES[1:]),
    "webp": lambda path: Image.fromarray(COLOURS).save(path, "WEBP"),
    "animated webp": lambda path: SHADES[0].save(path, "WEBP", save_all=True, append_images=SHADES[1:], lossless=True),
    "tiff with a palette": lambda path: Image.fromarray(COLOURS).quantize(20).save(path, "TIFF"),
    "tiff of inks": lambda path: Image.fromarray(COLOURS).convert("CMYK").save(path, "TIFF"),
    "tiff of darkness": as_tiff(PIXELS[0], photometric="miniswhite"),
    "black and white": lambda path: Image.fromarray(COLOURS[..., 0] > 9).save(path, "TIFF", compression="group4"),
}


def damaged(whole: bytes, rng: np.random.Generator) -> bytes:
    """Returns the file with a few of its bytes changed, most of them in its first or last part, or cut short."""
    data = bytearray(whole)
    start, length = [(0, 64), (0, 400), (max(len(data) - 400, 0), 400), (0, len(data))][rng.integers(4)]
    for _ in range(rng.integers(1, 4)):
        place = min(start + int(rng.integers(length)), len(data) - 1)
        data[place] = rng.choice([0, 255, data[place] ^ (1 << rng.integers(8)), rng.integers(256)])
    return bytes(data[: rng.integers(len(data))] if rng.random() < 0.2 else data)


@pytest.mark.parametrize("kind", FILES)
def test_a_damaged_file_is_read_as_announced_or_is_an_error_that_names_it(tmp_path: Path, kind: str) -> None:
    path, rng = tmp_path / "tile.tif", np.random.default_rng(0)
    FILES[kind](path)
    whole = path.read_bytes()
    tracemalloc.start()
    try:
        for copy in (damaged(whole, rng) for _ in range(TRIES)):
            path.write_bytes(copy)
            tracemalloc.reset_peak()
            try:
                with image_files.opened(path) as stack:
                    for time, z in itertools.product(range(stack.sizes.times), range(stack.sizes.depth)):
                        assert stack.read(time, z).shape == stack.sizes[2:]
            except image_files.ImageError as error:
                assert str(error).startswith(f"{path}: ") and str(error).isprintable()
            assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()
