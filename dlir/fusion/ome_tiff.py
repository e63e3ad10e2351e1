"""The step `ome_tiff`: converts the mosaic to a tiled OME-TIFF with its pyramid, for programs that do not read OME-Zarr."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from ome_zarr_models.v05.coordinate_transformations import VectorScale
from ome_zarr_models.v05.image import Image as ImageModel

from dlir.core.atomic import atomically
from dlir.fusion import display
from dlir.reading.image_files import Image

log = logging.getLogger(__name__)
TILE = 512  # px, side of a tile of the TIFF


def ome_tiff(mosaic: Path, output: Path, *, threads: int = 1) -> None:
    """Writes the OME-Zarr store `mosaic` to the BigTIFF file `output`. One row of TIFF tiles is in memory at a time.

    Red, green and blue of 8 bit, without z and time, become one colour plane. All other images become planes in the order of
    the store, with the names and the colours of their channels.

    Args:
        threads: number of threads that compress the tiles.
    """
    group = zarr.open_group(mosaic, mode="r")
    multiscale = ImageModel.from_zarr(group).ome_attributes.multiscales[0]
    ome: Any = group.attrs["ome"]
    channels = ome["omero"]["channels"]
    axes = "".join(str(axis.name) for axis in multiscale.axes)
    levels = [zarr.open_array(mosaic / dataset.path, mode="r") for dataset in multiscale.datasets]
    names = [channel.get("label", "") for channel in channels]
    rgb = axes == "cyx" and display.is_rgb(len(names), levels[0].dtype, names)
    metadata: dict[str, Any] = {"axes": "YXS" if rgb else axes.upper(), "Name": multiscale.name}
    if not rgb:
        metadata["Channel"] = {"Color": [_colour_number(channel["color"]) for channel in channels]}
        metadata["Channel"] |= {"Name": names} if all(names) else {}
    scale = multiscale.datasets[0].coordinateTransformations[0]
    if multiscale.axes[-1].unit and isinstance(scale, VectorScale):
        height, width = scale.scale[-2:]
        metadata |= {"PhysicalSizeY": height, "PhysicalSizeX": width}
        metadata |= {"PhysicalSizeYUnit": "µm", "PhysicalSizeXUnit": "µm"}
    common: dict[str, Any] = {"tile": (TILE, TILE), "compression": "zlib", "predictor": levels[0].dtype.kind == "u"}
    common |= {"photometric": "rgb" if rgb else "minisblack", "dtype": levels[0].dtype, "maxworkers": threads}
    with atomically(output) as partial, tifffile.TiffWriter(partial, bigtiff=True, ome=True) as file:
        for number, level in enumerate(levels):
            shape = (*level.shape[-2:], 3) if rgb else level.shape
            subfile = (
                {"subifds": len(levels) - 1, "metadata": metadata} if number == 0 else {"subfiletype": 1, "metadata": None}
            )
            file.write(_tiles(level, rgb), shape=shape, **subfile, **common)
    log.info("wrote %s: %d levels, %.1f MB", output, len(levels), output.stat().st_size / 1e6)


def _colour_number(colour: str) -> int:
    """Returns a colour RRGGBB as OME-XML writes it: red, green, blue and opacity are the bytes of a signed number of 32 bit."""
    return int.from_bytes(bytes.fromhex(f"{colour}FF"), "big", signed=True)


def _tiles(level: "zarr.Array[Any]", rgb: bool) -> Iterator[Image]:
    """Yields the TIFF tiles of all planes of a level, row by row; tiles at the right and bottom edge are smaller."""
    planes = [()] if rgb else list(np.ndindex(level.shape[:-2]))
    for plane in planes:
        for top in range(0, level.shape[-2], TILE):
            rows = np.asarray(level[(*plane, ..., slice(top, top + TILE), slice(None))])
            rows = np.moveaxis(rows, 0, -1) if rgb else rows
            for left in range(0, level.shape[-1], TILE):
                yield np.ascontiguousarray(rows[:, left : left + TILE])
