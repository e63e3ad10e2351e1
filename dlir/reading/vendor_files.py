"""Reads LIF files of Leica and ND2 files of Nikon, by the libraries `liffile` and `nd2`, which the extra `vendor` installs.

Each image of a LIF file, and each tile of a tile scan in it, is an image; so is each position of an ND2 file. The file is
opened anew for each plane, so that nothing stays open.
"""

import importlib
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlir.reading.image_facts import ImageFacts, micrometres, pixel_size, place
from dlir.reading.source import NoTileError, Sizes, image_number

LIF, ND2 = re.compile(rb"\x70\0\0\0.{4}\*", re.DOTALL), re.compile(rb"\xda\xce\xbe\x0a")
AXES = "TZCYXS"  # time, z, channel, y, x, samples of a pixel


class One(NamedTuple):
    """One image of a file."""

    facts: ImageFacts
    lengths: Mapping[str, int]  # along the axes
    dtype: np.dtype[Any]
    names: tuple[str, ...]  # of the channels
    number: int  # of the image, or of the position, in the library
    tile: int | None = None  # of a tile scan


class VendorImage:
    """One image of a LIF or ND2 file."""

    unnamed_pages = 1
    notes: tuple[str, ...] = ()

    def __init__(self, path: Path, head: bytes, image: int | None) -> None:
        self.path, self.is_lif = path, bool(LIF.match(head))
        with self._opened() as file:
            found = _of_lif(file) if self.is_lif else _of_nd2(file)
        if not found:
            raise NoTileError("holds no image: export it again")
        self.images = tuple(one.facts for one in found)
        self.one = found[image_number(image, len(found))]
        if unknown := [axis for axis, length in self.one.lengths.items() if length > 1 and axis not in AXES]:
            raise NoTileError(f"has axes {', '.join(unknown)}, which no tile has: export it as OME-TIFF")
        lengths = {axis: self.one.lengths.get(axis, 1) for axis in AXES}
        self.sizes = Sizes(lengths["T"], lengths["Z"], lengths["C"] * lengths["S"], lengths["Y"], lengths["X"])
        self.dtype = self.one.dtype
        self.names = self.one.names if len(self.one.names) == self.sizes.channels else ()

    def read(self, time: int, z: int, channel: int | None) -> NDArray[Any]:
        """Returns the plane (channels, y, x) at a time point and a z; only the given channel, where there is one."""
        with self._opened() as file:
            pixels = self._of_lif(file, time, z) if self.is_lif else self._of_nd2(file, time, z)
        pixels = pixels.reshape(self.sizes[2:])
        return pixels if channel is None else pixels[channel : channel + 1]

    def _opened(self) -> Any:
        name, kind = ("liffile", "a Leica LIF file") if self.is_lif else ("nd2", "a Nikon ND2 file")
        try:
            library = importlib.import_module(name)
        except ImportError:
            raise NoTileError(f"is {kind}: install its reader with pip install 'dlir[vendor]'") from None
        return library.LifFile(self.path) if self.is_lif else library.ND2File(self.path)

    def _of_lif(self, file: Any, time: int, z: int) -> NDArray[Any]:
        """Returns the pixels (channels, y, x), from frames (y, x) or (y, x, samples)."""
        at = {axis: index for axis, index in (("T", time), ("Z", z)) if axis in self.one.lengths}
        at |= {} if self.one.tile is None else {"M": self.one.tile}
        channels = self.one.lengths.get("C", 1)
        image = file.images[self.one.number]
        frames = [np.asarray(image.frame(**at, **({"C": c} if "C" in self.one.lengths else {}))) for c in range(channels)]
        return np.concatenate([np.moveaxis(frame, -1, 0) if frame.ndim == 3 else frame[None] for frame in frames])

    def _of_nd2(self, file: Any, time: int, z: int) -> NDArray[Any]:
        """Returns the pixels (channels, y, x), from a frame (channels, y, x), (y, x) or (y, x, samples)."""
        wanted = {"T": time, "Z": z, "P": self.one.number}
        loops = list(file.loop_indices) or [{}]
        axes = {*wanted, *loops[0]}
        index = next(k for k, at in enumerate(loops) if all(at.get(axis, 0) == wanted.get(axis, 0) for axis in axes))
        frame = np.asarray(file.read_frame(index))
        return np.moveaxis(frame, -1, -3) if self.one.lengths.get("S", 1) > 1 else frame


def _of_lif(file: Any) -> list[One]:
    found = []
    for number, image in enumerate(file.images):
        lengths = {str(axis): int(length) for axis, length in image.sizes.items()}
        steps = [_step(image.coords.get(axis)) for axis in "YX"]
        size = pixel_size(*steps)
        tiles = lengths.pop("M", None)
        if tiles is None:
            found.append(One(ImageFacts(image.name, None, "", size), lengths, np.dtype(image.dtype), (), number))
            continue
        scan = image.tilescan
        for tile in range(tiles):
            at = None if scan is None else scan.tiles[tile]
            where = None if at is None else place(*(micrometres(float(at[axis]), "m") for axis in ("pos_y", "pos_x")))
            facts = ImageFacts(f"{image.name}, tile {tile}", where, "um" if where else "", size, of_centre=True)
            found.append(One(facts, lengths, np.dtype(image.dtype), (), number, tile))
    return found


def _step(coordinates: Any) -> float | None:
    """Returns the distance of two pixels in micrometres, from their coordinates in metres."""
    if coordinates is None or len(coordinates) < 2:
        return None
    return micrometres(abs(float(coordinates[1]) - float(coordinates[0])), "m")


def _of_nd2(file: Any) -> list[One]:
    lengths = {str(axis): int(length) for axis, length in file.sizes.items()}
    count = lengths.pop("P", 1)
    size = file.voxel_size()
    known = None if math.isnan(size.x) else pixel_size(float(size.y), float(size.x))
    points: list[Any] = next((loop.parameters.points for loop in file.experiment if loop.type == "XYPosLoop"), [])
    names = tuple(str(channel.channel.name) for channel in (file.metadata.channels or []))
    found = []
    for number in range(count):
        point = points[number] if number < len(points) else None
        where = None if point is None else place(float(point.stagePositionUm.y), float(point.stagePositionUm.x))
        label = (point.name if point is not None else None) or f"position {number}"
        facts = ImageFacts(label, where, "um" if where else "", known, of_centre=True)
        found.append(One(facts, lengths, np.dtype(file.dtype), names, number))
    return found
