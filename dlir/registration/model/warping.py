"""Geometry of windows as tensors: pixel grids, affines applied to points and images, and the error of an affine at the corners.

Points are (y, x) in px about the centre of a window (h, w), which lies at ((h - 1) / 2, (w - 1) / 2). Affines (b, 2, 3) take a
point of the fixed window to a point of the moving window, each about its own centre. Warping interpolates linearly, and can be
differentiated with regard to the image and the affine.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

EDGE = 1 + 1e-6  # half of an image's extent between its outer pixel centres, with room for errors of rounding
DEGREE = math.pi / 180  # rad


def grid(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """Returns the pixel centres (h, w, 2) of a window, about its centre."""
    y = torch.arange(height, dtype=torch.float32, device=device) - (height - 1) / 2
    x = torch.arange(width, dtype=torch.float32, device=device) - (width - 1) / 2
    return torch.stack(torch.meshgrid(y, x, indexing="ij"), -1)


def transform(affine: Tensor, points: Tensor) -> Tensor:
    """Returns `points` (..., 2) after each affine (b, 2, 3): (b, ..., 2)."""
    flat = points.reshape(-1, 2) @ affine[:, :, :2].mT + affine[:, None, :, 2]
    return flat.reshape(len(affine), *points.shape)


def sample(image: Tensor, points: Tensor, mode: str = "bilinear") -> tuple[Tensor, Tensor]:
    """Interpolates images at points.

    Args:
        image: (b, c, h, w).
        points: (b, p, q, 2) about the image's centre; points that are NaN lie outside.
        mode: of the interpolation: nearest, bilinear or bicubic.

    Returns:
        the values (b, c, p, q), and a mask (b, 1, p, q): 1 inside the image and 0 outside, where values repeat the edge.
    """
    height, width = image.shape[-2:]
    unit = torch.stack([points[..., 1] * (2 / (width - 1)), points[..., 0] * (2 / (height - 1))], -1)
    return _interpolate(image, torch.nan_to_num(unit, nan=2.0).clamp(-4, 4), mode)


def warp(moving: Tensor, affine: Tensor, every: int = 1) -> tuple[Tensor, Tensor]:
    """Resamples moving images (b, c, h, w) in the frame of the fixed ones.

    Args:
        affine: (b, 2, 3) a fixed px to a moving px about the centres; where it is not finite, all lies outside.
        every: step between the pixels that are computed, px along both axes.

    Returns:
        the values (b, c, h / every, w / every), and a mask with one channel: 1 where the moving image covers the pixel.
    """
    height, width = moving.shape[-2:]
    x, y = (torch.arange(0, n, every, dtype=affine.dtype, device=affine.device) - (n - 1) / 2 for n in (width, height))
    unit = affine.flip(1) / affine.new_tensor([[(width - 1) / 2], [(height - 1) / 2]])
    finite = unit.isfinite().flatten(1).all(1).view(-1, 1, 1)
    unit = torch.where(finite, unit, unit.new_tensor([0.0, 0.0, 2.0])).mT[:, :, None]  # (b, 3, 1, 2); 2 is outside
    rows, columns = unit[:, 0] * y[:, None] + unit[:, 2], unit[:, 1] * x[:, None]
    # sums of vectors are quicker than a matrix product for each pixel
    return _interpolate(moving, rows[:, :, None] + columns[:, None], "bilinear")


def _interpolate(image: Tensor, unit: Tensor, mode: str) -> tuple[Tensor, Tensor]:
    """The image at points (b, p, q, 2), (x, y) in units of half of its extent. NaN would crash grid_sample on CPUs."""
    values = F.grid_sample(image, unit, mode=mode, padding_mode="border", align_corners=True)
    inside = (unit[..., 0].abs() <= EDGE) & (unit[..., 1].abs() <= EDGE)
    return values, inside[:, None].to(image.dtype)


def corner_error(found: Tensor, true: Tensor, height: int, width: int) -> Tensor:
    """Returns the root mean square distance (b,), px, of a window's four corners under two affines (b, 2, 3)."""
    sign = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]], device=found.device)
    corners = sign * torch.tensor([(height - 1) / 2, (width - 1) / 2], device=found.device)
    return ((transform(found, corners) - transform(true, corners)) ** 2).sum(-1).mean(-1).clamp(min=1e-12).sqrt()


def corner_variance(covariance: Tensor, height: int, width: int) -> Tensor:
    """Returns the expected square of `corner_error`, (b,) px^2, given the covariance (b, 6, 6) of the affines' entries."""
    y, x = ((height - 1) / 2) ** 2, ((width - 1) / 2) ** 2
    return covariance.diagonal(dim1=1, dim2=2) @ covariance.new_tensor([y, x, 1.0, y, x, 1.0])


def similarity_affine(shift: Tensor, rotation: Tensor, scale: Tensor) -> Tensor:
    """Returns affines (b, 2, 3) for small turns, from shift (b, 2) px, rotation (b,) rad and scale (b,) less one."""
    y = torch.stack([1 + scale, rotation, shift[:, 0]], -1)
    return torch.stack([y, torch.stack([-rotation, 1 + scale, shift[:, 1]], -1)], 1)
