"""How alike two crops are: masked normalised cross-correlation (NCC) of high-passed images, per sample.

    NCC(f, g) = sum m (f - f')(g - g') / sqrt(sum m (f - f')^2  sum m (g - g')^2)

with the means f', g' under the mask m. It ignores gain and offset of the camera; the high-pass takes out shading and
background, and a light blur most of the noise, which otherwise hides the way to the optimum.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-8
DEGREE = math.pi / 180


def gaussian(sigma: float, like: Tensor) -> Tensor:
    """The taps of a Gaussian that is cut at three sigma, sum one."""
    reach = max(1, round(3 * sigma))
    x = torch.arange(-reach, reach + 1, dtype=like.dtype, device=like.device)
    taps = torch.exp(-(x**2) / (2 * sigma**2))
    return taps / taps.sum()


def blur(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (b, c, h, w) with repeated edges; a wide one works on a four times smaller grid."""
    height, width = image.shape[-2:]
    if sigma >= 5 and min(height, width) >= 32:
        small = blur(F.avg_pool2d(image, 4, ceil_mode=True, count_include_pad=False), sigma / 4)
        return F.interpolate(small, size=(height, width), mode="bilinear", align_corners=False)
    taps = gaussian(sigma, image)
    reach, channels = len(taps) // 2, image.shape[1]
    taps = taps.repeat(channels, 1, 1, 1)
    image = F.conv2d(F.pad(image, (reach, reach, 0, 0), mode="replicate"), taps, groups=channels)
    return F.conv2d(F.pad(image, (0, 0, reach, reach), mode="replicate"), taps.mT, groups=channels)


def standardise(image: Tensor) -> Tensor:
    """The image (b, c, h, w) in units of its own standard deviation; zero, with a zero gradient, where it is flat."""
    return image / (image.var(dim=(2, 3), keepdim=True) + EPSILON).sqrt()


def high_pass(image: Tensor, sigma: float = 10.0) -> Tensor:
    """The image (b, 1, h, w) less its background, standardised."""
    return standardise(image - blur(image, sigma))


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
    # NaN coordinates crash grid_sample on the CPU, so they never reach it
    unit = torch.nan_to_num(unit, nan=2.0).clamp(-4, 4)
    values = F.grid_sample(image, unit, mode=mode, padding_mode="border", align_corners=True)
    return values, (unit.abs() <= 1).all(-1)[:, None].to(image.dtype)


def warp(moving: Tensor, affine: Tensor) -> tuple[Tensor, Tensor]:
    """`moving` (b, c, h, w) seen in the frame of the fixed crop, and the mask of what it covers."""
    return sample(moving, transform(affine, grid(moving.shape[-2], moving.shape[-1], moving.device)))


def masked_ncc(fixed: Tensor, moving: Tensor, mask: Tensor) -> Tensor:
    """NCC (b,) of two images (b, c, h, w) under a mask (b, 1, h, w), each channel less its mean; 0 where either is flat."""
    count = mask.sum((2, 3), keepdim=True).clamp(min=1)
    fixed = (fixed - (fixed * mask).sum((2, 3), keepdim=True) / count) * mask
    moving = (moving - (moving * mask).sum((2, 3), keepdim=True) / count) * mask
    energy = (fixed**2).sum((1, 2, 3)) * (moving**2).sum((1, 2, 3))
    return (fixed * moving).sum((1, 2, 3)) / (energy + EPSILON).sqrt()


def alignment_ncc(fixed: Tensor, moving: Tensor, affine: Tensor, sigma: float = 1.5) -> Tensor:
    """NCC (b,) of two crops (b, 1, h, w) after `affine` (b, 2, 3); 0 where less than a tenth of them overlaps."""
    fixed, moving = blur(high_pass(fixed), sigma), blur(high_pass(moving), sigma)
    seen, mask = warp(moving, affine)
    return masked_ncc(fixed, seen, mask) * (mask.mean((1, 2, 3)) > 0.1)


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
