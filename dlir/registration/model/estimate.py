"""The interface of all methods of registration (`Method`), what they return (`Estimate`), and the geometry that they share.

A method of your own is any function with the signature of `Method`; `methods.py` says how to choose it.
"""

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

RIGHT_PX = 2.0  # px: a pair whose affine errs by less counts as right
STUDENT_FREEDOM = 4.0  # degrees of freedom of Student's t, which describes the errors of shifts: some are far larger than most
SHIFT = [2, 5]  # indices of the shift among the entries yy, yx, y0, xy, xx, x0 of an affine
LINEAR = [0, 1, 3, 4]  # indices of the linear part


class Estimate(NamedTuple):
    """What a method returns for a batch of b pairs of windows; all tensors lie on the device of the windows.

    An affine takes a pixel of the fixed window to the pixel of the moving window that shows the same place of the specimen.
    Both pixels are (y, x) px about the centre of their window, which lies at ((h - 1) / 2, (w - 1) / 2):

        moving_y = yy * fixed_y + yx * fixed_x + y0        moving_x = xy * fixed_y + xx * fixed_x + x0

    A method has to give the first three fields. It may leave out the others, which only the network gives.
    """

    affine: Tensor  # (b, 2, 3) rows (yy, yx, y0) and (xy, xx, x0); y0 and x0 in px
    covariance: Tensor  # (b, 6, 6) of the errors of yy, yx, y0, xy, xx, x0, with shifts in px
    confidence: Tensor  # (b,) the method's own probability, between 0 and 1, that the pair is right
    steps: tuple[Tensor, ...] = ()  # affines (b, 2, 3) from coarse to fine: training weighs the error of each
    logits: Tensor | None = None  # (b, turns, scales, d, d) log probabilities of the coarse search, for training
    clear: tuple[Tensor, Tensor] | None = None  # windows (b, 1, h, w) after `noise_filter.above_noise`: saves filtering again


class Method(Protocol):
    """Registers the two windows of a pair: the network, phase correlation, or a function of your own.

    A method is called with batches of pairs whose windows have one size and one expected shift. On the CPU several threads call
    it at the same time; gradients are off. It returns an `Estimate` for each pair, also where nothing can be seen: such a pair
    gets a finite affine and the confidence 0. Which pairs are accepted is decided afterwards, from the confidence, the NCC of
    the windows after registration, and all other pairs.
    """

    def __call__(
        self,
        fixed: Tensor,
        moving: Tensor,
        search: float,
        centre: tuple[float, float] = (0.0, 0.0),
        linear: float = math.inf,
    ) -> Estimate:
        """Registers a batch of pairs.

        Args:
            fixed, moving: windows (b, 1, h, w), float32, each with mean zero and standard deviation one; h and w are multiples
                of 8. They are corrected for the illumination.
            search: how far the shift may lie from `centre` along either axis, px. A shift beyond it is rejected.
            centre: the expected shift (y, x), px: fixed pixel p is expected at moving pixel p + centre, both about the centres
                of their windows.
            linear: standard deviation of the entries of the linear part from the identity, as the pairs that were registered
                before show it; infinite while nothing is known. A method may ignore it.

        Returns:
            affines that take a fixed pixel to a moving pixel, their covariances, and confidences, as `Estimate` says.
        """
        ...


def transposed(estimate: Estimate) -> Estimate:
    """Returns the estimate with y and x exchanged, for methods that registered the transposed windows."""
    order = [4, 3, 5, 1, 0, 2]  # yy yx y0 xy xx x0 -> xx xy x0 yx yy y0
    affine, *steps = (each.flatten(1)[:, order].view(-1, 2, 3) for each in (estimate.affine, *estimate.steps))
    covariance = estimate.covariance[:, order][:, :, order]
    clear = estimate.clear and (estimate.clear[0].mT, estimate.clear[1].mT)
    return Estimate(affine, covariance, estimate.confidence, tuple(steps), estimate.logits, clear)


def expected_overlap(fixed: Tensor, moving: Tensor, shift: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Returns the parts of two windows (b, 1, h, w) that show the same where the shift (y, x), whole px, is as expected."""
    for axis, offset in zip((2, 3), shift, strict=True):
        length = fixed.shape[axis] - abs(offset)
        fixed = fixed.narrow(axis, max(0, -offset), length)
        moving = moving.narrow(axis, max(0, offset), length)
    return fixed, moving


def best_point(covariance: Tensor, shift: Tensor, corner: Tensor) -> Tensor:
    """Returns the point of the overlap at which each affine is most certain.

    It lies where the content is: when all structure is in one corner of the overlap, the pair says little of the others. The
    variance of the place to which an affine takes a point is quadratic in the point. It is least where the shift of the point
    and the linear part are uncorrelated.

    Args:
        covariance: (b, 6, 6) of the affines.
        shift: (b, 2) of the affines, px, which gives the overlap.
        corner: (2,) the last pixel of the windows about their centre, px.

    Returns:
        points (b, 2) of the fixed window, px about its centre.
    """
    blocks = covariance.view(-1, 2, 3, 2, 3)
    both = blocks[:, 0, :, 0] + blocks[:, 1, :, 1]  # of yy, yx, y0 and of xy, xx, x0
    point = -torch.linalg.solve(both[:, :2, :2] + 1e-12 * torch.eye(2).to(both), both[:, :2, 2:])[:, :, 0]
    return torch.minimum(torch.maximum(point, torch.maximum(-corner, -corner - shift)), torch.minimum(corner, corner - shift))


def covariance_at(covariance: Tensor, point: Tensor) -> Tensor:
    """Returns the covariance (b, 6, 6) of affines whose shift is that of a point (b, 2), px, instead of the origin."""
    move = _to_point(point)
    return move @ covariance @ move.mT


def scaled_covariance(covariance: Tensor, point: Tensor, shift: Tensor, linear: Tensor) -> Tensor:
    """Returns the covariance (b, 6, 6) after scaling the deviations of the shift of a point and of the linear part.

    Args:
        covariance: (b, 6, 6) of the affines.
        point: (b, 2) px, whose shift is scaled.
        shift, linear: (b,) the factors of either deviation.
    """
    factors = torch.stack([linear, linear, shift] * 2, 1)
    return covariance_at(covariance_at(covariance, point) * factors[:, :, None] * factors[:, None], -point)


def _to_point(point: Tensor) -> Tensor:
    """Matrices (b, 6, 6) from the entries of affines to those in which the shift is that of a point (b, 2)."""
    move = torch.eye(6).to(point).repeat(len(point), 1, 1)
    for row, columns in zip(SHIFT, ([0, 1], [3, 4]), strict=True):
        move[:, row, columns] = point
    return move
