"""Reads LIF files of Leica and ND2 files of Nikon, by the libraries `liffile` and `nd2`, which the extra `vendor` installs.

Each image of a LIF file, and each tile of a tile scan in it, is an image (`leica.py`); so is each position of an ND2 file
(`nikon.py`). The file is opened anew for each plane, so that nothing stays open.
"""

import importlib
import re
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dlir.reading import leica, nikon
from dlir.reading.filenames import listed_names
from dlir.reading.library_image import AXES
from dlir.reading.source import NoTileError, Sizes, image_number

LIF, ND2 = re.compile(rb"\x70\0\0\0.{4}\*", re.DOTALL), re.compile(rb"\xda\xce\xbe\x0a")


class VendorImage:
    """One image of a LIF or ND2 file."""

    unnamed_pages = 1
    notes: tuple[str, ...] = ()

    def __init__(self, path: Path, head: bytes, image: int | None) -> None:
        self.path, self.is_lif = path, bool(LIF.match(head))
        with self._opened() as file:
            found, left_out = leica.images(file) if self.is_lif else (nikon.images(file), [])
        if not found:
            what = f": {listed_names(left_out)}" if left_out else ""
            raise NoTileError(f"holds no image that can be a tile{what}: export the images as OME-TIFF")
        if left_out:
            self.notes = (f"left out of the file, since they cannot be tiles: {listed_names(left_out)}",)
        self.images = tuple(one.facts for one in found)
        self.one = found[image_number(image, len(found))]
        if unknown := [axis for axis in self.one.lengths if axis not in AXES]:
            raise NoTileError(f"has axes {', '.join(unknown)}, which no tile has: export it as OME-TIFF")
        lengths = {axis: self.one.lengths.get(axis, 1) for axis in AXES}
        self.sizes = Sizes(lengths["T"], lengths["Z"], lengths["C"] * lengths["S"], lengths["Y"], lengths["X"])
        self.dtype = self.one.dtype
        self.names = self.one.names if len(self.one.names) == self.sizes.channels else ()

    def read(self, time: int, z: int, channel: int | None) -> NDArray[Any]:
        """Returns the plane (channels, y, x) at a time point and a z; only the given channel, where there is one."""
        with self._opened() as file:
            one = self.one
            pixels = leica.frame(file, one, time, z) if self.is_lif else nikon.frame(file, self.path, one, time, z)
        pixels = pixels.reshape(self.sizes[2:])
        return pixels if channel is None else pixels[channel : channel + 1]

    def _opened(self) -> Any:
        name, kind = ("liffile", "a Leica LIF file") if self.is_lif else ("nd2", "a Nikon ND2 file")
        try:
            library = importlib.import_module(name)
        except ImportError:
            raise NoTileError(f"is {kind}: install its reader with pip install 'dlir[vendor]'") from None
        return library.LifFile(self.path) if self.is_lif else library.ND2File(self.path)
