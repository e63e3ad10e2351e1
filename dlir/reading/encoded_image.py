"""Reads image files of one picture or of several pages: the header tells the sizes, and pixels are decoded when they are read.

A format (`png_jpeg.py`, `gif_bmp_webp.py`, `jpeg_2000.py`) reads its header and decodes a page; here, the pixels become those
that a viewer shows. A header may announce any size, so it is compared with the bytes of the file before anything is decoded.
"""

import os
import re
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlir.reading import orientation
from dlir.reading.colours import Samples
from dlir.reading.source import Pages, Sizes, with_pages


class Header(NamedTuple):
    """What the header of a file says."""

    channels: int  # of the pixels that a viewer shows
    height: int  # px, as the pixels are stored
    width: int
    dtype: np.dtype[Any]
    stored: int  # bytes that the codec makes of the smallest part of the file that it decodes at once
    orientation: int = orientation.UPRIGHT
    shown: Callable[[Samples], Samples] | None = None  # turns the samples (samples, y, x) into the channels
    notes: tuple[str, ...] = ()
    pages: int = 1


class Format(NamedTuple):
    """A format of files."""

    name: str
    start: re.Pattern[bytes]  # the first bytes of such a file
    header: Callable[[BinaryIO], Header]
    decode: Callable[[BinaryIO, int], NDArray[Any]]  # the samples (y, x) or (y, x, samples) of a page
    most_expansion: float  # bytes that the codec makes of one at most
    end: bytes = b""  # the last bytes of a file, where the codec does not miss them; some programs write a few after them


LONGEST_PART = 2**20  # bytes, of a header
TAIL = 64  # bytes at the end of a file in which the end mark lies


class EncodedImage:
    """An open file of a format. Alpha is left out."""

    names: tuple[str, ...] = ()

    def __init__(self, file: BinaryIO, form: Format, pages: Pages) -> None:
        self.file, self.form, self.header = file, form, form.header(file)
        channels, height, width, self.dtype, stored, *_ = self.header
        length = file.seek(0, os.SEEK_END)
        file.seek(max(length - TAIL, 0))
        if form.end not in file.read():
            raise ValueError(f"cut short: a {form.name} without its end")
        if stored > form.most_expansion * length:
            what = f"{height} x {width} px, and the {length} bytes of the file cannot hold them"
            raise ValueError(f"its header announces {what}")
        self.unnamed_pages = self.header.pages
        upright = orientation.upright_size(height, width, self.header.orientation)
        self.sizes = with_pages(Sizes(1, 1, channels, *upright), self.header.pages, pages)
        self.notes = (*self.header.notes, *orientation.notes(self.header.orientation))

    def read(self, time: int, z: int, channel: int | None) -> NDArray[Any]:
        """Returns the plane (channels, y, x) at a time point and a z; only the given channel, where there is one."""
        within = self.header.channels
        if self.sizes.channels == within:
            pixels = self._page(max(time, z))
            return pixels if channel is None else pixels[channel : channel + 1]
        if channel is None:
            return np.concatenate([self._page(page) for page in range(self.header.pages)])
        page, channel = divmod(channel, within)
        return self._page(page)[channel : channel + 1]

    def _page(self, number: int) -> NDArray[Any]:
        """Returns the pixels (channels, y, x) of a page as a viewer shows them."""
        self.file.seek(0)
        pixels = self.form.decode(self.file, number)
        pixels = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
        pixels = self.header.shown(pixels) if self.header.shown else pixels[: self.header.channels]
        if pixels.shape != self.header[:3] or pixels.dtype != self.dtype:
            raise ValueError("its pixels are not those that its header announces")
        return orientation.upright(np.asarray(pixels), self.header.orientation)


def next_bytes(file: BinaryIO, count: int) -> bytes:
    """Returns the next `count` bytes; raises ValueError when the file has fewer, or no header has so many."""
    if count > LONGEST_PART or len(found := file.read(count)) < count:
        raise ValueError("cut short: a header without its end")
    return found
