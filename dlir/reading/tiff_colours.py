"""What the tags of a TIFF page say of its samples, and how these become what a viewer shows (`colours.py`).

The tag PhotometricInterpretation says what the numbers are. tifffile gives the samples as they are stored, but for JPEG in
TIFF and the like, whose codecs make red, green and blue.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import tifffile
from tifffile import COMPRESSION, PHOTOMETRIC

from dlir.reading import colours
from dlir.reading.colours import Samples
from dlir.reading.source import NoTileError

CMYK = 1  # of the tag InkSet
STORED_AS_THEY_ARE = {COMPRESSION.NONE, COMPRESSION.LZW, COMPRESSION.ADOBE_DEFLATE, COMPRESSION.DEFLATE, COMPRESSION.PACKBITS,
                      COMPRESSION.ZSTD, COMPRESSION.LZMA}  # fmt: skip  # the other codecs make colours themselves
OTHER_COLOURS = {
    PHOTOMETRIC.CIELAB,
    PHOTOMETRIC.ICCLAB,
    PHOTOMETRIC.ITULAB,
    PHOTOMETRIC.LOGL,
    PHOTOMETRIC.LOGLUV,
    PHOTOMETRIC.CFA,
}
DARKNESS = "the file states that 0 is white: its grey values are inverted, as viewers show them"
PALETTE = "the file has a palette: its pixels are read as the colours of the palette"
GREY_PALETTE = "the file has a palette of grey values: its pixels are read as these"
UNUSED_PALETTE = "the file has a palette, and its pixels are read without it, since the file says that they are channels"
WHITE_DECIMALS = "the file states that 0 is white: its grey values stay as they are, since they are no positive whole numbers"


class Look(NamedTuple):
    """How the samples of a page become what a viewer shows."""

    channels: int
    dtype: np.dtype[Any]
    shown: Callable[[Samples], Samples] | None = None  # of (samples, y, x); None where they are shown as they are
    notes: tuple[str, ...] = ()


def look(frame: Any, samples: int, channel_pages: bool) -> Look:
    """Returns how the samples of a page become what a viewer shows.

    Args:
        frame: the page, of tifffile.
        samples: numbers of a pixel, without alpha.
        channel_pages: whether the file says that its pages are channels; then a palette only tells how to show them.

    Raises:
        NoTileError: when dlir does not read colours of this kind.
    """
    if frame.dtype is None:
        raise NoTileError(f"has pixels of {frame.bitspersample} bits, which dlir does not read: export it with 8 or 16 bits")
    kind, same = frame.photometric, Look(samples, frame.dtype)
    colour = same._replace(channels=3)
    if frame.compression not in tifffile.TIFF.DECOMPRESSORS:
        name = getattr(frame.compression, "name", str(frame.compression))
        raise NoTileError(f"is compressed as {name}, which dlir does not read: export it without compression, or with zlib")
    if kind in OTHER_COLOURS:
        raise NoTileError(f"has colours of the kind {kind.name}, which dlir does not read: export it as grey or RGB")
    if kind == PHOTOMETRIC.PALETTE and samples == 1 and frame.colormap is not None:
        if channel_pages:
            return same._replace(notes=(UNUSED_PALETTE,))
        table = colours.palette(np.asarray(frame.colormap))
        note = PALETTE if len(table) == 3 else GREY_PALETTE
        return Look(len(table), table.dtype, partial(colours.in_colours, table=table), (note,))
    if kind == PHOTOMETRIC.MINISWHITE and samples == 1 and not _bits_of_python(frame):
        if frame.dtype.kind not in "bu":
            return same._replace(notes=(WHITE_DECIMALS,))
        return same._replace(shown=partial(colours.inverted, bits=frame.bitspersample), notes=(DARKNESS,))
    if kind == PHOTOMETRIC.SEPARATED and samples == 4 and frame.dtype.kind == "u" and _tag(frame, 332, CMYK) == CMYK:
        return colour._replace(shown=colours.from_inks, notes=(colours.INKS,))
    if kind == PHOTOMETRIC.YCBCR and samples == 3 and frame.compression in STORED_AS_THEY_ARE:
        if _tag(frame, 530, (2, 2)) != (1, 1) or frame.dtype != np.uint8:
            raise NoTileError("has colours of the kind YCBCR of a form that dlir does not read: export it as RGB")
        luma = _fractions(_tag(frame, 529, ()), 3) or colours.LUMA
        reference = _fractions(_tag(frame, 532, ()), 6) or colours.FULL_RANGE
        return colour._replace(shown=partial(colours.from_differences, luma=luma, reference=reference))
    return same


def _bits_of_python(frame: Any) -> bool:
    """Returns whether tifffile wrote the page from true and false: it states that 0 is white, and stores true as 1."""
    return frame.dtype.kind == "b" and str(_tag(frame, 305, "")).startswith("tifffile")


def _tag(frame: Any, number: int, default: Any) -> Any:
    """Returns the value of a tag of the page, or the default where it has none."""
    return frame.tags.valueof(number, default)


def _fractions(values: Any, count: int) -> tuple[float, ...]:
    """Returns so many fractions, which a tag has as numerators and denominators; none where the tag has others."""
    values = np.ravel(values)
    if len(values) != 2 * count or not (values[1::2] > 0).all() or not (values[::2] != 0).any():
        return ()
    return tuple((values[::2] / values[1::2]).tolist())
