"""Writes the OME-Zarr 0.5 metadata of a mosaic, and checks the finished store against the specification.

The metadata say what a viewer needs: the axes and their units, the path, pixel size and position of each level of the pyramid
("multiscales"), and the name, colour and grey values of each channel ("omero"; see `display.py`). The classes of
ome-zarr-models check both by the specification (https://ngff.openmicroscopy.org/0.5).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import zarr
from ome_zarr_models.common.omero import Channel, Omero
from ome_zarr_models.v05.axes import Axis
from ome_zarr_models.v05.image import Image as ImageModel
from ome_zarr_models.v05.image import ImageAttrs
from ome_zarr_models.v05.multiscales import Dataset, Multiscale

from dlir.fusion import display
from dlir.fusion.pyramid import Pyramid

TYPES = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}  # of the axes


def write_metadata(folder: Path, pyramid: Pyramid, name: str, pixel_size: float, omero: Omero) -> None:
    """Writes the metadata of a store whose pixels are written, and checks the whole store.

    Args:
        folder: the folder of the store.
        pyramid: its levels.
        name: the name of the image, which viewers show.
        pixel_size: micrometres, along y and x; NaN where it is unknown. Pixels then have the size 1 and no unit.
        omero: how viewers show the channels (`shown_by_pixels`).

    Raises:
        pydantic.ValidationError: when the store does not meet the specification.
    """
    known = not np.isnan(pixel_size)
    axes = [Axis(name=axis, type=TYPES[axis], unit="micrometer" if known and axis in "yx" else None) for axis in pyramid.axes]
    datasets = []
    for level in range(len(pyramid.arrays)):
        factor = np.array([2**level if axis in "yx" else 1 for axis in pyramid.axes])
        unit = np.array([pixel_size if known and axis in "yx" else 1 for axis in pyramid.axes])
        # a pixel of a level is the mean of factor x factor pixels of level 0, so the first one lies at the centre of these
        scale, shift = factor * unit * 1.0, (factor - 1) / 2 * unit
        datasets.append(Dataset.build(path=str(level), scale=scale.tolist(), translation=shift.tolist()))
    multiscale = Multiscale(axes=axes, datasets=tuple(datasets), name=name, type="mean")
    attributes = ImageAttrs.model_validate(
        {
            "version": "0.5",
            "multiscales": [multiscale],
            "omero": omero,
        }
    )
    group = zarr.open_group(folder, mode="r+")
    written = attributes.model_dump(mode="json", exclude_none=True)
    # neuroglancer 2.41 looks for the channels where OME-Zarr 0.4 had them; without them it takes a whole type for the window
    group.attrs.update({"ome": written, "omero": written["omero"]})
    ImageModel.from_zarr(group)


def shown_by_pixels(pyramid: Pyramid, names: Sequence[str]) -> Omero:
    """Returns how viewers show the channels of a store whose pixels are written: names, colours, grey values (`display.py`).

    Args:
        names: of the channels; none where they have no names.
    """
    named = list(names) or [""] * pyramid.channels
    if not any(named) and display.is_rgb(pyramid.channels, pyramid.dtype, named):
        named = [*display.RGB]
    windows = display.windows(pyramid.arrays, pyramid.axes, named)
    channels = [
        {"color": colour, "window": window, "active": True, **({"label": name} if name else {})}
        for name, colour, window in zip(named, display.colours(named), windows, strict=True)
    ]
    return Omero(channels=[Channel.model_validate(channel) for channel in channels])
