"""Normalised cross-correlation (NCC) of two images under a mask, one score for each pair of a batch.

    NCC(f, g) = sum m (f - f')(g - g') / sqrt(sum m (f - f')^2  sum m (g - g')^2)

f' and g' are the means under the mask m. The NCC does not depend on the gain and the offset of the camera. `masked_ncc` is that
of the whole mask, `local_ncc` the mean over small windows; `multiscale_score` is the mean of either over several frequency
bands, which the training on real pairs maximises.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from dlir.registration.model.filters import EPSILON, blur, high_pass, standardise
from dlir.registration.model.warping import warp

Similarity = Callable[[Tensor, Tensor, Tensor], Tensor]  # fixed (b, 1, h, w), moving, mask -> score (b,)
FLAT_VARIANCE = 1e-6  # added to products of variances of a standardised image, so that flat windows score 0
LOCAL_SIDE = 9  # px, side of the small windows of the local NCC
LEAST_OVERLAP = 0.1  # fraction of a window that the other has to cover; with less, the score is 0
BANDS = ((1.5, 10.0), (4.0, 20.0), (8.0, 20.0))  # px, of each band: sigmas of the blur, and of the background that is removed


def masked_ncc(fixed: Tensor, moving: Tensor, mask: Tensor) -> Tensor:
    """Returns the NCC (b,) of two images (b, c, h, w) under a mask (b, 1, h, w); 0 where either is flat.

    Each channel is taken less its own mean; the sums run over all channels.
    """
    count = mask.sum((2, 3), keepdim=True).clamp(min=1)
    fixed = (fixed - (fixed * mask).sum((2, 3), keepdim=True) / count) * mask
    moving = (moving - (moving * mask).sum((2, 3), keepdim=True) / count) * mask
    energy = (fixed**2).sum((1, 2, 3)) * (moving**2).sum((1, 2, 3))
    return (fixed * moving).sum((1, 2, 3)) / (energy + EPSILON).sqrt()


def local_ncc(fixed: Tensor, moving: Tensor, mask: Tensor) -> Tensor:
    """Returns the similarity (b,) of the paper of DLIR (de Vos et al., arXiv 1809.06130) for two images (b, 1, h, w).

    It is the mean, over the pixels of the mask (b, 1, h, w), of the NCC in a window of LOCAL_SIDE x LOCAL_SIDE px around the
    pixel, which counts the pixels of the mask alone. A flat window scores 0.
    """

    def local_mean(image: Tensor) -> Tensor:
        return F.avg_pool2d(image, LOCAL_SIDE, 1, LOCAL_SIDE // 2)

    share = local_mean(mask).clamp(min=EPSILON)
    first, second = (standardise(image - image.mean((2, 3), keepdim=True)) * mask for image in (fixed, moving))
    means = local_mean(first) / share, local_mean(second) / share
    variances = [(local_mean(x * x) / share - m * m).clamp(min=0) for x, m in zip((first, second), means, strict=True)]
    covariance = local_mean(first * second) / share - means[0] * means[1]
    score = covariance / (variances[0] * variances[1] + FLAT_VARIANCE).sqrt()
    return (score * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3)).clamp(min=1)


SIMILARITIES = {"global": masked_ncc, "local": local_ncc}  # by the names in the setting train.similarity


def frequency_bands(image: Tensor) -> list[Tensor]:
    """Returns the images (b, 1, h, w) in each of BANDS, from fine to coarse.

    Coarse bands still correlate when the images are far apart; fine bands say more exactly where they match.
    """
    return [blur(high_pass(image, background), sigma) for sigma, background in BANDS]


def multiscale_score(score: Similarity, fixed: list[Tensor], moving: list[Tensor], affine: Tensor) -> Tensor:
    """Returns the mean score (b,) over the frequency bands of two windows after an affine.

    Args:
        score: one of SIMILARITIES.
        fixed, moving: as `frequency_bands` gives them.
        affine: (b, 2, 3) a fixed px to a moving px about the centres.
    """
    scores = []
    for first, second in zip(fixed, moving, strict=True):
        warped, mask = warp(second, affine)
        scores.append(score(first, warped, mask) * (mask.mean((1, 2, 3)) > LEAST_OVERLAP))
    return torch.stack(scores).mean(0)
