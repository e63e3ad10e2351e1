"""Phase correlation: it finds shifts around the expected one, and rejects those outside the search."""

import numpy as np
import pytest
import torch
from torch import Tensor

from dlir.registration.model.phase_correlation import phase


def shifted(y: int, x: int) -> tuple[Tensor, Tensor]:
    """Windows (4, 1, 64, 128) of fine texture in which fixed px p lies at moving px p + (y, x)."""
    image = torch.from_numpy(np.random.default_rng(0).standard_normal((4, 1, 128, 256)).astype(np.float32))
    return image[..., 32:96, 64:192], image[..., 32 - y : 96 - y, 64 - x : 192 - x]


@pytest.mark.parametrize(("shift", "centre"), [((3, -4), (0.0, 0.0)), ((-13, 2), (-12.0, 0.0))])
def test_a_shift_about_the_expected_one_is_found(shift: tuple[int, int], centre: tuple[float, float]) -> None:
    estimate = phase(*shifted(*shift), 8.0, centre)
    assert estimate.affine[:, :, 2] == pytest.approx(torch.tensor(shift).float().expand(4, 2), abs=0.05)
    assert (estimate.confidence == 1).all()


def test_a_shift_outside_the_search_has_no_confidence() -> None:
    assert (phase(*shifted(0, 20), 8.0).confidence == 0).all()
