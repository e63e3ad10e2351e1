"""How the channels of a mosaic are shown: their colours, and which grey values the 8 bits of a picture hold."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlir.reading.image_files import Image
from dlir.reporting.mosaic_store import MosaicStore

BELOW, ABOVE = 0.1, 0.5  # by which the range is wider than that which is shown at first, in parts of the latter


class Channel(NamedTuple):
    """How a channel is shown, with grey values of the mosaic."""

    name: str
    color: str  # such as 00FF00
    low: float  # is 0 in the pictures
    high: float  # is 255 in the pictures
    black: float  # is shown as black at first
    white: float  # is shown in full light at first


class Shown(NamedTuple):
    """A mosaic whose pictures are made."""

    store: MosaicStore
    channels: list[Channel]


def shown_of(store: MosaicStore) -> Shown:
    """Returns a mosaic with how its channels are shown, by its metadata."""
    return Shown(store, [_channel(channel, store.levels[0].dtype) for channel in store.channels])


def grey(pixels: Image, channel: Channel) -> NDArray[np.uint8]:
    """Returns the pixels (y, x) of a channel with its low as 0 and its high as 255."""
    if np.issubdtype(pixels.dtype, np.integer):  # a table of all grey values is several times as quick
        every = np.arange(2 ** (8 * pixels.dtype.itemsize)).astype(pixels.dtype)
        return np.asarray(stretched(every, channel.low, channel.high)[pixels])
    return stretched(pixels, channel.low, channel.high)


def stretched(pixels: Image, low: float, high: float) -> NDArray[np.uint8]:
    """Returns the pixels (...) with `low` as 0 and `high` as 255; NaN is 0."""
    part = (np.nan_to_num(pixels).astype(np.float32) - low) / (high - low)
    return np.asarray(np.rint(255 * part.clip(0, 1)), np.uint8)


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
