"""Reads OME-Zarr images as stacks: the finest level of an image, of which only the chunks of a plane are decoded.

An OME-Zarr image is a folder, a Zarr group, whose metadata name the axes (any of t, c, z, y, x) and the array of each level.
A place in an array becomes a place of the specimen by the transformations of its level, and then by those of all levels:

    place = scale_2 (scale_1 pixel + translation_1) + translation_2

A converter of vendor formats, bioformats2raw, writes a group of images that are numbered from 0. A chunk that is not there
holds the fill value; programs leave out chunks of zeros.

Source: the specifications of OME-Zarr 0.4 (Zarr 2) and 0.5 (Zarr 3), Open Microscopy Environment.
"""

import json
import math
import os
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore

from dlir.reading import image_facts, ome_xml, zarr_store
from dlir.reading.image_facts import ImageFacts, micrometres
from dlir.reading.source import MOST_PLANES, NoTileError, Sizes, image_number

AXES = "tczyx"
BLOSC_HEADER = 16  # bytes; the last 4 of them are the length of a chunk
LAYOUT = "bioformats2raw.layout"  # key of a group of images that are numbered from 0
SERIES_METADATA = Path("OME", "METADATA.ome.xml")  # of such a group
EXPORT = "export it as OME-Zarr from the program that wrote it"
FILLED = (
    "chunks of it are missing, which means that all their pixels have one value: {value}; if the copy is not whole, copy again"
)


class OmeZarrTile:
    """One image of an OME-Zarr store."""

    unnamed_pages = 1

    def __init__(self, store: Path, image: int | None, files: Mapping[str, os.stat_result]) -> None:
        """Reads the metadata.

        Args:
            files: of the store, as `zarr_store.states` returns them.
        """
        self.store, self.groups = store, _images(store)
        group = self.groups[image_number(image, len(self.groups))]
        metadata = _metadata(store / group)
        multiscale = metadata["multiscales"][0]
        level = _below(group, multiscale["datasets"][0]["path"])
        self.array = _opened(store / level)
        self.axes = _axes(multiscale)
        if len(self.axes) != self.array.ndim:
            raise ValueError(f"its metadata name {len(self.axes)} axes, and the array has {self.array.ndim}")
        lengths = dict(zip(self.axes, self.array.shape, strict=True))
        self.sizes = Sizes(*(int(lengths.get(axis, 1)) for axis in "tzcyx"))
        if math.prod(self.sizes[:3]) > MOST_PLANES:
            raise ValueError(f"its header announces {math.prod(self.sizes[:3])} planes")
        self.dtype = np.dtype(self.array.dtype)
        self.names = _channel_names(metadata, self.sizes.channels)
        self.notes = self._missing_chunks(PurePosixPath(level).as_posix(), files)

    def read(self, time: int, z: int, channel: int | None) -> NDArray[Any]:
        """Returns the plane (channels, y, x) at a time point and a z; only the given channel, where there is one."""
        channels = slice(None) if channel is None else slice(channel, channel + 1)
        at: dict[str, int | slice] = {"t": time, "z": z, "c": channels, "y": slice(None), "x": slice(None)}
        pixels: NDArray[Any] = np.asarray(self.array[tuple(at[axis] for axis in self.axes)])
        left = [axis for axis in self.axes if axis in "cyx"]
        pixels = pixels.transpose([left.index(axis) for axis in "cyx" if axis in left])
        return pixels if "c" in left else pixels[None]

    @cached_property
    def images(self) -> tuple[ImageFacts, ...]:
        """What the store says of each of its images."""
        own = [_facts(_metadata(self.store / group)) for group in self.groups]
        file = self.store / SERIES_METADATA
        text = file.read_text(errors="replace") if file.is_file() else None
        elements = ome_xml.images_in_file(ome_xml.parsed(text))
        if len(elements) != len(own):
            return tuple(own)
        converted = [ome_xml.facts(element) for element in elements]
        return tuple(image_facts.first_known(pair) for pair in zip(own, converted, strict=True))

    def _missing_chunks(self, level: str, files: Mapping[str, os.stat_result]) -> tuple[str, ...]:
        """Returns a note where chunks are missing.

        Raises:
            ValueError: when a chunk is empty, which Zarr may take for a missing one, or no file has the name of a chunk.
        """
        stored = self.array.shards or self.array.chunks
        counts = [math.ceil(length / side) for length, side in zip(self.array.shape, stored, strict=True)]
        key = re.escape(self.array.metadata.encode_chunk_key((0,) * self.array.ndim)).replace("0", "(0|[1-9][0-9]*)")
        if empty := [path for path, state in files.items() if path.startswith(f"{level}/") and not state.st_size]:
            raise ValueError(f"cut short: its file {empty[0]} is empty")
        inside = [path.removeprefix(f"{level}/") for path in files if path.startswith(f"{level}/")]
        named = [found for path in inside if (found := re.fullmatch(key, path))]
        present = sum(all(int(text) < count for text, count in zip(found.groups(), counts, strict=True)) for found in named)
        others = [path for path in inside if not PurePosixPath(path).name.startswith(".") and path not in zarr_store.METADATA]
        if not present and others:
            what = f"has files such as {level}/{others[0]}, which are no chunks by its metadata"
            raise NoTileError(f"{what}: {EXPORT}")
        return (FILLED.format(value=self.array.fill_value),) if present < math.prod(counts) else ()


class _Chunks(LocalStore):
    """The files of an array. Chunks of Blosc, which has no check of its own, are compared with the length that they name."""

    blosc = False  # whether the chunks are compressed by it

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        found = await super().get(key, prototype, byte_range)
        if self.blosc and found is not None and byte_range is None:
            header = found.to_bytes()[:BLOSC_HEADER]
            if len(header) < BLOSC_HEADER or int.from_bytes(header[12:], "little") != len(found):
                raise ValueError(f"cut short: its chunk {key}")
        return found


def _opened(folder: Path) -> Any:
    """Returns the array (zarr.Array) in a folder; raises NoTileError where its compression is unknown."""
    store = _Chunks(folder, read_only=True)
    try:
        array: Any = zarr.open_array(store, mode="r", zarr_format=3 if (folder / "zarr.json").is_file() else 2)
    except ValueError as error:
        if type(error).__name__ != "UnknownCodecError":  # zarr and numcodecs have each their own
            raise
        raise NoTileError(f"has a compression which dlir does not read ({error}): save it with Zstandard or Blosc") from None
    store.blosc = not array.shards and "blosc" in "".join(type(codec).__name__ for codec in array.compressors).lower()
    return array


def _images(store: Path) -> list[str]:
    """Returns the groups of the images in a store, by their paths below it; raises NoTileError where it is no image."""
    metadata = _metadata(store)
    if "plate" in metadata or "well" in metadata:
        what, below = ("a plate of wells", "/A/1/{index}.") if "plate" in metadata else ("a well of images", "/{index}.")
        raise NoTileError(
            f"is {what}, and a tile is one image: write the folders of its images in images, as in {store}{below}"
        )
    if "multiscales" in metadata:
        return ["."]
    if LAYOUT in metadata:
        listed = _metadata(store / "OME").get("series") or _numbered(store)
        if not listed:
            raise ValueError("cut short: a group of images without an image")
        return [_below(".", name) for name in listed]
    inside = sorted(path.name for path in store.iterdir() if zarr_store.is_store(path) and "multiscales" in _metadata(path))
    if inside:
        what = f"holds the images {', '.join(inside[:3])}{' and more' if len(inside) > 3 else ''}, and a tile is one"
        raise NoTileError(f"{what}: write the folders of its images in images, as in {store / inside[0]}")
    raise NoTileError(f"is a Zarr store without an OME-Zarr image, so nothing names its axes: {EXPORT}")


def _numbered(store: Path) -> list[str]:
    """Returns the names of the groups 0, 1, ... up to the first that is missing."""
    names: list[str] = []
    while zarr_store.is_store(store / str(len(names))):
        names.append(str(len(names)))
    return names


def _below(group: str, path: str) -> str:
    """Returns the path of a part of a group, below the store; raises ValueError where it lies elsewhere."""
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise ValueError(f"its metadata name {path}, which lies outside")
    return str(PurePosixPath(group, path))


def _metadata(group: Path) -> Mapping[str, Any]:
    """Returns the metadata of OME of a group or an array; nothing where it has none."""
    for name in ("zarr.json", ".zattrs"):
        if (group / name).is_file():
            found = json.loads((group / name).read_bytes())
            attributes: Mapping[str, Any] = found.get("attributes", {}) if name == "zarr.json" else found
            return {**attributes, **attributes.get("ome", {})}
    return {}


def _axes(multiscale: Mapping[str, Any]) -> list[str]:
    """Returns the letters of the axes; raises NoTileError when they are not those of a tile."""
    named = multiscale.get("axes", AXES)  # the first versions had these five, and the next only their letters
    axes = [axis.lower() if isinstance(axis, str) else str(axis["name"]).lower() for axis in named]
    if len({*axes}) < len(axes) or not {*"yx"} <= {*axes} <= {*AXES}:
        what = f"has the axes {', '.join(axes)}, but a tile has time points (t), channels (c), z planes (z), y and x"
        raise NoTileError(f"{what}: {EXPORT}")
    return axes


def _channel_names(metadata: Mapping[str, Any], channels: int) -> tuple[str, ...]:
    """Returns the names of the channels; none unless each channel has one."""
    found = [str(channel.get("label", "")).strip() for channel in metadata.get("omero", {}).get("channels", [])]
    return tuple(found) if len(found) == channels and all(found) else ()


def _facts(metadata: Mapping[str, Any]) -> ImageFacts:
    """Returns what an image says of the place of its first pixel and the size of a pixel; without units the place is in px."""
    multiscale = metadata["multiscales"][0]
    name, axes = str(multiscale.get("name") or ""), _axes(multiscale)
    side, start, known = np.ones(len(axes)), np.zeros(len(axes)), set()
    for step in (multiscale["datasets"][0], multiscale):
        for transformation in step.get("coordinateTransformations", []):
            kind = transformation["type"]
            if kind not in ("identity", "scale", "translation") or (kind != "identity" and kind not in transformation):
                return ImageFacts(name)  # its numbers lie in another file, or nobody knows the kind
            known.add(kind)
            if kind == "scale":
                side, start = side * transformation[kind], start * transformation[kind]
            elif kind == "translation":
                start = start + transformation[kind]
    named = multiscale.get("axes", axes) if "scale" in known else axes
    units = [None if isinstance(axis, str) else axis.get("unit") for axis in named]
    (y_side, y, y_unit), (x_side, x, x_unit) = ((float(side[at]), float(start[at]), units[at]) for at in map(axes.index, "yx"))
    size = micrometres(y_side, y_unit), micrometres(x_side, x_unit)
    if "translation" not in known:
        return ImageFacts(name, None, "", image_facts.pixel_size(*size))
    if None in size:
        return ImageFacts(name, image_facts.place(y / y_side, x / x_side), "px")
    where = image_facts.place(micrometres(y, y_unit), micrometres(x, x_unit))
    return ImageFacts(name, where, "um", image_facts.pixel_size(*size))
