"""What stands between the specimen and the grey values of a tile: how the light falls, and what is there without any.

    tile(y, x) = dark(y, x) + flat(y, x) * specimen(y, x),    hence    specimen = (tile - dark) / flat

`flat` has the mean 1 in each channel, so that grey values stay what they are on the whole. On disk both are one TIFF.
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
    """The light was learnt from tiles of another shape."""


class Fields(NamedTuple):
    """The two patterns that sit still on the camera."""

    flat: Plane  # (channels, y, x), mean 1
    dark: Plane  # (channels, y, x), grey values

    def of(self, channels: slice) -> "Fields":
        """The light of some of the channels."""
        return Fields(self.flat[channels], self.dark[channels])

    def part(self, rows: slice, columns: slice) -> "Fields":
        """The light in a part of the camera."""
        return Fields(self.flat[:, rows, columns], self.dark[:, rows, columns])


def identity(shape: tuple[int, ...]) -> Fields:
    """The light that leaves tiles (channels, y, x) as they are."""
    return Fields(np.ones(shape, np.float32), np.zeros(shape, np.float32))


def read(path: Path, tiles: pd.DataFrame) -> Fields:
    """The light in the file that `write` made, of these tiles (tables.TILES).

    Raises:
        IlluminationError: where the tiles have another shape than those that it was learnt from.
    """
    light, first = Fields(*tifffile.imread(path)), tiles.iloc[0]
    shape = tuple(int(first[name]) for name in ("channels", "height", "width"))
    if light.flat.shape != shape:
        what = f"was learnt from tiles of the shape {light.flat.shape} (channels, y, x), and they are {shape} now"
        raise IlluminationError(f"{path}: {what}: have it and the model learnt again, snakemake --forcerun illumination train")
    return light


def write(light: Fields, path: Path, tiles: Sequence[str] = ()) -> None:
    """Write the light as a TIFF (2, channels, y, x), float32: the flat-field, then the dark-field.

    `tiles` are the SHA-256 of those that it was learnt from, which `learnt_from` tells.
    """
    about = {"axes": "QCYX", "tiles": list(tiles)}
    with atomically(path) as partial:
        tifffile.imwrite(partial, np.stack(light), photometric="minisblack", compression="zlib", metadata=about)


def learnt_from(path: Path) -> list[str]:
    """The SHA-256 of the tiles that the light in a file of `write` was learnt from."""
    with tifffile.TiffFile(path) as file:
        about = file.shaped_metadata
    return list(about[0]["tiles"]) if about else []


def correct(pixels: Image, light: Fields) -> Plane:
    """The tile (channels, y, x), float32, as even light shows it; what lies under the dark comes out negative."""
    corrected: Plane = np.subtract(pixels, light.dark, dtype=np.float32)
    corrected /= light.flat
    return corrected


def described(light: Fields) -> list[str]:
    """How deep the patterns of each channel are, in a sentence."""
    said = []
    for flat, dark in zip(*light, strict=True):
        depth = f"the flat-field is {flat.std():.1%} deep (root mean square), {flat.min():.2f} to {flat.max():.2f}"
        offset = f"the dark-field {dark.min():.0f} to {dark.max():.0f} grey values" if dark.any() else "there is no dark-field"
        said.append(f"{depth}; {offset}")
    return said
