"""The NCC does not depend on gain and offset, and counts only the pixels of the mask."""

import numpy as np
import pytest
import torch
from support.specimens import crops

from dlir.registration.model import filters, ncc

IDENTITY = np.eye(2, 3)


def test_identical_windows_score_one() -> None:
    fixed, _ = crops(IDENTITY, 32, 64)
    assert ncc.masked_ncc(fixed, fixed, torch.ones_like(fixed)) == pytest.approx(torch.ones(4), abs=1e-5)


def test_gain_and_offset_change_nothing() -> None:
    fixed, moving = crops(np.array([[1, 0, 1.5], [0, 1, -2.0]]), 32, 64)
    mask = torch.ones_like(fixed)
    plain = ncc.masked_ncc(fixed, moving, mask)
    assert ncc.masked_ncc(fixed, 3 * moving - 7, mask) == pytest.approx(plain, abs=1e-5)
    assert ncc.masked_ncc(fixed, -moving, mask) == pytest.approx(-plain, abs=1e-5)


def test_pixels_outside_the_mask_do_not_count() -> None:
    fixed, _ = crops(IDENTITY, 32, 64)
    changed, mask = fixed.clone(), torch.ones_like(fixed)
    changed[..., 40:] = 1000.0
    mask[..., 40:] = 0
    assert ncc.masked_ncc(fixed, changed, mask) == pytest.approx(torch.ones(4), abs=1e-5)


def test_flat_windows_score_zero_with_a_finite_gradient() -> None:
    flat = torch.full((1, 1, 16, 32), 5.0, requires_grad=True)
    fixed, _ = crops(IDENTITY, 16, 32, range(1))
    score = ncc.masked_ncc(fixed, filters.high_pass(flat), torch.ones_like(fixed))
    score.sum().backward()
    assert score.item() == pytest.approx(0, abs=1e-3)
    assert flat.grad is not None and torch.isfinite(flat.grad).all()


def test_the_gradient_of_the_ncc_under_a_mask_is_right() -> None:
    torch.manual_seed(0)
    first, second = (torch.randn(2, 1, 5, 6, dtype=torch.float64, requires_grad=True) for _ in range(2))
    mask = (torch.rand(2, 1, 5, 6, dtype=torch.float64) > 0.3).double()
    assert torch.autograd.gradcheck(lambda a, b: ncc.masked_ncc(a, b, mask), (first, second))


def test_shading_lowers_the_global_ncc_but_not_the_local_one() -> None:
    fixed, _ = crops(IDENTITY, 48, 96)
    shaded = fixed * torch.linspace(0.2, 3.0, 96)
    mask = torch.ones_like(fixed)
    assert (ncc.local_ncc(fixed, shaded, mask) > 0.98).all()
    assert (ncc.masked_ncc(fixed, shaded, mask) < 0.95).all()


def test_the_local_ncc_is_the_mean_correlation_of_small_windows_under_the_mask() -> None:
    random = np.random.default_rng(1)
    images = random.standard_normal((2, 20, 30))
    shown = np.ones((20, 30), bool)
    shown[:, :8] = False
    scores = []
    for y, x in np.argwhere(shown):
        window = (slice(max(0, y - 4), y + 5), slice(max(0, x - 4), x + 5))
        scores.append(np.corrcoef(*(image[window][shown[window]] for image in images))[0, 1])
    first, second, mask = (torch.from_numpy(part.astype(float))[None, None] for part in (*images, shown))
    assert ncc.local_ncc(first, second, mask).item() == pytest.approx(np.mean(scores), abs=1e-4)


@pytest.mark.parametrize("score", ncc.SIMILARITIES.values())
def test_the_gradient_of_every_similarity_is_right(score: ncc.Similarity) -> None:
    torch.manual_seed(0)
    first, second = (torch.randn(2, 1, 6, 11, dtype=torch.float64, requires_grad=True) for _ in range(2))
    mask = (torch.rand(2, 1, 6, 11, dtype=torch.float64) > 0.3).double()
    assert torch.autograd.gradcheck(lambda a, b: score(a, b, mask), (first, second))
    flat = torch.zeros(2, 1, 6, 11, dtype=torch.float64, requires_grad=True)
    score(first, flat, mask).sum().backward()
    assert flat.grad is not None and torch.isfinite(flat.grad).all()


def test_coarse_bands_still_match_when_they_are_shifted() -> None:
    fixed, _ = crops(IDENTITY, 64, 160)
    parts = ncc.frequency_bands(fixed)
    shift = torch.tensor([[[1.0, 0, 0], [0, 1, 4.0]]]).repeat(4, 1, 1)
    single = [ncc.multiscale_score(ncc.masked_ncc, [part], [part], shift).mean() for part in parts]
    assert single[0] < single[1] < single[2]
    together = ncc.multiscale_score(ncc.masked_ncc, parts, parts, shift).mean()
    assert together.item() == pytest.approx(float(sum(single)) / 3, abs=1e-5)
