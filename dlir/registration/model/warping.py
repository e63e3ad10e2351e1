"""Warping of crops."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

EDGE = 1 + 1e-6  # half of an image, and errors of rounding
DEGREE = math.pi / 180


def grid(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """The pixel centres (h, w, 2) of a crop as (y, x) about its centre."""
    y = torch.arange(height, dtype=torch.float32, device=device) - (height - 1) / 2
    x = torch.arange(width, dtype=torch.float32, device=device) - (width - 1) / 2
    return torch.stack(torch.meshgrid(y, x, indexing="ij"), -1)


def transform(affine: Tensor, points: Tensor) -> Tensor:
    """Points (b, ..., 2) that the affines (b, 2, 3) take `points` (..., 2) to."""
    flat = points.reshape(-1, 2) @ affine[:, :, :2].mT + affine[:, None, :, 2]
    return flat.reshape(len(affine), *points.shape)


def sample(image: Tensor, points: Tensor, mode: str = "bilinear") -> tuple[Tensor, Tensor]:
    """The image (b, c, h, w) at points (b, p, q, 2), (y, x) about its centre, and a mask (b, 1, p, q) of those inside."""
    height, width = image.shape[-2:]
    unit = torch.stack([points[..., 1] * (2 / (width - 1)), points[..., 0] * (2 / (height - 1))], -1)
    return _at(image, torch.nan_to_num(unit, nan=2.0).clamp(-4, 4), mode)


def warp(moving: Tensor, affine: Tensor, every: int = 1) -> tuple[Tensor, Tensor]:
    """`moving` (b, c, h, w) seen in the frame of the fixed crop, at each `every`-th pixel, and the mask of what it covers."""
    height, width = moving.shape[-2:]
    x, y = (torch.arange(0, n, every, dtype=affine.dtype, device=affine.device) - (n - 1) / 2 for n in (width, height))
    unit = affine.flip(1) / affine.new_tensor([[(width - 1) / 2], [(height - 1) / 2]])
    known = unit.isfinite().flatten(1).all(1).view(-1, 1, 1)
    unit = torch.where(known, unit, unit.new_tensor([0.0, 0.0, 2.0])).mT[:, :, None]  # (b, 3, 1, 2); 2 is outside
    down, along = unit[:, 0] * y[:, None] + unit[:, 2], unit[:, 1] * x[:, None]
    return _at(moving, down[:, :, None] + along[:, None], "bilinear")  # sums of vectors: faster than a product for each pixel


def _at(image: Tensor, unit: Tensor, mode: str) -> tuple[Tensor, Tensor]:
    """The image at points (b, p, q, 2), (x, y) in units of half of it, none of them NaN, which crash grid_sample on the CPU."""
    values = F.grid_sample(image, unit, mode=mode, padding_mode="border", align_corners=True)
    inside = (unit[..., 0].abs() <= EDGE) & (unit[..., 1].abs() <= EDGE)
    return values, inside[:, None].to(image.dtype)


def corner_error(found: Tensor, true: Tensor, height: int, width: int) -> Tensor:
    """Root mean square distance (b,), px, of the four corners under two affines (b, 2, 3) about the centre."""
    sign = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]], device=found.device)
    corners = sign * torch.tensor([(height - 1) / 2, (width - 1) / 2], device=found.device)
    return ((transform(found, corners) - transform(true, corners)) ** 2).sum(-1).mean(-1).clamp(min=1e-12).sqrt()


def corner_variance(covariance: Tensor, height: int, width: int) -> Tensor:
    """What the covariance (b, 6, 6) of an affine's entries says of the square of `corner_error`: (b,), px^2."""
    y, x = ((height - 1) / 2) ** 2, ((width - 1) / 2) ** 2
    return covariance.diagonal(dim1=1, dim2=2) @ covariance.new_tensor([y, x, 1.0, y, x, 1.0])


def similarity_affine(shift: Tensor, rotation: Tensor, scale: Tensor) -> Tensor:
    """Affines (b, 2, 3) of small turns: shift (b, 2) px, rotation (b,) rad, scale (b,) less one."""
    y = torch.stack([1 + scale, rotation, shift[:, 0]], -1)
    return torch.stack([y, torch.stack([-rotation, 1 + scale, shift[:, 1]], -1)], 1)
