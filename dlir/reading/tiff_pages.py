"""Tells which pages of a TIFF are pictures or previews, to which image they belong, and whether the bytes of a page are there.

Where the end of a file is missing, the codecs return zeros or grey, and a damaged header may announce any size; so each page is
compared with its bytes in the file before it is decoded.
"""

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import tifffile
from tifffile import COMPRESSION

PREVIEW = 1 | 4  # bits of the tag NewSubfileType: a smaller copy of another page, and a mask of what it shows
POSITION = "R"  # tifffile's letter of the axis of the positions of a stage
CLEARLY_SMALLER = 0.5  # of the area of the largest picture: smaller ones are previews, or pictures of the label of a slide
MOST_EXPANSION = {  # by codec, the bytes that it makes of one at most
    COMPRESSION.NONE: 1,
    COMPRESSION.PACKBITS: 64,
    COMPRESSION.DEFLATE: 1032,
    COMPRESSION.ADOBE_DEFLATE: 1032,
    COMPRESSION.JPEG: 1032,
    COMPRESSION.LZW: 2560,
    COMPRESSION.ZSTD: 43700,
}


def without_previews(series: Sequence[Any]) -> list[Any]:
    """Returns those series of tifffile that are pictures of their own, and no smaller copies of others, masks or labels.

    A page may say that it is a preview. Where it does not, one that is clearly smaller than the largest is taken for it; but
    the images that OME metadata name are all kept.
    """
    pictures = [each for each in series if not int(each.keyframe.subfiletype) & PREVIEW] or list(series)
    if pictures[0].kind == "ome":
        return pictures
    areas = [each.keyframe.imagelength * each.keyframe.imagewidth for each in pictures]
    return [each for each, area in zip(pictures, areas, strict=True) if area > CLEARLY_SMALLER * max(areas)]


def positions(series: Any) -> list[Any]:
    """Returns a series for each position of the stage, where Micro-Manager wrote several to a stack; else the series itself."""
    if series.kind != "mmstack" or POSITION not in series.axes:
        return [series]
    axis, outer = series.axes.index(POSITION), series.shape[: -len(series.keyframe.shape)]
    numbers = np.moveaxis(np.arange(math.prod(outer)).reshape(outer), axis, 0)  # of the pages
    shape = (*series.shape[:axis], *series.shape[axis + 1 :])
    axes = series.axes.replace(POSITION, "")
    return [
        tifffile.TiffPageSeries(pages, shape, series.dtype, axes, parent=series.parent, kind=series.kind)
        for pages in ([series[int(number)] for number in own.flat] for own in numbers)
    ]


def has_one_palette(series: Any) -> bool:
    """Returns whether all pages of a series have the same palette."""
    first, *others = (page.aspage().colormap for page in series if page is not None)
    return all(np.array_equal(first, other) for other in others)


def next_page(tiff: tifffile.TiffFile) -> int:
    """Returns where, in bytes, the last page of the file says that the next page begins; 0 in a complete file."""
    form, file, start = tiff.tiff, tiff.filehandle, tiff.pages[-1].offset
    file.seek(start)
    (count,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
    file.seek(start + form.tagnosize + count * form.tagsize)
    return int(struct.unpack(form.offsetformat, file.read(form.offsetsize))[0])


def check(page: Any, length: int) -> None:
    """Raises ValueError when some of the pixels of the page are not in the file of so many bytes."""
    ends = [] if page is None else [sum(part) for part in zip(page.dataoffsets, page.databytecounts, strict=False)]
    if page is None or len(ends) != len(page.dataoffsets) or not all(page.databytecounts):
        raise ValueError("some of its pixels were never written, or are in other files")
    if max(ends, default=0) > length:
        raise ValueError(f"cut short: the file has {length} bytes, and its header announces {max(ends)}")
    frame, stored = page.keyframe, sum(page.databytecounts)
    needed = max(math.prod(frame.shape), math.prod(frame.chunks)) * frame.bitspersample // 8
    if needed > stored * MOST_EXPANSION.get(COMPRESSION(frame.compression), needed):
        raise ValueError(f"its header announces a page of {needed} bytes, and the {stored} in the file cannot hold them")
    if not frame.is_contiguous and len(ends) < math.prod(frame.chunked):
        raise ValueError("some of its pixels are not in the file")
