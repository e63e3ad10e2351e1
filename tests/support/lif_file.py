"""Makes small LIF files of Leica, byte by byte: an XML header, and a block of memory for each image."""

import struct
from typing import NamedTuple
from xml.sax.saxutils import quoteattr

import numpy as np

DIMENSIONS = {"X": 1, "Y": 2, "Z": 3, "T": 4, "λ": 5, "M": 10}  # numbers of the axes


class Picture(NamedTuple):
    """One image of a file."""

    name: str
    pixels: np.ndarray
    axes: str  # of the pixels: those of DIMENSIONS, C for channels, S for samples of a pixel, which are blue first
    step: float = 0.5e-6  # metres, of a pixel
    unit: str = "m"
    places: tuple[tuple[float, float], ...] = ()  # (y, x) of the tiles by the stage, metres
    turned: str = 'FlipX="0" FlipY="0" SwapXY="0"'
    lost: int = 0  # bytes at the end of the pixels that are not in the file
    gap: int = 0  # bytes after each row


def lif(*pictures: Picture) -> bytes:
    """Returns the bytes of a file with these images."""
    elements = "".join(_element(picture, f"MemBlock_{number}") for number, picture in enumerate(pictures))
    xml = f'<LMSDataContainerHeader Version="2"><Element Name="t.lif"><Children>{elements}</Children></Element>'
    text = f"{xml}</LMSDataContainerHeader>".encode("utf-16-le")
    parts = [struct.pack("<IIBI", 0x70, len(text) + 5, 0x2A, len(text) // 2) + text]
    for number, picture in enumerate(pictures):
        name, data = f"MemBlock_{number}".encode("utf-16-le"), _data(picture)
        parts.append(struct.pack("<IIBQBI", 0x70, len(name) + 14, 0x2A, len(data), 0x2A, len(name) // 2) + name + data)
    return b"".join(parts)


def _data(picture: Picture) -> bytes:
    pixels = picture.pixels
    if picture.gap:
        rows = pixels.reshape(-1, pixels.shape[-1] * pixels.shape[-2])  # of an image in colour
        pixels = np.pad(rows, ((0, 0), (0, picture.gap)))
    return pixels.tobytes()[: pixels.nbytes - picture.lost]


def _strides(picture: Picture) -> dict[str, int]:
    """Returns the distance of two elements along each axis, in bytes."""
    strides = dict(zip(picture.axes, picture.pixels.strides, strict=True))
    return strides | ({"Y": strides["Y"] + picture.gap} if picture.gap else {})


def _element(picture: Picture, block: str) -> str:
    """Returns the XML of an image."""
    strides, shape = _strides(picture), dict(zip(picture.axes, picture.pixels.shape, strict=True))
    dimensions = "".join(
        f'<DimensionDescription DimID="{DIMENSIONS[axis]}" NumberOfElements="{shape[axis]}" Origin="0" '
        f'Length="{(shape[axis] - 1) * picture.step!r}" Unit="{picture.unit}" BytesInc="{strides[axis]}" BitInc="0"/>'
        for axis in picture.axes
        if axis in DIMENSIONS
    )
    count, stride = next(((shape[axis], strides[axis]) for axis in "CS" if axis in shape), (1, 0))
    channels = "".join(
        f'<ChannelDescription DataType="0" ChannelTag="{3 - number if "S" in shape else 0}" BitInc="0" '
        f'Resolution="{8 * picture.pixels.itemsize}" NameOfMeasuredQuantity="" Min="0" Max="1" Unit="" LUTName="Gray" '
        f'IsLUTInverted="0" BytesInc="{number * stride}"/>'
        for number in range(count)
    )
    tiles = "".join(f'<Tile FieldX="0" FieldY="0" PosX="{x!r}" PosY="{y!r}" PosZ="0"/>' for y, x in picture.places)
    scan = f'<Attachment Name="TileScanInfo" {picture.turned}>{tiles}</Attachment>' if tiles else ""
    image = f"<ImageDescription><Channels>{channels}</Channels><Dimensions>{dimensions}</Dimensions></ImageDescription>{scan}"
    memory = f'<Memory Size="{len(_data(picture))}" MemoryBlockID="{block}"/>'
    return f"<Element Name={quoteattr(picture.name)}><Data><Image>{image}</Image></Data>{memory}</Element>"
