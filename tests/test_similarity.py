"""Similarity: the properties that make NCC a measure, and the geometry that it is taken under."""

import numpy as np
import pytest
import torch
from specimens import crops

from dlir import similarity

IDENTITY = np.eye(2, 3)


def test_identical_crops_score_one() -> None:
    fixed, _ = crops(IDENTITY, 32, 64)
    assert similarity.masked_ncc(fixed, fixed, torch.ones_like(fixed)) == pytest.approx(torch.ones(4), abs=1e-5)


def test_gain_and_offset_change_nothing() -> None:
    fixed, moving = crops(np.array([[1, 0, 1.5], [0, 1, -2.0]]), 32, 64)
    mask = torch.ones_like(fixed)
    plain = similarity.masked_ncc(fixed, moving, mask)
    assert similarity.masked_ncc(fixed, 3 * moving - 7, mask) == pytest.approx(plain, abs=1e-5)
    assert similarity.masked_ncc(fixed, -moving, mask) == pytest.approx(-plain, abs=1e-5)


def test_what_the_mask_hides_does_not_count() -> None:
    fixed, _ = crops(IDENTITY, 32, 64)
    spoilt, mask = fixed.clone(), torch.ones_like(fixed)
    spoilt[..., 40:] = 1000.0
    mask[..., 40:] = 0
    assert similarity.masked_ncc(fixed, spoilt, mask) == pytest.approx(torch.ones(4), abs=1e-5)


def test_flat_crops_score_zero_with_a_finite_gradient() -> None:
    flat = torch.full((1, 1, 16, 32), 5.0, requires_grad=True)
    fixed, _ = crops(IDENTITY, 16, 32, range(1))
    score = similarity.masked_ncc(fixed, similarity.high_pass(flat), torch.ones_like(fixed))
    score.sum().backward()
    assert score.item() == pytest.approx(0, abs=1e-3)
    assert flat.grad is not None and torch.isfinite(flat.grad).all()


def test_the_gradient_is_right() -> None:
    torch.manual_seed(0)
    first, second = (torch.randn(2, 1, 5, 6, dtype=torch.float64, requires_grad=True) for _ in range(2))
    mask = (torch.rand(2, 1, 5, 6, dtype=torch.float64) > 0.3).double()
    assert torch.autograd.gradcheck(lambda a, b: similarity.masked_ncc(a, b, mask), (first, second))


def test_blur_keeps_the_mean_and_the_place() -> None:
    image = torch.zeros(1, 1, 64, 96)
    image[0, 0, 30, 50] = 1
    for sigma in (0.7, 2.0, 6.0):
        blurred = similarity.blur(image, sigma)[0, 0]
        y, x = torch.meshgrid(torch.arange(64.0), torch.arange(96.0), indexing="ij")
        assert blurred.sum().item() == pytest.approx(1, abs=0.02)
        assert ((blurred * y).sum() / blurred.sum()).item() == pytest.approx(30, abs=0.6)
        assert ((blurred * x).sum() / blurred.sum()).item() == pytest.approx(50, abs=0.6)


def test_corner_error_of_a_shift_is_its_length() -> None:
    moved = torch.tensor([[[1.0, 0, 3], [0, 1, 4]]])
    assert similarity.corner_error(torch.eye(2, 3)[None], moved, 20, 40).item() == pytest.approx(5)


def test_nan_coordinates_are_outside_and_do_not_crash() -> None:
    values, mask = similarity.sample(torch.ones(1, 1, 8, 8), torch.full((1, 2, 2, 2), float("nan")))
    assert torch.isfinite(values).all() and not mask.any()
    broken = torch.eye(2, 3).repeat(2, 1, 1)
    broken[0, 1, 2] = float("nan")
    values, mask = similarity.warp(torch.ones(2, 1, 8, 8), broken)
    assert torch.isfinite(values).all() and not mask[0].any() and mask[1].all()


def test_a_ramp_is_warped_to_the_coordinates_where_the_affine_leads() -> None:
    affine = torch.tensor([[[1.02, 0.05, 3.0], [-0.03, 0.99, -4.0]], [[0.9, -0.1, -1.5], [0.2, 1.1, 6.0]]])
    ramps = similarity.grid(40, 64).permute(2, 0, 1).expand(2, 2, 40, 64)  # of two channels: y and x about the centre
    for every in (1, 3):
        values, mask = similarity.warp(ramps, affine, every)
        true = similarity.transform(affine, similarity.grid(40, 64)[::every, ::every]).permute(0, 3, 1, 2)
        inside = ((true[:, :1].abs() <= 19.5) & (true[:, 1:].abs() <= 31.5)).float()
        assert (mask != inside).float().mean() < 0.002  # but for what lies on the edge
        torch.testing.assert_close(values * mask * inside, true * mask * inside, atol=1e-4, rtol=0)


def test_the_local_ncc_is_blind_to_shading_that_the_global_one_sees() -> None:
    fixed, _ = crops(IDENTITY, 48, 96)
    shaded = fixed * torch.linspace(0.2, 3.0, 96)
    mask = torch.ones_like(fixed)
    assert (similarity.local_ncc(fixed, shaded, mask) > 0.98).all()
    assert (similarity.masked_ncc(fixed, shaded, mask) < 0.95).all()


def test_the_local_ncc_is_that_of_the_windows_under_the_mask() -> None:
    random = np.random.default_rng(1)
    images = random.standard_normal((2, 20, 30))
    seen = np.ones((20, 30), bool)
    seen[:, :8] = False
    scores = []
    for y, x in np.argwhere(seen):
        window = (slice(max(0, y - 4), y + 5), slice(max(0, x - 4), x + 5))
        scores.append(np.corrcoef(*(image[window][seen[window]] for image in images))[0, 1])
    first, second, mask = (torch.from_numpy(part.astype(float))[None, None] for part in (*images, seen))
    assert similarity.local_ncc(first, second, mask).item() == pytest.approx(np.mean(scores), abs=1e-4)


@pytest.mark.parametrize("score", similarity.SIMILARITIES.values())
def test_the_gradient_of_every_similarity_is_right(score: similarity.Similarity) -> None:
    torch.manual_seed(0)
    first, second = (torch.randn(2, 1, 6, 11, dtype=torch.float64, requires_grad=True) for _ in range(2))
    mask = (torch.rand(2, 1, 6, 11, dtype=torch.float64) > 0.3).double()
    assert torch.autograd.gradcheck(lambda a, b: score(a, b, mask), (first, second))
    flat = torch.zeros(2, 1, 6, 11, dtype=torch.float64, requires_grad=True)
    score(first, flat, mask).sum().backward()
    assert flat.grad is not None and torch.isfinite(flat.grad).all()


def test_coarse_bands_are_alike_from_further_away() -> None:
    fixed, _ = crops(IDENTITY, 64, 160)
    parts = similarity.bands(fixed)
    away = torch.tensor([[[1.0, 0, 0], [0, 1, 4.0]]]).repeat(4, 1, 1)
    alone = [similarity.multiscale(similarity.masked_ncc, [part], [part], away).mean() for part in parts]
    assert alone[0] < alone[1] < alone[2]
    together = similarity.multiscale(similarity.masked_ncc, parts, parts, away).mean()
    assert together.item() == pytest.approx(float(sum(alone)) / 3, abs=1e-5)
