"""Gauss-Newton refinement of an affine on feature maps (Lucas and Kanade 1981; the symmetric step of Benhimane and Malis
2004), with a prior on what a microscope's tiles do to each other.

Each step solves  (J'J / s2 + P) d = J'r / s2 + P (theta - identity)  for the six parameters d, where r is the difference of
the features in the overlap, J their derivative (mean of both maps' gradients), s2 the variance of r, and P the precision of
rotation, scale, aspect and shear. Unrolled a fixed number of times, it can be trained through.
"""

import math

import torch
from torch import Tensor

from dlir.registration.model.warping import grid, warp

DEVIATIONS = (0.011, 0.007, 0.002, 0.002)  # of rotation (rad), scale, aspect, shear between two tiles
BASIS = ((0.0, 1.0, -1.0, 0.0), (1.0, 0.0, 0.0, 1.0), (1.0, 0.0, 0.0, -1.0), (0.0, 1.0, 1.0, 0.0))  # in yy, yx, xy, xx
LINEAR = [0, 1, 3, 4]  # of the parameters yy, yx, y0, xy, xx, x0
LONGEST_STEP = 3.0  # cells
SPARSE = 2  # cells, between those where the covariance of the channels is looked at
RIDGE, FLOOR = 0.3, 0.01  # of a channel's variance, and of unit variance, added to it
LEAST_OVERLAP = 0.05  # of the crop; with less, the affine stays as it came


def gradients(features: Tensor) -> tuple[Tensor, Tensor]:
    """Differences (b, c, h - 2, w - 2) of the neighbours on either side, along y and x: twice the slope."""
    inner = slice(1, -1)
    return (
        features[:, :, 2:, inner] - features[:, :, :-2, inner],
        features[:, :, inner, 2:] - features[:, :, inner, :-2],
    )


def refine(
    fixed: Tensor,
    moving: Tensor,
    affine: Tensor,
    stride: int,
    steps: int,
    prior: Tensor,
    linear: float = math.inf,
    weight: Tensor | None = None,
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor]]:
    """Refine affines (b, 2, 3), fixed px to moving px about the centres, on maps (b, c, h, w) of one cell every `stride` px.

    `prior` (2,) is the logarithm of the prior's weight, at unit variance of the features' difference, and how it grows with
    that of the variance: neighbouring cells are alike, so the information in them is less than it seems. Of shape (2, b, 1, 1)
    it differs from pair to pair. `linear` is the deviation of the linear entries from the identity, where more is known of it
    than of any tiles; `weight` (b, 1, h, w) is how much each cell of the fixed map counts, if not all alike.

    Returns:
        the affines, the information (b, 6, 6) on their entries (yy, yx, y0, xy, xx, x0), which is the inverse of their
        covariance, and as they were before the last step: the maps, whitened, the moving one in the frame of the fixed one,
        and the mask (b, 1, h, w) of what it covers.
    """
    height, width = fixed.shape[-2:]
    cells = torch.cat([affine[:, :, :2], affine[:, :, 2:] / stride], -1)
    fixed, moving = whitened(fixed, moving, cells)
    half = (width - 1) / 2
    inner = grid(height - 2, width - 2, fixed.device)
    design = torch.cat([inner / half, torch.ones_like(inner[..., :1])], -1).view(-1, 3)  # (cells, 3)
    products = (design[:, :, None] * design[:, None, :]).view(-1, 9)
    precision = _precision(fixed, linear) / half**2
    scale = fixed.new_tensor([1 / half, 1 / half, stride, 1 / half, 1 / half, stride])
    information = precision.expand(len(fixed), 6, 6)
    normal = None
    for _ in range(steps):
        seen, mask = warp(moving, cells)
        down, right = gradients(fixed + seen)  # four times the mean slope of the two
        difference = (seen - fixed)[..., 1:-1, 1:-1]
        covered = (mask if weight is None else mask * weight)[..., 1:-1, 1:-1].flatten(2)
        if normal is None:  # it hardly changes from step to step
            squares = torch.stack([_dot(*both) for both in ((down, down), (down, right), (right, right))], 1)
            yy, yx, xx = (squares.flatten(2) * covered @ products / 16).view(-1, 3, 3, 3).unbind(1)
            normal = torch.cat([torch.cat([yy, yx], 2), torch.cat([yx, xx], 2)], 1)
        slopes = torch.stack([_dot(down, difference), _dot(right, difference)], 1)
        slope = (slopes.flatten(2) * covered @ design / 4).flatten(1)
        squared = _dot(difference, difference).flatten(1)
        variance = (squared * covered[:, 0]).sum(1) / (fixed.shape[1] * covered.sum((1, 2))).clamp(min=1)
        variance = variance.clamp(min=1e-6).view(-1, 1, 1)
        strength = (prior[0] + prior[1] * variance.log()).exp() * precision
        information = normal / variance + strength
        from_identity = (cells - torch.eye(2, 3).to(cells)).flatten(1) * half
        right_side = slope / variance[:, 0] + (from_identity[:, None] @ strength)[:, 0]
        step = torch.linalg.solve(information + 1e-3 * torch.eye(6).to(cells), right_side).view(-1, 2, 3)
        step = torch.cat([step[:, :, :2] / half, step[:, :, 2:]], -1)
        step = step * (LONGEST_STEP / step[:, :, 2].norm(dim=1).clamp(min=LONGEST_STEP)).view(-1, 1, 1)
        enough = (mask.mean((1, 2, 3)) > LEAST_OVERLAP).view(-1, 1, 1)
        cells = torch.where(enough, _without(cells, step), cells)
    pixels = torch.cat([cells[:, :, :2], cells[:, :, 2:] * stride], -1)
    return pixels, information / (scale[:, None] * scale), (fixed, seen, mask)


def whitened(fixed: Tensor, moving: Tensor, affine: Tensor) -> tuple[Tensor, Tensor]:
    """Maps (b, c, h, w) whose channels are mixed, in both alike, so that what differs between the two in the overlap, after
    affines (b, 2, 3) in cells, is as large in each channel and independent of the others; its mean variance stays.

    A channel that is mostly noise in these crops then counts for little, whatever it is worth in others.
    """
    seen, mask = warp(moving, affine, SPARSE)
    difference = ((seen - fixed[..., ::SPARSE, ::SPARSE]) * mask).flatten(2)
    covariance = difference @ difference.mT / mask.sum((2, 3)).clamp(min=1)[..., None]
    variance = covariance.diagonal(dim1=1, dim2=2) + 1e-6
    mixing = torch.linalg.inv(torch.linalg.cholesky(covariance + torch.diag_embed(RIDGE * variance + FLOOR)))
    mixing = mixing * variance.mean(1).sqrt()[:, None, None]
    first, second = (torch.einsum("bij,bjhw->bihw", mixing, features) for features in (fixed, moving))
    return first, second


def _dot(first: Tensor, second: Tensor) -> Tensor:
    """The sum over the channels of the product (b, h, w) of two maps (b, c, h, w); faster than to write the product."""
    total = first[:, 0] * second[:, 0]
    for one, other in zip(first.unbind(1)[1:], second.unbind(1)[1:], strict=True):
        total = torch.addcmul(total, one, other)
    return total


def _precision(like: Tensor, linear: float) -> Tensor:
    """The precision (6, 6) of the prior on the linear entries; translation is free."""
    basis, precision = like.new_tensor(BASIS).T, like.new_zeros(6, 6)
    inverse = torch.linalg.inv(basis @ torch.diag(like.new_tensor(DEVIATIONS) ** 2) @ basis.T)
    rows = torch.tensor(LINEAR, device=like.device)
    precision[rows[:, None], rows] = inverse + torch.eye(len(LINEAR)).to(inverse) / linear**2
    return precision


def _without(affine: Tensor, step: Tensor) -> Tensor:
    """The affine after undoing `step`, an affine less the identity: affine o (1 + step)^-1."""
    inverse = torch.linalg.inv(step[:, :, :2] + torch.eye(2).to(step))
    linear = affine[:, :, :2] @ inverse
    return torch.cat([linear, affine[:, :, 2:] - linear @ step[:, :, 2:]], -1)
