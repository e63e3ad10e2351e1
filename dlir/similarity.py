"""How alike two crops are: masked normalised cross-correlation (NCC) of high-passed images, per sample.

    NCC(f, g) = sum m (f - f')(g - g') / sqrt(sum m (f - f')^2  sum m (g - g')^2)

with the means f', g' under the mask m. It ignores gain and offset of the camera; the high-pass takes out shading and
background, and a light blur most of the noise, which otherwise hides the way to the optimum.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Similarity = Callable[[Tensor, Tensor, Tensor], Tensor]  # fixed, moving, mask to a score (b,)
EPSILON = 1e-8
ROUNDING = 3e-6  # of a crop's level, in 32 bit
FLAT = 1e-6  # of the square of a crop's variance: a window with less is flat
WINDOW = 9  # px, of the local NCC
LEAST = 0.1  # of a crop has to be covered by the other
BANDS = ((1.5, 10.0), (4.0, 20.0), (8.0, 20.0))  # px: blur, and width of the background that is taken out
EDGE = 1 + 1e-6  # half of an image, and errors of rounding
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
    taps = gaussian(sigma, image).tolist()
    reach = len(taps) // 2
    for axis, edges in ((3, (reach, reach, 0, 0)), (2, (0, 0, reach, reach))):
        length, padded = image.shape[axis], F.pad(image, edges, mode="replicate")
        image = taps[reach] * padded.narrow(axis, reach, length)
        for k in range(1, reach + 1):  # by shifts: a convolution of single channels is several times slower
            both = padded.narrow(axis, reach - k, length) + padded.narrow(axis, reach + k, length)
            image = torch.add(image, both, alpha=taps[reach + k])
    return image


def standardise(image: Tensor) -> Tensor:
    """The image (b, c, h, w) in units of its own standard deviation; zero, with a zero gradient, where it is flat."""
    centred = image - image.mean((2, 3), keepdim=True)  # torch.var is ten times slower
    return image / ((centred * centred).mean((2, 3), keepdim=True) + EPSILON).sqrt()


def high_pass(image: Tensor, sigma: float = 10.0) -> Tensor:
    """The image (b, 1, h, w) less its background, standardised; zero where only errors of rounding are left of it."""
    sharp = image - blur(image, sigma)
    seen = (sharp * sharp).mean((2, 3), keepdim=True) > (ROUNDING * image.mean((2, 3), keepdim=True)) ** 2
    return standardise(sharp) * seen


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


def masked_ncc(fixed: Tensor, moving: Tensor, mask: Tensor) -> Tensor:
    """NCC (b,) of two images (b, c, h, w) under a mask (b, 1, h, w), each channel less its mean; 0 where either is flat."""
    count = mask.sum((2, 3), keepdim=True).clamp(min=1)
    fixed = (fixed - (fixed * mask).sum((2, 3), keepdim=True) / count) * mask
    moving = (moving - (moving * mask).sum((2, 3), keepdim=True) / count) * mask
    energy = (fixed**2).sum((1, 2, 3)) * (moving**2).sum((1, 2, 3))
    return (fixed * moving).sum((1, 2, 3)) / (energy + EPSILON).sqrt()


def local_ncc(fixed: Tensor, moving: Tensor, mask: Tensor) -> Tensor:
    """The similarity of DLIR (de Vos et al., arXiv 1809.06130): the mean (b,) over the mask (b, 1, h, w) of the NCC of the
    windows of WINDOW x WINDOW px around each px, of what the mask shows of (b, 1, h, w); a flat window scores 0."""

    def windows(image: Tensor) -> Tensor:
        return F.avg_pool2d(image, WINDOW, 1, WINDOW // 2)

    share = windows(mask).clamp(min=EPSILON)
    first, second = (standardise(image - image.mean((2, 3), keepdim=True)) * mask for image in (fixed, moving))
    means = windows(first) / share, windows(second) / share
    spread = [(windows(x * x) / share - m * m).clamp(min=0) for x, m in zip((first, second), means, strict=True)]
    both = windows(first * second) / share - means[0] * means[1]
    score = both / (spread[0] * spread[1] + FLAT).sqrt()
    return (score * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3)).clamp(min=1)


SIMILARITIES = {"global": masked_ncc, "local": local_ncc}


def bands(crop: Tensor) -> list[Tensor]:
    """Crops (b, 1, h, w) from fine to coarse, each high-passed and blurred by one of BANDS: the coarse ones are alike from
    further away, the fine ones say more exactly where."""
    return [blur(high_pass(crop, background), sigma) for sigma, background in BANDS]


def multiscale(score: Similarity, fixed: list[Tensor], moving: list[Tensor], affine: Tensor) -> Tensor:
    """The mean score (b,) over the bands of two crops after `affine` (b, 2, 3); 0 with less than LEAST in common."""
    scores = []
    for first, second in zip(fixed, moving, strict=True):
        seen, mask = warp(second, affine)
        scores.append(score(first, seen, mask) * (mask.mean((1, 2, 3)) > LEAST))
    return torch.stack(scores).mean(0)


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
