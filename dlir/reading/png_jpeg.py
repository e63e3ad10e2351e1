"""Reads PNG and JPEG files: the header tells the size and the type of the pixels, which are decoded only when they are read.

A PNG begins with its header. A JPEG is a row of segments, each a marker and a length, and the segment that is called the frame
header has the size. Where the end of a file is missing, the codecs return zeros or grey; so the mark at the end is looked for.
"""

import os
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from dlir.reading.source import Sizes

PNG, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
JPEG, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # kind of colour: numbers that the file has for a pixel
PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 1, 6: 3}  # of the decoded pixels; the palette, 3, has colours, and alpha is left out
FRAME_HEADERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # the markers of JPEG; the three are tables and a reserved one
LONE_MARKERS = {0x01, *range(0xD0, 0xD9)}  # markers of JPEG that have no segment
TAIL = 64  # bytes at the end of a file in which the end mark lies; some programs write a few bytes after it
MOST_EXPANSION = 1032  # bytes that the densest codec, that of PNG, makes of one


class EncodedImage:
    """An open PNG or JPEG file; it has one time point and one z plane. Alpha is left out."""

    def __init__(self, file: BinaryIO, head: bytes) -> None:
        self.file = file
        self.decode: Callable[[bytes], NDArray[Any]]
        if head.startswith(PNG):
            kind, end, self.decode = "PNG", PNG_END, imagecodecs.png_decode
            self.sizes, self.dtype, stored = _png_header(file)
        else:
            kind, end, self.decode = "JPEG", JPEG_END, imagecodecs.jpeg_decode
            self.sizes, self.dtype, stored = _jpeg_header(file)
        self.names: tuple[str, ...] = ()
        self.notes: tuple[str, ...] = ()
        length = file.seek(0, os.SEEK_END)
        file.seek(max(length - TAIL, 0))
        if end not in file.read():
            raise ValueError(f"cut short: a {kind} without its end")
        if stored > MOST_EXPANSION * length:
            size = f"{self.sizes.height} x {self.sizes.width} px"
            raise ValueError(f"its header announces {size}, and the {length} bytes of the file cannot hold them")

    def read(self, time: int, z: int, channel: int | None) -> NDArray[Any]:
        self.file.seek(0)
        pixels = self.decode(self.file.read())
        pixels = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
        pixels = pixels[: self.sizes.channels]
        if pixels.shape != self.sizes[2:] or pixels.dtype != self.dtype:
            raise ValueError("its pixels are not those that its header announces")
        return pixels if channel is None else pixels[channel][None]


def _png_header(file: BinaryIO) -> tuple[Sizes, np.dtype[Any], int]:
    """Returns the sizes, the type of the pixels, and the bytes that the codec has to make."""
    file.seek(len(PNG))
    length, name, width, height, bits, colour = struct.unpack(">I4sIIBB", _next(file, 18))
    if (length, name) != (13, b"IHDR") or colour not in PNG_SAMPLES:
        raise ValueError("a PNG without a header")
    stored = height * (width * PNG_SAMPLES[colour] * bits // 8)
    return Sizes(1, 1, PNG_CHANNELS[colour], height, width), np.dtype("uint16" if bits > 8 else "uint8"), stored


def _jpeg_header(file: BinaryIO) -> tuple[Sizes, np.dtype[Any], int]:
    """Returns the sizes, the type of the pixels, and the bytes that the codec has to make."""
    file.seek(2)
    while True:
        mark, marker = _next(file, 2)
        while marker == 0xFF:  # any number of these may stand before a marker
            (marker,) = _next(file, 1)
        if mark != 0xFF or marker in (0xD9, 0xDA):  # the end, and the start of the pixels
            raise ValueError("a JPEG without a header")
        if marker in LONE_MARKERS:
            continue
        (length,) = struct.unpack(">H", _next(file, 2))
        if marker in FRAME_HEADERS:
            bits, height, width, channels = struct.unpack(">BHHB", _next(file, 6))
            stored = height * width * channels * (1 + (bits > 8))
            return Sizes(1, 1, channels, height, width), np.dtype("uint16" if bits > 8 else "uint8"), stored
        file.seek(length - 2, os.SEEK_CUR)


def _next(file: BinaryIO, count: int) -> bytes:
    """Returns the next `count` bytes; raises ValueError when the file has fewer."""
    if len(found := file.read(count)) < count:
        raise ValueError("cut short: a header without its end")
    return found
