"""What the network is trained on: the known affine where there is one, the likeness of the crops where there is none."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy

from dlir.registration.model import hyperparameters
from dlir.registration.model.estimate import LINEAR, RIGHT_PX, SHIFT, STUDENT_FREEDOM, Estimate, best_point, covariance_at
from dlir.registration.model.ncc import Similarity, frequency_bands, multiscale_score
from dlir.registration.model.priors import SEARCHED_SCALES, SEARCHED_TURNS
from dlir.registration.model.warping import corner_error
from dlir.registration.pairs.synthetic import Shape, SyntheticPairs

NEAR = 8.0  # px: a pair with a larger error has found another place
WEIGHTS = (0.2, 0.2, 0.4, 1.0)  # of the affines from coarse to fine


def synthetic_loss(found: Estimate, known: SyntheticPairs, shape: Shape) -> Tensor:
    """The loss where the affine is known: of the coarse search its cross-entropy, of the affines their corner errors, px,
    by their logarithm where they are large or small, of covariance and confidence the likelihood of those errors."""
    assert found.logits is not None
    target = _target(known.affine, found.logits.shape[-1], shape.centre)
    loss = -0.3 * (target * found.logits.flatten(1).log_softmax(1).view_as(target)).sum((1, 2, 3, 4)).mean()
    for affine, weight in zip(found.steps, WEIGHTS, strict=True):
        error = corner_error(affine, known.affine, shape.height, shape.width)
        capped = torch.where(error < 3, error, 3 + torch.log1p(error.clamp(min=3) - 3))
        loss = loss + weight * (capped + 0.2 * torch.log(error + 0.05)).mean()
    return loss + 0.1 * uncertainty_loss(found, known, shape)


def uncertainty_loss(found: Estimate, known: SyntheticPairs, shape: Shape) -> Tensor:
    """The loss of what an estimate says of itself: the likelihood of its errors under its covariance and confidence.

    The shift, where it is surest, and the linear part are judged apart, both by Student's t, since some pairs err by far more
    than they can know. Pairs that lie elsewhere altogether are for the confidence alone.
    """
    error = corner_error(found.affine, known.affine, shape.height, shape.width).detach()
    sure = binary_cross_entropy(found.confidence.clamp(1e-6, 1 - 1e-6), (error < RIGHT_PX).float())
    difference = (found.affine - known.affine).detach().double()
    middle = difference.new_tensor([(shape.height - 1) / 2, (shape.width - 1) / 2])
    point = best_point(found.covariance.detach().double(), found.affine[:, :, 2].detach().double(), middle)
    covariance = covariance_at(found.covariance.double(), point)
    shift = (difference[:, :, :2] @ point[:, :, None])[:, :, 0] + difference[:, :, 2]
    near = shift.norm(dim=1) < NEAR
    parts = ((shift, SHIFT), (difference[:, :, :2].flatten(1), LINEAR))
    likelihood = sum(_student(part[near], covariance[near][:, rows][:, :, rows]) for part, rows in parts)
    return sure + likelihood / len(near)


def _student(error: Tensor, covariance: Tensor) -> Tensor:
    """Less the log likelihood, summed, of errors (b, k) under Student's t with that scale (b, k, k)."""
    count = error.shape[1]
    square = (error[:, None] @ torch.linalg.solve(covariance, error[:, :, None]))[:, 0, 0]
    return (torch.logdet(covariance) / 2 + (STUDENT_FREEDOM + count) / 2 * torch.log1p(square / STUDENT_FREEDOM)).sum().float()


def _target(affine: Tensor, size: int, centre: tuple[float, float]) -> Tensor:
    """The probability (b, rotations, scales, size, size) that the coarse search should give."""

    def near(values: Tensor, true: Tensor, deviation: float) -> Tensor:
        return (-((values - true[:, None]) ** 2) / (2 * deviation**2)).softmax(1)

    stride = hyperparameters.DEFAULT.strides[0]
    shift = (torch.arange(size) - (size - 1) / 2).to(affine) * stride
    y, x = (shift + round(c / stride) * stride for c in centre)
    parts = (
        near(torch.tensor(SEARCHED_TURNS).to(affine), affine[:, 0, 1], 0.004),
        near(torch.tensor(SEARCHED_SCALES).to(affine), affine[:, 1, 1] - 1, 0.006),
        near(y, affine[:, 0, 2], 2.0),
        near(x, affine[:, 1, 2], 2.0),
    )
    return torch.einsum("na,nb,nd,ne->nabde", *parts)


def real_loss(found: Estimate, fixed: Tensor, moving: Tensor, sure: Tensor, score: Similarity) -> Tensor:
    """The loss of real pairs (b, 1, h, w), whose affine nobody knows: less the score of the crops after each affine, mean of
    several scales, where a pair counts as much as it is held for right, `sure` (b,)."""
    loss, first, second = fixed.new_zeros(()), frequency_bands(fixed), frequency_bands(moving)
    for affine, weight in zip(found.steps, WEIGHTS[-len(found.steps) :], strict=True):
        loss = loss - weight * (sure * multiscale_score(score, first, second, affine)).mean()
    return loss
