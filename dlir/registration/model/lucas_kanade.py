"""Refines affines on feature maps by Gauss-Newton steps (Lucas and Kanade 1981; the symmetric step of Benhimane and Malis
2004), with a prior on the linear part.

Each step solves

    (J'J / s2 + P) d = J'r / s2 + P (theta - identity)

for the change d of the six entries theta of the affine. r is the difference of the features in the overlap, J its derivative
(from the mean gradient of both maps), s2 the variance of r, and P the precision of rotation, scale, aspect and shear
(`priors.REFINEMENT_DEVIATIONS`). The number of steps is fixed, so the loss can be differentiated through all of them.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from dlir.core.affine import BASIS
from dlir.registration.model import hyperparameters
from dlir.registration.model.estimate import LINEAR
from dlir.registration.model.filters import each
from dlir.registration.model.priors import REFINEMENT_DEVIATIONS
from dlir.registration.model.warping import grid, warp


class Refined(NamedTuple):
    """What `refine` returns."""

    affine: Tensor  # (b, 2, 3) a fixed px to a moving px about the centres
    information: Tensor  # (b, 6, 6) J'J / s2 + P, on its entries (yy, yx, y0, xy, xx, x0), in px
    prior: Tensor  # (b, 6, 6) P, the part of it that the prior gives
    maps: tuple[Tensor, Tensor, Tensor]  # see `refine`


def gradients(features: Tensor) -> tuple[Tensor, Tensor]:
    """Returns twice the slope of (b, c, h, w) along y and along x, (b, c, h - 2, w - 2): differences of the two neighbours."""
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
) -> Refined:
    """Refines affines on a pair of feature maps.

    Args:
        fixed, moving: feature maps (b, c, h, w).
        affine: (b, 2, 3) to start from, a fixed px to a moving px about the centres.
        stride: px per cell of the maps.
        steps: number of Gauss-Newton steps.
        prior: (2,), or (2, b, 1, 1) where it differs between pairs. The weight of the prior is exp(prior[0] + prior[1] log s2).
            It is more than one since neighbouring cells are correlated, so that they carry less information than J'J says.
        linear: standard deviation of the linear entries from the identity, where more is known of it than the prior says.
        weight: (b, 1, h, w) how much each cell of the fixed map counts; all count the same without.

    Returns:
        the affines, the information on them, whose inverse is their covariance where the slopes are those of the specimen
        (`aperture.py`), and the whitened maps (b, c, h, w), fixed and moving, aligned by the affines before the last step, with
        the mask (b, 1, h, w) of the cells that the moving map covers.
    """
    chosen = hyperparameters.DEFAULT
    height, width = fixed.shape[-2:]
    cells = torch.cat([affine[:, :, :2], affine[:, :, 2:] / stride], -1)
    fixed, moving = whitened(fixed, moving, cells)
    half = (width - 1) / 2  # coordinates are divided by it, which makes the six equations of similar size
    design = _design(height - 2, width - 2, half, fixed.device)
    precision = _precision(fixed, linear) / half**2
    scale = fixed.new_tensor([1 / half, 1 / half, stride, 1 / half, 1 / half, stride])
    information = strength = precision.expand(len(fixed), 6, 6)
    normal = None
    for _ in range(steps):
        warped, mask = warp(moving, cells)
        down, right = gradients(fixed + warped)  # four times the mean slope of the two
        difference = (warped - fixed)[..., 1:-1, 1:-1]
        covered = (mask if weight is None else mask * weight)[..., 1:-1, 1:-1]
        if normal is None:  # J'J hardly changes from step to step
            normal = slope_products(down, right, covered)
        slopes = torch.stack([_dot(down, difference), _dot(right, difference)], 1)
        slope = (each(lambda one: one @ design, slopes.flatten(2) * covered.flatten(2)) / 4).flatten(1)
        squared = _dot(difference, difference).flatten(1)
        variance = (squared * covered.flatten(1)).sum(1) / (fixed.shape[1] * covered.sum((1, 2, 3))).clamp(min=1)
        variance = variance.clamp(min=1e-6).view(-1, 1, 1)
        strength = (prior[0] + prior[1] * variance.log()).exp() * precision
        information = normal / variance + strength
        from_identity = (cells - torch.eye(2, 3).to(cells)).flatten(1) * half
        right_side = slope / variance[:, 0] + (from_identity[:, None] @ strength)[:, 0]
        step = torch.linalg.solve(information + 1e-3 * torch.eye(6).to(cells), right_side).view(-1, 2, 3)
        step = torch.cat([step[:, :, :2] / half, step[:, :, 2:]], -1)
        longest = chosen.longest_step
        step = step * (longest / step[:, :, 2].norm(dim=1).clamp(min=longest)).view(-1, 1, 1)
        enough = (mask.mean((1, 2, 3)) > chosen.least_overlap).view(-1, 1, 1)
        cells = torch.where(enough, _undo(cells, step), cells)
    pixels = torch.cat([cells[:, :, :2], cells[:, :, 2:] * stride], -1)
    units = scale[:, None] * scale
    return Refined(pixels, information / units, (strength / units).expand_as(information), (fixed, warped, mask))


def slope_products(down: Tensor, right: Tensor, counts: Tensor) -> Tensor:
    """Returns sum w J J' (b, 6, 6) of slopes along y and x, where these are given as `gradients` of the sum of both maps.

    The entries of J are those of an affine whose coordinates are divided by half the width of the maps.

    Args:
        down, right: (b, c, h - 2, w - 2), four times the mean slopes of both maps.
        counts: (b, 1, h - 2, w - 2) the weight w of each cell.
    """
    height, width = down.shape[-2:]
    design = _design(height, width, (width + 1) / 2, down.device)
    products = (design[:, :, None] * design[:, None, :]).view(-1, 9)
    squares = torch.stack([_dot(*both) for both in ((down, down), (down, right), (right, right))], 1)
    sums = each(lambda one: one @ products, squares.flatten(2) * counts.flatten(2))
    yy, yx, xx = (sums / 16).view(-1, 3, 3, 3).unbind(1)
    return torch.cat([torch.cat([yy, yx], 2), torch.cat([yx, xx], 2)], 1)


def _design(height: int, width: int, unit: float, device: torch.device) -> Tensor:
    """The coordinates of all cells in this unit, and a one (cells, 3): what the entries of an affine are multiplied with."""
    inner = grid(height, width, device)
    return torch.cat([inner / unit, torch.ones_like(inner[..., :1])], -1).view(-1, 3)


def whitened(fixed: Tensor, moving: Tensor, affine: Tensor) -> tuple[Tensor, Tensor]:
    """Mixes the channels of two maps (b, c, h, w) so that their differences in the overlap are independent and equally large.

    A channel that shows mostly noise in this pair then counts for little, however useful it is in other pairs. Both maps are
    mixed alike, and the mean variance of the differences stays as it was.

    Args:
        affine: (b, 2, 3) that aligns the maps, a fixed cell to a moving cell about the centres.
    """
    chosen = hyperparameters.DEFAULT
    every = chosen.whitening_stride
    warped, mask = warp(moving, affine, every)
    difference = ((warped - fixed[..., ::every, ::every]) * mask).flatten(2)
    covariance = each(lambda one: one @ one.mT, difference) / mask.sum((2, 3)).clamp(min=1)[..., None]
    variance = covariance.diagonal(dim1=1, dim2=2) + 1e-6
    ridge = torch.diag_embed(chosen.whitening_ridge * variance + chosen.whitening_floor)
    mixing = each(lambda one: torch.linalg.inv(torch.linalg.cholesky(one)), covariance + ridge)
    mixing = mixing * variance.mean(1).sqrt()[:, None, None]
    first, second = (each(lambda mix, one: mix @ one, mixing, maps.flatten(2)).view_as(maps) for maps in (fixed, moving))
    return first, second


def _dot(first: Tensor, second: Tensor) -> Tensor:
    """The product of two maps (b, c, h, w), summed over the channels: (b, h, w). Faster than (first * second).sum(1)."""
    total = first[:, 0] * second[:, 0]
    for one, other in zip(first.unbind(1)[1:], second.unbind(1)[1:], strict=True):
        total = torch.addcmul(total, one, other)
    return total


def _precision(like: Tensor, linear: float) -> Tensor:
    """The precision (6, 6) of the prior on the entries of an affine; the shift is free."""
    basis, precision = like.new_tensor(BASIS.reshape(4, 4)).T, like.new_zeros(6, 6)
    inverse = torch.linalg.inv(basis @ torch.diag(like.new_tensor(REFINEMENT_DEVIATIONS) ** 2) @ basis.T)
    rows = torch.tensor(LINEAR, device=like.device)
    precision[rows[:, None], rows] = inverse + torch.eye(len(LINEAR)).to(inverse) / linear**2
    return precision


def _undo(affine: Tensor, step: Tensor) -> Tensor:
    """The affine (b, 2, 3) after the inverse of `step`, an affine less the identity: affine o (1 + step)^-1."""
    inverse = torch.linalg.inv(step[:, :, :2] + torch.eye(2).to(step))
    linear = affine[:, :, :2] @ inverse
    return torch.cat([linear, affine[:, :, 2:] - linear @ step[:, :, 2:]], -1)
