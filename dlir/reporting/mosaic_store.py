"""Reads parts of the OME-Zarr store of a mosaic, never the whole of it."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zarr

from dlir.reading.image_files import Image
from dlir.reading.tile_reader import TileReader


class Plane(NamedTuple):
    """A z plane at a time point, both counted from 0."""

    time: int
    z: int | None  # None: the maximum over all z planes


class MosaicStore:
    """The store of a mosaic, opened for reading.

    Attributes:
        path: the folder of the store.
        axes: of its arrays, such as tczyx.
        levels: the arrays of the pyramid, the finest first.
        channels: how viewers show them ("omero").
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        ome: Any = zarr.open_group(path, mode="r").attrs["ome"]
        described = ome["multiscales"][0]
        self.axes = "".join(axis["name"] for axis in described["axes"])
        self.levels: list[zarr.Array[Any]] = [
            zarr.open_array(path / dataset["path"], mode="r") for dataset in described["datasets"]
        ]
        self.channels: list[dict[str, Any]] = ome["omero"]["channels"]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, px, of the finest level."""
        height, width = self.levels[0].shape[-2:]
        return height, width

    def read(self, level: int, plane: Plane, y: slice, x: slice, channels: slice = slice(None)) -> Image:
        """Returns the pixels (channels, y, x) of a part of a level; one z after the other where their maximum is taken."""
        array = self.levels[level]
        depths = range(array.shape[self.axes.index("z")]) if plane.z is None and "z" in self.axes else [plane.z or 0]
        maximum: Image | None = None
        for z in depths:
            chosen: dict[str, int | slice] = {"t": plane.time, "c": channels, "z": z, "y": y, "x": x}
            pixels = np.asarray(array[tuple(chosen[axis] for axis in self.axes)])
            maximum = pixels if maximum is None else np.maximum(maximum, pixels)
        assert maximum is not None, "a mosaic has at least one z plane"
        return maximum if "c" in self.axes else maximum[None]


def reference_plane(reader: TileReader) -> Plane:
    """Returns the plane that registration saw of these tiles."""
    return Plane(reader.time, reader.z if reader.depth > 1 else 0)
