"""The noise filter: its gain is that of the theory, and filtered windows match better."""

import numpy as np
import pytest
import torch
from support.specimens import crops

from dlir.registration.model.filters import blur
from dlir.registration.model.ncc import masked_ncc
from dlir.registration.model.noise_filter import above_noise, alignment_ncc

TRUE = np.array([[1.002, 0.01, 2.5], [-0.01, 0.998, -3.25]])


def affines(*each: np.ndarray) -> list[torch.Tensor]:
    return [torch.tensor(one, dtype=torch.float32).expand(4, 2, 3) for one in each]


def band(image: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """The power of images (b, 1, h, w) between two frequencies, cycles per px."""
    height, width = image.shape[-2:]
    frequency = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width))
    return (torch.fft.rfft2(image[:, 0]).abs() ** 2)[:, (frequency >= low) & (frequency < high)].mean(1)


def test_the_gain_is_that_of_hannan_and_thomson() -> None:
    """The signal is white up to 0.12 cycles per px, the noise is white and as strong: S / N = 1, and the gain is sqrt(1 / 3).

    Beyond that frequency hardly anything passes.
    """
    torch.manual_seed(0)
    height, width = 256, 512
    inside = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)) < 0.12
    signal = torch.fft.irfft2(torch.fft.rfft2(torch.randn(4, 1, height, width)) * inside, s=(height, width))
    noisy = [signal + torch.randn_like(signal) for _ in range(2)]
    shaped = above_noise(noisy[0], noisy[1])
    within, beyond = (band(shaped[0], *part) / band(noisy[0], *part) for part in ((0.05, 0.09), (0.2, 0.5)))
    assert (beyond < 0.03 * within).all()
    strong = [signal + 0.01 * noise for noise in torch.randn(2, 4, 1, height, width)]  # whose gain is sqrt(1 / 2)
    full = above_noise(strong[0], strong[1])[0]
    clear = band(full, 0.05, 0.09) / band(full, 0.05, 0.12)
    assert clear == pytest.approx(torch.ones(4), abs=0.1)


def test_gain_and_offset_change_nothing() -> None:
    fixed, moving = crops(TRUE, 64, 128, noise=3.0)
    plain, changed = above_noise(fixed, moving), above_noise(300 * fixed + 1000, 0.5 * moving - 7)
    for first, second in zip(plain, changed, strict=True):
        torch.testing.assert_close(first, second, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("shape", [(8, 16), (24, 40), (64, 128)])
def test_flat_windows_stay_finite(shape: tuple[int, int]) -> None:
    assert all(torch.isfinite(window).all() for window in above_noise(torch.zeros(2, 1, *shape), torch.ones(2, 1, *shape)))


def test_filtered_windows_match_better() -> None:
    fixed, moving = crops(np.eye(2, 3), 64, 256, noise=12.0)
    everywhere = torch.ones_like(fixed)
    plain, shaped = masked_ncc(fixed, moving, everywhere), masked_ncc(*above_noise(fixed, moving), everywhere)
    assert (shaped > 1.5 * plain).all()


def test_noise_alone_does_not_match() -> None:
    torch.manual_seed(0)
    fixed, moving = torch.randn(2, 32, 1, 48, 128)
    assert alignment_ncc(*above_noise(fixed, moving), torch.eye(2, 3).expand(32, 2, 3)).mean().abs() < 0.05


def test_the_true_affine_scores_best() -> None:
    fixed, moving = crops(TRUE, 64, 128)
    right, wrong = alignment_ncc(*above_noise(fixed, moving), *affines(TRUE, TRUE + np.array([[0, 0, 1.0], [0, 0, 0.5]])))
    assert (right > 0.98).all()
    assert (wrong < right - 0.02).all()


def test_a_small_overlap_is_enough_for_the_ncc() -> None:
    right, wrong = np.array([[1, 0, 0], [0, 1, 120.0]]), np.eye(2, 3)
    fixed, moving = crops(right, 64, 128)
    at_right, at_wrong = alignment_ncc(*above_noise(fixed, moving), *affines(right, wrong))
    assert (at_right > 0.9).all() and (at_wrong < 0.5).all()


@pytest.mark.parametrize("level", [0.1, 5.0, 43210.7])
def test_flat_windows_score_zero(level: float) -> None:
    """The errors of rounding of two flat windows are the same, and must not count as a match."""
    fixed, _ = crops(np.eye(2, 3), 16, 32, range(1))
    flat = torch.full_like(fixed, level)
    for first in (fixed, flat):
        assert alignment_ncc(*above_noise(first, flat), torch.eye(2, 3)[None]).item() == 0


def test_the_gain_falls_as_the_noise_gains_on_the_signal() -> None:
    """A signal of 16 times the power of the noise up to .15 cycles per px, and as strong as the noise from there to .26: the
    squared gains S / (2 S + N) are 16 / 33 and 1 / 3."""
    torch.manual_seed(0)
    height, width = 256, 512
    frequency = torch.hypot(torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width))
    amplitude = torch.where(frequency < 0.15, 4.0, 1.0) * (frequency < 0.26)
    signal = torch.fft.irfft2(torch.fft.rfft2(torch.randn(4, 1, height, width)) * amplitude, s=(height, width))
    noisy = [signal + torch.randn_like(signal) for _ in range(2)]
    shaped = above_noise(noisy[0], noisy[1])
    weak, strong = (band(shaped[0], *part) / band(noisy[0], *part) for part in ((0.19, 0.22), (0.07, 0.1)))
    assert weak / strong == pytest.approx(torch.full((4,), (1 / 3) / (16 / 33)), rel=0.1)


def test_what_lies_at_one_edge_does_not_show_at_the_opposite_one() -> None:
    torch.manual_seed(0)
    stripes = blur(torch.randn(4, 1, 48, 160), 3.0)  # so that the filter blurs the noise away
    fixed, moving = (stripes / stripes.std() + 2 * torch.randn_like(stripes) for _ in range(2))
    pattern = blur(torch.randn(4, 1, 48, 1).expand(4, 1, 48, 8), 3.0)[..., :1]
    changed = fixed.clone()
    changed[..., :3] += 10 * pattern / pattern.std()
    difference = above_noise(changed, moving)[0] - above_noise(fixed, moving)[0]
    here, opposite = ((difference[..., column] * pattern[..., 0]).sum() for column in (0, -1))
    assert opposite.abs() < 0.1 * here
