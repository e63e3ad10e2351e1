"""The formats PNG and JPEG.

A PNG is a row of chunks, each with a length and a name: the header is the first, a palette stands before the pixels, and EXIF
metadata before or after them. A JPEG is a row of segments, each with a marker and a
length, and the segment that is called the frame header has the size. Where the end of a file is missing, the codecs return
zeros or grey; so the mark at the end is looked for. A JPEG of four samples stores the light that four inks leave.
"""

import re
import struct
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from dlir.reading import colours, orientation
from dlir.reading.encoded_image import Format, Header, next_bytes
from dlir.reading.source import NoTileError

PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # kind of colour: numbers that the file has for a pixel
PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 1, 6: 3}  # of the decoded pixels; the palette, 3, has colours, and alpha is left out
PALETTE = 3
FRAME_HEADERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # the markers of JPEG; the three are tables and a reserved one
LONE_MARKERS = {0x01, *range(0xD0, 0xD9)}  # markers of JPEG that have no segment
EXIF_MARKER, EXIF = 0xE1, b"Exif\0\0"  # the segment of JPEG that may state the orientation, and its first bytes
JPEG_LS = 0xF7  # the marker of another format
MOST_EXPANSION = 1032  # bytes that the codecs make of one at most


def _png_header(file: BinaryIO) -> Header:
    file.seek(len(PNG_START))
    length, name, width, height, bits, colour = struct.unpack(">I4sIIBB", next_bytes(file, 18))
    if (length, name) != (13, b"IHDR") or colour not in PNG_SAMPLES:
        raise ValueError("a PNG without a header")
    next_bytes(file, 7)  # the rest of the header, and its check sum
    channels, turn = PNG_CHANNELS[colour], orientation.UPRIGHT
    while name != b"IEND":
        length, name = struct.unpack(">I4s", next_bytes(file, 8))
        after = file.tell() + length + 4
        if name == b"PLTE" and colour == PALETTE:
            channels = len(colours.palette(np.frombuffer(next_bytes(file, length), np.uint8).reshape(-1, 3).T))
        elif name == b"acTL" and (pictures := struct.unpack(">I", next_bytes(file, 4))[0]) > 1:
            raise NoTileError(f"is an animation of {pictures} pictures: export them as the pages of a TIFF")
        elif name == b"eXIf":
            turn = orientation.of_exif(next_bytes(file, length).removeprefix(EXIF))
        file.seek(after)
    stored = height * (width * PNG_SAMPLES[colour] * bits // 8)
    return Header(channels, height, width, np.dtype("uint16" if bits > 8 else "uint8"), stored, turn)


def _jpeg_header(file: BinaryIO) -> Header:
    turn = orientation.UPRIGHT
    file.seek(2)
    while True:
        mark, marker = next_bytes(file, 2)
        while marker == 0xFF:  # any number of these may stand before a marker
            (marker,) = next_bytes(file, 1)
        if marker == JPEG_LS:
            raise NoTileError("is a JPEG-LS file, which dlir does not read: export it as TIFF")
        if mark != 0xFF or marker in (0xD9, 0xDA):  # the end, and the start of the pixels
            raise ValueError("a JPEG without a header")
        if marker in LONE_MARKERS:
            continue
        (length,) = struct.unpack(">H", next_bytes(file, 2))
        after = file.tell() + length - 2
        if marker == EXIF_MARKER:
            block = file.read(max(length - 2, 0))
            turn = orientation.of_exif(block[len(EXIF) :]) if block.startswith(EXIF) else turn
        if marker in FRAME_HEADERS:
            bits, height, width, samples = struct.unpack(">BHHB", next_bytes(file, 6))
            dtype = np.dtype("uint16" if bits > 8 else "uint8")
            header = Header(samples, height, width, dtype, height * width * samples * dtype.itemsize, turn)
            return header._replace(channels=3, shown=colours.from_paper, notes=(colours.INKS,)) if samples == 4 else header
        file.seek(after)


def _decoded_png(file: BinaryIO, _: int) -> NDArray[Any]:
    return np.asarray(imagecodecs.png_decode(file.read()))


def _decoded_jpeg(file: BinaryIO, _: int) -> NDArray[Any]:
    return np.asarray(imagecodecs.jpeg_decode(file.read()))


PNG = Format("PNG", re.compile(re.escape(PNG_START)), _png_header, _decoded_png, MOST_EXPANSION, b"IEND\xaeB`\x82")
JPEG = Format("JPEG", re.compile(rb"\xff\xd8\xff"), _jpeg_header, _decoded_jpeg, MOST_EXPANSION, b"\xff\xd9")
