"""The illumination of a camera: its flat-field, its dark-field and its blind pixels, and how they correct a tile.

    tile(y, x) = dark(y, x) + flat(y, x) * specimen(y, x),    hence    specimen = (tile - dark) / flat

The flat-field `flat` is the relative brightness of each pixel: shading, dust and fringes. Its mean is 1 in each channel, so the
correction keeps the overall level of the grey values. The dark-field `dark` is the grey value of each pixel without light.
Blind pixels show no image (`blind.py`). One TIFF file holds all three.
"""

from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import pandas as pd
import tifffile

from dlir.core.atomic import atomically
from dlir.illumination.blind import Mask
from dlir.reading.image_files import Image, Plane


class IlluminationError(ValueError):
    """The illumination was estimated from tiles of another shape or with other pixels."""


class Lesson(NamedTuple):
    """What fields were learnt from."""

    tiles: tuple[str, ...] = ()  # SHA-256 of each tile that was looked at
    listed: int = 0  # tiles that the dataset had, from which those were chosen
    dtype: str = ""  # of their pixels
    planes: str = ""  # which of their planes were looked at
    key: str = ""  # a hash of the settings, the code and the user's own fields

    def described(self, tiles: pd.DataFrame) -> list[str]:
        """Returns a sentence on what was learnt from, and how much of it is among these tiles (tables.TILES)."""
        there = self.there(tiles)
        learnt = f"flat-field and dark-field were learnt from {len(self.tiles)} tiles"
        return [f"{learnt}, of which {there} are among the {len(tiles)} tiles of the mosaic"] if self.tiles else []

    def there(self, tiles: pd.DataFrame) -> int:
        """Returns how many of the tiles that were looked at are among these (tables.TILES)."""
        return len({*self.tiles} & {*tiles["sha256"]})


class Fields(NamedTuple):
    """The flat-field, the dark-field and the blind pixels of a camera."""

    flat: Plane  # (channels, y, x), mean 1 in each channel
    dark: Plane  # (channels, y, x), grey values
    blind: Mask  # (y, x), whether the pixel shows no image
    dim: Mask  # (y, x), whether it lies at the border of those and shows the image in little light

    def of(self, channels: slice) -> "Fields":
        """Returns the fields of some of the channels."""
        return Fields(self.flat[channels], self.dark[channels], self.blind, self.dim)

    def part(self, rows: slice, columns: slice) -> "Fields":
        """Returns the fields in a part of the camera, given by its rows and columns of pixels."""
        return Fields(
            self.flat[:, rows, columns], self.dark[:, rows, columns], self.blind[rows, columns], self.dim[rows, columns]
        )


UNKNOWN = Lesson()


def identity(shape: tuple[int, ...]) -> Fields:
    """Returns the fields that leave tiles of this shape (channels, y, x) unchanged: flat is 1, dark is 0, no pixel is blind."""
    return Fields(np.ones(shape, np.float32), np.zeros(shape, np.float32), np.zeros(shape[1:], bool), np.zeros(shape[1:], bool))


def read(path: Path, tiles: pd.DataFrame) -> Fields:
    """Reads the fields that `write` wrote, to correct these tiles (tables.TILES).

    Raises:
        IlluminationError: when the tiles have another shape or type of pixels than those that the fields were estimated from.
    """
    flat, dark, shown = tifffile.imread(path)
    dtype = lesson(path).dtype
    illumination, first = Fields(flat, dark, shown[0] == 0, (shown[0] > 0) & (shown[0] < 1)), tiles.iloc[0]
    shape = tuple(int(first[name]) for name in ("channels", "height", "width"))
    if illumination.flat.shape != shape or dtype not in ("", first["dtype"]):
        raise IlluminationError(
            f"{path}: was learnt from tiles of the shape {illumination.flat.shape} (channels, y, x), {dtype}, and the tiles "
            f"are {shape}, {first['dtype']}: learn it again with snakemake --forcerun illumination"
        )
    return illumination


def write(illumination: Fields, path: Path, learnt_from: Lesson = UNKNOWN) -> None:
    """Writes the fields as a TIFF (3, channels, y, x), float32: the flat-field, the dark-field, and how pixels show the image.

    That is 0 where they are blind, 0.5 where they are dim, and 1 elsewhere.

    Args:
        learnt_from: what the fields were learnt from; `lesson` reads it back.
    """
    metadata = {"axes": "QCYX", "learnt_from": learnt_from._asdict()}
    with atomically(path) as partial:
        shown = np.where(illumination.blind, 0, np.where(illumination.dim, 0.5, 1))
        planes = np.stack(np.broadcast_arrays(illumination.flat, illumination.dark, shown)).astype(np.float32)
        tifffile.imwrite(partial, planes, photometric="minisblack", compression="zlib", metadata=metadata)


def lesson(file: Path | BinaryIO) -> Lesson:
    """Returns what the fields in a file of `write` were learnt from."""
    with tifffile.TiffFile(file) as opened:
        metadata = opened.shaped_metadata
    found = metadata[0]["learnt_from"] if metadata else {}
    return Lesson(**{**found, "tiles": tuple(found.get("tiles", ()))})


def correct(pixels: Image, illumination: Fields) -> Plane:
    """Returns the tile (channels, y, x), float32, corrected for the illumination.

    Pixels that are darker than the dark-field become negative.
    """
    corrected: Plane = np.subtract(pixels, illumination.dark, dtype=np.float32)
    corrected /= illumination.flat
    return corrected


def described(illumination: Fields) -> list[str]:
    """Returns a sentence for each channel: how far flat and dark depart from an even illumination; and one on blind pixels."""
    sentences = []
    for channel, (flat, dark) in enumerate(zip(illumination.flat, illumination.dark, strict=True)):
        shading = f"the flat-field varies by {flat.std():.1%} (root mean square), from {flat.min():.2f} to {flat.max():.2f}"
        offset = (
            f"the dark-field is {dark.min():.0f} to {dark.max():.0f} grey values" if dark.any() else "no dark-field is taken"
        )
        sentences.append(f"channel {channel}: {shading}; {offset}")
    if illumination.blind.any():
        blind, dim = int(illumination.blind.sum()), int(illumination.dim.sum())
        sentences.append(
            f"{blind} of {illumination.blind.size} pixels of the camera show no image, such as a frame, dead rows, or the "
            f"outside of a round field, and {dim} beside them show it in little light: registration leaves both out, and the "
            "mosaic takes only the second, and those only where no other tile covers the place"
        )
    return sentences
