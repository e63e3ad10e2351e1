"""Reading tiles: a file is a stack of planes `(channels, y, x)`, and every way in which it can be wrong has its words.

The kind of a file is told by its first bytes, never by its name. Of a TIFF only the planes that are asked for are decoded
(`tiff.py`). Codecs fill what is missing at the end of a file with zeros or grey, so the ends are checked here.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from dlir.reading.tiff import AxesError, Pages, Sizes

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # classic and big, little and big endian
PNG, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
JPEG, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
DTYPES = ("uint8", "uint16", "float32")
Image = NDArray[np.generic]
Plane = NDArray[np.float32]
logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # read() says itself, and in one line, what is wrong


class ImageError(ValueError):
    """A tile cannot be used; the message names the file and the remedy."""


class Source(Protocol):
    """An open file of any kind."""

    sizes: Sizes
    dtype: np.dtype[Any]
    names: tuple[str, ...]  # of the channels, or none

    def read(self, time: int, z: int, channel: int | None) -> Image: ...


class Picture:
    """A file that is decoded in one piece: one time, one depth."""

    def __init__(self, pixels: Image) -> None:
        self.pixels = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
        self.sizes, self.dtype = Sizes(1, 1, *self.pixels.shape), pixels.dtype
        self.names: tuple[str, ...] = ()

    def read(self, time: int, z: int, channel: int | None) -> Image:
        return self.pixels if channel is None else self.pixels[channel][None]


class Stack:
    """An open TIFF, PNG or JPEG file: 8 or 16 bit unsigned, or float32; alpha is left out."""

    def __init__(self, path: Path, source: Source) -> None:
        self.path, self.source = path, source
        self.sizes, self.dtype, self.names = source.sizes, source.dtype.name, source.names
        if self.dtype not in DTYPES:
            raise ImageError(f"{path}: has {self.dtype} pixels, dlir reads {', '.join(DTYPES)}: convert the tiles")

    def read(self, time: int = 0, z: int = 0, channel: int | None = None) -> Image:
        """The plane (channels, y, x) at a time and a depth, counted from 0; of one channel where that is given.

        Raises:
            ImageError: when the file is damaged or cut short there.
        """
        with _in_words(self.path):
            pixels = self.source.read(time, z, channel)
        return np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("="))


@contextmanager
def opened(path: str | Path) -> Iterator[Stack]:
    """The file as a stack, of which `read` decodes no more than it gives.

    Raises:
        ImageError: when the file is unreadable, cut short, not an image, or has axes beside time, z, channel, y and x.
    """
    path = Path(path)
    with _in_words(path):
        file = path.open("rb")
    with file:
        with _in_words(path):
            stack = Stack(path, _source(file))
        yield stack


def read(path: str | Path) -> Image:
    """The pixels (channels, y, x) of a file that is no stack; raises ImageError as `opened` does."""
    with opened(path) as stack:
        if (stack.sizes.times, stack.sizes.depth) != (1, 1):
            what = f"{stack.sizes.times} time points and {stack.sizes.depth} z planes"
            raise ImageError(f"{path}: holds {what}, one plane is needed here: export each plane to its own file")
        return stack.read()


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    try:
        yield
    except ImageError:
        raise
    except AxesError as error:
        raise ImageError(f"{path}: {error}") from None
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror}): check the path and its permissions") from None
    except Exception as error:  # codecs raise classes of their own, without a common base
        raise ImageError(f"{path}: is damaged or not an image ({error}): copy it again from the microscope") from None


def _source(file: BinaryIO) -> Source:
    head = file.read(len(PNG))
    file.seek(0)
    if head.startswith(TIFF):
        return Pages(file)
    data = file.read()
    if data.startswith(PNG):
        if PNG_END not in data[-64:]:
            raise ValueError("cut short: a PNG without its end")
        pixels = imagecodecs.png_decode(data)
        alpha = pixels.ndim == 3 and pixels.shape[-1] in (2, 4)
        return Picture(pixels[..., :-1] if alpha else pixels)
    if data.startswith(JPEG):
        if JPEG_END not in data[-64:]:
            raise ValueError("cut short: a JPEG without its end")
        return Picture(imagecodecs.jpeg_decode(data))
    raise ValueError("not a TIFF, PNG or JPEG file" if data else "the file is empty")


def channel_mean(pixels: Image) -> Plane:
    """The image (y, x), float32, that registration sees: the mean of the channels (channels, y, x)."""
    mean: Plane = pixels.mean(axis=0, dtype=np.float32)
    return mean
