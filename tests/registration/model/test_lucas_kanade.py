"""The refinement: it converges to the true affine, states its uncertainty, and does not move where maps are flat."""

import math

import numpy as np
import torch
from support.specimens import crops

from dlir.registration.model.lucas_kanade import refine
from dlir.registration.model.warping import corner_error

TRUE = np.array([[1.003, 0.008, 1.2], [-0.006, 0.998, -0.8]])


def test_it_converges_to_the_true_affine() -> None:
    fixed, moving = crops(TRUE, 48, 160)
    true = torch.tensor(TRUE, dtype=torch.float32).expand(4, 2, 3)
    start = torch.eye(2, 3).expand(4, 2, 3)
    affine, *_ = refine(fixed, moving, start, stride=1, steps=8, prior=torch.tensor([-4.6, 0.0]))
    assert (corner_error(start, true, 48, 160) > 1).all()
    assert (corner_error(affine, true, 48, 160) < 0.1).all()


def test_the_information_predicts_the_deviation_of_the_shift() -> None:
    fixed, moving = crops(np.eye(2, 3), 48, 160, range(1))
    torch.manual_seed(0)
    noisy = [image + 2.0 * torch.randn(200, *image.shape[1:]) for image in (fixed, moving)]
    start = torch.eye(2, 3).expand(200, 2, 3)
    affine, information, *_ = refine(*noisy, start, stride=1, steps=6, prior=torch.zeros(2))
    predicted = torch.linalg.inv(information)[:, [2, 5], [2, 5]].mean(0).sqrt()
    observed = affine[:, :, 2].std(0)
    assert ((observed / predicted > 0.5) & (observed / predicted < 2)).all()


def test_a_channel_of_noise_counts_for_little() -> None:
    fixed, moving = crops(TRUE, 48, 160)
    true = torch.tensor(TRUE, dtype=torch.float32).expand(4, 2, 3)
    torch.manual_seed(0)
    both = [torch.cat([image, 10.0 * torch.randn_like(image)], 1) for image in (fixed, moving)]
    affine, *_ = refine(*both, torch.eye(2, 3).expand(4, 2, 3), stride=1, steps=8, prior=torch.tensor([-4.6, 0.0]))
    assert (corner_error(affine, true, 48, 160) < 0.05).all()


def test_a_linear_part_that_is_known_does_not_change() -> None:
    fixed, moving = crops(TRUE, 48, 160)
    found = {}
    for linear in (1e-6, math.inf):
        affine, *_ = refine(
            fixed, moving, torch.eye(2, 3).expand(4, 2, 3), stride=1, steps=8, prior=torch.zeros(2), linear=linear
        )
        found[linear] = (affine[:, :, :2] - torch.eye(2)).abs().amax((1, 2))
    assert (found[1e-6] < 1e-4).all() and (found[math.inf] > 1e-3).all()


def test_cells_of_weight_zero_do_not_count() -> None:
    fixed, moving = crops(TRUE, 48, 160)
    true = torch.tensor(TRUE, dtype=torch.float32).expand(4, 2, 3)
    moving[..., 80:] = 5 * moving[..., :80]
    weight = (torch.arange(160) < 70).to(fixed).expand(4, 1, 48, 160)
    start, prior = torch.eye(2, 3).expand(4, 2, 3), torch.tensor([-4.6, 0.0])
    affine, *_ = refine(fixed, moving, start, stride=1, steps=8, prior=prior, weight=weight)
    error = (affine - true) @ torch.tensor([0.0, -40.0, 1.0])  # in the middle of the cells that count
    assert (error.norm(dim=1) < 0.1).all()


def test_flat_maps_do_not_change_the_affine() -> None:
    flat = torch.zeros(1, 1, 16, 32)
    start = torch.tensor([[[1.0, 0, 2.0], [0, 1, -3.0]]])
    affine, *_ = refine(flat, flat, start, stride=2, steps=3, prior=torch.zeros(2))
    torch.testing.assert_close(affine, start)


def test_a_start_that_contradicts_the_known_linear_part_is_drawn_back_to_it() -> None:
    fixed, moving = crops(TRUE, 48, 160)
    start = torch.tensor(TRUE, dtype=torch.float32).expand(4, 2, 3)
    affine, *_ = refine(fixed, moving, start, stride=1, steps=8, prior=torch.zeros(2), linear=1e-6)
    assert ((affine[:, :, :2] - torch.eye(2)).abs().amax((1, 2)) < 1e-4).all()


def test_a_channel_that_shows_the_noise_of_another_helps() -> None:
    fixed, moving = crops(TRUE, 48, 160)
    true = torch.tensor(TRUE, dtype=torch.float32).expand(4, 2, 3)
    torch.manual_seed(0)
    noise = [4.0 * torch.randn_like(image) for image in (fixed, moving)]
    noisy = [image + own for image, own in zip((fixed, moving), noise, strict=True)]
    errors = []
    for maps in (noisy, [torch.cat(both, 1) for both in zip(noisy, noise, strict=True)]):
        affine, *_ = refine(*maps, torch.eye(2, 3).expand(4, 2, 3), stride=1, steps=8, prior=torch.tensor([-4.6, 0.0]))
        errors.append(corner_error(affine, true, 48, 160).mean())
    assert errors[1] < 0.7 * errors[0]
