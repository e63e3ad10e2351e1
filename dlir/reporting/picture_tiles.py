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
from typing import Any

import imagecodecs
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlir.core.progress import progress
from dlir.reading.tile_reader import TileReader
from dlir.reporting.mosaic_store import MosaicStore, Plane, reference_plane
from dlir.reporting.page_files import THUMBNAIL, PageFiles
from dlir.reporting.shown_channels import Shown, grey, shown_of, stretched

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
SMALL = 256  # px, longest side of the thumbnail


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
    reader = TileReader(listed)
    shown = shown_of(MosaicStore(mosaic))
    if len(shown.channels) == 1:
        shown = shown._replace(channels=[shown.channels[0]._replace(color=WHITE)])  # one alone is seen best in grey
    reference = reference_plane(reader)
    return pictures_of([shown], [reference], files, reader)


def pictures_of(
    mosaics: Sequence[Shown], references: Sequence[Plane], files: PageFiles, reader: TileReader | None = None
) -> dict[str, Any]:
    """Returns how the pictures of mosaics of one size lie, as `pictures` does, and adds them to the files.

    The channels of all mosaics follow each other. One mosaic is read after the other, a block at a time.

    Args:
        references: the plane of each mosaic that is shown.
        reader: of the tiles of the only mosaic, of which other planes are shown, too; None for the references alone.
    """
    levels = mosaics[0].store.levels
    kept = [level for level in range(len(levels)) if level != LEFT_OUT or level == len(levels) - 1]
    channels = [channel for mosaic in mosaics for channel in mosaic.channels]
    sizes = [levels[level].shape[-2:] for level in kept]
    quality = _quality(mosaics, references, sum(height * width for height, width in sizes))
    reference = references[0]
    of_level = [len(channels) * height * width for height, width in sizes]
    others, finest = _others(reader, reference, of_level) if reader else ([], 0)
    planes = []
    for plane in progress([reference, *others], "making pictures of the mosaic"):
        first = 0 if plane == reference else finest
        of_mosaics = references if plane == reference else [plane]
        present = []
        for place, level in list(enumerate(kept))[first:]:
            embed = plane == reference and max(sizes[place]) <= EMBEDDED
            present.append(_level(mosaics, of_mosaics, level, f"{_name(plane)}/{level}", files, quality, embed))
        planes.append({**plane._asdict(), "name": _name(plane), "finest": first, "present": present})
    files.write(THUMBNAIL, _thumbnail(mosaics, references))
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
        "times": reader.times if reader else 1,
        "depth": reader.depth if reader else 1,
    }


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


def _quality(mosaics: Sequence[Shown], planes: Sequence[Plane], size: int) -> int:
    """Returns the quality of the JPEGs of planes, whose levels have `size` px together, by a sample of their finest level."""
    size *= sum(len(mosaic.channels) for mosaic in mosaics)
    if size <= BUDGET:  # a px takes less than a byte
        return QUALITIES[0]
    height, width = mosaics[0].store.shape
    middles = (np.arange(SAMPLED) + 0.5) / SAMPLED
    tops, lefts = ((middles * max(0, length - SIDE)).astype(int).tolist() for length in (height, width))
    sample = [
        grey(pixels, channel)
        for top in tops
        for left in lefts
        for mosaic, plane in zip(mosaics, planes, strict=True)
        for pixels, channel in zip(
            mosaic.store.read(0, plane, slice(top, top + SIDE), slice(left, left + SIDE)), mosaic.channels, strict=True
        )
    ]
    share = size / sum(pixels.size for pixels in sample)
    for quality in QUALITIES:
        if share * sum(len(_jpeg(pixels, quality)) for pixels in sample) <= BUDGET:
            break
    return quality


def _level(
    mosaics: Sequence[Shown], planes: Sequence[Plane], level: int, name: str, files: PageFiles, quality: int, embed: bool
) -> str:
    """Adds the pictures of one level of the planes, and returns which there are, row by row."""
    height, width = mosaics[0].store.levels[level].shape[-2:]
    present = np.zeros((-(-height // SIDE), -(-width // SIDE)), bool)
    for y, x in product(range(0, height, BLOCK), range(0, width, BLOCK)):
        encoded: dict[tuple[int, int], list[bytes]] = {}
        for mosaic, plane in zip(mosaics, planes, strict=True):
            for place, (pictures, holds) in _block(mosaic, plane, level, y, x, quality).items():
                encoded.setdefault(place, []).extend(pictures)
                present[place] |= holds
        for (row, column), pictures in encoded.items():
            for channel, content in enumerate(pictures if present[row, column] else []):
                files.add(f"{name}/{channel}_{row}_{column}.jpg", content, embed=embed)
    return "".join("01"[there] for there in present.ravel().tolist())


def _block(
    mosaic: Shown, plane: Plane, level: int, y: int, x: int, quality: int
) -> dict[tuple[int, int], tuple[list[bytes], bool]]:
    """Returns the pictures in a block of a level by row and column: a JPEG for each channel, and whether any holds a pixel."""
    height, width = mosaic.store.levels[level].shape[-2:]
    down, across = _with_overlap(y, BLOCK, 0), _with_overlap(x, BLOCK, 0)
    block = mosaic.store.read(level, plane, down, across)
    stretched_block = [grey(pixels, channel) for pixels, channel in zip(block, mosaic.channels, strict=True)]
    found = {}
    for top, left in product(range(y, min(y + BLOCK, height), SIDE), range(x, min(x + BLOCK, width), SIDE)):
        part = _with_overlap(top, SIDE, down.start), _with_overlap(left, SIDE, across.start)
        y0, x0 = top - down.start, left - across.start
        holds = bool(block[:, y0 : y0 + SIDE, x0 : x0 + SIDE].any())
        found[top // SIDE, left // SIDE] = [_jpeg(picture[part], quality) for picture in stretched_block], holds
    return found


def _with_overlap(start: int, length: int, origin: int) -> slice:
    """Returns a part of an axis with its overlap; the axis of an array that begins at `origin`, and ends where it does."""
    return slice(max(0, start - OVERLAP) - origin, start + length + OVERLAP - origin)


def _thumbnail(mosaics: Sequence[Shown], planes: Sequence[Plane]) -> bytes:
    """Returns the coarsest level of the mosaics as a small JPEG in the colours of their channels."""
    light: Any = None
    for mosaic, plane in zip(mosaics, planes, strict=True):
        pixels = mosaic.store.read(len(mosaic.store.levels) - 1, plane, slice(None), slice(None))
        step = ceil(max(pixels.shape[1:]) / SMALL)
        for pixel, shown in zip(pixels, mosaic.channels, strict=True):
            colour = np.array([int(shown.color[at : at + 2], 16) for at in (0, 2, 4)], np.float32) / 255
            small = stretched(pixel[::step, ::step], shown.black, max(shown.white, shown.black + 1e-6)).astype(np.float32)
            light = small[..., None] * colour + (0 if light is None else light)
    assert light is not None, "a mosaic has at least one channel"
    return _jpeg(light.clip(0, 255).astype(np.uint8), QUALITIES[0])


def _jpeg(picture: NDArray[np.uint8], quality: int) -> bytes:
    """Returns a picture (y, x) or (y, x, 3) as JPEG."""
    return bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(picture), level=quality, optimize=True))
