"""The grey levels of the mosaic: no pixel of a tile is clipped by the correction of its illumination.

A corrected pixel (pixel - dark) / (flat gain) may fall below 0, where noise lies below the dark-field, or above the maximum of
the data type, where a bright pixel lies in a dark corner. So the mosaic keeps the mean of the dark-field as a pedestal, or more
where a pixel needs it, and is scaled down where a pixel would pass the maximum. Both are the same for all tiles, so the grey
values of the mosaic stay proportional to the light. Pixels at 0 or at the maximum were clipped by the camera and do not count,
nor do dim pixels (`illumination/blind.py`).
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlir.core.affine import Array
from dlir.core.progress import progress
from dlir.illumination.fields import Fields, Light
from dlir.reading.tile_reader import TileReader


def levels(tiles: pd.DataFrame, gains: Array, light: Light, *, pedestal: bool = True) -> pd.DataFrame:
    """Returns the table EXPOSURE of tiles; reads all their planes where the illumination changes grey values.

    Args:
        tiles: tables.TILES.
        gains: (n, channels), the exposure of each tile, in the order of the table.
        light: the fields of each camera, that its tiles are corrected with.
        pedestal: whether the mosaic keeps the level of the dark-field, of several cameras the highest; without it, dark pixels
            may be clipped.

    Raises:
        ImageError: when a tile cannot be read.
    """
    lit = [illumination for illumination in light if _shown(illumination).any()]
    kept = np.zeros(gains.shape[1])
    if pedestal and lit:
        kept = np.max([illumination.dark[:, _shown(illumination)].mean(1) for illumination in lit], axis=0)
    scale, clipped = np.ones(gains.shape[1]), np.zeros(gains.shape, np.int64)
    integer = np.issubdtype(tiles["dtype"].iloc[0], np.integer)
    changes = any(illumination.dark.any() or (illumination.flat != 1).any() for illumination in light) or (gains != 1).any()
    if integer and changes and lit:
        top = float(np.iinfo(np.dtype(tiles["dtype"].iloc[0])).max)
        lowest, highest, below = _extremes(tiles, gains, light, top)
        if pedestal:
            kept = np.maximum(kept, 0.0 - lowest)
        # whole per cents, so that one more tile hardly ever changes all grey values
        scale = np.clip(np.floor(100 * (top - kept) / np.maximum(highest, 1e-9)) / 100, 0.01, 1)
        clipped = clipped if pedestal else below
    rows, channels = np.indices(gains.shape)
    table = {"tile": tiles["tile"].to_numpy()[rows.ravel()], "channel": channels.ravel(), "gain": gains.ravel(),
             "scale": scale[channels.ravel()], "pedestal": kept[channels.ravel()], "clipped": clipped.ravel()}  # fmt: skip
    return pd.DataFrame(table)


def _shown(illumination: Fields) -> NDArray[np.bool_]:
    """Returns the pixels (y, x) of a camera that show the image in full light."""
    return ~(illumination.blind | illumination.dim)


def _extremes(tiles: pd.DataFrame, gains: Array, light: Light, top: float) -> tuple[Array, Array, NDArray[np.int64]]:
    """Returns the lowest and the highest corrected pixel (channels,), and how many pixels fall below 0 (n, channels)."""
    reader, shape, shown = TileReader(tiles), gains.shape, [_shown(illumination) for illumination in light]
    lowest, highest, below = np.zeros(shape[1]), np.zeros(shape[1]), np.zeros(shape, np.int64)
    planes = [(time, z) for time in range(reader.times) for z in range(reader.depth)]
    listed = list(zip(tiles["path"], tiles["camera"], strict=True))
    for row, (path, camera) in enumerate(progress(listed, "reading the range of grey values")):
        for time, z in planes:
            for channel, pixels in enumerate(reader.read(path, time, z)):
                flat, dark = light[camera].flat[channel], light[camera].dark[channel]
                # a quick bound first: most tiles are far from the maximum
                if dark.any() or (float(pixels.max()) / (float(flat.min()) * gains[row, channel])) > top:
                    counts = shown[camera] & (pixels > 0) & (pixels < top)
                    corrected = ((pixels - dark) / (flat * gains[row, channel]))[counts]
                    lowest[channel] = min(lowest[channel], corrected.min(initial=0))
                    highest[channel] = max(highest[channel], corrected.max(initial=0))
                    below[row, channel] += int((corrected < -0.5).sum())
    return lowest, highest, below
