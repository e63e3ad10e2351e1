"""The blur keeps the brightness and the place of what it blurs."""

import pytest
import torch

from dlir.registration.model import filters


def test_blur_keeps_the_mean_and_the_place() -> None:
    image = torch.zeros(1, 1, 64, 96)
    image[0, 0, 30, 50] = 1
    for sigma in (0.7, 2.0, 6.0):
        blurred = filters.blur(image, sigma)[0, 0]
        y, x = torch.meshgrid(torch.arange(64.0), torch.arange(96.0), indexing="ij")
        assert blurred.sum().item() == pytest.approx(1, abs=0.02)
        assert ((blurred * y).sum() / blurred.sum()).item() == pytest.approx(30, abs=0.6)
        assert ((blurred * x).sum() / blurred.sum()).item() == pytest.approx(50, abs=0.6)
