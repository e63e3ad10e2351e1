"""How viewers show the channels of a mosaic: the grey values that are black and white, and the colour of each channel.

The grey values come from the pixels that tiles cover, by channel: the empty canvas and a few bright specks do not count.
The colour follows from the name of a channel: a dye, a fluorescent protein, a kind of transmitted light or a colour by itself.
Else it follows from a wavelength in the name: that of an emission filter, such as "525/50" or "emission 525 nm", or that of the
light that excites, such as "488" or "Alexa 647". All other channels have the next colour that none has yet.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import zarr
from numpy.typing import DTypeLike

from dlir.reading.image_files import Image

DISPLAYED = (0.5, 99.7)  # percentiles of the grey values that are shown as black and white
MOST_SAMPLED = 2**23  # pixels, of all channels together, from which the grey values are taken
RED, ORANGE, YELLOW, GREEN = "FF0000", "FF8000", "FFFF00", "00FF00"
CYAN, BLUE, MAGENTA, WHITE = "00FFFF", "0000FF", "FF00FF", "FFFFFF"
IN_ORDER = (RED, GREEN, BLUE, MAGENTA, CYAN, YELLOW)  # of channels that nothing is known of
RGB = ("red", "green", "blue")
NAMES = (  # colour: what the name of a channel holds, in small letters, with a space for each other sign; the first that fits
    (WHITE, r"\bbf\b|bright ?field|\bdic\b|nomarski|\bph[0-9]?\b|phase|\btl\b|transmi|\btrans\b|\bwhite\b|\bgr[ae]y\b"),
    (MAGENTA, r"cy ?[57]|far ?red|deep ?red|draq ?5|irfp|\bapc\b|magenta"),
    (BLUE, r"dapi|hoechst|bfp|\bblue\b"),
    (CYAN, r"cfp|cerulean|turquoise|\bcyan\b"),
    (GREEN, r"gfp|fitc|fluorescein|gcamp|neon ?green|cy ?2|\bgreen\b"),
    (YELLOW, r"yfp|venus|citrine|\byellow\b"),
    (ORANGE, r"cy ?3|tritc|rhodamine|tomato|dsred|\borange\b"),
    (RED, r"rfp|cherry|texas|propidium|\bpi\b|\bred\b"),
)
EMISSION = ((465, BLUE), (500, CYAN), (540, GREEN), (560, YELLOW), (600, ORANGE), (655, RED), (1000, MAGENTA))  # nm: up to
EXCITATION = ((430, BLUE), (470, CYAN), (510, GREEN), (540, YELLOW), (575, ORANGE), (620, RED), (1000, MAGENTA))
NUMBER = r"(?<![0-9.])([3-9][0-9]{2})(?![0-9])"  # nm


def is_rgb(count: int, dtype: DTypeLike, names: Sequence[str]) -> bool:
    """Whether channels are the red, green and blue of a colour picture: three of 8 bit without other names."""
    return count == 3 and np.dtype(dtype) == np.uint8 and (not any(names) or tuple(name.lower() for name in names) == RGB)


def colours(names: Sequence[str]) -> list[str]:
    """Returns the colour of each channel as RRGGBB.

    Args:
        names: of the channels; empty texts for those without a name. A single channel of which nothing is known is white.
    """
    known = [colour_of(name) for name in names]
    free = [colour for colour in IN_ORDER if colour not in known] or [*IN_ORDER]
    places = np.cumsum([colour is None for colour in known]) - 1
    if len(names) == 1:
        free = [WHITE]
    return [colour or free[place % len(free)] for colour, place in zip(known, places.tolist(), strict=True)]


def colour_of(name: str) -> str | None:
    """Returns the colour that the name of a channel tells, as RRGGBB; None where it tells none."""
    words = re.sub(r"[^a-z0-9]+", " ", name.lower())
    if colour := next((colour for colour, pattern in NAMES if re.search(pattern, words)), None):
        return colour
    emitted = re.search(rf"\bem(?:ission)?[^0-9]*{NUMBER}|{NUMBER}/[0-9]{{2,3}}\b", name.lower())
    excited = re.search(NUMBER, name)
    table, found = (EMISSION, emitted) if emitted else (EXCITATION, excited)
    if not found:
        return None
    wavelength = int(next(group for group in found.groups() if group))
    return next((colour for end, colour in table if 350 <= wavelength < end), None)


def windows(levels: "Sequence[zarr.Array[Any]]", axes: str, names: Sequence[str]) -> list[dict[str, float]]:
    """Returns the grey values of each channel as OME-Zarr has them: `start` is black, `end` is white; from `min` to `max` they
    can be set by hand. Those of a colour picture are 0 and 255.

    Args:
        levels: the levels of the pyramid, full resolution first.
        axes: their axes, such as cyx.
        names: of the channels.
    """
    pixels = sampled(levels, axes)
    if is_rgb(len(pixels), pixels.dtype, names):
        return [{"min": 0.0, "max": 255.0, "start": 0.0, "end": 255.0}] * 3
    covered = pixels[:, pixels.any(0)]
    return [_window(channel) for channel in covered]


def sampled(levels: "Sequence[zarr.Array[Any]]", axes: str) -> Image:
    """Returns the pixels (channels, ...) of the finest level of at most MOST_SAMPLED pixels; where the coarsest has more, those
    of some of its time points and z planes.
    """
    level = next((level for level in levels if level.size <= MOST_SAMPLED), levels[-1])
    size, steps = level.size, {}
    for axis in set("tz") & {*axes}:
        length = level.shape[axes.index(axis)]
        steps[axis] = min(length, -(-size // MOST_SAMPLED))
        size = size // length * -(-length // steps[axis])
    pixels = np.asarray(level[tuple(slice(None, None, steps.get(axis, 1)) for axis in axes)])
    return np.moveaxis(pixels, axes.index("c"), 0) if "c" in axes else pixels[None]


def grey_limits(pixels: Image) -> tuple[float, float]:
    """Returns the grey values (low, high) that are shown as black and white, the same for all channels.

    Args:
        pixels: (channels, ...). Those that are 0 in all channels count as covered by no tile, and are left out.
    """
    return _limits(pixels[:, pixels.any(0)])


def _limits(covered: Image) -> tuple[float, float]:
    if not covered.size:
        return 0.0, 1.0
    low, high = np.percentile(np.asarray(covered, np.float32), DISPLAYED)
    return float(low), float(high)


def _window(channel: Image) -> dict[str, float]:
    """Returns the window of a channel, from the covered pixels (n,) of it."""
    low, high = _limits(channel)
    least, most = (float(channel.min()), float(channel.max())) if channel.size else (0.0, 1.0)
    if channel.dtype.kind == "u":  # 0 to the largest number of so many bits: 255, 1023, 4095, 65535
        least, most = 0.0, float(2 ** max(8, int(most).bit_length()) - 1)
    end = max(high, low + (1.0 if channel.dtype.kind in "ui" else 1e-6))
    return {"min": min(least, low), "max": max(most, end), "start": low, "end": end}
