"""Filters that the methods of registration and the losses share: Gaussian blur, standardisation, and removal of the background.

All work on images (b, c, h, w), can be differentiated, and treat each image of a batch on its own.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-8  # added to variances of standardised images, so that flat ones do not divide by zero
ROUNDING = 3e-6  # of an image's mean: differences below are errors of rounding in 32 bit
COARSE_SIGMA, COARSE_SIDE = 5, 32  # px: blurs from this sigma on, of images from this side on, work on a coarser grid


def each(function: Callable[..., Tensor], *images: Tensor) -> Tensor:
    """Applies a function to each image (...) of one batch (b, ...) or several, by itself, and stacks the results.

    Fourier transforms and products of matrices round otherwise for another number of images, and where an image begins at
    another address in memory, so each is copied. By this, what is found in a pair is the same to the last bit whichever pairs
    are registered beside it.
    """
    return torch.stack([function(*(image.clone() for image in one)) for one in zip(*images, strict=True)])


def gaussian(sigma: float, like: Tensor) -> Tensor:
    """Returns the weights of a Gaussian of `sigma` px, cut at three sigma; their sum is one."""
    reach = max(1, round(3 * sigma))
    x = torch.arange(-reach, reach + 1, dtype=like.dtype, device=like.device)
    weights = torch.exp(-(x**2) / (2 * sigma**2))
    return weights / weights.sum()


def blur(image: Tensor, sigma: float) -> Tensor:
    """Returns the image (b, c, h, w) after a Gaussian blur of `sigma` px. Beyond its edges the image repeats its last pixels.

    A wide blur is computed on a grid that is four times coarser, which is quicker and hardly differs.
    """
    height, width = image.shape[-2:]
    if sigma >= COARSE_SIGMA and min(height, width) >= COARSE_SIDE:
        small = blur(F.avg_pool2d(image, 4, ceil_mode=True, count_include_pad=False), sigma / 4)
        return F.interpolate(small, size=(height, width), mode="bilinear", align_corners=False)
    weights = gaussian(sigma, image).tolist()
    reach = len(weights) // 2
    for axis, edges in ((3, (reach, reach, 0, 0)), (2, (0, 0, reach, reach))):
        length, padded = image.shape[axis], F.pad(image, edges, mode="replicate")
        image = weights[reach] * padded.narrow(axis, reach, length)
        for k in range(1, reach + 1):  # sums of shifted images: a convolution of single channels is several times slower
            both = padded.narrow(axis, reach - k, length) + padded.narrow(axis, reach + k, length)
            image = torch.add(image, both, alpha=weights[reach + k])
    return image


def standardise(image: Tensor) -> Tensor:
    """Returns the image (b, c, h, w) divided by the standard deviation of each channel; an image of zeros stays zero."""
    centred = image - image.mean((2, 3), keepdim=True)  # torch.var is ten times slower
    return image / ((centred * centred).mean((2, 3), keepdim=True) + EPSILON).sqrt()


def high_pass(image: Tensor, sigma: float = 10.0) -> Tensor:
    """Returns the image (b, 1, h, w) without its background, the blur of `sigma` px, in units of its standard deviation.

    It is zero where nothing but errors of rounding are left.
    """
    sharp = image - blur(image, sigma)
    structured = (sharp * sharp).mean((2, 3), keepdim=True) > (ROUNDING * image.mean((2, 3), keepdim=True)) ** 2
    return standardise(sharp) * structured
