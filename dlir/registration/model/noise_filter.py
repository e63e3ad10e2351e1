"""Filters two windows of a pair so that only what rises above their noise is left, and scores how well they match then.

The best estimate of the delay between two noisy records of one unknown signal is the peak of their cross-correlation with the
spectral weights psi = C / ((1 - C) S) (Hannan and Thomson 1973; Knapp and Carter 1976). S is the power of the signal, N that of
the noise in each record, and C = S^2 / (S + N)^2 their coherence. For white noise, psi = S / (N (2 S + N)). Half of it is
applied to each window, and the constant N is left out:

    gain = sqrt(S / (2 S + N))

Where the specimen is clear, hardly anything is removed. Where noise covers the fine structure, only the coarse structure stays.
S and N are measured on both windows together, as a function of frequency in any direction; N is the mean power at the highest
frequencies.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from scipy.fft import next_fast_len
from torch import Tensor

from dlir.registration.model import hyperparameters
from dlir.registration.model.filters import blur, each, high_pass, standardise
from dlir.registration.model.ncc import masked_ncc
from dlir.registration.model.warping import warp

SCORE_BLUR = 1.5  # px, sigma of the blur before the NCC of an alignment; the NCC of raw noise hides the match
LEAST_PIXELS = 64  # px, area of the overlap below which an NCC says nothing


def above_noise(fixed: Tensor, moving: Tensor) -> tuple[Tensor, Tensor]:
    """Returns two windows (b, 1, h, w) without background and noise, each with mean zero and standard deviation one."""
    chosen = hyperparameters.DEFAULT
    count, (height, width) = len(fixed), fixed.shape[-2:]
    windows = high_pass(torch.cat([fixed, moving]), chosen.filter_background)
    margin = min(chosen.filter_margin, height - 1, width - 1)
    # at the other end the margin is as wide as a length with small factors needs, for a quick FFT
    end = [min(next_fast_len(n + 2 * margin) - n - margin, n - 1) for n in (width, height)]
    padded = F.pad(windows, (margin, end[0], margin, end[1]), mode="reflect")
    spectrum = each(torch.fft.rfft2, padded[:, 0])
    rings = hat_functions(padded.shape[-2], padded.shape[-1]).to(windows)
    squares = (spectrum.real**2 + spectrum.imag**2).flatten(1)
    power = each(lambda square: square @ rings, squares[:count] + squares[count:]) / rings.sum(0).clamp(min=1e-6)
    finest = rings.sum(0) * torch.tensor([knot >= chosen.noise_frequency for knot in chosen.filter_knots]).to(rings)
    noise = (power * finest).sum(1, keepdim=True) / finest.sum()
    signal = power - noise
    gain = (signal.clamp(min=0) / (2 * signal.abs() + noise).clamp(min=1e-6)).sqrt() + chosen.least_gain
    shaped = spectrum * each(lambda one: rings @ one, gain).view(count, *spectrum.shape[1:]).repeat(2, 1, 1)
    filtered = each(lambda one: torch.fft.irfft2(one, s=padded.shape[-2:]), shaped)[:, None]
    inner = filtered[..., margin : margin + height, margin : margin + width]
    first, second = standardise(inner - inner.mean(dim=(2, 3), keepdim=True)).chunk(2)
    return first, second


def alignment_ncc(fixed: Tensor, moving: Tensor, *affines: Tensor, shown: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Returns the NCC (k, b) of two windows (b, 1, h, w) of `above_noise` after each of k affines (b, 2, 3).

    It is 0 where at most LEAST_PIXELS px overlap.

    Args:
        shown: (b, 1, h, w) of either window, 1 at the pixels that count and 0 at the others; all count without.
    """
    fixed, moving = (blur(window, SCORE_BLUR) for window in (fixed, moving))
    warped = [warp(moving, affine) for affine in affines]
    if shown:
        common = [shown[0] * (warp(shown[1], affine)[0] > 0.99) for affine in affines]
        warped = [(values, mask * both) for (values, mask), both in zip(warped, common, strict=True)]
    return torch.stack([masked_ncc(fixed, shown, mask) * (mask.sum((1, 2, 3)) > LEAST_PIXELS) for shown, mask in warped])


@lru_cache(maxsize=2)  # of large windows each takes as much memory as several tiles
def hat_functions(height: int, width: int) -> Tensor:
    """Returns the weights (frequencies, knots) of linear interpolation between `filter_knots` at each frequency of `rfft2`."""
    frequency = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)).flatten()
    knots = torch.tensor(hyperparameters.DEFAULT.filter_knots)
    above = torch.searchsorted(knots, frequency, right=True)
    part = (frequency - knots[above - 1]) / (knots[above] - knots[above - 1])
    rows, weights = torch.arange(len(frequency)), torch.zeros(len(frequency), len(knots))
    weights[rows, above - 1], weights[rows, above] = 1 - part, part
    return weights
