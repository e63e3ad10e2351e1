"""TIFF files as stacks: the planes (channels, y, x) at a time and a depth, decoded page by page.

tifffile names the axes of an image, such as TZCYX. The last of them lie within a page (y, x, and samples), those before count
the pages: for TZC, and so for every other order, a plane is

    page = (t * depth + z) * channels + c

and no other page is decoded. Codecs fill what is missing at the end of a file with zeros or grey, so the ends of a page are
checked before it is decoded. A file of an OME set, which lists the others, is read by itself: it has the planes that it holds.
"""

import math
import os
import struct
from types import SimpleNamespace
from typing import Any, BinaryIO, NamedTuple
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

CHANNELS = "CSIQ"  # tifffile's letters: channels, samples, and pages that the file does not name
ALPHA = (1, 2)  # extra samples: associated and unassociated


class AxesError(ValueError):
    """The file has axes that a tile does not have."""


class Sizes(NamedTuple):
    """The lengths of a stack along its axes."""

    times: int
    depth: int
    channels: int
    height: int
    width: int


class Pages:
    """An open TIFF file."""

    def __init__(self, file: BinaryIO) -> None:
        self.end = file.seek(0, os.SEEK_END)
        file.seek(0)
        # without its name and its number, by which tifffile would open the other files of an OME set
        alone: Any = SimpleNamespace(seek=file.seek, tell=file.tell, read=file.read, readinto=file.readinto)  # type: ignore[attr-defined]
        self.tiff = tifffile.TiffFile(alone)
        if not self.tiff.pages:
            raise ValueError("cut short: a TIFF without an image")
        self.series = self.tiff.series[0]
        if self.tiff.is_imagej and self.series.kind in ("generic", "uniform"):
            raise ValueError("cut short: its header promises more planes than it holds")
        if self._next_page() > self.end:
            raise ValueError(f"cut short: {self.end} bytes, and its next page lies behind them")
        self.lead, self.page = self._axes()
        self.count = math.prod(self.lead.values())
        self.places = self._own(np.arange(self.count).reshape(tuple(self.lead.values())))
        self.lead = dict(zip(self.lead, self.places.shape, strict=True))
        self.alpha = sum(int(sample) in ALPHA for sample in self.series.keyframe.extrasamples) if "S" in self.page else 0
        axes = {**self.lead, **self.page}
        self.outer = math.prod(length for letter, length in self.lead.items() if letter in CHANNELS)
        self.inner = math.prod(length for letter, length in self.page.items() if letter in CHANNELS) - self.alpha
        self.sizes = Sizes(axes.get("T", 1), axes.get("Z", 1), self.outer * self.inner, axes["Y"], axes["X"])
        self.dtype = self.series.dtype
        self.names = _ome_names(self.tiff.ome_metadata, self.sizes.channels)

    def read(self, time: int, z: int, channel: int | None) -> NDArray[Any]:
        """The plane (channels, y, x) at a time and a depth; of one channel where that is given."""
        wanted = range(self.outer) if channel is None else [channel // self.inner]
        pixels = np.concatenate([self._page({"T": time, "Z": z, **dict.fromkeys(CHANNELS, outer)}) for outer in wanted])
        return pixels if channel is None else pixels[channel % self.inner][None]

    def _axes(self) -> tuple[dict[str, int], dict[str, int]]:
        """The axes that count pages and those within a page, with their lengths; those of length 1 are left out."""
        letters = str(self.series.axes)
        axes = [(letter, n) for letter, n in zip(letters, self.series.shape, strict=True) if n > 1 or letter in "YX"]
        found = [letter for letter, _ in axes]
        channels = {letter for letter in found if letter in CHANNELS}
        named = len(channels) < 2 or channels == {"C", "S"}
        if not named or len(set(found)) < len(found) or {*found} - {*"TZYX", *CHANNELS} or not {*"YX"} <= {*found}:
            raise AxesError(
                f"has axes {letters}, a tile has times, z planes, channels, y and x: export it as OME-TIFF, which names them"
            )
        frame = self.series.keyframe
        within = [n for letter, n in zip(frame.axes, frame.shape, strict=True) if n > 1 or letter in "YX"]
        lead, page = axes[: len(axes) - len(within)], axes[len(axes) - len(within) :]
        if [n for _, n in page] != within:
            raise ValueError("its pages are not what its header says")
        return dict(lead), dict(page)

    def _own(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of the planes of an OME set that lie in this file, if they are all of some channels, depths and times."""
        root = _parsed(self.tiff.ome_metadata)
        if not {uuid.text for uuid in root.iterfind(".//{*}UUID")} - {root.get("UUID")} or len(self.series) != self.count:
            return places
        here = np.array([page is not None for page in self.series]).reshape(places.shape)
        axes = range(here.ndim)
        box = np.ix_(*(np.flatnonzero(here.any(axis=tuple(other for other in axes if other != axis))) for axis in axes))
        return places[box] if here[box].all() else places

    def _next_page(self) -> int:
        """Where the last page of the file says that the next one is; 0 in a whole file."""
        form, file, start = self.tiff.tiff, self.tiff.filehandle, self.tiff.pages[-1].offset
        file.seek(start)
        (count,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
        file.seek(start + form.tagnosize + count * form.tagsize)
        return int(struct.unpack(form.offsetformat, file.read(form.offsetsize))[0])

    def _page(self, at: dict[str, int]) -> NDArray[Any]:
        """The channels (channels, y, x) of the page at these places along the axes."""
        pixels = self._decode(int(self.places[tuple(at[letter] for letter in self.lead)]))
        letters = list(self.page)
        for letter in "TZ":
            if letter in letters:
                pixels = pixels.take(at[letter], axis=letters.index(letter))
                letters.remove(letter)
        order = [letter for letter in letters if letter in CHANNELS] + ["Y", "X"]
        pixels = pixels.transpose([letters.index(letter) for letter in order])
        pixels = pixels.reshape(-1, *pixels.shape[-2:])
        return pixels[: len(pixels) - self.alpha]

    def _decode(self, index: int) -> NDArray[Any]:
        shape, count = tuple(self.page.values()), self.count
        if len(self.series) == count:
            page: Any = self.series[index]
            self._check(page)
            return np.asarray(page.asarray()).reshape(shape)
        if self.series.dataoffset is None:
            raise ValueError(f"cut short: its header promises {count} planes, it holds {len(self.series)}")
        # some large files have one page and all planes after its own
        length = math.prod(shape)
        start = self.series.dataoffset + index * length * self.dtype.itemsize
        if start + length * self.dtype.itemsize > self.end:
            raise ValueError(f"cut short: {self.end} bytes, its header promises {count} planes")
        pixels = self.tiff.filehandle.read_array(self.tiff.byteorder + self.dtype.char, length, start)
        return np.asarray(pixels).reshape(shape)

    def _check(self, page: Any) -> None:
        ends = [] if page is None else [sum(part) for part in zip(page.dataoffsets, page.databytecounts, strict=False)]
        if page is None or len(ends) != len(page.dataoffsets) or not all(page.databytecounts):
            raise ValueError("some of its pixels were never written, or lie in other files")
        if max(ends, default=0) > self.end:
            raise ValueError(f"cut short: {self.end} bytes, its header promises {max(ends)}")


def _parsed(xml: str | None) -> ElementTree.Element:
    """The OME metadata; empty where there are none, or nobody can read them."""
    try:
        return ElementTree.fromstring(xml or "<OME/>")
    except ElementTree.ParseError:
        return ElementTree.Element("OME")


def _ome_names(xml: str | None, channels: int) -> tuple[str, ...]:
    """The names of the channels in OME metadata; none unless each has one."""
    found = [channel.get("Name", "").strip() for channel in _parsed(xml).findall("{*}Image[1]/{*}Pixels/{*}Channel")]
    return tuple(found) if len(found) == channels and all(found) else ()
