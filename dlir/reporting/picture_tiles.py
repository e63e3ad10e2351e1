"""The mosaic as pictures that a browser shows: square JPEGs of 8-bit grey, for each channel and each level of the pyramid.

A picture has a wider range of grey values than a viewer shows at first, so that the page can make the mosaic brighter or darker
by itself. Pixels of 8 bit stay as they are. Level 1 of the pyramid is left out: it would take as much as all levels above it
three times, and the browser shrinks level 0 as well.

One plane, the reference, is there to its full resolution. Other z planes and time points are as fine as a budget of pixels
allows, and where there are very many, only some of them are there.
"""

from collections.abc import Sequence
from itertools import product
from math import ceil, sqrt
from pathlib import Path
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
import pandas as pd
import zarr
from numpy.typing import NDArray

from dlir.core.progress import progress
from dlir.reading.image_files import Image
from dlir.reading.tile_reader import TileReader
from dlir.reporting.page_files import THUMBNAIL, PageFiles

WHITE = "FFFFFF"
SIDE = 512  # px, of a picture
OVERLAP = 1  # px, by which a picture is larger on each side where others follow: else their edges would show as lines
BLOCK = 4 * SIDE  # px, side of what is read at once
EMBEDDED = 2 * SIDE  # px; coarser levels of the reference lie in the page in any case
LEFT_OUT = 1  # a level, unless it is the coarsest one
QUALITIES = (85, 75, 65, 55, 45)  # of JPEG: the best one with which the reference stays within the BUDGET, or the last one
BUDGET = 45_000_000  # bytes, by an estimate that may be a fifth too low, since coarse levels have more detail in a px
SAMPLED = 5  # pictures along each side of the mosaic, by which the size of all is estimated
OTHERS = 30_000_000  # px of all pictures of other planes
BELOW, ABOVE = 0.1, 0.5  # by which the range is wider than that which is shown at first, in parts of the latter
SMALL = 256  # px, longest side of the thumbnail


class Channel(NamedTuple):
    """How a channel is shown, with grey values of the mosaic."""

    name: str
    color: str  # such as 00FF00
    low: float  # is 0 in the pictures
    high: float  # is 255 in the pictures
    black: float  # is shown as black at first
    white: float  # is shown in full light at first


class Plane(NamedTuple):
    """A z plane at a time point, both counted from 0."""

    time: int
    z: int | None  # None: the maximum over all z planes


def pictures(mosaic: Path, listed: pd.DataFrame, files: PageFiles) -> dict[str, Any]:
    """Returns how the pictures of a mosaic lie, for the viewer of the page, and adds them to its files.

    Args:
        mosaic: the OME-Zarr store.
        listed: its tiles (tables.TILES).
        files: of the page.

    Returns:
        What the viewer has to know:
        - height, width: px, of the mosaic; side: px, of a picture without its overlap
        - channels: see Channel
        - levels: height and width of each level, and its factor: how many px of the mosaic are one of its px, along each side
        - planes: time, z (null: the maximum over z), finest: its finest level, by its place in levels, and present: for each
          level a text of 0 and 1 that says, row by row, which pictures there are; the others would be black in all channels
        - reference: the time and the z of the plane that is shown first
        - times, depth: how many time points and z planes the mosaic has
    """
    ome: Any = zarr.open_group(mosaic, mode="r").attrs["ome"]
    described = ome["multiscales"][0]
    axes = "".join(axis["name"] for axis in described["axes"])
    arrays = [zarr.open_array(mosaic / dataset["path"], mode="r") for dataset in described["datasets"]]
    kept = [level for level in range(len(arrays)) if level != LEFT_OUT or level == len(arrays) - 1]
    reader = TileReader(listed)
    channels = [_channel(channel, arrays[0].dtype) for channel in ome["omero"]["channels"]]
    if len(channels) == 1:
        channels = [channels[0]._replace(color=WHITE)]  # one alone is seen best in grey
    reference = Plane(reader.time, reader.z if reader.depth > 1 else 0)
    sizes = [arrays[level].shape[-2:] for level in kept]
    quality = _quality(arrays[0], axes, reference, channels, sum(height * width for height, width in sizes))
    others, finest = _others(reader, reference, [len(channels) * height * width for height, width in sizes])
    planes = []
    for plane in progress([reference, *others], "making pictures of the mosaic"):
        first = 0 if plane == reference else finest
        present = []
        for place, level in list(enumerate(kept))[first:]:
            embed = plane == reference and max(sizes[place]) <= EMBEDDED
            present.append(_level(arrays[level], axes, plane, channels, f"{_name(plane)}/{level}", files, quality, embed))
        planes.append({**plane._asdict(), "name": _name(plane), "finest": first, "present": present})
    files.write(THUMBNAIL, _thumbnail(_read(arrays[-1], axes, reference, slice(None), slice(None)), channels))
    return {
        "height": sizes[0][0],
        "width": sizes[0][1],
        "side": SIDE,
        "overlap": OVERLAP,
        "channels": [channel._asdict() for channel in channels],
        "levels": [
            {"name": str(level), "factor": 2**level, "height": height, "width": width}
            for level, (height, width) in zip(kept, sizes, strict=True)
        ],
        "planes": planes,
        "reference": reference._asdict(),
        "times": reader.times,
        "depth": reader.depth,
    }


def _channel(described: dict[str, Any], dtype: Any) -> Channel:
    """Returns how a channel is shown, by the metadata of the mosaic ("omero")."""
    window = described["window"]
    start, end = float(window["start"]), float(window["end"])
    if dtype == np.uint8:
        low, high = 0.0, 255.0
    else:
        low = max(start - BELOW * (end - start), float(window["min"]))
        high = min(end + ABOVE * (end - start), float(window["max"]))
    return Channel(described.get("label", ""), described["color"], low, max(high, low + 1e-6), start, end)


def _others(reader: TileReader, reference: Plane, sizes: Sequence[int]) -> tuple[list[Plane], int]:
    """Returns the planes that are shown beside the reference, and their finest level.

    Args:
        sizes: px, of each level in all channels.
    """
    count = reader.times * reader.depth
    finest = next((level for level, size in enumerate(sizes) if count * size <= OTHERS), len(sizes) - 1)
    step = max(1.0, count * sizes[finest] / OTHERS)
    step = sqrt(step) if min(reader.times, reader.depth) > 1 else step
    every = ceil(step)
    times = sorted({*range(0, reader.times, every), reference.time})
    depths = sorted({*range(0, reader.depth, every), reference.z or 0})
    shown = [None, *depths] if reference.z is None else depths
    planes = [Plane(time, z) for time in times for z in shown]
    return [plane for plane in planes if plane != reference], finest


def _name(plane: Plane) -> str:
    return f"mosaic/t{plane.time}_{'max' if plane.z is None else f'z{plane.z}'}"


def _quality(array: "zarr.Array[Any]", axes: str, plane: Plane, channels: Sequence[Channel], size: int) -> int:
    """Returns the quality of the JPEGs of a plane, whose levels have `size` px together, by a sample of its finest level."""
    if len(channels) * size <= BUDGET:  # a px takes less than a byte
        return QUALITIES[0]
    height, width = array.shape[-2:]
    middles = (np.arange(SAMPLED) + 0.5) / SAMPLED
    tops, lefts = ((middles * max(0, length - SIDE)).astype(int).tolist() for length in (height, width))
    sample = [
        _grey(pixels, channel)
        for top in tops
        for left in lefts
        for pixels, channel in zip(
            _read(array, axes, plane, slice(top, top + SIDE), slice(left, left + SIDE)), channels, strict=True
        )
    ]
    share = len(channels) * size / sum(pixels.size for pixels in sample)
    for quality in QUALITIES:
        if share * sum(len(_jpeg(pixels, quality)) for pixels in sample) <= BUDGET:
            break
    return quality


def _level(
    array: "zarr.Array[Any]",
    axes: str,
    plane: Plane,
    channels: Sequence[Channel],
    name: str,
    files: PageFiles,
    quality: int,
    embed: bool,
) -> str:
    """Adds the pictures of one level of a plane, and returns which there are, row by row."""
    height, width = array.shape[-2:]
    present = np.zeros((-(-height // SIDE), -(-width // SIDE)), bool)
    for y, x in product(range(0, height, BLOCK), range(0, width, BLOCK)):
        down, across = _with_overlap(y, BLOCK, 0), _with_overlap(x, BLOCK, 0)
        block = _read(array, axes, plane, down, across)
        grey = [_grey(pixels, channel) for pixels, channel in zip(block, channels, strict=True)]
        for top, left in product(range(y, min(y + BLOCK, height), SIDE), range(x, min(x + BLOCK, width), SIDE)):
            part = _with_overlap(top, SIDE, down.start), _with_overlap(left, SIDE, across.start)
            y0, x0 = top - down.start, left - across.start
            if block[:, y0 : y0 + SIDE, x0 : x0 + SIDE].any():
                row, column = top // SIDE, left // SIDE
                present[row, column] = True
                for channel, picture in enumerate(grey):
                    files.add(f"{name}/{channel}_{row}_{column}.jpg", _jpeg(picture[part], quality), embed=embed)
    return "".join("01"[there] for there in present.ravel().tolist())


def _with_overlap(start: int, length: int, origin: int) -> slice:
    """Returns a part of an axis with its overlap; the axis of an array that begins at `origin`, and ends where it does."""
    return slice(max(0, start - OVERLAP) - origin, start + length + OVERLAP - origin)


def _read(array: "zarr.Array[Any]", axes: str, plane: Plane, y: slice, x: slice) -> Image:
    """Returns the pixels (channels, y, x) of a part of a level; one z after the other where their maximum is taken."""
    depths = range(array.shape[axes.index("z")]) if plane.z is None and "z" in axes else [plane.z or 0]
    maximum: Image | None = None
    for z in depths:
        chosen: dict[str, int | slice] = {"t": plane.time, "c": slice(None), "z": z, "y": y, "x": x}
        pixels = np.asarray(array[tuple(chosen[axis] for axis in axes)])
        maximum = pixels if maximum is None else np.maximum(maximum, pixels)
    assert maximum is not None, "a mosaic has at least one z plane"
    return maximum if "c" in axes else maximum[None]


def _grey(pixels: Image, channel: Channel) -> NDArray[np.uint8]:
    """Returns the pixels (y, x) of a channel with its low as 0 and its high as 255."""
    if np.issubdtype(pixels.dtype, np.integer):  # a table of all grey values is several times as quick
        every = np.arange(2 ** (8 * pixels.dtype.itemsize)).astype(pixels.dtype)
        return np.asarray(_stretched(every, channel.low, channel.high)[pixels])
    return _stretched(pixels, channel.low, channel.high)


def _stretched(pixels: Image, low: float, high: float) -> NDArray[np.uint8]:
    part = (np.nan_to_num(pixels).astype(np.float32) - low) / (high - low)
    return np.asarray(np.rint(255 * part.clip(0, 1)), np.uint8)


def _thumbnail(pixels: Image, channels: Sequence[Channel]) -> bytes:
    """Returns a level (channels, y, x) of the mosaic as a small JPEG in its colours."""
    step = ceil(max(pixels.shape[1:]) / SMALL)
    colours = np.array([[int(channel.color[at : at + 2], 16) for at in (0, 2, 4)] for channel in channels])
    grey = [
        _stretched(pixel[::step, ::step], c.black, max(c.white, c.black + 1e-6))
        for pixel, c in zip(pixels, channels, strict=True)
    ]
    light = np.einsum("cyx,ck->yxk", np.asarray(grey, np.float32), colours / 255)
    return _jpeg(light.clip(0, 255).astype(np.uint8), QUALITIES[0])


def _jpeg(picture: NDArray[np.uint8], quality: int) -> bytes:
    """Returns a picture (y, x) or (y, x, 3) as JPEG."""
    return bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(picture), level=quality, optimize=True))
