"""What registration says of a batch of pairs, and the geometry that every method of registration shares."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

MULTIPLE = 8  # the sides of a crop are multiples of this


class Estimate(NamedTuple):
    """Affines take a fixed px to a moving px, (y, x) about the crops' centres."""

    affine: Tensor  # (b, 2, 3)
    covariance: Tensor  # (b, 6, 6) of yy, yx, y0, xy, xx, x0
    confidence: Tensor  # (b,) between 0 and 1
    steps: tuple[Tensor, ...] = ()  # the affines (b, 2, 3) from coarse to fine, for the loss
    logits: Tensor | None = None  # (b, rotations, scales, d, d) of a coarse search, for the loss


# What registers: crops fixed and moving (b, 1, h, w), how far the shift is searched, and the shift (y, x) that is expected, px
Method = Callable[[Tensor, Tensor, float, tuple[float, float]], Estimate]


def transposed(estimate: Estimate) -> Estimate:
    """The estimate with y and x exchanged."""
    order = [4, 3, 5, 1, 0, 2]  # yy yx y0 xy xx x0 -> xx xy x0 yx yy y0
    swap = [a.flatten(1)[:, order].view(-1, 2, 3) for a in (estimate.affine, *estimate.steps)]
    covariance = estimate.covariance[:, order][:, :, order]
    return Estimate(swap[0], covariance, estimate.confidence, tuple(swap[1:]), estimate.logits)


def overlap(fixed: Tensor, moving: Tensor, expected: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The parts of two crops (b, 1, h, w) that show the same where the shift is as expected, whole px (y, x)."""
    for axis, shift in zip((2, 3), expected, strict=True):
        length = fixed.shape[axis] - abs(shift)
        fixed = fixed.narrow(axis, max(0, -shift), length)
        moving = moving.narrow(axis, max(0, shift), length)
    return fixed, moving
