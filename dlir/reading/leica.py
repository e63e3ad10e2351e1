"""Reads the images of a LIF file, which the library `liffile` has opened; each tile of a tile scan is an image.

What cannot be a tile is left out: lifetimes of fluorescence, images without pixels, and scans along other axes. The stage's
axes of a tile scan may be exchanged or mirrored against those of the picture; the places are turned to the picture's.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlir.reading.image_facts import ImageFacts, Pair, micrometres, number, pixel_size, place
from dlir.reading.library_image import AXES, LibraryImage

TILE = "M"  # the axis of the tiles
DIMENSION = "./Data/Image/ImageDescription/Dimensions/DimensionDescription[@DimID='{}']"
X, Y = 1, 2  # DimID


def images(file: Any) -> tuple[list[LibraryImage], list[str]]:
    """Returns the images that can be tiles, and the names of those that cannot, with the reasons."""
    found: list[LibraryImage] = []
    left_out: list[str] = []
    for index, image in enumerate(file.images):
        if reason := _unlike_a_tile(image):
            left_out.append(f"{image.name} ({reason})")
        else:
            found += _tiles(image, index)
    return found, left_out


def frame(file: Any, one: LibraryImage, time: int, z: int) -> NDArray[Any]:
    """Returns the pixels (channels, y, x) at a time point and a z."""
    image = file.images[one.number]
    at = {axis: index for axis, index in (("T", time), ("Z", z)) if axis in one.lengths}
    at |= {} if one.tile is None else {TILE: one.tile}
    channels = [{"C": channel} for channel in range(one.lengths["C"])] if "C" in one.lengths else [{}]
    frames = [np.asarray(image.frame(**at, **channel)) for channel in channels]
    return np.concatenate([np.moveaxis(each, -1, 0) if each.ndim == 3 else each[None] for each in frames])


def _unlike_a_tile(image: Any) -> str:
    """Returns why an image cannot be a tile; nothing where it can. Raises ValueError where its pixels were cut off."""
    if image.is_flim:
        return "lifetimes of fluorescence"
    if image.xml_element.find("./Memory") is None:
        return "without pixels"
    try:
        block = image.memory_block
    except LookupError:
        raise ValueError(f"cut short: the pixels of {image.name} are not there") from None
    try:
        lengths, dtype, plane = dict(image.sizes), image.dtype, tuple(image.frames.frame_sizes)
    except (AssertionError, ValueError):
        return "its pixels lie in a way that liffile does not read"
    if unknown := [axis for axis in lengths if axis not in AXES + TILE]:
        return f"it has axes {', '.join(unknown)}, which no tile has"
    samples = lengths.get("S", 1)
    if plane != (("Y", "X", "S") if samples > 1 else ("Y", "X")):
        return "it is no scan along x and y"
    if int(_dimension(image, Y)["BytesInc"]) != lengths["X"] * samples * dtype.itemsize:
        return "it has gaps between its rows, which liffile does not skip"
    if not block.size:
        return "without pixels"
    return "it has fewer pixels than it announces" if block.size < image.nbytes else ""


def _tiles(image: Any, index: int) -> list[LibraryImage]:
    """Returns the tiles of a tile scan, or the one image."""
    lengths = {str(axis): int(length) for axis, length in image.sizes.items()}
    size, places = pixel_size(_step(image, Y), _step(image, X)), _places(image)
    count = lengths.pop(TILE, None)
    if len(places) != (count or 1):  # a stitched image may keep the list of its tiles
        places = [None] * (count or 1)
    found = []
    for tile, where in enumerate(places):
        name = image.name if count is None else f"{image.name}, tile {tile}"
        facts = ImageFacts(name, where, "um" if where else "", size, of_centre=True)
        found.append(LibraryImage(facts, lengths, image.dtype, (), index, None if count is None else tile))
    return found


def _places(image: Any) -> list[Pair | None]:
    """Returns the places (y, x) of a tile scan, in micrometres, along the axes of the picture.

    The axes are exchanged first and mirrored then, as in Leica's own reader for Bio-Formats (PositionExtractor.java).
    """
    scan = image.tilescan
    if scan is None:
        return []
    y, x = ("pos_x", "pos_y") if scan.swap_xy else ("pos_y", "pos_x")
    signs = (-1 if scan.flip_y else 1, -1 if scan.flip_x else 1)
    metres = [[sign * float(at[axis]) for sign, axis in zip(signs, (y, x), strict=True)] for at in scan.tiles]
    return [place(*(micrometres(length, "m") for length in lengths)) for lengths in metres]


def _dimension(image: Any, axis: int) -> dict[str, str]:
    found = image.xml_element.find(DIMENSION.format(axis))
    return {} if found is None else dict(found.attrib)


def _step(image: Any, axis: int) -> float | None:
    """Returns the distance of two pixels in micrometres; None where the image is not calibrated."""
    told = _dimension(image, axis)
    length, count = micrometres(number(told.get("Length")), told.get("Unit")), number(told.get("NumberOfElements"))
    return None if length is None or not count or count < 2 else abs(length) / (count - 1)
