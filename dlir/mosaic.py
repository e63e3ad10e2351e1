"""The mosaic: all tiles fused and written as an OME-Zarr 0.5 with its pyramid.

Work goes from top to bottom in bands as high as a shard, and the pyramid grows with them: memory is that of a few
bands, whatever the height of the mosaic.
"""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import DTypeLike
from ome_zarr_models.common.omero import Channel, Omero, Window
from ome_zarr_models.v05.axes import Axis
from ome_zarr_models.v05.image import Image as ImageModel
from ome_zarr_models.v05.image import ImageAttrs
from ome_zarr_models.v05.multiscales import Dataset, Multiscale
from zarr.codecs import BloscCodec

from dlir import affine, light, tables
from dlir.affine import Array
from dlir.files import whole
from dlir.fusion import Region, fuse
from dlir.images import Image, Plane
from dlir.progress import progress
from dlir.settings import Mosaic

log = logging.getLogger(__name__)
SMALLEST = 512  # px; the pyramid ends with the first level whose longest side is not longer
COLOURS = ("FF0000", "00FF00", "0000FF", "FF00FF", "00FFFF", "FFFF00")


def mosaic(
    tiles: Path,
    illumination: Path,
    exposure: Path,
    placement: Path,
    output: Path,
    *,
    settings: Mosaic,
    threads: int = 1,
) -> None:
    """Fuse the tiles of `placement` into the OME-Zarr store `output`, in their dtype; a failed run leaves no store.

    Raises:
        ImageError: when a tile cannot be read any more, or has changed its shape.
    """
    first = tables.read(tiles, tables.TILES).to_dict("records")[0]
    placed = tables.read(placement, tables.PLACEMENT)
    gains = tables.gains(tables.read(exposure, tables.EXPOSURE), placed["tile"])
    patterns = light.read(illumination)
    affines = affine.from_table(placed)
    shape = (first["channels"], *_size(affines, first["height"], first["width"]))
    log.info("mosaic of %d tiles: %d x %d px, %d channels of %s", len(placed), *shape[1:], shape[0], first["dtype"])
    with whole(output) as partial:
        levels = _create(partial, shape, first["dtype"], settings)
        for top in progress(range(0, shape[1], settings.shard), "mosaic, bands"):
            region = Region(top, 0, min(settings.shard, shape[1] - top), shape[2])
            band, _ = fuse(list(placed["path"]), affines, gains, patterns, region, settings.interpolation, threads)
            levels[0].add(to_dtype(band, first["dtype"]))
        _describe(partial, [level.array for level in levels], output.name.split(".")[0], first["pixel_size"])


def to_dtype(values: Plane, dtype: DTypeLike) -> Image:
    """The values in a dtype: to an integer they are rounded, half to even so that no bias arises, and clipped."""
    if np.issubdtype(dtype, np.floating):
        return values.astype(dtype)
    return np.rint(values).clip(0, np.iinfo(np.dtype(dtype)).max).astype(dtype)


def halve(rows: Image) -> Image:
    """The means (channels, ceil(y / 2), ceil(x / 2)) of 2 x 2 pixels; an odd last row or column counts twice."""
    _, height, width = rows.shape
    if height % 2 or width % 2:
        rows = np.pad(rows, ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    pairs: Plane = np.add(rows[:, ::2], rows[:, 1::2], dtype=np.float32)
    means: Plane = (pairs[..., ::2] + pairs[..., 1::2]) * np.float32(0.25)
    return to_dtype(means, rows.dtype)


class Level:
    """A level of the pyramid: takes its rows from the top, writes whole rows of shards, hands their means down."""

    def __init__(self, array: "zarr.Array[Any]", shard: int, below: "Level | None") -> None:
        self.array, self.shard, self.below = array, shard, below
        self.top = 0
        self.waiting: list[Image] = []

    def add(self, rows: Image) -> None:
        """Take the next rows (channels, y, x); never more at once than are missing to a whole row of shards."""
        self.waiting.append(rows)
        bottom = self.top + sum(part.shape[1] for part in self.waiting)
        if bottom - self.top < self.shard and bottom < self.array.shape[-2]:
            return
        rows = np.concatenate(self.waiting, axis=1) if len(self.waiting) > 1 else rows
        self.array[..., self.top : bottom, :] = rows if self.array.ndim == 3 else rows[0]
        self.waiting, self.top = [], bottom
        if self.below is not None:
            self.below.add(halve(rows))


def _size(affines: Array, height: int, width: int) -> tuple[int, int]:
    """The size (y, x) of the array that holds the centres of all pixels at or beyond (0, 0)."""
    largest = affine.apply(affines, affine.corners(height, width)).max((0, 1))
    rows, columns = np.ceil(largest - 1e-6).astype(int) + 1
    return int(rows), int(columns)


def _create(folder: Path, shape: tuple[int, ...], dtype: str, settings: Mosaic) -> list[Level]:
    """The empty arrays of a pyramid, full resolution first; one channel has no axis of its own."""
    group = zarr.open_group(folder, mode="w", zarr_format=3)
    sizes = [shape[1:]]
    while max(sizes[-1]) > SMALLEST:
        sizes.append(tuple(-(-length // 2) for length in sizes[-1]))
    channels, one = ((shape[0],), (1,)) if shape[0] > 1 else ((), ())
    levels: list[Level] = []
    for index in reversed(range(len(sizes))):
        array = group.create_array(
            str(index), shape=(*channels, *sizes[index]), dtype=dtype, fill_value=0,
            chunks=(*one, settings.chunk, settings.chunk), shards=(*one, settings.shard, settings.shard),
            compressors=BloscCodec(cname="zstd", clevel=1, shuffle="shuffle"),
            dimension_names=["c", "y", "x"] if channels else ["y", "x"],
        )  # fmt: skip
        levels.insert(0, Level(array, settings.shard, levels[0] if levels else None))
    return levels


def _describe(folder: Path, arrays: "list[zarr.Array[Any]]", name: str, pixel_size: float) -> None:
    """Write the metadata of the pyramid and check the whole store against the OME-Zarr 0.5 model."""
    known = not np.isnan(pixel_size)
    axes = [Axis(name=n, type="space", unit="micrometer" if known else None) for n in "yx"]
    axes = [Axis(name="c", type="channel")] * (arrays[0].ndim - 2) + axes
    datasets = []
    for index in range(len(arrays)):
        factor = np.array([1, 2**index, 2**index][-len(axes) :])
        unit = np.array([1, pixel_size, pixel_size][-len(axes) :]) if known else 1
        # the first pixel of a level lies in the middle of the pixels that it is the mean of
        scale, shift = factor * unit * 1.0, (factor - 1) / 2 * unit
        datasets.append(Dataset.build(path=str(index), scale=scale.tolist(), translation=shift.tolist()))
    multiscale = Multiscale(axes=axes, datasets=tuple(datasets), name=name, type="mean")
    attributes = ImageAttrs.model_validate(
        {"version": "0.5", "multiscales": [multiscale], "omero": _display(np.asarray(arrays[-1][...]))}
    )
    group = zarr.open_group(folder, mode="r+")
    group.attrs["ome"] = attributes.model_dump(mode="json", exclude_none=True)
    ImageModel.from_zarr(group)


def _display(pixels: Image) -> Omero:
    """Colours and grey range for viewers: three channels are red, green and blue; 8 bit keep their whole range."""
    low, high = (0.0, 255.0) if pixels.dtype == np.uint8 else (float(pixels.min()), float(pixels.max()))
    window = Window(min=low, max=high, start=low, end=high)
    colours = ["FFFFFF"] if pixels.ndim == 2 else [COLOURS[i % len(COLOURS)] for i in range(len(pixels))]
    return Omero(channels=[Channel(color=colour, window=window) for colour in colours])
