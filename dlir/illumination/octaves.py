"""Images at half and at twice the resolution, of which octaves of spatial frequency and fillings of gaps are made."""

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.floating]  # (y, x)


def halved(image: Picture) -> Picture:
    """Returns the means (ceil(y / 2), ceil(x / 2)) of 2 x 2 pixels. The last row or column of an odd side counts twice."""
    height, width = image.shape
    even = np.pad(image, ((0, height % 2), (0, width % 2)), mode="edge") if height % 2 or width % 2 else image
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4


def doubled(image: Picture, shape: tuple[int, ...]) -> Picture:
    """Returns the image at twice the resolution, cut to `shape` (y, x), interpolated linearly between pixel centres."""
    for length in shape:  # first along y, then along x of the transposed image
        before, after = np.concatenate([image[:1], image[:-1]]), np.concatenate([image[1:], image[-1:]])
        both = np.stack([0.75 * image + 0.25 * before, 0.75 * image + 0.25 * after], axis=1)
        image = both.reshape(-1, image.shape[1])[:length].T
    return image
