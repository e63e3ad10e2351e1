"""The illumination of a camera: its flat-field, its dark-field and its blind pixels, and how they correct a tile.

    tile(y, x) = dark(y, x) + flat(y, x) * specimen(y, x),    hence    specimen = (tile - dark) / flat

The flat-field `flat` is the relative brightness of each pixel: shading, dust and fringes. Its mean is 1 in each channel, so the
correction keeps the overall level of the grey values. The dark-field `dark` is the grey value of each pixel without light.
Blind pixels show no image (`blind.py`). One TIFF file holds all three, with a series for each camera of a dataset.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pandas as pd
import tifffile
from numpy.typing import NDArray

from dlir.core import tables
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

    @property
    def size(self) -> tuple[int, int]:
        """The height and the width of the tiles of the camera, px."""
        return self.blind.shape[0], self.blind.shape[1]

    def of(self, channels: slice) -> "Fields":
        """Returns the fields of some of the channels."""
        return Fields(self.flat[channels], self.dark[channels], self.blind, self.dim)

    def part(self, rows: slice, columns: slice) -> "Fields":
        """Returns the fields in a part of the camera, given by its rows and columns of pixels."""
        return Fields(
            self.flat[:, rows, columns], self.dark[:, rows, columns], self.blind[rows, columns], self.dim[rows, columns]
        )


Light = Sequence[Fields]  # of each camera, in the order of their numbers


def identity(shape: tuple[int, ...]) -> Fields:
    """Returns the fields that leave tiles of this shape (channels, y, x) unchanged: flat is 1, dark is 0, no pixel is blind."""
    flat, dark = (np.broadcast_to(np.float32(value), shape) for value in (1, 0))
    return Fields(flat, dark, np.zeros(shape[1:], bool), np.zeros(shape[1:], bool))


def without_light(tiles: pd.DataFrame) -> list[Fields]:
    """Returns the fields of each camera that leave these tiles (tables.TILES) unchanged."""
    return [identity(shape) for shape in shapes(tiles)]


def shapes(tiles: pd.DataFrame) -> list[tuple[int, int, int]]:
    """Returns the shape (channels, y, x) of the tiles of each camera, up to the last that these tiles (tables.TILES) name.

    A camera without a tile has that of the first tile.
    """
    channels, every = int(tiles["channels"].iloc[0]), dict(zip(tiles["camera"], tables.sizes(tiles).tolist(), strict=True))
    first = tables.sizes(tiles)[0].tolist()
    return [(channels, *every.get(camera, first)) for camera in range(int(tiles["camera"].max()) + 1)]


def read(path: Path, tiles: pd.DataFrame) -> list[Fields]:
    """Reads the fields that `write` wrote, to correct these tiles (tables.TILES).

    Raises:
        IlluminationError: when the tiles have another shape or type of pixels than those that the fields were estimated from.
    """
    dtype, light = lessons(path)[0].dtype, read_all(path)
    of_tiles, of_file = shapes(tiles), [illumination.flat.shape for illumination in light]
    if of_tiles != of_file or dtype not in ("", tiles["dtype"].iloc[0]):
        learnt, now = (", ".join(map(str, each)) for each in (of_file, of_tiles))
        raise IlluminationError(
            f"{path}: was learnt from tiles of the shape {learnt} (channels, y, x), {dtype}, and the tiles "
            f"are {now}, {tiles['dtype'].iloc[0]}: learn it again with snakemake --forcerun illumination"
        )
    return light


def read_all(file: Path | BinaryIO) -> list[Fields]:
    """Returns the fields of each camera in a file of `write`."""
    found = []
    with tifffile.TiffFile(file) as opened:
        for camera, series in enumerate(opened.series):
            channels = range(series.shape[1])
            dark, flat = (_channels(opened, camera, first, series.shape[1:]) for first in (len(channels), 0))
            shown = opened.asarray(series=camera, key=2 * len(channels))
            found.append(Fields(flat, dark, _without_copies(shown == 0), _without_copies((shown > 0) & (shown < 1))))
    return found


def _channels(opened: tifffile.TiffFile, camera: int, first: int, shape: tuple[int, ...]) -> Plane:
    """Reads the channels (channels, y, x) of a field, from its first page."""
    planes = np.empty(shape, np.float32)
    for channel, plane in enumerate(planes):
        plane[...] = opened.asarray(series=camera, key=first + channel)
    return _without_copies(planes)


def _without_copies(planes: NDArray[Any]) -> NDArray[Any]:
    """Returns the pixels; those of one value, such as no dark-field, take no memory."""
    first = planes.flat[0]
    return np.broadcast_to(first.copy(), planes.shape) if (planes == first).all() else planes


def write(light: Light, path: Path, learnt_from: Sequence[Lesson] = ()) -> None:
    """Writes the fields as a TIFF with a series (3, channels, y, x), float32, for each camera.

    They are the flat-field, the dark-field, and how pixels show the image: 0 where they are blind, 0.5 where they are dim, and
    1 elsewhere.

    Args:
        learnt_from: what the fields of each camera were learnt from; `lessons` reads it back.
    """
    with atomically(path) as partial, tifffile.TiffWriter(partial) as file:
        for illumination, lesson in zip(light, learnt_from or [Lesson()] * len(light), strict=True):
            metadata = {"axes": "QCYX", "learnt_from": lesson._asdict()}
            shape = (3, *illumination.flat.shape)
            file.write(
                _planes(illumination),
                shape=shape,
                dtype=np.float32,
                photometric="minisblack",
                compression="zlib",
                metadata=metadata,
            )


def _planes(illumination: Fields) -> Iterator[Plane]:
    """Yields the planes (y, x), float32, of the file, one after the other, since those of a large camera take much memory."""
    for plane in (*illumination.flat, *illumination.dark):
        yield np.ascontiguousarray(plane, np.float32)
    shown = np.ones(illumination.size, np.float32)
    shown[illumination.dim], shown[illumination.blind] = 0.5, 0
    yield from [shown] * len(illumination.flat)


def lessons(file: Path | BinaryIO) -> list[Lesson]:
    """Returns what the fields of each camera in a file of `write` were learnt from."""
    with tifffile.TiffFile(file) as opened:
        metadata = opened.shaped_metadata
    found = [each["learnt_from"] for each in metadata or ()]
    return [Lesson(**{**each, "tiles": tuple(each.get("tiles", ()))}) for each in found] or [Lesson()]


def correct(pixels: Image, illumination: Fields) -> Plane:
    """Returns the tile (channels, y, x), float32, corrected for the illumination.

    Pixels that are darker than the dark-field become negative.
    """
    corrected: Plane = np.subtract(pixels, illumination.dark, dtype=np.float32)
    corrected /= illumination.flat
    return corrected


def described(light: Light) -> list[str]:
    """Returns what `_described` says of each camera, which is named where there are several."""
    if len(light) == 1:
        return _described(light[0])
    names = [f"camera {camera}, {{}} x {{}} px".format(*each.flat.shape[1:]) for camera, each in enumerate(light)]
    return [f"{name}, {sentence}" for name, each in zip(names, light, strict=True) for sentence in _described(each)]


def _described(illumination: Fields) -> list[str]:
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
