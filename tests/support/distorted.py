"""Tiles that a lens distorts, with exact truth: each raw pixel shows the specimen where it comes from."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dlir.core import affine
from dlir.core.lens import Lens

Image = Callable[[NDArray[np.float64]], NDArray[np.float64]]  # the brightness (n,) at points (n, 2), px


def lens_of(size: tuple[int, int], scale: float = 3.0, seed: int = 0) -> Lens:
    """Returns a lens with all terms, whose corners are displaced by about `scale` px."""
    return Lens.of(size, np.random.default_rng(seed).normal(0, scale / 3, (18, 2)))


def barrel(size: tuple[int, int], corner: float) -> Lens:
    """Returns a radial lens that moves the corners by `corner` px outwards; inwards where it is negative (a barrel)."""
    return Lens.of(size, corner * np.array([[1, 0], [1, 0], [0, 1], [0, 1]]), [(3, 0), (1, 2), (0, 3), (2, 1)])


def raw_tile(specimen: Image, to_specimen: NDArray[np.float64], lens: Lens) -> NDArray[np.float64]:
    """Returns the raw tile (y, x) of an undistorted tile at the affine `to_specimen` (2, 3)."""
    pixels = np.stack(np.meshgrid(*map(np.arange, lens.size), indexing="ij"), -1).reshape(-1, 2).astype(float)
    return specimen(affine.apply(to_specimen, lens.from_raw(pixels))).reshape(lens.size)
