"""What of two crops rises above their noise: both filtered by how much of each spatial frequency they should share.

The delay between two noisy records of an unknown signal is told best by their cross-correlation with the spectral weights
psi = C / ((1 - C) S) (Hannan and Thomson 1973; Knapp and Carter 1976), S being the signal's power, N the noise's in either
record and C = S^2 / (S + N)^2 their coherence. For white noise that is psi = S / (N (2 S + N)), half of which is done to
either crop:

    gain = sqrt(S / (2 S + N))

Where the specimen is clear, nearly nothing is taken out; where the noise drowns its finer structure, only the coarse stays.
Power is that of both crops, by frequency in any direction, and the noise its floor near the finest frequencies.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from scipy.fft import next_fast_len
from torch import Tensor

from dlir.registration.model.filters import blur, high_pass, standardise
from dlir.registration.model.ncc import masked_ncc
from dlir.registration.model.warping import warp

KNOTS = (0.0, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.11, 0.15, 0.2, 0.26, 0.33, 0.41, 0.5, 0.72)  # cycles per px
FINEST = 0.33  # cycles per px, from where on the noise is looked for
BACKGROUND = 32.0  # px
MARGIN = 24  # px, at least, mirrored around the crops, so that their far edges are no neighbours
FAINTEST = 0.001  # gain: what seems to be all noise passes evenly
SIGMA = 1.5  # px, of the blur before the NCC of an alignment
FEWEST = 64  # px, that show how alike two crops are


def above_noise(fixed: Tensor, moving: Tensor) -> tuple[Tensor, Tensor]:
    """Two crops (b, 1, h, w), each less its background and filtered by the spectrum of the pair, standardised."""
    count, (height, width) = len(fixed), fixed.shape[-2:]
    crops = high_pass(torch.cat([fixed, moving]), BACKGROUND)
    margin = min(MARGIN, height - 1, width - 1)
    far = [min(next_fast_len(n + 2 * margin) - n - margin, n - 1) for n in (width, height)]  # lengths with small factors alone
    padded = F.pad(crops, (margin, far[0], margin, far[1]), mode="reflect")
    spectrum = torch.fft.rfft2(padded[:, 0])
    rings = hat_functions(padded.shape[-2], padded.shape[-1]).to(crops)
    squares = (spectrum.real**2 + spectrum.imag**2).flatten(1)
    power = (squares[:count] + squares[count:]) @ rings / rings.sum(0).clamp(min=1e-6)
    finest = rings.sum(0) * torch.tensor([knot >= FINEST for knot in KNOTS]).to(rings)
    noise = power @ finest[:, None] / finest.sum()
    signal = power - noise
    gain = (signal.clamp(min=0) / (2 * signal.abs() + noise).clamp(min=1e-6)).sqrt() + FAINTEST
    shaped = spectrum * (gain @ rings.T).view(count, *spectrum.shape[1:]).repeat(2, 1, 1)
    filtered = torch.as_tensor(torch.fft.irfft2(shaped, s=padded.shape[-2:]))[:, None]
    inner = filtered[..., margin : margin + height, margin : margin + width]
    first, second = standardise(inner - inner.mean(dim=(2, 3), keepdim=True)).chunk(2)
    return first, second


def alignment_ncc(fixed: Tensor, moving: Tensor, *affines: Tensor) -> Tensor:
    """NCC (k, b) of two crops (b, 1, h, w) of `above_noise` after each of k affines (b, 2, 3); 0 where no more than FEWEST of
    their px overlap."""
    fixed, moving = (blur(crop, SIGMA) for crop in (fixed, moving))
    warped = [warp(moving, affine) for affine in affines]
    return torch.stack([masked_ncc(fixed, seen, mask) * (mask.sum((1, 2, 3)) > FEWEST) for seen, mask in warped])


@lru_cache(maxsize=64)
def hat_functions(height: int, width: int) -> Tensor:
    """How much (frequencies, knots) each frequency of `rfft2` belongs to the KNOTS beside it: linear between them."""
    frequency = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)).flatten()
    knots = torch.tensor(KNOTS)
    above = torch.searchsorted(knots, frequency, right=True)
    part = (frequency - knots[above - 1]) / (knots[above] - knots[above - 1])
    rows, shares = torch.arange(len(frequency)), torch.zeros(len(frequency), len(KNOTS))
    shares[rows, above - 1], shares[rows, above] = 1 - part, part
    return shares
