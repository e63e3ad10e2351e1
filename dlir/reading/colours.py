"""Turns the samples of files into grey values or red, green and blue, as a viewer shows them.

A file may store something else than brightness: numbers of the colours of a palette, darkness, inks, or brightness and two
differences of colours. The arrays are `(samples, y, x)`, and the largest value is white.

    a palette            the colour of each number; one channel where all colours are grey
    darkness             white less the value
    inks (CMYK)          white (1 - ink) (1 - black) for red, green and blue
    Y, Cb, Cr            red = Y + 2 (1 - r) Cr, blue = Y + 2 (1 - b) Cb, green = (Y - r red - b blue) / g

r, g, b are the shares of the three in the brightness. Source: TIFF 6.0, sections 5, 16 and 21.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[Any]
LUMA = (0.299, 0.587, 0.114)  # shares of red, green and blue in the brightness
INKS = "the file stores inks (CMYK), which are read as red, green and blue, without its colour profile"
FOURTH = (
    "the file does not say what the fourth number of each pixel is, beside red, green and blue; it is taken for transparency "
    "and left out; if it is a channel, export each channel to its own page or file"
)
FULL_RANGE = (0.0, 255.0, 128.0, 255.0, 128.0, 255.0)  # black and white of Y, Cb and Cr


def palette(colours: NDArray[np.integer]) -> Samples:
    """Returns a palette (3, n) of 8 or 16 bit as the table (channels, n) of what is shown: one channel where all is grey.

    Palettes of TIFF have 16 bit. Where these are colours of 8 bit, times 257 or, as older programs write them, times 256 or
    as they are, the table has the colours of 8 bit.
    """
    colours = colours.astype(np.int64)
    if (colours % 257 == 0).all():
        colours = colours // 257
    elif (colours % 256 == 0).all():
        colours = colours // 256
    table = colours.astype(np.uint8 if colours.max(initial=0) < 256 else np.uint16)
    return np.asarray(table[:1] if (table == table[0]).all() else table)


def in_colours(numbers: Samples, table: Samples) -> Samples:
    """Returns the pixels (channels, y, x) with these numbers (1, y, x) in the palette; numbers beyond its end are black."""
    known = numbers[0] < table.shape[1]
    shown: Samples = np.where(known, table[:, np.where(known, numbers[0], 0)], table.dtype.type(0))
    return shown


def inverted(darkness: Samples, bits: int) -> Samples:
    """Returns the brightness of whole numbers of so many bits, 0 of which is white."""
    return np.asarray(darkness ^ darkness.dtype.type(2**bits - 1))


def from_inks(inks: Samples) -> Samples:
    """Returns red, green and blue of cyan, magenta, yellow and black, whole numbers; the largest value is full ink."""
    white = float(np.iinfo(inks.dtype).max)
    return from_paper(inks.dtype.type(white) - inks)


def from_paper(paper: Samples) -> Samples:
    """Returns red, green and blue of the light that each of four inks leaves, which is how JPEG files store inks."""
    white = float(np.iinfo(paper.dtype).max)
    return np.asarray(np.rint(paper[:3] * (paper[3].astype(np.float64) / white)).astype(paper.dtype))


def from_differences(samples: Samples, luma: tuple[float, ...] = LUMA, reference: tuple[float, ...] = FULL_RANGE) -> Samples:
    """Returns red, green and blue of Y, Cb and Cr, uint8.

    Args:
        luma: shares of red, green and blue in the brightness.
        reference: black and white of Y, Cb and Cr.
    """
    black, white = np.reshape(reference, (3, 2)).T[:, :, None, None]
    top = np.array([255.0, 127.0, 127.0])[:, None, None]
    y, cb, cr = (samples.astype(np.float64) - black) * top / np.where(white == black, 1, white - black)
    red, blue = y + 2 * (1 - luma[0]) * cr, y + 2 * (1 - luma[2]) * cb
    green = (y - luma[0] * red - luma[2] * blue) / luma[1]
    shown: Samples = np.rint(np.stack([red, green, blue])).clip(0, 255).astype(np.uint8)
    return shown
