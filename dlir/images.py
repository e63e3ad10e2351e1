"""Reading tiles: one file is one image, `(channels, y, x)`, and every way in which a file can be wrong has its words.

The kind of a file is told by its first bytes, never by its name. Codecs fill what is missing at the end of a file with
zeros or grey, so the ends are checked here.
"""

import io
import logging
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # classic and big, little and big endian
PNG, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
JPEG, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
DTYPES = ("uint8", "uint16", "float32")
CHANNEL_AXES = "CSQI"  # tifffile's letters: channels, samples, and pages that the file does not name
Image = NDArray[np.generic]
Plane = NDArray[np.float32]
logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # read() says itself, and in one line, what is wrong


class ImageError(ValueError):
    """A tile cannot be used; the message names the file and the remedy."""


def read(path: str | Path) -> Image:
    """The pixels (channels, y, x) of a TIFF, PNG or JPEG file: 8 or 16 bit unsigned, or float32; alpha is left out.

    Raises:
        ImageError: when the file is unreadable, cut short, not an image, or has axes beside channel, y and x.
    """
    path = Path(path)
    try:
        pixels, axes = _decode(path.read_bytes())
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror}): check the path and its permissions") from None
    except Exception as error:  # codecs raise classes of their own, without a common base
        raise ImageError(f"{path}: is damaged or not an image ({error}): copy it again from the microscope") from None
    if axes == "YX":
        pixels = pixels[None]
    elif axes == "YXS":
        pixels = np.moveaxis(pixels, -1, 0)
    elif axes[1:] != "YX" or axes[0] not in CHANNEL_AXES:
        raise ImageError(f"{path}: has axes {axes}, a tile has channels, y and x: export each plane to its own file")
    if pixels.dtype.name not in DTYPES:
        raise ImageError(f"{path}: has {pixels.dtype.name} pixels, dlir reads {', '.join(DTYPES)}: convert the tiles")
    return np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("="))


def _decode(data: bytes) -> tuple[Image, str]:
    """The pixels and one letter for each of their axes, as tifffile has them."""
    if data.startswith(TIFF):
        return _decode_tiff(data)
    if data.startswith(PNG):
        if PNG_END not in data[-64:]:
            raise ValueError("cut short: a PNG without its end")
        pixels = imagecodecs.png_decode(data)
        alpha = pixels.ndim == 3 and pixels.shape[-1] in (2, 4)
        return (pixels[..., :-1] if alpha else pixels), "YX" if pixels.ndim == 2 else "YXS"
    if data.startswith(JPEG):
        if JPEG_END not in data[-64:]:
            raise ValueError("cut short: a JPEG without its end")
        pixels = imagecodecs.jpeg_decode(data)
        return pixels, "YX" if pixels.ndim == 2 else "YXS"
    raise ValueError("not a TIFF, PNG or JPEG file" if data else "the file is empty")


def _decode_tiff(data: bytes) -> tuple[Image, str]:
    with tifffile.TiffFile(io.BytesIO(data)) as file:  # from memory: an OME file cannot pull in its companions
        if not file.pages:
            raise ValueError("cut short: a TIFF without an image")
        series, first = file.series[0], file.pages.first
        for page in series.pages:
            ends = [] if page is None else [sum(part) for part in zip(page.dataoffsets, page.databytecounts, strict=False)]
            if page is None or len(ends) != len(page.dataoffsets) or not all(page.databytecounts):
                raise ValueError("some of its pixels were never written, or lie in other files")
            if max(ends, default=0) > len(data):
                raise ValueError(f"cut short: {len(data)} bytes, its header promises {max(ends)}")
        pixels, axes = series.asarray(), str(series.axes)
    alphas = sum(int(sample) in (1, 2) for sample in first.extrasamples)  # associated and unassociated alpha
    if alphas and "S" in axes:
        pixels = pixels.take(range(pixels.shape[axes.index("S")] - alphas), axis=axes.index("S"))
    return pixels, axes


def plane(pixels: Image) -> Plane:
    """The image (y, x), float32, that registration sees: the mean of the channels (channels, y, x)."""
    mean: Plane = pixels.mean(axis=0, dtype=np.float32)
    return mean
