"""Images at half and at twice the resolution, of which octaves of spatial frequency and fillings of gaps are made."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlir.reading.image_files import Image

Picture = NDArray[np.floating]  # (y, x)


def halved(image: Picture) -> Picture:
    """Returns the means (ceil(y / 2), ceil(x / 2)) of 2 x 2 pixels. The last row or column of an odd side counts twice."""
    height, width = image.shape
    even = np.pad(image, ((0, height % 2), (0, width % 2)), mode="edge") if height % 2 or width % 2 else image
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4


def doubled(image: Picture, shape: tuple[int, ...]) -> Picture:
    """Returns the image at twice the resolution, cut to `shape` (y, x), interpolated linearly between pixel centres."""
    for length in shape:  # first along y, then along x of the transposed image
        both = np.empty((2 * len(image), image.shape[1]), image.dtype)
        for own, neighbours in (both[::2], [image[:1], image[:-1]]), (both[1::2], [image[1:], image[-1:]]):
            np.multiply(image, 0.75, out=own)
            first = len(neighbours[0])
            own[:first] += 0.25 * neighbours[0]
            own[first:] += 0.25 * neighbours[1]
        image = both[:length].T
    return image


def pooled(image: Image, halvings: int) -> Image:
    """Returns an image (channels, y, x) whose sides are halved so often, as float32; the image itself where they are not."""
    channels = list(image.astype(np.float32)) if halvings else []
    for _ in range(halvings):
        channels = [halved(channel) for channel in channels]
    return np.stack(channels) if halvings else image


def repeated(plane: NDArray[Any], halvings: int, shape: tuple[int, ...]) -> NDArray[Any]:
    """Returns a plane (y, x) whose sides were halved so often with the shape (y, x) that it had; each px is repeated."""
    side = 2**halvings
    return plane.repeat(side, axis=0)[: shape[0]].repeat(side, axis=1)[:, : shape[1]]


def enlarged(plane: Picture, shape: tuple[int, ...]) -> Picture:
    """Returns a pooled plane (y, x) with the shape (y, x) that the tiles have, interpolated linearly."""
    shapes = [shape]
    while shapes[-1] != plane.shape:
        shapes.append(tuple(-(-side // 2) for side in shapes[-1]))
    for larger in shapes[-2::-1]:
        plane = doubled(plane, larger)
    return plane
