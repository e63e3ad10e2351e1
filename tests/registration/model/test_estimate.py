"""The geometry that the methods of registration share."""

import numpy as np
import pytest
import torch

from dlir.registration.model.estimate import LINEAR, SHIFT, best_point, covariance_at, expected_overlap, scaled_covariance

CORNER = torch.tensor([32.0, 128.0], dtype=torch.float64)


def certain_in_a_corner() -> torch.Tensor:
    """The covariance (1, 6, 6) of an affine that is known well only at (-20, 100), to 0.1 px."""
    design = np.kron(np.eye(2), np.array([[-20.0, 100.0, 1.0]]))
    information = 100 * design.T @ design + np.diag([1.0, 1.0, 1e-3] * 2)
    return torch.from_numpy(np.linalg.inv(information)[None])


def test_the_expected_overlap_shows_the_same_in_both_windows() -> None:
    scene = torch.arange(40.0)[:, None] * 100 + torch.arange(60.0)
    fixed, moving = scene[None, None, 5:25, 10:50], scene[None, None, 12:32, 7:47]  # fixed px p lies at moving px p + (-7, 3)
    first, second = expected_overlap(fixed, moving, (-7, 3))
    assert first.shape == (1, 1, 13, 37)
    torch.testing.assert_close(first, second)


def test_the_best_point_lies_in_the_corner_with_content() -> None:
    covariance = certain_in_a_corner()
    point = best_point(covariance, torch.tensor([[3.0, -5.0]]), CORNER)
    assert point[0].numpy() == pytest.approx([-20, 100], abs=0.5)
    at_point, at_centre = (covariance_at(covariance, p)[0, SHIFT, SHIFT].sum() for p in (point, torch.zeros_like(point)))
    assert at_point < 0.03 < at_centre
    limited = best_point(covariance, torch.tensor([[30.0, 60.0]]), CORNER)  # this shift leaves a smaller overlap
    assert limited[0].numpy() == pytest.approx([-20, 68], abs=0.5)


def test_shift_and_linear_part_are_scaled_independently() -> None:
    covariance = certain_in_a_corner()
    point = best_point(covariance, torch.zeros(1, 2), CORNER)
    scaled = scaled_covariance(covariance, point, torch.tensor([2.0]), torch.tensor([0.5]))
    for entries, times in ((SHIFT, 4.0), (LINEAR, 0.25)):
        before, after = (covariance_at(c, point)[:, entries][:, :, entries] for c in (covariance, scaled))
        torch.testing.assert_close(after, times * before)
    assert (torch.linalg.eigvalsh(scaled) > 0).all()
    torch.testing.assert_close(best_point(scaled, torch.zeros(1, 2), CORNER), point)
