"""The geometry that the methods share."""

import torch

from dlir.estimate import overlap


def test_the_overlap_shows_the_same_in_both_crops() -> None:
    scene = torch.arange(40.0)[:, None] * 100 + torch.arange(60.0)
    fixed, moving = scene[None, None, 5:25, 10:50], scene[None, None, 12:32, 7:47]  # fixed px p lies at moving px p + (-7, 3)
    first, second = overlap(fixed, moving, (-7, 3))
    assert first.shape == (1, 1, 13, 37)
    torch.testing.assert_close(first, second)
