"""Reads image files: a file is a stack of planes `(channels, y, x)`, and each kind of damage has its error message.

The first bytes of a file tell its format, not its name; what is no image is not read any further. To open a file is to read
its header, which has the sizes and the type of the pixels. Only the planes that are asked for are decoded (`tiff.py`,
`encoded_image.py`). A Zarr store, which is a folder, counts as a file (`ome_zarr_tile.py`).
"""

import errno
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from dlir.reading import czi, file_kinds, jpeg_2000, pixel_types, vendor_files, zarr_store
from dlir.reading.contents import Identity
from dlir.reading.encoded_image import EncodedImage
from dlir.reading.filenames import no_file
from dlir.reading.gif_bmp_webp import BMP, GIF, WEBP
from dlir.reading.image_facts import ImageFacts
from dlir.reading.png_jpeg import JPEG, PNG
from dlir.reading.source import NoTileError, Pages, Sizes, image_number
from dlir.reading.tiff import TiffStack, silenced

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # first bytes: classic and big TIFF, little and big endian
ENCODED = (PNG, JPEG, jpeg_2000.FORMAT, GIF, BMP, WEBP)  # the other formats
MOST_PIXELS = 2**31  # in a channel of a plane; what is larger is no tile, or has a damaged header
LONGEST_REASON = 120  # letters of the message of a codec
Image = NDArray[np.generic]
Plane = NDArray[np.float32]


class ImageError(ValueError):
    """A file cannot be used as a tile; the message names the file and the remedy."""


class Source(Protocol):
    """One image of an open file of any format."""

    sizes: Sizes
    dtype: np.dtype[Any]
    names: tuple[str, ...]  # of the channels; empty where the file has none
    notes: tuple[str, ...]  # how the file was understood, where its pixels are not read as they are stored
    unnamed_pages: int  # how many pages the file has of which it does not say what they are; 1 where there are none

    @property
    def images(self) -> Sequence[ImageFacts]: ...  # what the file says of each of its images

    def read(self, time: int, z: int, channel: int | None) -> Image: ...


class Stack:
    """An open image file, with pixels of any type in `pixel_types.py`. Alpha channels are left out."""

    def __init__(self, path: Path, source: Source, identity: Identity) -> None:
        self.path, self.source, self.identity = path, source, identity
        self.sizes, self.dtype, self.names, self.notes = source.sizes, source.dtype.name, source.names, source.notes
        self.unnamed_pages = source.unnamed_pages
        size = f"{self.sizes.height} x {self.sizes.width} px"
        if not all(self.sizes):
            raise ImageError(f"{path}: is an image of {size} without pixels: copy it again from the microscope")
        if self.sizes.height * self.sizes.width > MOST_PIXELS:
            raise ImageError(f"{path}: its header announces {size}, which is too large for a tile: export it in smaller tiles")
        if self.dtype not in pixel_types.TABLE + pixel_types.WHOLE + pixel_types.DECIMAL:
            raise ImageError(f"{path}: has {self.dtype} pixels, which are no grey values: save them as float32")

    def read(self, time: int = 0, z: int = 0, channel: int | None = None) -> Image:
        """Returns the plane (channels, y, x) at a time point and a z, counted from 0; only one channel where it is given.

        Raises:
            ImageError: when that part of the file is damaged or missing.
        """
        with _image_errors(self.path):
            pixels = self.source.read(time, z, channel)
        return np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("="))

    @property
    def images(self) -> Sequence[ImageFacts]:
        """What the file says of each of its images; raises ImageError where that makes no sense."""
        with _image_errors(self.path):
            return self.source.images


@contextmanager
def opened(path: str | Path, pages: Pages = "channel", image: int | None = None) -> Iterator[Stack]:
    """Opens an image of a file as a stack: reads its header, while `read` decodes only what it returns.

    Args:
        pages: what the pages of the file are, where it does not say so.
        image: the number of the image in the file, from 0; None where the file has to hold one.

    Raises:
        ImageError: when the file is unreadable, cut short or no image, has several images or none of this number, holds
            something other than the planes of a tile, or changes before the block ends.
    """
    path = Path(path)
    with _image_errors(path):
        if why := no_file(path):  # to open a pipe would wait for ever
            raise ImageError(f"{path}: {why}")
        file = None if zarr_store.is_store(path) else path.open("rb")
    with file or nullcontext():
        with _image_errors(path):
            if file is None:
                from dlir.reading.ome_zarr_tile import OmeZarrTile  # imports zarr, which is slow, and most tiles are no stores

                states = zarr_store.states(path)
                stack = Stack(path, OmeZarrTile(path, image, states), Identity.of_store(states))
            else:
                identity = Identity.of(os.fstat(file.fileno()))
                if words := file_kinds.NAMES.get(path.suffix.lower()):
                    raise NoTileError(words)
                stack = Stack(path, _source(file, pages, image), identity)
        yield stack
        with _image_errors(path):
            now = Identity.of(os.fstat(file.fileno())) if file else Identity.at(str(path))
        if now != stack.identity:
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
    except NoTileError as error:
        raise ImageError(f"{path}: {error}") from None
    except MemoryError:
        raise ImageError(f"{path}: does not fit into the memory: export it in smaller tiles") from None
    except Exception as error:  # each codec has its own class of errors, without a common base
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # these two: a place that no file has
            raise ImageError(f"{path}: cannot be read ({error.strerror}): check the path and its permissions") from None
        raise ImageError(f"{path}: is damaged ({_reason(error)}): copy it again from the microscope") from None


def _reason(error: Exception) -> str:
    """Returns in short what a codec says, but not what Python says of numbers that make no sense."""
    if isinstance(error, ArithmeticError | AttributeError | LookupError | TypeError | struct.error):
        return "its header makes no sense"
    printable = "".join(letter for letter in str(error) if letter.isprintable()).strip()
    return f"{printable[:LONGEST_REASON]} ..." if len(printable) > LONGEST_REASON else printable or "no reason is known"


def _source(file: BinaryIO, pages: Pages, image: int | None) -> Source:
    """Returns an image of the open file by its format; raises NoTileError when it has none of the formats."""
    head = file.read(file_kinds.HEAD)
    file.seek(0)
    if head.startswith(TIFF):
        return TiffStack(file, pages, image)
    if czi.START.match(head):
        return czi.CziImage(file, image)
    if vendor_files.LIF.match(head) or vendor_files.ND2.match(head):
        return vendor_files.VendorImage(Path(file.name), head, image)
    for form in ENCODED:
        if form.start.match(head):
            image_number(image, 1)
            return EncodedImage(file, form, pages)
    raise NoTileError(file_kinds.described(head))
