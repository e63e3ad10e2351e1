"""Synthetic pairs: their affines are true, and the noise of their windows is independent."""

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


def pairs_of_noise(noise: float, seed: int = 0, count: int = 16) -> synthetic.SyntheticPairs:
    return synthetic.synthetic_pairs(source(noise), SHAPE, count, torch.Generator().manual_seed(seed))


def test_the_known_affine_aligns_the_windows() -> None:
    pairs = pairs_of_noise(noise=0)
    shifted = pairs.affine + torch.tensor([[0, 0, 1.5], [0, 0, 1.5]])
    right, wrong = alignment_ncc(*above_noise(pairs.fixed, pairs.moving), pairs.affine, shifted)
    assert (right > wrong).float().mean() == 1
    assert right.median() > 0.8


def test_shifts_fill_the_search_and_keep_within_it() -> None:
    shift = pairs_of_noise(noise=0, count=64).affine[:, :, 2] - torch.tensor(SHAPE.centre)
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
    assert all(torch.equal(a, b) for a, b in zip(pairs_of_noise(5.0, seed=4), pairs_of_noise(5.0, seed=4), strict=True))
    assert not torch.equal(pairs_of_noise(5.0, seed=4).fixed, pairs_of_noise(5.0, seed=5).fixed)


@pytest.mark.parametrize(("offset", "slope"), [(400.0, 0.0), (0.0, 2.0)])
def test_the_variance_of_the_noise_is_measured(offset: float, slope: float) -> None:
    rng = np.random.default_rng(0)
    brightness = 500 + 300 * np.sin(np.linspace(0, 6, 256))[:, None] * np.ones((1, 256))
    plane = brightness + rng.standard_normal(brightness.shape) * np.sqrt(offset + slope * brightness)
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
        (windows(48, 400, (-16, 3), 16), (512, 512), {}, Shape(48, 400, 16.0, (-16.0, 0.0))),  # as the windows are
        (windows(400, 48, (3, -16), 16), (512, 512), {}, Shape(48, 400, 16.0, (-16.0, 0.0))),  # turned
        (
            windows(48, 512, (-16, 0), 16),
            (512, 512),
            {},
            Shape(48, 496, 16.0, (-16.0, 0.0)),
        ),  # the tile limits the width
        (windows(48, 512, (-16, 0), 16), (512, 300), {}, Shape(48, 280, 16.0, (-16.0, 0.0))),  # also along the other axis
        (windows(96, 512, (-40, 0), 32), (512, 512), {"longest": 256, "widest": 64}, Shape(64, 256, 32.0, (-8.0, 0.0))),
        (windows(48, 512, (-16, 0), 16), (20, 512), {}, None),
    ],
)
def test_synthetic_windows_are_as_large_as_real_ones_where_the_tile_allows(
    rows: pd.DataFrame, tile: tuple[int, int], limits: dict[str, float], expected: Shape | None
) -> None:
    assert overlap_shape(rows, tile, **limits) == expected


def test_sides_are_multiples_of_8_where_windows_have_two_sizes() -> None:
    rows = pd.concat([windows(48, 256, (-16, 0), 16), windows(56, 264, (-16, 0), 16)])
    shape = overlap_shape(rows, (512, 512))
    assert shape is not None
    assert shape[:2] == (48, 256)


def test_the_noise_of_the_smallest_tiles_is_measured() -> None:
    plane = np.random.default_rng(0).normal(1000, 30, (16, 16)).astype(np.float32)
    offset, slope = synthetic.noise_variance(plane)
    assert np.isfinite([offset, slope]).all()
    assert offset + 1000 * slope > 0


def test_windows_are_cut_where_there_is_something_to_see() -> None:
    """Half of each tile is empty."""
    stack = source(noise=0)
    stack.tiles[..., :128] = 0
    pairs = synthetic.synthetic_pairs(stack, SHAPE, 32, torch.Generator().manual_seed(0))
    ncc = alignment_ncc(*above_noise(pairs.fixed, pairs.moving), pairs.affine)
    assert (ncc > 0.5).float().mean() > 0.8
