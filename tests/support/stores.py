"""Writes OME-Zarr images of version 0.4 (Zarr 2) and 0.5 (Zarr 3), as programs of microscopes do."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

LENGTHS = {"t": 2, "c": 2, "z": 3, "y": 40, "x": 48}
Transformations = Sequence[tuple[str, Sequence[float]]]  # kind, numbers


def pixels_of(axes: str) -> NDArray[np.uint16]:
    """Returns pixels that are all different."""
    shape = [LENGTHS[axis] for axis in axes]
    return np.arange(1, 1 + np.prod(shape), dtype=np.uint16).reshape(shape)


def write_image(
    store: Path,
    pixels: NDArray[Any],
    axes: str,
    version: Any,
    *,
    unit: dict[str, str] | None = None,
    level: Transformations = (),
    whole: Transformations = (),
    omero: dict[str, Any] | None = None,
    compressors: Any = "auto",
    shards: tuple[int, ...] | None = None,
) -> None:
    """Writes an image with one level, in chunks of 16 px.

    Args:
        version: of Zarr, 2 or 3.
        level: the transformations of the level.
        whole: those of all levels.
    """
    multiscale = {
        "name": store.name.split(".")[0],
        "axes": [{"name": axis, "type": "space" if axis in "zyx" else "other", **(unit or {})} for axis in axes],
        "datasets": [{"path": "0", "coordinateTransformations": [{"type": kind, kind: numbers} for kind, numbers in level]}],
        "coordinateTransformations": [{"type": kind, kind: numbers} for kind, numbers in whole],
    }
    attributes = {"multiscales": [multiscale], **({"omero": omero} if omero else {})}
    group = zarr.create_group(
        store, zarr_format=version, attributes=attributes if version == 2 else {"ome": {"version": "0.5", **attributes}}
    )
    chunks = tuple(16 if axis in "yx" else 1 for axis in axes)
    key: Any = {"name": "v2" if version == 2 else "default", "separator": "/"}
    group.create_array("0", data=pixels, chunks=chunks, shards=shards, chunk_key_encoding=key, compressors=compressors)


def write_series(store: Path, images: Sequence[NDArray[Any]], version: Any) -> None:
    """Writes images (y, x) as bioformats2raw does: numbered from 0 in one group."""
    layout = {"bioformats2raw.layout": 3}
    zarr.create_group(store, zarr_format=version, attributes=layout if version == 2 else {"ome": layout})
    for number, pixels in enumerate(images):
        write_image(store / "new", pixels, "yx", version)
        (store / "new").rename(store / str(number))
        rename(store / str(number), f"t{number}")


def rename(store: Path, name: str) -> None:
    """Gives an image another name."""
    for header in (file for file in (store / "zarr.json", store / ".zattrs") if file.exists()):
        header.write_text(header.read_text().replace('"name": "new"', f'"name": "{name}"'))
