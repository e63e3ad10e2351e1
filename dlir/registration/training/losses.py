"""The losses of training: on synthetic pairs the error of the affine, which is known; on real pairs the NCC after registration.

The loss of a pair is averaged over the batch. Each of the four affines of an estimate, from the coarse search to the last
refinement, has its weight in WEIGHTS.
"""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy

from dlir.registration.model import hyperparameters
from dlir.registration.model.estimate import LINEAR, RIGHT_PX, SHIFT, STUDENT_FREEDOM, Estimate, best_point, covariance_at
from dlir.registration.model.ncc import Similarity, frequency_bands, multiscale_score
from dlir.registration.model.priors import SEARCHED_SCALES, SEARCHED_TURNS
from dlir.registration.model.warping import corner_error
from dlir.registration.pairs.synthetic import Shape, SyntheticPairs

WEIGHTS = (0.2, 0.2, 0.4, 1.0)  # of the affines from coarse to fine
CROSS_ENTROPY_WEIGHT = 0.3  # of the coarse search
UNCERTAINTY_WEIGHT = 0.1  # of covariance and confidence
LINEAR_UP_TO = 3.0  # px: larger corner errors count by their logarithm, so that lost pairs do not dominate
LOG_WEIGHT, LOG_FLOOR = 0.2, 0.05  # weight of the logarithm of the error, which rewards exactness, and px added before it
WRONG_PEAK = 8.0  # px: a shift with a larger error comes from a wrong peak, and says nothing of the covariance
TARGET_TURN, TARGET_SCALE, TARGET_SHIFT = 0.004, 0.006, 2.0  # rad, less one, px: widths of the target of the coarse search


def synthetic_loss(found: Estimate, pairs: SyntheticPairs, shape: Shape) -> Tensor:
    """Returns the loss on synthetic pairs: of the coarse search, of each affine, and of covariance and confidence.

    The coarse search has the cross-entropy with a narrow peak at the true affine. Each affine has its corner error, px, which
    counts by its logarithm where it is large, and a share of the logarithm of the error.
    """
    assert found.logits is not None
    target = _target(pairs.affine, found.logits.shape[-1], shape.centre)
    log_probability = found.logits.flatten(1).log_softmax(1).view_as(target)
    loss = -CROSS_ENTROPY_WEIGHT * (target * log_probability).sum((1, 2, 3, 4)).mean()
    for affine, weight in zip(found.steps, WEIGHTS, strict=True):
        error = corner_error(affine, pairs.affine, shape.height, shape.width)
        excess = error.clamp(min=LINEAR_UP_TO) - LINEAR_UP_TO
        capped = torch.where(error < LINEAR_UP_TO, error, LINEAR_UP_TO + torch.log1p(excess))
        loss = loss + weight * (capped + LOG_WEIGHT * torch.log(error + LOG_FLOOR)).mean()
    return loss + UNCERTAINTY_WEIGHT * uncertainty_loss(found, pairs, shape)


def uncertainty_loss(found: Estimate, pairs: SyntheticPairs, shape: Shape) -> Tensor:
    """Returns the loss of covariance and confidence: minus the log likelihood of the errors that the affines really have.

    The confidence is the probability that the corner error is below RIGHT_PX. The covariance is judged by the shift at its most
    certain point, and by the linear part. Both follow Student's t, since the errors of some pairs are far larger than can be
    seen in them. Pairs from a wrong peak count for the confidence alone.
    """
    error = corner_error(found.affine, pairs.affine, shape.height, shape.width).detach()
    confidence_loss = binary_cross_entropy(found.confidence.clamp(1e-6, 1 - 1e-6), (error < RIGHT_PX).float())
    difference = (found.affine - pairs.affine).detach().double()
    corner = difference.new_tensor([(shape.height - 1) / 2, (shape.width - 1) / 2])
    point = best_point(found.covariance.detach().double(), found.affine[:, :, 2].detach().double(), corner)
    covariance = covariance_at(found.covariance.double(), point)
    shift = (difference[:, :, :2] @ point[:, :, None])[:, :, 0] + difference[:, :, 2]
    near = shift.norm(dim=1) < WRONG_PEAK
    parts = ((shift, SHIFT), (difference[:, :, :2].flatten(1), LINEAR))
    covariance_loss = sum(_student_loss(part[near], covariance[near][:, rows][:, :, rows]) for part, rows in parts)
    return confidence_loss + covariance_loss / len(near)


def _student_loss(error: Tensor, covariance: Tensor) -> Tensor:
    """Minus the log likelihood, summed over the pairs, of errors (b, k) under Student's t with that scale (b, k, k)."""
    count = error.shape[1]
    square = (error[:, None] @ torch.linalg.solve(covariance, error[:, :, None]))[:, 0, 0]
    tail = (STUDENT_FREEDOM + count) / 2 * torch.log1p(square / STUDENT_FREEDOM)
    return (torch.logdet(covariance) / 2 + tail).sum().float()


def _target(affine: Tensor, size: int, centre: tuple[float, float]) -> Tensor:
    """The probability (b, turns, scales, size, size) that the coarse search should give to pairs with these affines."""

    def near(values: Tensor, true: Tensor, deviation: float) -> Tensor:
        return (-((values - true[:, None]) ** 2) / (2 * deviation**2)).softmax(1)

    stride = hyperparameters.DEFAULT.strides[0]
    shift = (torch.arange(size) - (size - 1) / 2).to(affine) * stride
    y, x = (shift + round(c / stride) * stride for c in centre)
    parts = (
        near(torch.tensor(SEARCHED_TURNS).to(affine), affine[:, 0, 1], TARGET_TURN),
        near(torch.tensor(SEARCHED_SCALES).to(affine), affine[:, 1, 1] - 1, TARGET_SCALE),
        near(y, affine[:, 0, 2], TARGET_SHIFT),
        near(x, affine[:, 1, 2], TARGET_SHIFT),
    )
    return torch.einsum("na,nb,nd,ne->nabde", *parts)


def real_loss(found: Estimate, fixed: Tensor, moving: Tensor, confidence: Tensor, score: Similarity) -> Tensor:
    """Returns the loss on real pairs, whose affine nobody knows: minus the score of the windows after each affine.

    Args:
        fixed, moving: windows (b, 1, h, w).
        confidence: (b,) the weight of each pair, so that pairs which are likely wrong hardly count.
        score: one of `ncc.SIMILARITIES`, averaged over the frequency bands.
    """
    loss, first, second = fixed.new_zeros(()), frequency_bands(fixed), frequency_bands(moving)
    for affine, weight in zip(found.steps, WEIGHTS[-len(found.steps) :], strict=True):
        loss = loss - weight * (confidence * multiscale_score(score, first, second, affine)).mean()
    return loss
