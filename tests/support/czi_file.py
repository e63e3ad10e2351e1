"""Makes CZI files, byte by byte, with what Zeiss's library does not write: JPEG XR, lost planes, pyramids, attachments."""

import struct
from typing import NamedTuple

import imagecodecs
import numpy as np

UNCOMPRESSED, JPEG, JPEG_XR = 0, 1, 4
RGB24, BGR24 = (bytes.fromhex("24c3dd6f034efe4bb1853d77768dc9") + last for last in (b"\x0d", b"\x0c"))  # names in JPEG XR
TYPES = {("uint8", 2): 0, ("uint16", 2): 1, ("float32", 2): 2, ("uint8", 3): 3, ("uint16", 3): 4}  # by type and axes


class Block(NamedTuple):
    """One plane of one tile."""

    pixels: np.ndarray  # (y, x), or (y, x, samples), red first
    start: dict[str, int]  # along the axes; Y and X at least
    compression: int = UNCOMPRESSED
    zoom: int = 1  # px of the image that one stored px stands for: more than 1 in a pyramid


def czi(blocks: list[Block], xml: str = "<ImageDocument/>", attachment: bytes = b"") -> bytes:
    """Returns the bytes of a file with these sub-blocks, this metadata, and an attachment where one is given."""
    parts, entries, at = [], [], 32 + 512  # after the header
    for block in blocks:
        entries.append(_entry(block, at))
        parts.append(_segment(b"ZISRAWSUBBLOCK", _data(block, entries[-1])))
        at += len(parts[-1])
    if attachment:
        parts.append(_segment(b"ZISRAWATTACH", struct.pack("<i252x", len(attachment)) + attachment))
        at += len(parts[-1])
    metadata, text = at, xml.encode()
    parts.append(_segment(b"ZISRAWMETADATA", struct.pack("<ii248x", len(text), 0) + text))
    directory = metadata + len(parts[-1])
    parts.append(_segment(b"ZISRAWDIRECTORY", struct.pack("<i124x", len(entries)) + b"".join(entries)))
    header = struct.pack("<4i16s16siqqiq432x", 1, 0, 0, 0, b"a" * 16, b"a" * 16, 0, directory, metadata, 0, 0)
    return _segment(b"ZISRAWFILE", header) + b"".join(parts)


def _segment(name: bytes, data: bytes) -> bytes:
    data += bytes(-len(data) % 32)
    return struct.pack("<16sqq", name, len(data), len(data)) + data


def _entry(block: Block, at: int) -> bytes:
    """Returns the entry of a sub-block in the directory."""
    kind = TYPES[block.pixels.dtype.name, block.pixels.ndim]
    height, width = block.pixels.shape[:2]
    stored = {"X": width, "Y": height}
    entry = struct.pack("<2siqiiB5xi", b"DV", kind, at, 0, block.compression, int(block.zoom > 1), len(block.start))
    for axis, start in block.start.items():
        size = stored.get(axis, 1)
        whole = size * block.zoom if axis in stored else size
        entry += struct.pack("<4siifi", axis.encode(), start, whole, start, size)
    return entry


def _data(block: Block, entry: bytes) -> bytes:
    """Returns the data of the segment of a sub-block."""
    pixels = block.pixels
    if block.compression == UNCOMPRESSED:
        data = (pixels[..., ::-1] if pixels.ndim == 3 else pixels).tobytes()  # blue first
    elif block.compression == JPEG:
        data = imagecodecs.jpeg_encode(pixels, level=100)
    else:
        data = imagecodecs.jpegxr_encode(pixels, level=1.0).replace(RGB24, BGR24)  # as Zeiss's library has it
    head = (struct.pack("<iiq", 0, 0, len(data)) + entry).ljust(256, b"\0")
    return head + data
