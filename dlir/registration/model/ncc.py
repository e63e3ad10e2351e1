"""How alike two crops are: masked normalised cross-correlation (NCC) of high-passed images, per sample.

    NCC(f, g) = sum m (f - f')(g - g') / sqrt(sum m (f - f')^2  sum m (g - g')^2)

with the means f', g' under the mask m. It ignores gain and offset of the camera; the high-pass takes out shading and
background, and a light blur most of the noise, which otherwise hides the way to the optimum.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from dlir.registration.model.filters import EPSILON, blur, high_pass, standardise
from dlir.registration.model.warping import warp

Similarity = Callable[[Tensor, Tensor, Tensor], Tensor]  # fixed, moving, mask to a score (b,)
FLAT = 1e-6  # of the square of a crop's variance: a window with less is flat
WINDOW = 9  # px, of the local NCC
LEAST = 0.1  # of a crop has to be covered by the other
BANDS = ((1.5, 10.0), (4.0, 20.0), (8.0, 20.0))  # px: blur, and width of the background that is taken out


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


def frequency_bands(crop: Tensor) -> list[Tensor]:
    """Crops (b, 1, h, w) from fine to coarse, each high-passed and blurred by one of BANDS: the coarse ones are alike from
    further away, the fine ones say more exactly where."""
    return [blur(high_pass(crop, background), sigma) for sigma, background in BANDS]


def multiscale_score(score: Similarity, fixed: list[Tensor], moving: list[Tensor], affine: Tensor) -> Tensor:
    """The mean score (b,) over the bands of two crops after `affine` (b, 2, 3); 0 with less than LEAST in common."""
    scores = []
    for first, second in zip(fixed, moving, strict=True):
        seen, mask = warp(second, affine)
        scores.append(score(first, seen, mask) * (mask.mean((1, 2, 3)) > LEAST))
    return torch.stack(scores).mean(0)
