"""SyntheticPairs warps: the truth that comes with them is true, and their noise is independent."""

import numpy as np
import pandas as pd
import pytest
import torch
from support.specimens import Specimen

from dlir.registration.model.noise_filter import above_noise, alignment_ncc
from dlir.registration.pairs import synthetic
from dlir.registration.pairs.synthetic import Shape, overlap_shape

SHAPE = Shape(32, 128, 8.0, (-12.0, 0.0))


def source(noise: float, count: int = 3, size: int = 256) -> synthetic.TileStack:
    rng = np.random.default_rng(0)
    at = np.array([[1, 0, 0], [0, 1, 0]], float)
    planes = [
        (1000 + 50 * Specimen(seed).tile(at, size, size) + noise * rng.standard_normal((size, size))).astype(np.float32)
        for seed in range(count)
    ]
    return synthetic.stack_tiles(planes, torch.device("cpu"))


def known(noise: float, seed: int = 0, count: int = 16) -> synthetic.SyntheticPairs:
    return synthetic.synthetic_pairs(source(noise), SHAPE, count, torch.Generator().manual_seed(seed))


def test_the_known_affine_aligns_the_crops() -> None:
    pairs = known(noise=0)
    beside = pairs.affine + torch.tensor([[0, 0, 1.5], [0, 0, 1.5]])
    right, wrong = alignment_ncc(*above_noise(pairs.fixed, pairs.moving), pairs.affine, beside)
    assert (right > wrong).float().mean() == 1
    assert right.median() > 0.8


def test_warps_stay_within_the_search_window() -> None:
    shift = known(noise=0, count=64).affine[:, :, 2] - torch.tensor(SHAPE.centre)
    assert shift.abs().max() <= SHAPE.search
    assert shift.abs().max() > 0.8 * SHAPE.search


def test_noise_alone_does_not_match() -> None:
    rng = np.random.default_rng(0)
    planes = [rng.normal(1000, 30, (256, 256)).astype(np.float32) for _ in range(3)]
    pairs = synthetic.synthetic_pairs(
        synthetic.stack_tiles(planes, torch.device("cpu")), SHAPE, 32, torch.Generator().manual_seed(0)
    )
    assert alignment_ncc(*above_noise(pairs.fixed, pairs.moving), pairs.affine).mean().abs() < 0.05


def test_the_same_seed_gives_the_same_pairs() -> None:
    assert all(torch.equal(a, b) for a, b in zip(known(5.0, seed=4), known(5.0, seed=4), strict=True))
    assert not torch.equal(known(5.0, seed=4).fixed, known(5.0, seed=5).fixed)


@pytest.mark.parametrize(("offset", "slope"), [(400.0, 0.0), (0.0, 2.0)])
def test_the_noise_is_measured(offset: float, slope: float) -> None:
    rng = np.random.default_rng(0)
    light = 500 + 300 * np.sin(np.linspace(0, 6, 256))[:, None] * np.ones((1, 256))
    plane = light + rng.standard_normal(light.shape) * np.sqrt(offset + slope * light)
    found = synthetic.noise_variance(plane.astype(np.float32))
    assert found[0] + found[1] * 500 == pytest.approx(offset + slope * 500, rel=0.1)


def windows(height: int, width: int, shift: tuple[float, float], search: float) -> pd.DataFrame:
    """Pairs with windows of one size, whose fixed px is expected at `shift` (y, x) in the moving window."""
    at = dict.fromkeys(["fixed_y", "fixed_x", "moving_y", "moving_x"], 0)
    row = {**at, "height": height, "width": width, "nominal_y": -shift[0], "nominal_x": -shift[1], "search": search}
    return pd.DataFrame([row] * 3)


@pytest.mark.parametrize(
    ("rows", "tile", "limits", "expected"),
    [
        (windows(48, 400, (-16, 3), 16), (512, 512), {}, Shape(48, 400, 16.0, (-16.0, 0.0))),  # as it is
        (windows(400, 48, (3, -16), 16), (512, 512), {}, Shape(48, 400, 16.0, (-16.0, 0.0))),  # turned
        (windows(48, 512, (-16, 0), 16), (512, 512), {}, Shape(48, 496, 16.0, (-16.0, 0.0))),  # the warp needs room
        (windows(48, 512, (-16, 0), 16), (512, 300), {}, Shape(48, 280, 16.0, (-16.0, 0.0))),  # also when it lies along y
        (windows(96, 512, (-40, 0), 32), (512, 512), {"longest": 256, "widest": 64}, Shape(64, 256, 32.0, (-8.0, 0.0))),
        (windows(48, 512, (-16, 0), 16), (20, 512), {}, None),
    ],
)
def test_crops_are_as_large_as_the_windows_where_they_fit(
    rows: pd.DataFrame, tile: tuple[int, int], limits: dict[str, float], expected: Shape | None
) -> None:
    assert overlap_shape(rows, tile, **limits) == expected


def test_crops_keep_to_the_multiple_between_windows_of_two_sizes() -> None:
    rows = pd.concat([windows(48, 256, (-16, 0), 16), windows(56, 264, (-16, 0), 16)])
    shape = overlap_shape(rows, (512, 512))
    assert shape is not None
    assert shape[:2] == (48, 256)


def test_noise_of_the_smallest_tiles_is_measured() -> None:
    plane = np.random.default_rng(0).normal(1000, 30, (16, 16)).astype(np.float32)
    offset, slope = synthetic.noise_variance(plane)
    assert np.isfinite([offset, slope]).all()
    assert offset + 1000 * slope > 0
