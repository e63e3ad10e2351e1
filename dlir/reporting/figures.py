"""The plane of a mosaic that registration saw, as a picture."""

from typing import Any

import numpy as np
import zarr

from dlir.reading import image_files
from dlir.reading.image_files import Image, Plane
from dlir.reading.tile_reader import TileReader


def reference_plane(level: "Image | zarr.Array[Any]", axes: str, reader: TileReader) -> Image:
    """The pixels (channels, y, x) of one level of a mosaic at the reference time and z.

    Args:
        axes: the axes of the level, such as tczyx.
    """
    chosen: dict[str, Any] = {"t": reader.time, "z": slice(None) if reader.z is None else slice(reader.z, reader.z + 1)}
    pixels = np.asarray(level[tuple(chosen.get(axis, slice(None)) for axis in axes)])
    left = axes.replace("t", "")
    pixels = pixels.max(axis=left.index("z")) if "z" in left else pixels
    return pixels if "c" in left else pixels[None]


def stretched(pixels: Image, limits: tuple[float, float]) -> Plane:
    """The pixels (channels, y, x) with the limits taken to 0 and 1: (y, x, 3) for three channels, else their mean (y, x)."""
    shown = np.moveaxis(pixels, 0, -1).astype(np.float32) if len(pixels) == 3 else image_files.channel_mean(pixels)
    low, high = limits
    between: Plane = ((shown - low) / max(high - low, 1e-6)).clip(0, 1)
    return between
