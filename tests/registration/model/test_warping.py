"""Warping reads each pixel from the place to which the affine takes it."""

import pytest
import torch

from dlir.registration.model import warping


def test_corner_error_of_a_shift_is_its_length() -> None:
    moved = torch.tensor([[[1.0, 0, 3], [0, 1, 4]]])
    assert warping.corner_error(torch.eye(2, 3)[None], moved, 20, 40).item() == pytest.approx(5)


def test_nan_coordinates_lie_outside_and_do_not_crash() -> None:
    values, mask = warping.sample(torch.ones(1, 1, 8, 8), torch.full((1, 2, 2, 2), float("nan")))
    assert torch.isfinite(values).all() and not mask.any()
    broken = torch.eye(2, 3).repeat(2, 1, 1)
    broken[0, 1, 2] = float("nan")
    values, mask = warping.warp(torch.ones(2, 1, 8, 8), broken)
    assert torch.isfinite(values).all() and not mask[0].any() and mask[1].all()


def test_a_warped_ramp_shows_the_transformed_coordinates() -> None:
    affine = torch.tensor([[[1.02, 0.05, 3.0], [-0.03, 0.99, -4.0]], [[0.9, -0.1, -1.5], [0.2, 1.1, 6.0]]])
    ramps = warping.grid(40, 64).permute(2, 0, 1).expand(2, 2, 40, 64)  # two channels: y and x about the centre
    for every in (1, 3):
        values, mask = warping.warp(ramps, affine, every)
        true = warping.transform(affine, warping.grid(40, 64)[::every, ::every]).permute(0, 3, 1, 2)
        inside = ((true[:, :1].abs() <= 19.5) & (true[:, 1:].abs() <= 31.5)).float()
        assert (mask != inside).float().mean() < 0.002  # some pixels lie exactly on the edge
        torch.testing.assert_close(values * mask * inside, true * mask * inside, atol=1e-4, rtol=0)
