"""The coarse search: it finds shift and rotation, and nothing outside its window."""

import numpy as np
import pytest
import torch
from support.specimens import crops

from dlir.registration.model.hough_correlation import correlate, peak
from dlir.registration.model.priors import SEARCHED_TURNS


def found(affine: np.ndarray, radius: int, centre: tuple[int, int] = (0, 0)) -> torch.Tensor:
    """The affines (4, 2, 3) at the peaks, of windows between which `affine` lies."""
    fixed, moving = (window - window.mean((2, 3), keepdim=True) for window in crops(affine, 48, 192))
    logits = 300 * correlate(fixed, moving, radius, centre)
    return peak(logits, 1, centre)[0]


@pytest.mark.parametrize("shift", [(0.0, 0.0), (3.0, -5.0), (-6.0, 2.0)])
def test_a_shift_is_found(shift: tuple[float, float]) -> None:
    affine = found(np.c_[np.eye(2), shift], radius=8)
    assert affine[:, :, 2] == pytest.approx(torch.tensor(shift).expand(4, 2), abs=0.3)


def test_a_shift_far_from_zero_is_found_around_the_given_centre() -> None:
    affine = found(np.array([[1, 0, -14.0], [0, 1, 9.0]]), radius=4, centre=(-12, 8))
    assert affine[:, :, 2] == pytest.approx(torch.tensor([-14.0, 9.0]).expand(4, 2), abs=0.3)


def test_nothing_outside_the_window_is_found() -> None:
    affine = found(np.array([[1, 0, 20.0], [0, 1, 0.0]]), radius=5)
    assert (affine[:, :, 2].abs() <= 5 + 1e-4).all()


@pytest.mark.parametrize("turn", [SEARCHED_TURNS[1], SEARCHED_TURNS[5]])
def test_a_rotation_is_found(turn: float) -> None:
    linear = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    affine = found(np.c_[linear, [2.0, 1.0]], radius=6)
    assert affine[:, 0, 1] == pytest.approx(torch.full((4,), turn), abs=0.004)


def test_identical_maps_have_correlation_one() -> None:
    fixed, _ = crops(np.eye(2, 3), 32, 64)
    fixed = fixed - fixed.mean((2, 3), keepdim=True)
    volume = correlate(fixed, fixed, 2, (0, 0))
    assert volume[:, 3, 1, 2, 2] == pytest.approx(torch.ones(4), abs=1e-4)
    assert volume.abs().max() <= 1.001
