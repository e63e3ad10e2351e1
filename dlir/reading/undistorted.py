"""A tile as an ideal lens would show it, resampled from the pixels of the camera by a cubic spline."""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from dlir.core import affine
from dlir.core.lens import Lens, needed
from dlir.reading.image_files import Plane

SPLINE_REACH = 12  # px around a part of a tile that its cubic spline depends on, by more than a millionth


def undistorted(
    lens: Lens | None, raw: Callable[[slice, slice], Plane], rows: slice = slice(None), columns: slice = slice(None)
) -> Plane:
    """Returns rows and columns of pixels of an undistorted tile, (y, x) float32; outside the raw tile its border goes on.

    Args:
        lens: the distortion of the tile's camera; None for none, then it is the raw tile itself.
        raw: returns rows and columns of the raw tile.
    """
    if lens is None:
        return raw(rows, columns)
    (top, bottom, _), (left, right, _) = (part.indices(n) for part, n in zip((rows, columns), lens.size, strict=True))
    seen = lens.on_grid(affine.translation([top, left]), bottom - top, right - left)
    around = needed(seen, lens.size, SPLINE_REACH)
    seen -= np.reshape([part.start for part in around], (2, 1, 1))
    return np.asarray(ndimage.map_coordinates(raw(*around), seen, output=np.float32, order=3, mode="nearest"))
