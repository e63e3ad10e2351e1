"""OME-Zarr metadata."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import zarr
from ome_zarr_models.common.omero import Channel, Omero, Window
from ome_zarr_models.v05.axes import Axis
from ome_zarr_models.v05.image import Image as ImageModel
from ome_zarr_models.v05.image import ImageAttrs
from ome_zarr_models.v05.multiscales import Dataset, Multiscale

from dlir.fusion.pyramid import Pyramid
from dlir.reading.image_files import Image

TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
COLOURS = ("FF0000", "00FF00", "0000FF", "FF00FF", "00FFFF", "FFFF00")


def describe(folder: Path, pyramid: Pyramid, name: str, pixel_size: float, channels: Sequence[str] = ()) -> None:
    """Write the metadata of the pyramid and check the whole store against the OME-Zarr 0.5 model.

    Args:
        channels: their names, where they have any.
    """
    known = not np.isnan(pixel_size)
    axes = [Axis(name=n, type=TYPES[n], unit="micrometer" if known and n in "yx" else None) for n in pyramid.axes]
    datasets = []
    for index in range(len(pyramid.arrays)):
        factor = np.array([2**index if n in "yx" else 1 for n in pyramid.axes])
        unit = np.array([pixel_size if known and n in "yx" else 1 for n in pyramid.axes])
        # the first pixel of a level lies in the middle of the pixels that it is the mean of
        scale, shift = factor * unit * 1.0, (factor - 1) / 2 * unit
        datasets.append(Dataset.build(path=str(index), scale=scale.tolist(), translation=shift.tolist()))
    multiscale = Multiscale(axes=axes, datasets=tuple(datasets), name=name, type="mean")
    attributes = ImageAttrs.model_validate(
        {
            "version": "0.5",
            "multiscales": [multiscale],
            "omero": _display(np.asarray(pyramid.arrays[-1][...]), pyramid.channels, channels),
        }
    )
    group = zarr.open_group(folder, mode="r+")
    group.attrs["ome"] = attributes.model_dump(mode="json", exclude_none=True)
    ImageModel.from_zarr(group)


def _display(pixels: Image, count: int, names: Sequence[str]) -> Omero:
    """Names, colours and grey range for viewers: three channels are red, green and blue; 8 bit keep their whole range."""
    low, high = (0.0, 255.0) if pixels.dtype == np.uint8 else (float(pixels.min()), float(pixels.max()))
    window = Window(min=low, max=high, start=low, end=high)
    colours = ["FFFFFF"] if count == 1 else [COLOURS[i % len(COLOURS)] for i in range(count)]
    labels = [{"label": name} for name in names] or [{}] * count
    told = ({"color": colour, "window": window, **label} for colour, label in zip(colours, labels, strict=True))
    return Omero(channels=[Channel.model_validate(channel) for channel in told])
