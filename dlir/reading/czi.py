"""Reads CZI files of Zeiss: each raw tile of each scene is an image, at the place that the file tells; nothing is pre-stitched.

A file is a row of segments. The directory lists the sub-blocks, each with its place along the axes: X and Y in px, channel C,
plane Z, time T, scene S and tile M. A sub-block is one plane of one tile; smaller ones, of the pyramid, are left out.

Source: ZISRAW (CZI) File Format Design Specification, Carl Zeiss Microscopy.
"""

import itertools
import math
import os
import re
import struct
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, BinaryIO, NamedTuple
from xml.etree import ElementTree

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from dlir.reading.image_facts import ImageFacts, Pair, micrometres, number, pixel_size
from dlir.reading.source import NoTileError, Sizes, image_number

START = re.compile(rb"ZISRAWFILE")
SEGMENT = struct.Struct("<16sqq")  # id, allocated and used bytes
FILE_HEADER = struct.Struct("<4i16s16siqqi")  # ends with the places of the directory and of the metadata
ENTRY, DIMENSION = struct.Struct("<2siqiiB5xi"), struct.Struct("<4siifi")
MOST_SUBBLOCKS = 10**7
PIXELS = {0: ("u1", 1), 1: ("<u2", 1), 2: ("<f4", 1), 3: ("u1", 3), 4: ("<u2", 3), 8: ("<f4", 3), 12: ("<i4", 1)}
UNKNOWN_AXES = "RIHVB"  # rotations, illuminations, phases, views, blocks


class SubBlock(NamedTuple):
    """One plane of one tile."""

    offset: int  # bytes, of its segment
    pixel_type: int
    compression: int
    start: dict[str, int]  # along each axis
    height: int
    width: int


class CziImage:
    """One tile of an open CZI file."""

    unnamed_pages = 1

    def __init__(self, file: BinaryIO, image: int | None) -> None:
        self.file, self.length = file, file.seek(0, os.SEEK_END)
        *_, directory, metadata, _ = FILE_HEADER.unpack(self._segment(0, b"ZISRAWFILE", FILE_HEADER.size))
        tiles = _tiles(self._directory(directory))
        name, blocks = list(tiles.items())[image_number(image, len(tiles))]
        xml = self._metadata(metadata) if metadata else ElementTree.Element("none")
        size = _pixel_size(xml)
        self.images = tuple(_facts(name, tile, size) for name, tile in tiles.items())
        self.planes = _planes(blocks)
        everywhere = _planes(itertools.chain.from_iterable(tiles.values()))
        self.at = [sorted({plane[axis] for plane in everywhere}) for axis in range(3)]
        self._check_planes(name, len(blocks))
        first = blocks[0]
        if any(
            (block.height, block.width, block.pixel_type) != (first.height, first.width, first.pixel_type) for block in blocks
        ):
            raise NoTileError("has tiles whose channels differ in size or type: export each channel to its own file")
        if first.pixel_type not in PIXELS:
            raise NoTileError(
                f"has pixels of a type that dlir does not read (number {first.pixel_type}): export it as OME-TIFF"
            )
        kind, self.samples = PIXELS[first.pixel_type]
        self.dtype: np.dtype[Any] = np.dtype(kind)
        times, depth, channels = map(len, self.at)
        self.sizes = Sizes(times, depth, channels * self.samples, first.height, first.width)
        names = [
            channel.get("Name", "").strip() for channel in xml.iterfind(".//Information/Image/Dimensions/Channels/Channel")
        ]
        self.names = tuple(names) if self.samples == 1 and len(names) == channels and all(names) else ()
        self.notes: tuple[str, ...] = ()

    def read(self, time: int, z: int, channel: int | None) -> NDArray[Any]:
        """Returns the plane (channels, y, x) at a time point and a z; only the given channel, where there is one."""
        wanted = range(len(self.at[2])) if channel is None else [channel // self.samples]
        pixels = np.concatenate([self._plane((self.at[0][time], self.at[1][z], self.at[2][c])) for c in wanted])
        return pixels if channel is None else pixels[channel % self.samples][None]

    def _plane(self, at: tuple[int, int, int]) -> NDArray[Any]:
        """Returns the pixels (samples, y, x) of the sub-block at this time, z and channel."""
        block = self.planes[at]
        header = self._segment(block.offset, b"ZISRAWSUBBLOCK", 16 + ENTRY.size)
        before, _, count = struct.unpack_from("<iiq", header)
        *_, dimensions = ENTRY.unpack_from(header, 16)
        start = block.offset + SEGMENT.size + max(256, 16 + ENTRY.size + dimensions * DIMENSION.size) + before
        if start + count > self.length or count < 0:
            raise ValueError(f"cut short: the file has {self.length} bytes, and a plane ends at {start + count}")
        self.file.seek(start)
        shape = (block.height, block.width, self.samples)
        return np.moveaxis(_decoded(self.file.read(count), block.compression, self.dtype, shape), -1, 0)

    def _check_planes(self, name: str, count: int) -> None:
        """Raises an error unless the tile `name`, of `count` sub-blocks, has each plane that any tile has, once."""
        for time, z, channel in itertools.product(*self.at):
            if (time, z, channel) not in self.planes:
                lost = f"has no plane at time {time}, z {z}, channel {channel} of {name}, and other tiles or planes have one"
                raise NoTileError(f"{lost}: copy it again from the microscope, or export the complete tiles")
        if len(self.planes) < count:
            raise ValueError(f"{name} has a plane twice")

    def _segment(self, offset: int, name: bytes, count: int) -> bytes:
        """Returns the first bytes of the data of a segment; raises ValueError when it is not there."""
        self.file.seek(offset)
        header = self.file.read(SEGMENT.size)
        if len(header) < SEGMENT.size or not header.startswith(name):
            raise ValueError(f"cut short: a part called {name.decode()} is not where the file says")
        data = self.file.read(count)
        if len(data) < count:
            raise ValueError("cut short: its last part is not complete")
        return data

    def _directory(self, offset: int) -> list[SubBlock]:
        """Returns all sub-blocks of full resolution."""
        (count,) = struct.unpack("<i", self._segment(offset, b"ZISRAWDIRECTORY", 4))
        if not 0 < count <= MOST_SUBBLOCKS:
            raise ValueError(f"its directory announces {count} planes")
        self.file.seek(offset + SEGMENT.size + 128)
        blocks = []
        for _ in range(count):
            kind, pixel_type, place, _, compression, _, dimensions = ENTRY.unpack(self.file.read(ENTRY.size))
            if kind != b"DV" or not 0 < dimensions < 40:
                raise ValueError("its directory makes no sense")
            axes = [DIMENSION.unpack(self.file.read(DIMENSION.size)) for _ in range(dimensions)]
            named = {name.rstrip(b"\0").decode(): (start, size, stored) for name, start, size, _, stored in axes}
            (_, height, stored_height), (_, width, stored_width) = named["Y"], named["X"]
            if (height, width) == (stored_height, stored_width):
                start = {name: first for name, (first, _, _) in named.items()}
                blocks.append(SubBlock(place, pixel_type, compression, start, height, width))
        if not blocks:
            raise ValueError("it has no planes of full resolution")
        return blocks

    def _metadata(self, offset: int) -> ElementTree.Element:
        (count,) = struct.unpack("<i", self._segment(offset, b"ZISRAWMETADATA", 4))
        self.file.seek(offset + SEGMENT.size + 256)
        try:
            return ElementTree.fromstring(self.file.read(max(count, 0)))
        except ElementTree.ParseError:
            return ElementTree.Element("none")


def _planes(blocks: Iterable[SubBlock]) -> dict[tuple[int, int, int], SubBlock]:
    """Returns the sub-blocks by their time, z and channel."""
    return {(block.start.get("T", 0), block.start.get("Z", 0), block.start.get("C", 0)): block for block in blocks}


def _tiles(blocks: list[SubBlock]) -> dict[str, list[SubBlock]]:
    """Returns the sub-blocks of each tile by its name, in the order of scenes and tiles."""
    several = sorted({axis for axis in UNKNOWN_AXES if len({block.start.get(axis, 0) for block in blocks}) > 1})
    if several:
        raise NoTileError(
            f"has several values along the axes {', '.join(several)}: export it as OME-TIFF, one of them at a time"
        )
    by_tile: dict[tuple[int, ...], list[SubBlock]] = defaultdict(list)
    for block in blocks:
        tile = (block.start["M"],) if "M" in block.start else (block.start["Y"], block.start["X"])
        by_tile[block.start.get("S", 0), *tile].append(block)
    return {f"scene {key[0]}, tile {number}": by_tile[key] for number, key in enumerate(sorted(by_tile))}


def _facts(name: str, blocks: list[SubBlock], size: Pair | None) -> ImageFacts:
    start = blocks[0].start
    return ImageFacts(name, (float(start["Y"]), float(start["X"])), "px", size)


def _pixel_size(xml: ElementTree.Element) -> Pair | None:
    metres = [number(xml.findtext(f".//Scaling/Items/Distance[@Id='{axis}']/Value")) for axis in "YX"]
    return pixel_size(*(micrometres(length, "m") for length in metres))


def _decoded(data: bytes, compression: int, dtype: np.dtype[Any], shape: tuple[int, int, int]) -> NDArray[Any]:
    """Returns the pixels (y, x, samples) of a sub-block, red first; takes no more memory than they do."""
    if compression in (1, 4):
        decode = imagecodecs.jpeg_decode if compression == 1 else imagecodecs.jpegxr_decode
        return np.asarray(decode(data, out=np.empty(shape, dtype))).reshape(shape)
    size = math.prod(shape) * dtype.itemsize
    if compression == 5:
        data = bytes(imagecodecs.zstd_decode(data, out=size))
    elif compression == 6:
        header, low_first = _zstd_header(data)
        data = bytes(imagecodecs.zstd_decode(data[header:], out=size))
        if low_first:  # all low bytes, then all high bytes
            data = np.frombuffer(data, np.uint8).reshape(2, -1).T.tobytes()
    elif compression:
        raise NoTileError(f"is compressed in a way that dlir does not read (number {compression}): export it as OME-TIFF")
    return np.frombuffer(data, dtype).reshape(shape)[..., ::-1]  # blue, green, red in the file


def _zstd_header(data: bytes) -> tuple[int, bool]:
    """Returns the length of the header before the data, and whether the bytes of the pixels are sorted by it."""
    if data[0] == 1:
        return 1, False
    if data[0] == 3 and data[1] == 1:
        return 3, bool(data[2] & 1)
    raise ValueError("the header of a plane makes no sense")
