"""The coarse search: where two feature maps match best, over the shifts in a window, a few turns and a few scales.

It is a Hough vote for similarities. The long side (x) of the fixed map is cut into segments. Each segment is correlated with
the moving map over all shifts of the window (by FFT, with zeros outside the map), together with the energies of both under
their overlap. A turn or a change of scale moves the peak of a segment by an amount that is linear in the segment's place. So
the correlation under that turn or scale is the sum of the segments, each shifted along that line,

    rho(shift, turn, scale) = sum f g / sqrt(sum f^2  sum g^2)

Shifts outside the window are never found, so the window is a hard limit on the error of the stage.
"""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from scipy.fft import next_fast_len
from torch import Tensor

from dlir.registration.model import hyperparameters
from dlir.registration.model.filters import each
from dlir.registration.model.priors import SEARCHED_SCALES, SEARCHED_TURNS
from dlir.registration.model.warping import similarity_affine


def correlate(
    fixed: Tensor, moving: Tensor, radius: int, centre: tuple[int, int], shown: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """Returns the normalised correlation of two feature maps for all shifts, turns and scales.

    Args:
        fixed, moving: (b, c, h, w); the long side is w.
        radius: of the window of shifts, cells.
        centre: of the window (y, x), cells: fixed cell p is compared with moving cell p + centre + shift.
        shown: (b, 1, h, w) of either map, 1 at the cells that count and 0 at the others; all count without.

    Returns:
        (b, turns, scales, 2 radius + 1, 2 radius + 1), between -1 and 1, for SEARCHED_TURNS and SEARCHED_SCALES.
    """
    chosen, width = hyperparameters.DEFAULT, fixed.shape[-1]
    length = math.ceil(width / max(2, min(chosen.segments, width // chosen.least_segment)))
    reach = radius + math.ceil(max(SEARCHED_TURNS) * width / 2 + 0.01)
    masks = shown or (fixed.new_ones(1, 1, *fixed.shape[-2:]),) * 2
    sums = _segment_sums(fixed * masks[0], moving * masks[1], masks, length, reach, centre)
    match, energy_fixed, energy_moving = (_add_segments(each, length, width, radius, reach) for each in sums)
    return match / (energy_fixed.clamp(min=0) * energy_moving.clamp(min=0)).clamp(min=1e-8).sqrt()


def _segment_sums(
    fixed: Tensor, moving: Tensor, masks: tuple[Tensor, Tensor], length: int, reach: int, centre: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """For each segment and shift (b, segments, 2 reach + 1, 2 reach + 1): sum f g, sum f^2 and sum g^2 over the overlap."""
    height, width = fixed.shape[-2:]
    missing = -width % length  # cells that the last segment lacks
    margins = (reach - centre[1], reach + centre[1] + missing, reach - centre[0], reach + centre[0])
    size = tuple(next_fast_len(n + 2 * reach, real=True) for n in (height, length))

    def spectra(image: Tensor, span: int) -> Tensor:
        segments = image.unfold(3, span, length).permute(0, 3, 1, 2, 4)
        return each(lambda one: torch.fft.rfft2(one, s=size), segments)

    def correlation(first: Tensor, second: Tensor) -> Tensor:
        count = max(len(first), len(second))  # masks that all pairs share are there once
        both = (spectra.expand(count, *spectra.shape[1:]) for spectra in (first, second))
        full = each(lambda one, other: torch.fft.irfft2((one.conj() * other).sum(1), s=size), *both)
        return full[..., : 2 * reach + 1, : 2 * reach + 1]

    span = length + 2 * reach
    fixed, fixed_mask = F.pad(fixed, (0, missing)), F.pad(masks[0], (0, missing))
    moving, moving_mask = F.pad(moving, margins), F.pad(masks[1], margins)
    return (
        correlation(spectra(fixed, length), spectra(moving, span)),
        correlation(spectra((fixed**2).sum(1, keepdim=True), length), spectra(moving_mask, span)),
        correlation(spectra(fixed_mask, length), spectra((moving**2).sum(1, keepdim=True), span)),
    )


def _add_segments(sums: Tensor, length: int, width: int, radius: int, reach: int) -> Tensor:
    """Shifts the sums of each segment (b, segments, d, d) along the line of every turn and scale, and adds the segments."""
    along_y = _lines(SEARCHED_TURNS, sums.shape[1], length, width, radius, reach).to(sums)
    along_x = _lines(SEARCHED_SCALES, sums.shape[1], length, width, radius, reach).to(sums)

    def added(segments: Tensor) -> Tensor:
        return torch.einsum("akdE,bkeE->abde", torch.einsum("kDE,akdD->akdE", segments, along_y), along_x)

    return each(added, sums)


@lru_cache(maxsize=64)
def _lines(slopes: tuple[float, ...], segments: int, length: int, width: int, radius: int, reach: int) -> Tensor:
    """Matrices (slopes, segments, 2 radius + 1, 2 reach + 1) that read each segment at the place where a line of that slope
    passes it, by linear interpolation."""
    start = torch.arange(segments) * length
    middle = (start + (start + length).clamp(max=width) - 1) / 2 - (width - 1) / 2
    shift = torch.arange(-radius, radius + 1).float()
    place = shift + torch.tensor(slopes)[:, None, None] * middle[None, :, None] + reach
    return (1 - (place.clamp(0, 2 * reach)[..., None] - torch.arange(2 * reach + 1)).abs()).clamp(min=0)


def peak(logits: Tensor, stride: int, centre: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Returns the mean affine around the highest peak, and the probability of that peak.

    Args:
        logits: (b, turns, scales, d, d); their softmax is the probability of each shift, turn and scale.
        stride: px per cell.
        centre: of the window of shifts (y, x), cells.

    Returns:
        affines (b, 2, 3), a fixed px to a moving px about the windows' centres: the mean over the shifts that differ from the
        most probable one by at most a cell, and all turns and scales; and the probability (b,) of all of these together.
    """
    size = logits.shape[-1]
    probability = logits.flatten(1).softmax(1).view_as(logits)
    best = probability.sum((1, 2)).flatten(1).argmax(1)
    cells = torch.arange(size, device=logits.device)
    near_y = ((cells - (best // size)[:, None]).abs() <= 1).to(logits)
    near_x = ((cells - (best % size)[:, None]).abs() <= 1).to(logits)
    near = probability * (near_y[:, :, None] * near_x[:, None, :])[:, None, None]
    mass = near.sum((1, 2, 3, 4))
    near = near / mass.clamp(min=1e-12).view(-1, 1, 1, 1, 1)
    shift = cells.to(logits) - (size - 1) / 2
    y = ((near.sum((1, 2, 4)) * shift).sum(1) + centre[0]) * stride
    x = ((near.sum((1, 2, 3)) * shift).sum(1) + centre[1]) * stride
    rotation = (near.sum((2, 3, 4)) * torch.tensor(SEARCHED_TURNS).to(logits)).sum(1)
    scale = (near.sum((1, 3, 4)) * torch.tensor(SEARCHED_SCALES).to(logits)).sum(1)
    return similarity_affine(torch.stack([y, x], 1), rotation, scale), mass
