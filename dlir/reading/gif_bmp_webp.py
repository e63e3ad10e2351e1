"""The formats GIF, BMP and WebP.

A GIF is a row of blocks: an image descriptor and its pixels, or something that is not needed; it may have a palette for all
images and one for each. A BMP has a header and rows of pixels, most often as they are. A WebP is a row of chunks, each with a
name and a length. The pages of a GIF and of a WebP are the pictures of an animation, each as it is shown.
"""

import os
import re
import struct
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.WebPImagePlugin import WebPImageFile

from dlir.reading import colours, orientation
from dlir.reading.encoded_image import Format, Header, next_bytes

IMAGE, EXTENSION, TRAILER = b",", b"!", b";"  # the first bytes of the blocks of a GIF
HAS_PALETTE = 0x80  # a bit of the flags of a GIF; the last three bits tell the size of the palette
LZW_EXPANSION = 2560  # bytes that the codec of GIF makes of one at most
RUNS_EXPANSION = 1032  # the same for BMP with runs of equal pixels; empty rows take no bytes, so this is a guess
WEBP_EXPANSION = 2e5  # the same for WebP: a picture of one grey value of 8192 x 8192 px has 8 kB


def _gif_header(file: BinaryIO) -> Header:
    file.seek(6)
    width, height, flags = struct.unpack("<HHB", next_bytes(file, 5))
    next_bytes(file, 2)
    common = _gif_palette(file, flags)
    pages, grey = 0, True
    while (block := next_bytes(file, 1)) != TRAILER:
        if block == IMAGE:
            palette = _gif_palette(file, next_bytes(file, 9)[8])
            palette = common if palette is None else palette
            grey = grey and palette is not None and len(colours.palette(palette)) == 1
            pages += 1
        elif block != EXTENSION:
            raise ValueError("a block of no known kind")
        next_bytes(file, 1)  # the kind of extension, or the bits of a code
        while length := next_bytes(file, 1)[0]:
            next_bytes(file, length)
    if not pages:
        raise ValueError("a GIF without an image")
    return Header(1 if grey else 3, height, width, np.dtype("uint8"), height * width, pages=pages)


def _gif_palette(file: BinaryIO, flags: int) -> NDArray[np.uint8] | None:
    """Returns the palette (3, n) that begins here; None where the flags say that there is none."""
    if not flags & HAS_PALETTE:
        return None
    return np.frombuffer(next_bytes(file, 3 * 2 ** ((flags & 7) + 1)), np.uint8).reshape(-1, 3).T


def _decoded_gif(file: BinaryIO, page: int) -> NDArray[Any]:
    image = GifImageFile(file)
    image.seek(page)
    return np.asarray(image.convert("RGB"))


def _bmp_header(file: BinaryIO) -> Header:
    file.seek(0)
    image = BmpImageFile(file)
    width, height = image.size
    grey = image.mode in ("1", "L")
    if image.mode == "P" and image.palette:
        size = len(image.palette.mode if image.palette.rawmode is None else image.palette.rawmode)
        grey = len(colours.palette(np.frombuffer(bytes(image.palette.palette), np.uint8).reshape(-1, size)[:, :3].T)) == 1
    codec, _, start, how = image.tile[0][:4]
    stored = start + how[1] * height if codec == "raw" and isinstance(how, tuple) else height * width // RUNS_EXPANSION
    return Header(1 if grey else 3, height, width, np.dtype("uint8"), stored)


def _decoded_bmp(file: BinaryIO, _: int) -> NDArray[Any]:
    return np.asarray(BmpImageFile(file).convert("RGB"))


def _webp_header(file: BinaryIO) -> Header:
    length = file.seek(0, os.SEEK_END)
    file.seek(4)
    (end,) = struct.unpack("<I", next_bytes(file, 4))
    if end + 8 > length:
        raise ValueError(f"cut short: the file has {length} bytes, and its header announces {end + 8}")
    file.seek(12)
    height, width, pages, turn = 0, 0, 0, orientation.UPRIGHT
    while file.tell() + 8 <= end + 8:
        name, size = struct.unpack("<4sI", next_bytes(file, 8))
        after = file.tell() + size + size % 2
        if name == b"VP8X":
            low_x, high_x, low_y, high_y = struct.unpack("<4xHBHB", next_bytes(file, 10))
            width, height = low_x + 2**16 * high_x + 1, low_y + 2**16 * high_y + 1
        elif name == b"VP8L" and not height:
            (bits,) = struct.unpack("<xI", next_bytes(file, 5))
            width, height = bits % 2**14 + 1, bits // 2**14 % 2**14 + 1
        elif name == b"VP8 " and not height:
            width, height = (side % 2**14 for side in struct.unpack("<6xHH", next_bytes(file, 10)))
        elif name == b"EXIF":
            turn = orientation.of_exif(next_bytes(file, size).removeprefix(b"Exif\0\0"))
        pages += name == b"ANMF"
        file.seek(after)
    if not height or not width:
        raise ValueError("a WebP without an image")
    return Header(3, height, width, np.dtype("uint8"), 3 * height * width, turn, pages=max(pages, 1))


def _decoded_webp(file: BinaryIO, page: int) -> NDArray[Any]:
    image = WebPImageFile(file)
    image.seek(page)
    return np.asarray(image.convert("RGB"))


GIF = Format("GIF", re.compile(rb"GIF8[79]a"), _gif_header, _decoded_gif, LZW_EXPANSION)
BMP = Format("BMP", re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL), _bmp_header, _decoded_bmp, 1)
WEBP = Format("WebP", re.compile(rb"RIFF.{4}WEBP", re.DOTALL), _webp_header, _decoded_webp, WEBP_EXPANSION)
