"""Filters of crops."""

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-8
ROUNDING = 3e-6  # of a crop's level, in 32 bit


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
