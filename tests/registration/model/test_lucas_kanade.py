"""The refinement: it reaches the truth from nearby, knows how sure it is, and keeps still where nothing can be seen."""

import math

import numpy as np
import torch
from support.specimens import crops

from dlir.registration.model.lucas_kanade import refine
from dlir.registration.model.warping import corner_error

TRUE = np.array([[1.003, 0.008, 1.2], [-0.006, 0.998, -0.8]])


def test_the_truth_is_reached_from_nearby() -> None:
    fixed, moving = crops(TRUE, 48, 160)
    true = torch.tensor(TRUE, dtype=torch.float32).expand(4, 2, 3)
    start = torch.eye(2, 3).expand(4, 2, 3)
    affine, *_ = refine(fixed, moving, start, stride=1, steps=8, prior=torch.tensor([-4.6, 0.0]))
    assert (corner_error(start, true, 48, 160) > 1).all()
    assert (corner_error(affine, true, 48, 160) < 0.1).all()


def test_the_information_foretells_the_spread() -> None:
    fixed, moving = crops(np.eye(2, 3), 48, 160, range(1))
    torch.manual_seed(0)
    noisy = [image + 2.0 * torch.randn(200, *image.shape[1:]) for image in (fixed, moving)]
    start = torch.eye(2, 3).expand(200, 2, 3)
    affine, information, _ = refine(*noisy, start, stride=1, steps=6, prior=torch.zeros(2))
    told = torch.linalg.inv(information)[:, [2, 5], [2, 5]].mean(0).sqrt()
    seen = affine[:, :, 2].std(0)
    assert ((seen / told > 0.5) & (seen / told < 2)).all()


def test_a_channel_of_noise_counts_for_little() -> None:
    fixed, moving = crops(TRUE, 48, 160)
    true = torch.tensor(TRUE, dtype=torch.float32).expand(4, 2, 3)
    torch.manual_seed(0)
    both = [torch.cat([image, 10.0 * torch.randn_like(image)], 1) for image in (fixed, moving)]
    affine, *_ = refine(*both, torch.eye(2, 3).expand(4, 2, 3), stride=1, steps=8, prior=torch.tensor([-4.6, 0.0]))
    assert (corner_error(affine, true, 48, 160) < 0.05).all()


def test_linear_parts_that_are_known_are_kept() -> None:
    fixed, moving = crops(TRUE, 48, 160)
    found = {}
    for linear in (1e-6, math.inf):
        affine, *_ = refine(
            fixed, moving, torch.eye(2, 3).expand(4, 2, 3), stride=1, steps=8, prior=torch.zeros(2), linear=linear
        )
        found[linear] = (affine[:, :, :2] - torch.eye(2)).abs().amax((1, 2))
    assert (found[1e-6] < 1e-4).all() and (found[math.inf] > 1e-3).all()


def test_cells_that_do_not_count_change_nothing() -> None:
    fixed, moving = crops(TRUE, 48, 160)
    true = torch.tensor(TRUE, dtype=torch.float32).expand(4, 2, 3)
    moving[..., 80:] = 5 * moving[..., :80]
    weight = (torch.arange(160) < 70).to(fixed).expand(4, 1, 48, 160)
    start, prior = torch.eye(2, 3).expand(4, 2, 3), torch.tensor([-4.6, 0.0])
    affine, *_ = refine(fixed, moving, start, stride=1, steps=8, prior=prior, weight=weight)
    left = (affine - true) @ torch.tensor([0.0, -40.0, 1.0])  # the error in the middle of those that do
    assert (left.norm(dim=1) < 0.1).all()


def test_flat_maps_keep_the_affine() -> None:
    flat = torch.zeros(1, 1, 16, 32)
    start = torch.tensor([[[1.0, 0, 2.0], [0, 1, -3.0]]])
    affine, *_ = refine(flat, flat, start, stride=2, steps=3, prior=torch.zeros(2))
    torch.testing.assert_close(affine, start)
