"""Reads TIFF files as stacks: the planes (channels, y, x) at a time point and a z, decoded page by page.

tifffile names the axes of an image, such as TZCYX. The last axes lie within a page (y, x, and samples), and those before them
count the pages. For the axes TZC the page of a plane is

    page = (t * depth + z) * channels + c

and likewise for every other order. No other page is decoded.

A page is compared with its bytes in the file before it is decoded (`tiff_pages.py`), and its pixels become those that a viewer
shows (`tiff_colours.py`, `orientation.py`). A file of an OME set, whose metadata list the other files, is read by itself: its
stack has the planes that this file holds.
"""

import logging
import math
import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from types import SimpleNamespace
from typing import Any, BinaryIO
from xml.etree.ElementTree import Element

import numpy as np
import tifffile
from numpy.typing import NDArray

from dlir.reading import colours, ome_xml, orientation, tiff_colours, tiff_facts, tiff_pages
from dlir.reading.image_facts import ImageFacts
from dlir.reading.source import MOST_PLANES, NoTileError, Pages, Sizes, image_number

CHANNELS = "CS"  # tifffile's letters of axes that hold channels: channels, and samples of a pixel
ALPHA = (1, 2)  # the TIFF codes of extra samples that are alpha: associated and unassociated
UNNAMED_PAGES = "IQ"  # tifffile's letters of pages that the file does not name
PAGES = {"z": "Z", "channel": "C", "time": "T"}  # its letters of what they may be


class TiffStack:
    """One image of an open TIFF file."""

    def __init__(self, file: BinaryIO, pages: Pages, image: int | None) -> None:
        self.length = file.seek(0, os.SEEK_END)  # bytes
        file.seek(0)
        # without the name and the descriptor of the file, with which tifffile would open the other files of an OME set
        nameless: Any = SimpleNamespace(seek=file.seek, tell=file.tell, read=file.read, readinto=file.readinto)  # type: ignore[attr-defined]
        self.tiff = tifffile.TiffFile(nameless)
        if not self.tiff.pages:
            raise ValueError("cut short: a TIFF without an image")
        self.ome = ome_xml.parsed(self.tiff.ome_metadata)
        _check_announced_planes(self.ome)
        self.notes: tuple[str, ...] = (ome_xml.NOT_VALID,) if self.ome.tag == ome_xml.DAMAGED else ()
        self.all_series = self._images()
        if not self.all_series:
            raise ValueError("none of its pages can be read")
        self.series = self.all_series[image_number(image, len(self.all_series))]
        if self.tiff.is_imagej and self.series.kind in ("generic", "uniform"):
            raise ValueError("cut short: the header announces more planes than the file holds")
        if tiff_pages.next_page(self.tiff) > self.length:
            raise ValueError(f"cut short: the file has {self.length} bytes, and its next page begins after them")
        self.unnamed_pages = 1
        self.page_axes, self.inner_axes = self._axes(pages)
        self.count = math.prod(self.page_axes.values())  # pages of the series
        if self.count > MOST_PLANES:
            raise ValueError(f"its header announces {self.count} planes")
        self.pages = self._pages_in_this_file(np.arange(self.count).reshape(tuple(self.page_axes.values())))
        self.page_axes = dict(zip(self.page_axes, self.pages.shape, strict=True))
        self.alpha = self._alpha() if "S" in self.inner_axes else 0
        axes = {**self.page_axes, **self.inner_axes}
        self.channel_pages = math.prod(length for letter, length in self.page_axes.items() if letter in CHANNELS)
        frame = self.series.keyframe
        samples = math.prod(length for letter, length in self.inner_axes.items() if letter in CHANNELS) - self.alpha
        self.look = tiff_colours.look(frame, samples, "C" in self.series.axes and self.page_axes.get("C", 1) > 1)
        if frame.photometric == tifffile.PHOTOMETRIC.PALETTE and not tiff_pages.has_one_palette(self.series):
            raise NoTileError("has a palette of its own for each page: export it as RGB")
        self.channels_in_page, self.dtype = self.look.channels, self.look.dtype
        self.orientation = frame.tags.valueof(orientation.TAG, orientation.UPRIGHT)
        self.notes += (*self.look.notes, *orientation.notes(self.orientation))
        height, width = orientation.upright_size(axes["Y"], axes["X"], self.orientation)
        channels = self.channel_pages * self.channels_in_page
        self.sizes = Sizes(axes.get("T", 1), axes.get("Z", 1), channels, height, width)
        element = tiff_facts.of_series(self.ome, self.all_series)[image or 0]
        self.names = () if element is None else ome_xml.channel_names(element, channels)

    def read(self, time: int, z: int, channel: int | None) -> NDArray[Any]:
        """Returns the plane (channels, y, x) at a time point and a z; only the given channel, where there is one."""
        wanted = range(self.channel_pages) if channel is None else [channel // self.channels_in_page]
        pixels = np.concatenate([self._page({"T": time, "Z": z, **dict.fromkeys(CHANNELS, page)}) for page in wanted])
        return pixels if channel is None else pixels[channel % self.channels_in_page][None]

    @cached_property
    def images(self) -> tuple[ImageFacts, ...]:
        """What the file says of each of its images."""
        return tiff_facts.of_images(self.tiff, self.ome, self.all_series)

    def _images(self) -> list[Any]:
        """Returns the images of the file, which tifffile calls series. Previews are no images, and are noted."""
        found = tiff_pages.without_previews(self.tiff.series)
        if previews := len(self.tiff.series) - len(found):
            what = "a smaller picture" if previews == 1 else f"{previews} smaller pictures"
            self.notes += (f"the file also holds {what}, such as a preview; that is left out",)
        return [part for each in found for part in tiff_pages.positions(each)]

    def _alpha(self) -> int:
        """Returns how many samples of a pixel, the last ones, are alpha; notes it where the file does not say so."""
        extra = [int(sample) for sample in self.series.keyframe.extrasamples]
        if extra == [0] and self.series.keyframe.photometric == tifffile.PHOTOMETRIC.RGB:
            self.notes += (colours.FOURTH,)
            return 1
        return sum(sample in ALPHA for sample in extra)

    def _axes(self, pages: Pages) -> tuple[dict[str, int], dict[str, int]]:
        """Returns the axes that count the pages and those within a page, with their lengths, without axes of length 1.

        An axis that the file does not name is what the pages are told to be.
        """
        letters = str(self.series.axes)
        axes = [(letter, n) for letter, n in zip(letters, self.series.shape, strict=True) if n > 1 or letter in "YX"]
        self.unnamed_pages = math.prod(n for letter, n in axes if letter in UNNAMED_PAGES)
        axes = [(PAGES[pages] if letter in UNNAMED_PAGES else letter, n) for letter, n in axes]
        found = [letter for letter, _ in axes]
        unknown = {*found} - {*"TZYX", *CHANNELS}
        if len(set(found)) < len(found) or unknown or not {*"YX"} <= {*found}:
            what = f"has axes {letters}, but a tile has time points, z planes, channels, y and x"
            set_pages = ", or set pages to what the unnamed one is" if {*letters} & {*UNNAMED_PAGES} else ""
            raise NoTileError(f"{what}: export it as OME-TIFF, which names them{set_pages}")
        frame = self.series.keyframe
        within = [n for letter, n in zip(frame.axes, frame.shape, strict=True) if n > 1 or letter in "YX"]
        outer, inner = axes[: len(axes) - len(within)], axes[len(axes) - len(within) :]
        if [n for _, n in inner] != within:
            raise ValueError("the shape of its pages is not the one in its header")
        return dict(outer), dict(inner)

    def _pages_in_this_file(self, pages: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns the part of `pages`, the numbers of the pages of an OME set along its axes, that lies in this file.

        Returns all of them where the file belongs to no set, and where its pages do not form a block along the axes.
        """
        others = {uuid.text for uuid in self.ome.iterfind(".//{*}UUID")} - {self.ome.get("UUID")}
        if not others or len(self.series) != self.count:
            return pages
        present = np.array([page is not None for page in self.series]).reshape(pages.shape)
        axes = range(present.ndim)
        box = np.ix_(*(np.flatnonzero(present.any(axis=tuple(other for other in axes if other != axis))) for axis in axes))
        return pages[box] if present[box].all() else pages

    def _page(self, at: dict[str, int]) -> NDArray[Any]:
        """Returns the channels (channels, y, x) of the page at these indices along the axes, as a viewer shows them."""
        pixels = self._decode(int(self.pages[tuple(at[letter] for letter in self.page_axes)]))
        letters = list(self.inner_axes)
        for letter in "TZ":
            if letter in letters:
                pixels = pixels.take(at[letter], axis=letters.index(letter))
                letters.remove(letter)
        order = [letter for letter in letters if letter in CHANNELS] + ["Y", "X"]
        pixels = pixels.transpose([letters.index(letter) for letter in order])
        pixels = pixels.reshape(-1, *pixels.shape[-2:])
        pixels = pixels[: len(pixels) - self.alpha]
        pixels = self.look.shown(pixels) if self.look.shown else pixels
        return orientation.upright(pixels, self.orientation)

    def _decode(self, index: int) -> NDArray[Any]:
        """Returns the pixels of the page with this number, with the axes `inner_axes`."""
        shape, count = tuple(self.inner_axes.values()), self.count
        if len(self.series) == count:
            page: Any = self.series[index]
            tiff_pages.check(page, self.length)
            return np.asarray(page.asarray()).reshape(shape)
        if self.series.dataoffset is None:
            raise ValueError(f"cut short: its header announces {count} planes, and it holds {len(self.series)}")
        # some large files have one page, and the pixels of all planes follow those of the first
        length, dtype = math.prod(shape), self.series.dtype
        start = self.series.dataoffset + index * length * dtype.itemsize
        if start + length * dtype.itemsize > self.length:
            raise ValueError(f"cut short: the file has {self.length} bytes, and its header announces {count} planes")
        pixels = self.tiff.filehandle.read_array(self.tiff.byteorder + dtype.char, length, start)
        return np.asarray(pixels).reshape(shape)


class _ReadingThreads(logging.Filter):
    """Drops the messages of tifffile in the threads that are inside `silenced`; attached to its logger while there are any."""

    def __init__(self) -> None:
        super().__init__()
        self.depth: Counter[int] = Counter()  # blocks of `silenced` that each thread is inside of
        self.lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        return not self.depth[threading.get_ident()]


_READING = _ReadingThreads()


@contextmanager
def silenced() -> Iterator[None]:
    """Drops what tifffile logs in this thread, since dlir raises an error of one line for each file that it cannot read."""
    logger, thread = logging.getLogger("tifffile"), threading.get_ident()
    with _READING.lock:
        _READING.depth[thread] += 1
        logger.addFilter(_READING)
    try:
        yield
    finally:
        with _READING.lock:
            _READING.depth -= Counter([thread])  # drops the threads that reach zero
            if not _READING.depth:
                logger.removeFilter(_READING)


def _check_announced_planes(ome: Element) -> None:
    """Raises ValueError when the OME metadata announce more planes than a file holds, before tifffile makes a list of them."""
    for pixels in ome.iterfind(".//{*}Pixels"):
        planes = [math.prod(int(pixels.get(f"Size{axis}", 1)) for axis in "TZC")]
        planes += [int(data.get(key, 0)) for data in pixels.iterfind("{*}TiffData") for key in ("PlaneCount", "NumPlanes")]
        if max(planes) > MOST_PLANES:
            raise ValueError(f"its metadata announce {max(planes)} planes")
