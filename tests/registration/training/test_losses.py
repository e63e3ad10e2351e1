"""The losses: they are least at the true affine, and their gradients lead there."""

import numpy as np
import pytest
import torch
from support.specimens import crops

from dlir.registration.model.estimate import Estimate
from dlir.registration.model.ncc import SIMILARITIES, Similarity, masked_ncc
from dlir.registration.pairs.synthetic import Shape, SyntheticPairs
from dlir.registration.training.losses import _target, real_loss, synthetic_loss

SHAPE = Shape(32, 64, 8.0, (0.0, 0.0))
TRUE = torch.tensor([[[1.0, 0, 2.0], [0, 1, -4.0]]])


def estimate(affine: torch.Tensor, logits: torch.Tensor, confidence: float = 0.5, variance: float = 1.0) -> Estimate:
    count = len(affine)
    covariance = variance * torch.eye(6).expand(count, 6, 6) * torch.tensor([1e-4, 1e-4, 1, 1e-4, 1e-4, 1])
    return Estimate(affine, covariance, torch.full((count,), confidence), (affine,) * 4, logits)


def test_the_loss_on_synthetic_pairs_grows_with_the_error() -> None:
    known, logits = SyntheticPairs(torch.zeros(1), torch.zeros(1), TRUE), _target(TRUE, 5, SHAPE.centre).clamp(min=1e-9).log()
    direction = torch.tensor([[0, 0, 1.0], [0, 0, 0]])
    losses = [float(synthetic_loss(estimate(TRUE + a * direction, logits), known, SHAPE)) for a in (0.0, 0.5, 2.0, 20.0)]
    assert losses == sorted(losses)
    assert float(synthetic_loss(estimate(TRUE, torch.zeros_like(logits)), known, SHAPE)) > losses[0]


def test_the_loss_is_least_where_confidence_and_covariance_fit_the_errors() -> None:
    known, logits = SyntheticPairs(torch.zeros(1), torch.zeros(1), TRUE), _target(TRUE, 5, SHAPE.centre).clamp(min=1e-9).log()

    def loss(error: float, **uncertainty: float) -> float:
        return float(
            synthetic_loss(
                estimate(TRUE + error * torch.tensor([[0.01, 0, 1], [0, -0.01, 0]]), logits, **uncertainty), known, SHAPE
            )
        )

    assert loss(0.1, confidence=0.9) < loss(0.1, confidence=0.1)
    assert loss(9.0, confidence=0.1) < loss(9.0, confidence=0.9)
    assert loss(0.2, variance=0.02) < min(loss(0.2, variance=0.0005), loss(0.2, variance=0.8))


@pytest.mark.parametrize("score", SIMILARITIES.values())
def test_the_gradient_of_the_loss_on_real_pairs_leads_to_the_true_shift(score: Similarity) -> None:
    true = np.array([[1, 0, 1.5], [0, 1, -2.0]])
    fixed, moving = crops(true, 64, 128)
    affine = torch.eye(2, 3).repeat(4, 1, 1).requires_grad_()
    loss = real_loss(estimate(affine, torch.zeros(1)), fixed, moving, torch.ones(4), score)
    loss.backward()
    assert affine.grad is not None
    descent = -affine.grad[:, :, 2]
    to_truth = torch.tensor(true[:, 2]).float()
    assert (torch.nn.functional.cosine_similarity(descent, to_truth.expand(4, 2)) > 0.5).all()
    at_truth = estimate(torch.tensor(true).float().repeat(4, 1, 1), torch.zeros(1))
    assert float(real_loss(at_truth, fixed, moving, torch.ones(4), score)) < float(loss.detach())


def test_pairs_of_low_confidence_count_little() -> None:
    fixed, moving = crops(np.eye(2, 3), 32, 64)
    affine = torch.eye(2, 3).repeat(4, 1, 1)
    found = estimate(affine, torch.zeros(1))
    certain, uncertain = (real_loss(found, fixed, moving, torch.full((4,), c), masked_ncc) for c in (1.0, 0.1))
    torch.testing.assert_close(uncertain, 0.1 * certain)


@pytest.mark.parametrize("kind", ["synthetic", "real"])
def test_every_affine_from_coarse_to_fine_is_led_to_the_truth(kind: str) -> None:
    true = np.array([[1, 0, 1.5], [0, 1, -2.0]])
    fixed, moving = crops(true, 32, 64)
    affines = tuple(torch.eye(2, 3).repeat(4, 1, 1).requires_grad_() for _ in range(4))
    truth = torch.tensor(true).float().repeat(4, 1, 1)
    found = estimate(affines[-1], torch.zeros(4, 7, 3, 5, 5))._replace(steps=affines)
    if kind == "real":
        loss = real_loss(found, fixed, moving, torch.ones(4), masked_ncc)
    else:
        loss = synthetic_loss(found, SyntheticPairs(fixed, moving, truth), SHAPE)
    loss.backward()
    for affine in affines:
        assert affine.grad is not None
        descent = -affine.grad[:, :, 2]
        assert (torch.nn.functional.cosine_similarity(descent, truth[:, :, 2]) > 0.5).all()
