"""A synthetic specimen that is known at every point, so that tests know the truth exactly."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# Columns of tables.TILES
ONE_PLANE = {"times": 1, "depth": 1, "time_names": "", "z_names": "", "channel_names": "", "reference_channel": None,
             "reference_z": None, "reference_time": 0, "pages": "", "mirrored": False, "camera": 0}  # fmt: skip


class Specimen:
    """A sum of random waves: smooth, defined at every point, and the same for the same seed."""

    def __init__(self, seed: int, waves: int = 60, shortest: float = 6.0) -> None:
        rng = np.random.default_rng(seed)
        angle, length = rng.uniform(0, 2 * np.pi, waves), shortest * 2 ** rng.uniform(0, 3, waves)
        self.wave = 2 * np.pi / length[:, None] * np.stack([np.sin(angle), np.cos(angle)], 1)
        self.phase, self.height = rng.uniform(0, 2 * np.pi, waves), rng.uniform(0.3, 1, waves)

    def __call__(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the brightness (...) at points (..., 2), px."""
        value = np.zeros(points.shape[:-1])
        for wave, phase, height in zip(self.wave, self.phase, self.height, strict=True):
            value += height * np.cos(points @ wave + phase)
        return value

    def tile(self, affine: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
        """Returns the tile (height, width) at `affine` (2, 3), tile px to specimen px."""
        points = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1).astype(float)
        return self(points @ affine[:, :2].T + affine[:, 2])


def crops(
    affine: NDArray[np.float64], height: int, width: int, seeds: range = range(4), noise: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Returns fixed and moving crops (b, 1, h, w) of the specimens with these seeds.

    `affine` (2, 3) takes a fixed px to a moving px, both counted from the centres of the crops.
    """
    middle = np.array([(height - 1) / 2, (width - 1) / 2])
    inverse = np.linalg.inv(affine[:, :2])
    fixed_at = np.c_[np.eye(2), -middle]
    moving_at = np.c_[inverse, -inverse @ (middle + affine[:, 2])]
    views = []
    for seed in seeds:
        specimen, rng = Specimen(seed), np.random.default_rng(seed)
        pair = [specimen.tile(at, height, width) for at in (fixed_at, moving_at)]
        views.append([view + noise * rng.standard_normal(view.shape) for view in pair])
    stack = torch.from_numpy(np.array(views, np.float32))
    return stack[:, :1], stack[:, 1:]
