"""The covariance of a refined affine: it is wide along an edge, and that of least squares where the specimen has texture."""

import numpy as np
import pytest
import torch
from support.specimens import crops
from torch import Tensor

from dlir.registration.model import aperture
from dlir.registration.model.estimate import SHIFT
from dlir.registration.model.lucas_kanade import Refined, refine

COUNT, HEIGHT, WIDTH = 40, 64, 256
LINEAR = 1e-3  # standard deviation of linear parts


def edge(angle: float, noise: float) -> tuple[Tensor, Tensor, Tensor]:
    """Two noisy windows (b, 1, h, w) of the same edge through their middle, and the direction along it."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] - np.array([(HEIGHT - 1) / 2, (WIDTH - 1) / 2])[:, None, None]
    distance = y * np.cos(angle) - x * np.sin(angle)
    clean = torch.tensor(np.tanh(distance / 2), dtype=torch.float32).expand(COUNT, 1, HEIGHT, WIDTH)
    torch.manual_seed(0)
    fixed, moving = (clean + noise * torch.randn(COUNT, 1, HEIGHT, WIDTH) for _ in range(2))
    return fixed, moving, torch.tensor([np.sin(angle), np.cos(angle)])


def deviation(covariance: Tensor, direction: Tensor) -> Tensor:
    """The standard deviation (b,) of the shift in a direction (2,), px."""
    along = direction.double()
    return (along @ covariance[:, SHIFT][:, :, SHIFT] @ along).sqrt()


def refined_from(start: Tensor, fixed: Tensor, moving: Tensor) -> Refined:
    """The pairs, refined from affines of which each has this shift (2,), px."""
    affine = torch.cat([torch.eye(2), start[:, None].float()], 1).expand(len(fixed), 2, 3)
    return refine(fixed, moving, affine, 1, 6, torch.zeros(2), LINEAR)


@pytest.mark.parametrize("noise", [0.02, 0.05])
@pytest.mark.parametrize("angle", [0.3, 0.9, 1.4])
def test_the_shift_along_an_edge_is_unknown(angle: float, noise: float) -> None:
    fixed, moving, along = edge(angle, noise)
    found = refined_from(5.0 * along, fixed, moving)
    covariance = aperture.covariance(found, 1)
    error = found.affine[:, :, 2] @ along.float()  # the true shift is zero
    across = torch.stack([-along[1], along[0]])
    least_squares = torch.linalg.inv(found.information.double())
    assert (error.abs() > 2).float().mean() > 0.8  # noise decides where along the edge the pair is found
    assert (deviation(covariance, along) > error.abs() / 3).float().mean() > 0.9
    assert deviation(covariance, across).median() < 0.1
    assert deviation(least_squares, along).median() < 0.7  # what it would have said


@pytest.mark.parametrize("noise", [0.3, 2.0])
def test_a_pair_with_texture_keeps_its_covariance(noise: float) -> None:
    fixed, moving = crops(np.eye(2, 3), HEIGHT, WIDTH, range(8), noise)
    found = refined_from(torch.tensor([0.2, -0.3]), fixed, moving)
    least_squares, stated = torch.linalg.inv(found.information.double()), aperture.covariance(found, 1)
    for direction in torch.eye(2):
        torch.testing.assert_close(deviation(stated, direction), deviation(least_squares, direction), rtol=0.1, atol=0)


def test_two_edges_that_cross_are_a_corner() -> None:
    fixed, moving, _ = edge(0.3, 0.1)
    others = edge(1.5, 0.1)
    found = refined_from(torch.tensor([0.5, 0.5]), fixed + others[0], moving + others[1])
    covariance = aperture.covariance(found, 1)
    for direction in torch.eye(2):
        assert deviation(covariance, direction).max() < 0.2
    assert found.affine[:, :, 2].abs().max() < 0.5


def test_empty_maps_have_a_finite_covariance() -> None:
    flat = torch.zeros(1, 1, 32, 64)
    found = refined_from(torch.zeros(2), flat, flat)
    assert aperture.covariance(found, 1).isfinite().all()
