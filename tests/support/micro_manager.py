"""Files as Micro-Manager writes them."""

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Index = tuple[int, int, int, int]  # channel, z plane, time point, position


def write_stack(
    path: Path, pages: Mapping[Index, NDArray[np.uint16]], told: Sequence[Mapping[str, Any]], intended: int = 0
) -> None:
    """Writes an image stack file: a TIFF with a header of its own, a map of its pages, and a tag with metadata in each page.

    Args:
        told: what is told of each position.
        intended: the number of positions that were to be imaged; 0 for those that were.
    """
    sizes = [max(index[axis] for index in pages) + 1 for axis in range(4)]
    names = ("Channels", "Slices", "Frames", "Positions")
    summary = {"MicroManagerVersion": "1.4.22", **dict(zip(names, sizes, strict=True))}
    summary |= {"Positions": intended or sizes[3], "TimeFirst": True, "SlicesFirst": True}
    words = json.dumps(summary).encode()
    start = 40 + len(words) + len(words) % 2
    body, rows = b"", []
    for number, (index, pixels) in enumerate(pages.items()):
        rows.append((*index, start + len(body)))
        body += _page(start + len(body), pixels, json.dumps(told[index[3]]).encode(), number == len(pages) - 1)
    places = struct.pack("<8I", 54773648, start + len(body), 483765892, 0, 99384722, 0, 2355492, len(words))
    listed = struct.pack("<2I", 3453623, len(rows)) + np.array(rows, "<u4").tobytes()
    path.write_bytes((b"II*\0" + struct.pack("<I", start) + places + words).ljust(start, b" ") + body + listed)


def _page(offset: int, pixels: NDArray[np.uint16], words: bytes, last: bool) -> bytes:
    """Returns a page that begins at a byte of the file: 13 tags, its pixels 162 bytes on, and its metadata."""
    height, width = pixels.shape
    data, text = pixels.astype("<u2").tobytes(), words + b"\0" * (2 - len(words) % 2)
    behind = offset + 162 + len(data)
    end = behind + 16 + len(text)
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, offset + 162)]
    tags += [(277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, len(data)), (282, 5, 1, behind), (283, 5, 1, behind + 8)]
    tags += [(296, 3, 1, 3), (51123, 2, len(text), behind + 16)]
    head = struct.pack("<H", 13) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + struct.pack("<I", 0 if last else end)
    return head + data + struct.pack("<4I", 1, 1, 1, 1) + text
