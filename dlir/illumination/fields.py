"""The illumination of a camera: its flat-field and its dark-field, and how they correct a tile.

    tile(y, x) = dark(y, x) + flat(y, x) * specimen(y, x),    hence    specimen = (tile - dark) / flat

The flat-field `flat` is the relative brightness of each pixel: shading, dust and fringes. Its mean is 1 in each channel, so the
correction keeps the overall level of the grey values. The dark-field `dark` is the grey value of each pixel without light. One
TIFF file holds both.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import tifffile

from dlir.core.atomic import atomically
from dlir.reading.image_files import Image, Plane


class IlluminationError(ValueError):
    """The illumination was estimated from tiles of another shape."""


class Fields(NamedTuple):
    """The flat-field and the dark-field of a camera."""

    flat: Plane  # (channels, y, x), mean 1 in each channel
    dark: Plane  # (channels, y, x), grey values

    def of(self, channels: slice) -> "Fields":
        """Returns the fields of some of the channels."""
        return Fields(self.flat[channels], self.dark[channels])

    def part(self, rows: slice, columns: slice) -> "Fields":
        """Returns the fields in a part of the camera, given by its rows and columns of pixels."""
        return Fields(self.flat[:, rows, columns], self.dark[:, rows, columns])


def identity(shape: tuple[int, ...]) -> Fields:
    """Returns the fields that leave tiles of this shape (channels, y, x) unchanged: flat is 1, dark is 0."""
    return Fields(np.ones(shape, np.float32), np.zeros(shape, np.float32))


def read(path: Path, tiles: pd.DataFrame) -> Fields:
    """Reads the fields that `write` wrote, to correct these tiles (tables.TILES).

    Raises:
        IlluminationError: when the tiles have another shape than those that the fields were estimated from.
    """
    illumination, first = Fields(*tifffile.imread(path)), tiles.iloc[0]
    shape = tuple(int(first[name]) for name in ("channels", "height", "width"))
    if illumination.flat.shape != shape:
        raise IlluminationError(
            f"{path}: was learnt from tiles of the shape {illumination.flat.shape} (channels, y, x), but the tiles now have "
            f"the shape {shape}: estimate it and train the model again with snakemake --forcerun illumination train"
        )
    return illumination


def write(illumination: Fields, path: Path, tiles: Sequence[str] = ()) -> None:
    """Writes the fields as a TIFF (2, channels, y, x), float32: the flat-field, then the dark-field.

    Args:
        tiles: the SHA-256 of each tile that the fields were estimated from; `learnt_from` reads them back.
    """
    metadata = {"axes": "QCYX", "tiles": list(tiles)}
    with atomically(path) as partial:
        tifffile.imwrite(partial, np.stack(illumination), photometric="minisblack", compression="zlib", metadata=metadata)


def learnt_from(path: Path) -> list[str]:
    """Returns the SHA-256 of each tile that the fields in this file of `write` were estimated from."""
    with tifffile.TiffFile(path) as file:
        metadata = file.shaped_metadata
    return list(metadata[0]["tiles"]) if metadata else []


def correct(pixels: Image, illumination: Fields) -> Plane:
    """Returns the tile (channels, y, x), float32, corrected for the illumination.

    Pixels that are darker than the dark-field become negative.
    """
    corrected: Plane = np.subtract(pixels, illumination.dark, dtype=np.float32)
    corrected /= illumination.flat
    return corrected


def described(illumination: Fields) -> list[str]:
    """Returns a sentence for each channel: how far flat and dark depart from an even illumination."""
    sentences = []
    for flat, dark in zip(*illumination, strict=True):
        shading = f"the flat-field varies by {flat.std():.1%} (root mean square), from {flat.min():.2f} to {flat.max():.2f}"
        offset = (
            f"the dark-field is {dark.min():.0f} to {dark.max():.0f} grey values" if dark.any() else "there is no dark-field"
        )
        sentences.append(f"{shading}; {offset}")
    return sentences
