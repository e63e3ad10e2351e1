"""Reads the positions of an ND2 file, which the library `nd2` has opened; each position is an image.

The library returns zeros for a frame that the file lacks, and 1 um for pixels that are not calibrated. Here the first is an
error, and the second is unknown.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlir.reading.image_facts import ImageFacts, Pair, pixel_size, place
from dlir.reading.library_image import LibraryImage
from dlir.reading.source import MOST_PLANES, NoTileError

POSITION = "P"  # the axis of the positions
NAME, PIXELS = 16, 4096  # bytes from the start of a frame to its name, and to its pixels


def images(file: Any) -> list[LibraryImage]:
    """Returns the positions of a file."""
    if file.attributes.compressionType == "lossy":
        raise NoTileError("is compressed with losses, which the library nd2 does not read: export it as OME-TIFF")
    lengths = {str(axis): int(length) for axis, length in file.sizes.items()}
    planes = math.prod(loop.count for loop in file.experiment)
    if planes > MOST_PLANES:
        raise ValueError(f"it announces {planes} planes")
    if planes != math.prod(length for axis, length in lengths.items() if axis not in "CYXS"):
        raise NoTileError("has several loops of one kind, which dlir does not read: export it as OME-TIFF")
    count, size = lengths.pop(POSITION, 1), _pixel_size(file)
    points: list[Any] = next((loop.parameters.points for loop in file.experiment if loop.type == "XYPosLoop"), [])
    names = tuple(str(channel.channel.name) for channel in _channels(file))
    found = []
    for index in range(count):
        point = points[index] if index < len(points) else None
        where = None if point is None else place(float(point.stagePositionUm.y), float(point.stagePositionUm.x))
        label = (point.name if point is not None else None) or f"position {index}"
        facts = ImageFacts(label, where, "um" if where else "", size, of_centre=True)
        found.append(LibraryImage(facts, lengths, np.dtype(file.dtype), names, index))
    return found


def frame(file: Any, path: Path, one: LibraryImage, time: int, z: int) -> NDArray[Any]:
    """Returns the pixels (channels, y, x) at a time point and a z."""
    wanted = {"T": time, "Z": z, POSITION: one.number}
    index = next(k for k, at in enumerate(file.loop_indices) if all(wanted[axis] == value for axis, value in at.items()))
    if not _is_there(file, path, index):
        raise NoTileError(
            f"has no frame at time {time}, z {z} of {one.facts.name}: the scan was stopped, or the file is not complete; "
            "copy it again, or export the complete positions as OME-TIFF"
        )
    height, width, channels = file.attributes.heightPx, file.attributes.widthPx, file.attributes.channelCount or 1
    pixels = np.asarray(file.read_frame(index)).reshape(channels, height, width, -1)
    if pixels.shape[-1] == 3:
        pixels = pixels[..., ::-1]  # blue, green, red in the file
    return np.moveaxis(pixels, -1, 1).reshape(-1, height, width).copy()  # they lie in the file, which is closed


def _is_there(file: Any, path: Path, index: int) -> bool:
    """Returns whether the file has this frame, and whole, where its map says."""
    start = file._rdr._frame_offsets.get(index)  # no public part of the library tells it
    if start is None:
        return False
    name = f"ImageDataSeq|{index}!".encode()
    count = 0 if file.attributes.compressionType else file.attributes.heightPx * file.attributes.widthBytes
    with path.open("rb") as raw:
        raw.seek(start - PIXELS + NAME)
        return raw.read(len(name)) == name and start + count <= path.stat().st_size


def _channels(file: Any) -> list[Any]:
    """Returns what the file tells of its channels; nothing where the library fails, as on channels without a dye."""
    try:
        return list(file.metadata.channels or [])
    except UnboundLocalError:
        return []


def _pixel_size(file: Any) -> Pair | None:
    """Returns the size of a pixel (y, x), micrometres; None where the file is not calibrated."""
    channels = _channels(file)
    if not channels or not all(channels[0].volume.axesCalibrated[:2]):
        return None
    x, y, _ = channels[0].volume.axesCalibration
    return pixel_size(float(y), float(x))
