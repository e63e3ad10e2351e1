"""What the readers of LIF and ND2 files tell of one image that a library reads for them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from dlir.reading.image_facts import ImageFacts

AXES = "TZCYXS"  # time, z, channel, y, x, samples of a pixel


class LibraryImage(NamedTuple):
    """One image of a file."""

    facts: ImageFacts
    lengths: Mapping[str, int]  # along the axes; an axis of length 1 may be missing
    dtype: np.dtype[Any]
    names: tuple[str, ...]  # of the channels
    number: int  # of the image, or of the position, in the library
    tile: int | None = None  # of a tile scan
