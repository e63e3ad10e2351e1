"""The format JPEG 2000: a code stream, which may lie in a file of boxes (JP2), each with a length and a name.

The code stream begins with the size of the picture and with the bits of each sample. Boxes tell what the samples are.
"""

import os
import re
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from dlir.reading import colours
from dlir.reading.encoded_image import Format, Header, next_bytes
from dlir.reading.source import NoTileError

STREAM, STREAM_END = b"\xff\x4f\xff\x51", b"\xff\xd9"
RGB, GREY = 16, 17  # of the box colr; another number is another space of colours
MOST_EXPANSION = 2e5  # bytes that the codec makes of one: a picture of one grey value of 8192 x 8192 px has 340 bytes
REMEDY = "which dlir does not read: export it as TIFF"


class Told(NamedTuple):
    """What a file tells of its code stream."""

    start: int  # bytes
    end: int
    alpha: tuple[int, ...] = ()  # numbers of the samples that are alpha
    rgb: bool = False  # whether the others are red, green and blue


def _header(file: BinaryIO) -> Header:
    length = file.seek(0, os.SEEK_END)
    file.seek(0)
    bare = file.read(len(STREAM)) == STREAM
    start, end, alpha, rgb = Told(0, length) if bare else _told(file, length)
    if end > length:
        raise ValueError(f"cut short: the file has {length} bytes, and its header announces {end}")
    file.seek(end - len(STREAM_END))
    if file.read(len(STREAM_END)) != STREAM_END:
        raise ValueError("cut short: a code stream without its end")
    file.seek(start)
    if next_bytes(file, len(STREAM)) != STREAM:
        raise ValueError("a code stream without its start")
    *sides, samples = struct.unpack(">4x4I16xH", next_bytes(file, 38))
    width, height = (max(side - offset, 0) for side, offset in zip(sides[:2], sides[2:], strict=True))
    kinds = [tuple(next_bytes(file, 3)) for _ in range(samples)]
    if not kinds or {*kinds} != {kinds[0]} or kinds[0][1:] != (1, 1):
        raise NoTileError(f"has samples of several types or sizes, {REMEDY}")
    unsaid = rgb and samples == 4 and not alpha
    alpha = (3,) if unsaid else alpha
    channels = samples - len(alpha)
    if sorted(alpha) != [*range(channels, samples)]:
        raise NoTileError(f"has transparency before its colours, {REMEDY}")
    bits, signed = kinds[0][0] % 128 + 1, kinds[0][0] >= 128
    dtype = np.dtype(f"{'int' if signed else 'uint'}{next(size for size in (8, 16, 32, 64) if bits <= size)}")
    notes = (colours.FOURTH,) if unsaid else ()
    return Header(channels, height, width, dtype, height * width * samples * dtype.itemsize, notes=notes)


def _told(file: BinaryIO, length: int) -> Told:
    """Returns what the boxes of a file tell."""
    alpha: tuple[int, ...] = ()
    rgb = False
    for name, start, end in _boxes(file, 0, length):
        if name == b"jp2c":
            if _has_a_picture(file, end, length):
                raise NoTileError("holds several pictures, as old ND2 files of Nikon do: export each as TIFF or OME-TIFF")
            return Told(start, end, alpha, rgb)
        if name != b"jp2h":
            continue
        for part, begin, stop in _boxes(file, start, min(end, length)):
            file.seek(begin)
            if part == b"pclr":
                raise NoTileError(f"has a palette, {REMEDY}")
            if part == b"colr":
                how, number = struct.unpack(">B2xI", next_bytes(file, 7))
                if how == 1 and number not in (RGB, GREY):
                    raise NoTileError(f"has colours of a kind, {number}, {REMEDY}")
                rgb = rgb or (how, number) == (1, RGB)
            if part == b"cdef":
                kinds = np.frombuffer(next_bytes(file, stop - begin)[2:], ">u2").reshape(-1, 3)
                alpha = tuple(kinds[np.isin(kinds[:, 1], (1, 2)), 0].tolist())
    raise ValueError("cut short: a JPEG 2000 file without a picture")


def _has_a_picture(file: BinaryIO, start: int, stop: int) -> bool:
    """Returns whether a code stream follows between two places; what makes no sense behind a picture is none."""
    try:
        return any(name == b"jp2c" for name, _, _ in _boxes(file, start, stop))
    except ValueError:
        return False


def _boxes(file: BinaryIO, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """Yields the name of each box between two places, and where its content begins and ends, bytes."""
    while start < stop:
        file.seek(start)
        size, name = struct.unpack(">I4s", next_bytes(file, 8))
        head = 8
        if size == 1:
            (size,), head = struct.unpack(">Q", next_bytes(file, 8)), 16
        end = start + size if size else stop
        if end < start + head:
            raise ValueError("a box that ends before it begins")
        yield name, start + head, end
        start = end


def _decoded(file: BinaryIO, _: int) -> NDArray[Any]:
    return np.asarray(imagecodecs.jpeg2k_decode(file.read()))


FORMAT = Format("JPEG 2000", re.compile(rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"), _header, _decoded, MOST_EXPANSION)
