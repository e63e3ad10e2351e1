"""What each round shows of one specimen: a nuclear stain that all share, other stains, background, and debris.

The nuclear stain is that of `make_tiles.specimen`: `cells` on black, or `tissue`, which is dense everywhere, or a real image.
From round to round LOST of the cells go. All images are (height, width), float32, about 0 to 1, and sharp; see `seen`.
"""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

Image = NDArray[np.float32]
Shape = tuple[int, int]
LOST = 0.02  # of the cells, from a round to the next
PSF = 0.85  # px, sigma, as in make_tiles
REAL_PSF = 0.6  # px, sigma, of a real image, which is blurred already
DENSITY = {"cells": 120, "tissue": 45}  # px, the side of a square for each nucleus
RADII = {"cells": (9, 24), "tissue": (6, 13)}  # px
AMPLITUDES = {"cells": (0.25, 1.0), "tissue": (0.15, 0.5)}
LARGEST_CELL = 1500  # px, the area of one nucleus of the real image; several together are larger
SPECK, FIBRE, BLOB = 150, 450, 400  # px, the side of a square for each piece of debris


def nuclear_last_first(source: str, shape: Shape, rounds: int, seed: int, cuts: Path) -> Iterator[Image]:
    """The nuclear stain of each round, from the last round to the first, since the first has the most cells.

    Args:
        source: cells, tissue, or the name of an image in `cuts`.
        shape: height and width, px.
        rounds: their number.
        seed: of a procedural specimen.
        cuts: folder with the real images.
    """
    if source not in DENSITY:
        yield from _real_last_first(cuts / source, shape, rounds, seed)
        return
    made, rng = import_module("make_tiles"), np.random.default_rng([seed, 1])
    cells = round(shape[0] * shape[1] / DENSITY[source] ** 2)
    going = max(1, round(LOST * cells))
    if source == "cells":
        still = made.filaments(rng, shape, int(shape[0] * shape[1] / 170**2), 150, 0.12)
    else:
        still = 0.3 + 0.10 * made.band(rng, shape, [0.6, 3.0, 16.0], [0.7, 1, 1])
        still += made.filaments(rng, shape, int(shape[0] * shape[1] / 120**2), 120, 0.06)
    nuclei = np.zeros(shape, np.float32)
    for count in [cells - going * (rounds - 1), *[going] * (rounds - 1)]:
        made.add_nuclei(rng, nuclei, count, RADII[source], AMPLITUDES[source])
        yield np.clip((still + nuclei) / np.float32(1.3), 0, None).astype(np.float32)


def _real_last_first(path: Path, shape: Shape, rounds: int, seed: int) -> Iterator[Image]:
    """The same of a real image: lost cells are filled with what surrounds them."""
    image = tifffile.imread(path).astype(np.float32).T  # its long side along x, as that of the grids
    image = np.pad(image, [(0, max(0, need - have)) for need, have in zip(shape, image.shape, strict=True)], mode="reflect")
    top, left = ((have - need) // 2 for need, have in zip(shape, image.shape, strict=True))
    image = image[top : top + shape[0], left : left + shape[1]]
    low, high = np.percentile(image, [0.1, 99.9])
    image = np.clip((image - low) / (high - low), 0, 1.5)
    smooth = ndimage.gaussian_filter(image, 2)
    bright = smooth > smooth.mean() + 0.5 * smooth.std()
    labels, cells = ndimage.label(bright)
    dark = ~ndimage.binary_dilation(bright, iterations=3)
    weight = ndimage.gaussian_filter(dark.astype(np.float32), 20)
    around = ndimage.gaussian_filter(np.where(dark, image, 0), 20) / np.maximum(weight, 1e-3)
    single = 1 + np.flatnonzero(np.bincount(labels.ravel(), minlength=cells + 1)[1:] < LARGEST_CELL)
    order = np.random.default_rng([seed, 1]).permutation(single)
    for gone in range(rounds - 1, -1, -1):
        lost = np.isin(labels, order[: round(LOST * gone * len(single))])
        part = ndimage.gaussian_filter(ndimage.binary_dilation(lost, iterations=4).astype(np.float32), 1)
        yield image * (1 - part) + around * part


def other_stain(nuclear: Image, rng: np.random.Generator) -> Image:
    """Another stain of one round: the plasma around those cells that have the marker, with fibres and grains of its own."""
    band, filaments = import_module("make_tiles").band, import_module("make_tiles").filaments
    plasma = np.clip(ndimage.gaussian_filter(nuclear, 7) - 0.6 * ndimage.gaussian_filter(nuclear, 1.5), 0, None)
    marked = np.clip(0.5 + band(rng, nuclear.shape, [50.0], [1]), 0, None)
    grains = np.clip(1 + 0.6 * band(rng, nuclear.shape, [1.2, 4.0], [1, 1]), 0, None)
    own = filaments(rng, nuclear.shape, int(nuclear.size / 200**2), 200, 0.3)
    return np.asarray(2 * plasma * marked * grains + own, np.float32)


def autofluorescence(shape: Shape, rng: np.random.Generator) -> Image:
    """A smooth pattern, from 0 on: that of the specimen where all rounds have one `rng`, or that of one round alone."""
    band = import_module("make_tiles").band
    return np.asarray(np.clip(1 + 0.5 * band(rng, shape, [14.0, 60.0, 200.0], [0.5, 1, 1]), 0, None), np.float32)


def debris(shape: Shape, rng: np.random.Generator) -> Image:
    """What lies on the specimen in one round alone: bright specks, fibres, and blobs out of focus."""
    filaments, area = import_module("make_tiles").filaments, shape[0] * shape[1]
    image = np.zeros(shape, np.float32)
    for side, sigmas, heights in ((SPECK, (1.2, 3.5), (0.2, 1.2)), (BLOB, (12, 35), (0.05, 0.4))):
        for _ in range(area // side**2):
            _add_spot(image, rng.uniform(0, 1, 2) * shape, rng.uniform(*sigmas), rng.uniform(*heights))
    fibres = filaments(rng, shape, area // FIBRE**2, 250, 1.0)
    return image + 3 * ndimage.gaussian_filter(fibres, 2.5)


def _add_spot(image: Image, middle: NDArray[np.float64], sigma: float, height: float) -> None:
    """Add a Gaussian spot to an image."""
    low = np.maximum(0, np.floor(middle - 4 * sigma)).astype(int)
    high = np.minimum(image.shape, np.ceil(middle + 4 * sigma) + 1).astype(int)
    y, x = (np.exp(-(((np.arange(*ends) - at) / sigma) ** 2) / 2) for *ends, at in zip(low, high, middle, strict=True))
    image[low[0] : high[0], low[1] : high[1]] += (height * np.outer(y, x)).astype(np.float32)


def seen(image: Image, source: str, blur: float) -> Image:
    """An image through the microscope, which may be out of focus by `blur`, px, sigma."""
    sharp = PSF if source in DENSITY else REAL_PSF
    return ndimage.gaussian_filter(image, float(np.hypot(sharp, blur)))
