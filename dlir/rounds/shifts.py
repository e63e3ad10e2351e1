"""How far patches of two rounds lie from each other, as their pixels show it.

Both patches pass the noise filter (`noise_filter.py`), and Gauss-Newton steps find the shift, as in the fine registration
(`fine.py`). They start where the placement has the patches, which should be the right place, and once more at the highest peak
of the cross-correlation, up to a quarter of a patch away. The latter wins only where its NCC is high and clearly better, since
sparse cells match other cells by chance. The covariance of the shift tells how exactly it is measured, and so also a patch that
shows nothing, or an edge.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dlir.core.affine import Array
from dlir.registration.inference.fine import SIGMA, refine_windows
from dlir.registration.model.estimate import SHIFT
from dlir.registration.model.filters import blur
from dlir.registration.model.noise_filter import SCORE_BLUR, above_noise, alignment_ncc
from dlir.registration.model.warping import warp

LINEAR = 0.003  # standard deviation of turn and scale within a patch: tissue is hardly stretched by more
FARTHEST = 0.25  # of the side of a patch, at which it is looked for
BEYOND = 2.0  # px: a peak that lies nearer to what is found from the middle is the same
CLEARLY, SURELY = 0.15, 0.5  # by which the NCC of a peak farther away has to be better, and its least NCC
BETWEEN = 0.15  # by which an NCC may be lower at a whole px than at the best place between px
MATCH = 0.3  # NCC from which on two patches show the same
EXACT = 0.5  # px: a shift that is known less exactly says nothing
LEAST_OVERLAP = 0.5  # of a patch, that counts in the cross-correlation


class Shifts(NamedTuple):
    """What is found in patches (n,) of two rounds."""

    shift: Array  # (n, 2) px: from where the first round shows something to where the other one does
    deviation: Array  # (n,) px, standard deviation of the shift on the axis on which it is known least
    before: Array  # (n,) NCC of the patches as they lie
    after: Array  # (n,) NCC after the shift
    contrast: Array  # (n, 2) of each patch in grey values, noise left out

    @classmethod
    def joined(cls, parts: "list[Shifts]") -> "Shifts":
        """Returns the patches of several batches as one."""
        return cls(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def shifts(fixed: Array, moving: Array) -> Shifts:
    """Returns how far patches (n, h, w) of another round lie from those of the first (n, h, w).

    It takes one thread: the patches are so small that several of them take more time to share the work than to do it.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _shifts(fixed, moving)
    finally:
        torch.set_num_threads(threads)


def _shifts(fixed: Array, moving: Array) -> Shifts:
    """What `shifts` returns, from the same arguments."""
    pair = [torch.from_numpy(np.ascontiguousarray(patches, np.float32))[:, None] for patches in (fixed, moving)]
    with torch.no_grad():
        contrast = torch.stack([_contrast(window) for window in pair], 1)
        first, second = above_noise(*pair)
        near, variance = _refined(first, second, torch.eye(2, 3).repeat(len(fixed), 1, 1))
        peak = torch.eye(2, 3).repeat(len(fixed), 1, 1)
        peak[:, :, 2], height = _peak(first, second)
        elsewhere = (peak - near)[:, :, 2].norm(dim=1) > BEYOND
        other = (elsewhere & (height > SURELY - BETWEEN)).nonzero()[:, 0]
        far, far_variance = near.clone(), variance.clone()
        if len(other):
            far[other], far_variance[other] = _refined(first[other], second[other], peak[other])
        before, score, far_score = alignment_ncc(first, second, torch.eye(2, 3).expand_as(near), near, far)
        better = (far_score > score + CLEARLY) & (far_score > SURELY)
        found, after = torch.where(better[:, None, None], far, near), torch.where(better, far_score, score)
        deviation = torch.where(better, far_variance, variance).clamp(min=0).sqrt()
    arrays = (each.double().numpy() for each in (found[:, :, 2], deviation, before, after, contrast))
    return Shifts(*arrays)


def _refined(fixed: Tensor, moving: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """The affines (b, 2, 3) of filtered windows (b, 1, h, w), and the larger variance (b,), px^2, of their shifts."""
    fixed, moving = (blur(window, SIGMA) for window in (fixed, moving))
    warped, mask = warp(moving, start)
    refined, covariance, _ = refine_windows(fixed, moving, start, warped, mask, LINEAR)
    shift = covariance[:, SHIFT][:, :, SHIFT]
    return refined.affine, torch.linalg.eigvalsh(shift)[:, 1].to(fixed)


def _peak(fixed: Tensor, moving: Tensor) -> tuple[Tensor, Tensor]:
    """The shift (b, 2), px, at which the NCC of filtered windows (b, 1, h, w) is highest, up to FARTHEST, and that NCC (b,)."""
    height, width = fixed.shape[-2:]
    size = (2 * height, 2 * width)
    first, second = (torch.fft.rfft2(blur(window, SCORE_BLUR)[:, 0], s=size) for window in (fixed, moving))
    squares = [torch.fft.rfft2(blur(window, SCORE_BLUR)[:, 0] ** 2, s=size) for window in (fixed, moving)]
    ones = torch.fft.rfft2(torch.ones(height, width), s=size)
    product, energy, other, area = (
        torch.fft.irfft2(spectrum, s=size)
        for spectrum in (second * first.conj(), ones * squares[0].conj(), squares[1] * ones.conj(), ones * ones.conj())
    )
    ncc = product / (energy.clamp(min=1e-3) * other.clamp(min=1e-3)).sqrt()
    y, x = ((torch.arange(2 * side) + side) % (2 * side) - side for side in (height, width))
    reach = (y.abs() <= FARTHEST * height)[:, None] & (x.abs() <= FARTHEST * width)
    ncc = torch.where(reach & (area > LEAST_OVERLAP * height * width), ncc, -1.0)
    highest, index = ncc.flatten(1).max(1)
    return torch.stack([y[index // (2 * width)], x[index % (2 * width)]], 1).to(fixed), highest


def _contrast(window: Tensor) -> Tensor:
    """The standard deviation (b,) of what is larger than the noise in windows (b, 1, h, w), in grey values."""
    return blur(window, 2.0).flatten(1).std(1)
