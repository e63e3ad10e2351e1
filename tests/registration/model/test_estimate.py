"""The geometry that the methods share."""

import numpy as np
import pytest
import torch

from dlir.registration.model.estimate import LINEAR, SHIFT, best_point, covariance_at, expected_overlap, scaled_covariance

MIDDLE = torch.tensor([32.0, 128.0], dtype=torch.float64)


def corner_alone() -> torch.Tensor:
    """The covariance (1, 6, 6) of an affine of which only where (-20, 100) goes is known well, to .1 px."""
    design = np.kron(np.eye(2), np.array([[-20.0, 100.0, 1.0]]))
    information = 100 * design.T @ design + np.diag([1.0, 1.0, 1e-3] * 2)
    return torch.from_numpy(np.linalg.inv(information)[None])


def test_the_overlap_shows_the_same_in_both_crops() -> None:
    scene = torch.arange(40.0)[:, None] * 100 + torch.arange(60.0)
    fixed, moving = scene[None, None, 5:25, 10:50], scene[None, None, 12:32, 7:47]  # fixed px p lies at moving px p + (-7, 3)
    first, second = expected_overlap(fixed, moving, (-7, 3))
    assert first.shape == (1, 1, 13, 37)
    torch.testing.assert_close(first, second)


def test_a_corner_with_content_is_where_the_pair_is_sure() -> None:
    covariance = corner_alone()
    point = best_point(covariance, torch.tensor([[3.0, -5.0]]), MIDDLE)
    assert point[0].numpy() == pytest.approx([-20, 100], abs=0.5)
    there, here = (covariance_at(covariance, p)[0, SHIFT, SHIFT].sum() for p in (point, torch.zeros_like(point)))
    assert there < 0.03 < here
    far = best_point(covariance, torch.tensor([[30.0, 60.0]]), MIDDLE)  # there only a part of the crop is shared
    assert far[0].numpy() == pytest.approx([-20, 68], abs=0.5)


def test_shift_and_linear_part_are_widened_apart() -> None:
    covariance = corner_alone()
    point = best_point(covariance, torch.zeros(1, 2), MIDDLE)
    twice = scaled_covariance(covariance, point, torch.tensor([2.0]), torch.tensor([0.5]))
    for entries, times in ((SHIFT, 4.0), (LINEAR, 0.25)):
        before, after = (covariance_at(c, point)[:, entries][:, :, entries] for c in (covariance, twice))
        torch.testing.assert_close(after, times * before)
    assert (torch.linalg.eigvalsh(twice) > 0).all()
    torch.testing.assert_close(best_point(twice, torch.zeros(1, 2), MIDDLE), point)
