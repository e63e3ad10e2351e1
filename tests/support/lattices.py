"""Specimens that repeat themselves: smooth spots or lines on a lattice, with or without defects."""

import numpy as np
from numpy.typing import NDArray

SPOT, LARGEST_SPOT = 0.18, 6.0  # of the period, and px: sigma of a spot


def vectors(kind: str, period: float, angle: float = 0.0) -> NDArray[np.float64]:
    """Returns the shortest vectors (1 or 2, 2), px, of a grating, of squares or of hexagons, turned by an angle (rad)."""
    turns = {"grating": [0.0], "squares": [0.0, np.pi / 2], "hexagons": [0.0, np.pi / 3]}[kind]
    return period * np.array([[np.cos(angle + turn), np.sin(angle + turn)] for turn in turns])


def repeating(
    lattice: NDArray[np.float64], height: int, width: int, missing: float = 0.0, seed: int = 0
) -> NDArray[np.float64]:
    """Returns an image (height, width), 0 to about 1, that repeats itself after the vectors of a lattice (1 or 2, 2), px.

    Args:
        missing: the share of spots that are missing; a grating misses pieces of lines that are three periods long.
    """
    rng, period = np.random.default_rng(seed), float(np.linalg.norm(lattice[0]))
    along = lattice[1] if len(lattice) == 2 else 3 * np.array([-lattice[0][1], lattice[0][0]])
    basis = np.stack([lattice[0], along])
    points = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1)
    cell = points @ np.linalg.inv(basis) + rng.uniform(0, 1, 2)
    first = np.floor(cell).min(axis=(0, 1)).astype(int) - 1
    shown = rng.random(np.ceil(cell).max(axis=(0, 1)).astype(int) - first + 2) >= missing
    image, sigma = np.zeros((height, width)), min(SPOT * period, LARGEST_SPOT)
    for step in np.ndindex(3, 3):
        number = np.rint(cell).astype(int) + np.array(step) - 1
        left = (cell - number) @ basis
        if len(lattice) == 1:
            inside = np.rint(cell[..., 1]).astype(int) == number[..., 1]
            square = (left @ lattice[0] / period) ** 2
        else:
            inside, square = np.ones((height, width), bool), (left**2).sum(axis=-1)
        image += inside * shown[*(number - first).transpose(2, 0, 1)] * np.exp(-square / (2 * sigma**2))
    return image
