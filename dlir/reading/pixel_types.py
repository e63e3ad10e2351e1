"""The types of pixels: a tile is read as uint8, uint16 or float32, and each other type becomes one of these without a loss.

One type is chosen for all tiles of a dataset, by the smallest and the largest grey value in any of them:

    whole numbers from 0 to 255, in one byte       uint8
    whole numbers from 0 to 65535                  uint16
    whole numbers from -2^24 to 2^24               float32, which holds each of them
    numbers with decimals                          float32

Larger whole numbers are refused. Of float64, float32 keeps 7 digits, and the step `tiles` says so where a pixel has more.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

TABLE = ("uint8", "uint16", "float32")  # the types in tables.TILES
WHOLE = ("bool", "int8", "int16", "int32", "uint32", "int64", "uint64")  # further types of whole numbers in files
DECIMAL = ("float16", "float64")  # further types with decimals
LARGEST_WHOLE = 2**24  # up to which float32 holds every whole number
LARGEST_VALUE = 1e15  # of a pixel: the squares of 10^8 of them still have a sum in float32


class GreyRange(NamedTuple):
    """The range of grey values of a file whose type is none of TABLE; nothing for the others, or without pixels."""

    low: float = np.inf
    high: float = -np.inf
    exact: bool = True  # whether float32 holds each of them

    def joined(self, other: "GreyRange") -> "GreyRange":
        """Returns the range of both."""
        return GreyRange(min(self.low, other.low), max(self.high, other.high), self.exact and other.exact)


NO_PIXELS = GreyRange()


def grey_range(pixels: NDArray[Any]) -> GreyRange:
    """Returns the range of the values of a plane without NaN."""
    if pixels.dtype.name in TABLE:
        return NO_PIXELS
    low, high = (getattr(pixels, name)().item() for name in ("min", "max"))
    exact = pixels.dtype.name != "float64" or bool((pixels.astype(np.float32) == pixels).all())
    return GreyRange(low, high, exact)


def wrong(pixels: NDArray[Any]) -> str:
    """Returns what is wrong with the values of a plane, and the remedy; nothing where they can be used."""
    if pixels.dtype.name in WHOLE:
        largest = max(abs(value) for value in grey_range(pixels)[:2])
        what = f"its grey values reach {largest}, and whole numbers are kept exactly up to {LARGEST_WHOLE} only"
        return f"{what}: scale the grey values, or save them with 16 bits" if largest > LARGEST_WHOLE else ""
    if pixels.dtype.kind != "f":
        return ""
    if count := pixels.size - int(np.count_nonzero(np.isfinite(pixels))):
        return f"{count} pixels are NaN or infinite: export it again, or set them to a number"
    if (largest := float(max(pixels.max(), -pixels.min()))) > LARGEST_VALUE:
        return f"its grey values reach {largest:.3g}, which is too large for sums over pixels: scale the grey values"
    if 0 < largest < np.finfo(np.float32).tiny:
        return f"its grey values reach only {largest:.3g}, which float32 does not hold: scale the grey values"
    return ""


def in_tables(dtype: str, found: GreyRange) -> str:
    """Returns the type of TABLE that loses nothing of pixels of a type with these values; of float64, as little as possible."""
    if dtype in TABLE:
        return dtype
    if dtype in DECIMAL or found.low < 0 or found.high > np.iinfo(np.uint16).max:
        return "float32"
    return "uint8" if np.dtype(dtype).itemsize == 1 else "uint16"


def described(dtype: str, found: GreyRange) -> str:
    """Returns a sentence on what becomes of the pixels of all tiles; empty where they stay as they are."""
    if dtype in TABLE:
        return ""
    between = f"with grey values from {found.low:.8g} to {found.high:.8g}" if dtype != "bool" else "of 0 and 1"
    loss = "which loses nothing" if found.exact else "so grey values are rounded to 7 digits"
    return f"the tiles are {dtype} {between}: read as {in_tables(dtype, found)}, {loss}"
