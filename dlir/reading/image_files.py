"""Reads image files: a file is a stack of planes `(channels, y, x)`, and each kind of damage has its error message.

The first bytes of a file tell its format, not its name. Of a TIFF only the planes that are asked for are decoded (`tiff.py`).
Where the end of a file is missing, the codecs return zeros or grey; so this module checks that each file is complete.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from dlir.reading.contents import Identity
from dlir.reading.tiff import AxesError, Sizes, TiffStack, silenced

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # first bytes: classic and big TIFF, little and big endian
PNG, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
JPEG, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
TAIL = 64  # bytes at the end of a file in which the end mark lies; some programs write a few bytes after it
DTYPES = ("uint8", "uint16", "float32")
Image = NDArray[np.generic]
Plane = NDArray[np.float32]


class ImageError(ValueError):
    """A file cannot be used as a tile; the message names the file and the remedy."""


class Source(Protocol):
    """An open file of any format."""

    sizes: Sizes
    dtype: np.dtype[Any]
    names: tuple[str, ...]  # of the channels; empty where the file has none

    def read(self, time: int, z: int, channel: int | None) -> Image: ...


class DecodedImage:
    """A file that is decoded in one piece; it has one time point and one z plane."""

    def __init__(self, pixels: Image) -> None:
        self.pixels = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
        self.sizes, self.dtype = Sizes(1, 1, *self.pixels.shape), pixels.dtype
        self.names: tuple[str, ...] = ()

    def read(self, time: int, z: int, channel: int | None) -> Image:
        return self.pixels if channel is None else self.pixels[channel][None]


class Stack:
    """An open TIFF, PNG or JPEG file with pixels of 8 or 16 bit, unsigned, or float32. Alpha channels are left out."""

    def __init__(self, path: Path, source: Source, identity: Identity) -> None:
        self.path, self.source, self.identity = path, source, identity
        self.sizes, self.dtype, self.names = source.sizes, source.dtype.name, source.names
        if self.dtype not in DTYPES:
            raise ImageError(f"{path}: has {self.dtype} pixels, dlir reads {', '.join(DTYPES)}: convert the tiles")

    def read(self, time: int = 0, z: int = 0, channel: int | None = None) -> Image:
        """Returns the plane (channels, y, x) at a time point and a z, counted from 0; only one channel where it is given.

        Raises:
            ImageError: when that part of the file is damaged or missing.
        """
        with _image_errors(self.path):
            pixels = self.source.read(time, z, channel)
        return np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("="))


@contextmanager
def opened(path: str | Path) -> Iterator[Stack]:
    """Opens a file as a stack, whose `read` decodes only what it returns.

    Raises:
        ImageError: when the file is unreadable, cut short or no image, has axes other than time, z, channel, y and x, or
            changes before the block ends.
    """
    path = Path(path)
    with _image_errors(path):
        file = path.open("rb")
    with file:
        with _image_errors(path):
            identity = Identity.of(os.fstat(file.fileno()))
            stack = Stack(path, _source(file), identity)
        yield stack
        if Identity.of(os.fstat(file.fileno())) != identity:
            raise ImageError(f"{path}: changed while it was read: wait until it is written, and run again")


def read(path: str | Path) -> Image:
    """Returns the pixels (channels, y, x) of a file with one time point and one z plane.

    Raises:
        ImageError: when the file has more planes, and as `opened` does.
    """
    with opened(path) as stack:
        if (stack.sizes.times, stack.sizes.depth) != (1, 1):
            what = f"{stack.sizes.times} time points and {stack.sizes.depth} z planes"
            raise ImageError(f"{path}: holds {what}, one plane is needed here: export each plane to its own file")
        return stack.read()


def channel_mean(pixels: Image) -> Plane:
    """Returns the mean (y, x), float32, over the channels of `pixels` (channels, y, x)."""
    mean: Plane = pixels.mean(axis=0, dtype=np.float32)
    return mean


@contextmanager
def _image_errors(path: Path) -> Iterator[None]:
    """Turns whatever goes wrong while the file `path` is read into an ImageError, and drops tifffile's own messages."""
    try:
        with silenced():
            yield
    except ImageError:
        raise
    except AxesError as error:
        raise ImageError(f"{path}: {error}") from None
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror}): check the path and its permissions") from None
    except Exception as error:  # each codec has its own class of errors, without a common base
        raise ImageError(f"{path}: is damaged or not an image ({error}): copy it again from the microscope") from None


def _source(file: BinaryIO) -> Source:
    """Returns the open file by its format; raises ValueError when it is cut short, or has none of the formats."""
    head = file.read(len(PNG))
    file.seek(0)
    if head.startswith(TIFF):
        return TiffStack(file)
    data = file.read()
    if data.startswith(PNG):
        if PNG_END not in data[-TAIL:]:
            raise ValueError("cut short: a PNG without its end")
        pixels = imagecodecs.png_decode(data)
        alpha = pixels.ndim == 3 and pixels.shape[-1] in (2, 4)
        return DecodedImage(pixels[..., :-1] if alpha else pixels)
    if data.startswith(JPEG):
        if JPEG_END not in data[-TAIL:]:
            raise ValueError("cut short: a JPEG without its end")
        return DecodedImage(imagecodecs.jpeg_decode(data))
    raise ValueError("not a TIFF, PNG or JPEG file" if data else "the file is empty")
