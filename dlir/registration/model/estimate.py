"""What registration says of a batch of pairs, and the geometry that every method of registration shares."""

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

RIGHT_PX = 2.0  # px: a pair that errs by less is right
STUDENT_FREEDOM = 4.0  # of Student's t, as which the errors of shifts are distributed
SHIFT = [2, 5]  # of the entries yy, yx, y0, xy, xx, x0 of an affine
LINEAR = [0, 1, 3, 4]


class Estimate(NamedTuple):
    """Affines take a fixed px to a moving px, (y, x) about the crops' centres."""

    affine: Tensor  # (b, 2, 3)
    covariance: Tensor  # (b, 6, 6) of yy, yx, y0, xy, xx, x0
    confidence: Tensor  # (b,) between 0 and 1
    steps: tuple[Tensor, ...] = ()  # the affines (b, 2, 3) from coarse to fine, for the loss
    logits: Tensor | None = None  # (b, rotations, scales, d, d) of a coarse search, for the loss
    clear: tuple[Tensor, Tensor] | None = None  # the crops as `spectrum.above_noise` gives them, of a method that used them


class Method(Protocol):
    """What registers two windows of a pair: the network, phase correlation, or a function of your own."""

    def __call__(
        self,
        fixed: Tensor,
        moving: Tensor,
        search: float,
        centre: tuple[float, float] = (0.0, 0.0),
        linear: float = math.inf,
    ) -> Estimate:
        """Register a batch of crops.

        Args:
            fixed, moving: (b, 1, h, w), each in units of its own standard deviation; h and w are multiples of 8.
            search: how far from `centre` the shift may lie on either axis, px.
            centre: the expected shift (y, x), px: fixed px p lies at moving px p + centre.
            linear: the deviation from the identity that the linear part may have; a method may ignore it.
        """
        ...


def transposed(estimate: Estimate) -> Estimate:
    """The estimate with y and x exchanged."""
    order = [4, 3, 5, 1, 0, 2]  # yy yx y0 xy xx x0 -> xx xy x0 yx yy y0
    swap = [a.flatten(1)[:, order].view(-1, 2, 3) for a in (estimate.affine, *estimate.steps)]
    covariance = estimate.covariance[:, order][:, :, order]
    clear = estimate.clear and (estimate.clear[0].mT, estimate.clear[1].mT)
    return Estimate(swap[0], covariance, estimate.confidence, tuple(swap[1:]), estimate.logits, clear)


def expected_overlap(fixed: Tensor, moving: Tensor, expected: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The parts of two crops (b, 1, h, w) that show the same where the shift is as expected, whole px (y, x)."""
    for axis, shift in zip((2, 3), expected, strict=True):
        length = fixed.shape[axis] - abs(shift)
        fixed = fixed.narrow(axis, max(0, -shift), length)
        moving = moving.narrow(axis, max(0, shift), length)
    return fixed, moving


def best_point(covariance: Tensor, shift: Tensor, middle: Tensor) -> Tensor:
    """The point (b, 2), px of the fixed crop about its middle, that affines with covariance (b, 6, 6) take somewhere most
    surely, inside the overlap of crops whose corners lie at -+ `middle` (2,) and which lie apart by `shift` (b, 2).

    It is where the content lies: an overlap whose only structure is in one corner says little of the others. The variance
    of where a point p goes is a quadratic in p, least where shift and linear part are uncorrelated.
    """
    blocks = covariance.view(-1, 2, 3, 2, 3)
    both = blocks[:, 0, :, 0] + blocks[:, 1, :, 1]  # of yy, yx, y0 and of xy, xx, x0
    point = -torch.linalg.solve(both[:, :2, :2] + 1e-12 * torch.eye(2).to(both), both[:, :2, 2:])[:, :, 0]
    return torch.minimum(torch.maximum(point, torch.maximum(-middle, -middle - shift)), torch.minimum(middle, middle - shift))


def covariance_at(covariance: Tensor, point: Tensor) -> Tensor:
    """The covariance (b, 6, 6) of affines whose shift is that of a point (b, 2), given that of the shift of the middle."""
    move = _to_point(point)
    return move @ covariance @ move.mT


def scaled_covariance(covariance: Tensor, point: Tensor, shift: Tensor, linear: Tensor) -> Tensor:
    """The covariance (b, 6, 6) with the deviations of the shift of a point (b, 2) and of the linear part, each (b,) times as
    large."""
    times = torch.stack([linear, linear, shift] * 2, 1)
    return covariance_at(covariance_at(covariance, point) * times[:, :, None] * times[:, None], -point)


def _to_point(point: Tensor) -> Tensor:
    """Matrices (b, 6, 6) from the entries of affines to those in which the shift is that of a point (b, 2)."""
    move = torch.eye(6).to(point).repeat(len(point), 1, 1)
    for row, columns in zip(SHIFT, ([0, 1], [3, 4]), strict=True):
        move[:, row, columns] = point
    return move
