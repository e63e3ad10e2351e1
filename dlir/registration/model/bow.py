"""The bow of an overlap: by how much its two ends are displaced against its middle, which no affine shows.

A lens that distorts the tiles, say radially by k r^2 p, displaces a point of the overlap of two neighbours by an amount that is
quadratic along the overlap. All pairs of a side then have the same bow. Their offsets are wrong by about as much, alike in all
pairs, so that no loop of pairs and no residual tells; the bow does.

After the registration, one more step of least squares has two unknowns more, besides the six of the affine:

    displacement = bow q        q = (place along the longer side of the overlap, from -1 to 1)^2
"""

import torch
from torch import Tensor

from dlir.registration.model.lucas_kanade import gradients
from dlir.registration.model.warping import grid

RIDGE = 1e-3  # on the normal equations, in units of the variance of the difference


def bow(fixed: Tensor, moving: Tensor, weight: Tensor) -> Tensor:
    """Returns the bow (b, 2), px (y, x), of each pair.

    Args:
        fixed, moving: aligned windows (b, 1, h, w).
        weight: (b, 1, h, w) how much each pixel counts.
    """
    down, right = gradients((fixed + moving) / 4)
    difference, counts = (moving - fixed)[..., 1:-1, 1:-1].flatten(1), weight[..., 1:-1, 1:-1].flatten(1)
    height, width = down.shape[-2:]
    place = grid(height, width, fixed.device).view(-1, 2) / max(height, width) * 2
    along = place[:, int(width >= height)]
    design = torch.stack([place[:, 0], place[:, 1], torch.ones_like(along), along**2], 1)  # (px, 4)
    slopes = torch.cat([down.flatten(1)[..., None] * design, right.flatten(1)[..., None] * design], 2)  # (b, px, 8)
    normal = slopes.mT @ (slopes * counts[..., None])
    variance = (difference**2 * counts).sum(1) / counts.sum(1).clamp(min=1)
    variance = variance.clamp(min=1e-6).view(-1, 1, 1)
    inverse = torch.linalg.inv(normal / variance + RIDGE * torch.eye(8).to(normal))
    found: Tensor = -(inverse @ (slopes.mT @ (difference * counts)[..., None]) / variance)[..., 0]
    return found[:, [3, 7]]
