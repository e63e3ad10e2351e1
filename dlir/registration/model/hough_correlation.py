"""Where two feature maps match best, over shifts inside a window, small rotations and scales: a similarity Hough vote.

The long side of the overlap is cut into segments. Each is correlated with the other map over all shifts of the window (by
FFT, zero outside the map, normalised by the energy of the true overlap). A turn or a change of scale moves the segments'
peaks by an amount linear in their place, so that shifting the segments' correlations along that line and adding them gives
the correlation under it. Nothing outside the window can be found: the stage's word bounds the answer.
"""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from scipy.fft import next_fast_len
from torch import Tensor

from dlir.registration.model.warping import DEGREE, similarity_affine

ROTATIONS = tuple(turn * DEGREE for turn in (-1.2, -0.8, -0.4, 0.0, 0.4, 0.8, 1.2))
SCALES = (-0.01, 0.0, 0.01)
SEGMENTS = 8


def correlate(fixed: Tensor, moving: Tensor, radius: int, centre: tuple[int, int]) -> Tensor:
    """The normalised correlation of feature maps over shifts, rotations and scales.

    Args:
        fixed, moving: (b, c, h, w), the long side is w.
        radius: of the window of shifts, cells.
        centre: of the window, cells: fixed cell p is compared with moving cell p + centre + shift.

    Returns:
        (b, rotations, scales, 2 radius + 1, 2 radius + 1), between -1 and 1.
    """
    width = fixed.shape[-1]
    length = math.ceil(width / max(2, min(SEGMENTS, width // 8)))
    reach = radius + math.ceil(max(ROTATIONS) * width / 2 + 0.01)
    votes = [_vote(part, length, width, radius, reach) for part in _segments(fixed, moving, length, reach, centre)]
    match, energy_fixed, energy_moving = votes
    return match / (energy_fixed.clamp(min=0) * energy_moving.clamp(min=0)).clamp(min=1e-8).sqrt()


def _segments(fixed: Tensor, moving: Tensor, length: int, reach: int, centre: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """For each segment and shift (b, segments, 2 reach + 1, 2 reach + 1): match, energy of fixed, energy of moving."""
    height, width = fixed.shape[-2:]
    rest = -width % length
    around = (reach - centre[1], reach + centre[1] + rest, reach - centre[0], reach + centre[0])
    size = tuple(next_fast_len(n + 2 * reach, real=True) for n in (height, length))
    ones = fixed.new_ones(1, 1, height, width)

    def spectrum(image: Tensor, span: int) -> Tensor:
        segments = image.unfold(3, span, length).permute(0, 3, 1, 2, 4)
        return torch.as_tensor(torch.fft.rfft2(segments, s=size))

    def shifts(first: Tensor, second: Tensor) -> Tensor:
        product = (first.conj() * second).sum(2)
        full: Tensor = torch.fft.irfft2(product, s=size)
        return full[..., : 2 * reach + 1, : 2 * reach + 1]

    padded, inside, span = F.pad(fixed, (0, rest)), F.pad(ones, (0, rest)), length + 2 * reach
    other, there = F.pad(moving, around), F.pad(ones, around)
    return (
        shifts(spectrum(padded, length), spectrum(other, span)),
        shifts(spectrum((padded**2).sum(1, keepdim=True), length), spectrum(there, span)),
        shifts(spectrum(inside, length), spectrum((other**2).sum(1, keepdim=True), span)),
    )


def _vote(part: Tensor, length: int, width: int, radius: int, reach: int) -> Tensor:
    """Shift each segment's values along the line of every rotation and scale, and add the segments."""
    down = _lines(ROTATIONS, part.shape[1], length, width, radius, reach).to(part)
    along = _lines(SCALES, part.shape[1], length, width, radius, reach).to(part)
    return torch.einsum("nakdE,bkeE->nabde", torch.einsum("nkDE,akdD->nakdE", part, down), along)


@lru_cache(maxsize=64)
def _lines(slopes: tuple[float, ...], segments: int, length: int, width: int, radius: int, reach: int) -> Tensor:
    """Matrices (slopes, segments, 2 radius + 1, 2 reach + 1) that interpolate a segment's values on a line."""
    start = torch.arange(segments) * length
    middle = (start + (start + length).clamp(max=width) - 1) / 2 - (width - 1) / 2
    shift = torch.arange(-radius, radius + 1).float()
    place = shift + torch.tensor(slopes)[:, None, None] * middle[None, :, None] + reach
    return (1 - (place.clamp(0, 2 * reach)[..., None] - torch.arange(2 * reach + 1)).abs()).clamp(min=0)


def peak(logits: Tensor, stride: int, centre: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The mean over the cells around the highest peak, and how much of the whole probability lies there.

    Args:
        logits: (b, rotations, scales, d, d); their softmax is the probability of each cell.

    Returns:
        affines (b, 2, 3), fixed px to moving px about the centres, and mass (b,).
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
    y = (near.sum((1, 2, 4)) @ shift + centre[0]) * stride
    x = (near.sum((1, 2, 3)) @ shift + centre[1]) * stride
    rotation = near.sum((2, 3, 4)) @ torch.tensor(ROTATIONS).to(logits)
    scale = near.sum((1, 3, 4)) @ torch.tensor(SCALES).to(logits)
    return similarity_affine(torch.stack([y, x], 1), rotation, scale), mass
