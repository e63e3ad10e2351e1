"""A field is smooth and bounded, comes back from its table, and bends tiles so that neighbours stay joined."""

from pathlib import Path

import numpy as np
import pytest

from dlir.core import affine, lens, local_field, tables
from dlir.core.lens import Lens
from dlir.core.local_field import LocalField, bent_lenses

SHAPE, SIDE = (900, 1100), 512  # px
SPACING = SIDE / 3


def bumpy(largest: float = 3.0) -> LocalField:
    """Waves of two tiles, of this amplitude, px."""
    flat = LocalField.over(*SHAPE, SPACING)
    place = flat.table()[["y", "x"]].to_numpy() * np.pi / SIDE
    shifts = largest * np.stack([np.sin(place[:, 1] + 1), np.cos(place[:, 0] + 0.5 * place[:, 1])], -1)
    return flat._replace(shifts=shifts.reshape(flat.shifts.shape))


def places(count: int = 4000) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, SHAPE, (count, 2))


def test_nodes_of_a_linear_field_give_it_everywhere() -> None:
    flat = LocalField.over(*SHAPE, SPACING)
    node = flat.table()[["y", "x"]].to_numpy()
    field = flat._replace(shifts=(node * [0.01, -0.02] + 1).reshape(flat.shifts.shape))
    np.testing.assert_allclose(field.at(places()), places() * [0.01, -0.02] + 1, atol=1e-9)


def test_a_field_is_nowhere_longer_than_its_nodes_and_fades_out() -> None:
    field = bumpy()
    assert np.linalg.norm(field.at(places()), axis=1).max() <= np.linalg.norm(field.shifts, axis=2).max()
    assert np.abs(field.at([[-5 * SPACING, 0.0], [0.0, 3000.0]])).max() == 0


def test_a_field_comes_back_from_its_table(tmp_path: Path) -> None:
    field = bumpy()
    tables.write(field.table(), tables.LOCAL, tmp_path / "local.csv")
    found = local_field.read(tmp_path / "local.csv")
    assert found
    np.testing.assert_allclose(found.at(places()), field.at(places()), atol=1e-9)
    tables.write(field.table()[:0], tables.LOCAL, tmp_path / "local.csv")
    assert local_field.read(tmp_path / "local.csv") is None
    assert local_field.read(tmp_path / "other.csv") is None


@pytest.mark.parametrize("distorted", [False, True])
def test_a_bent_tile_sees_what_the_field_says_and_neighbours_stay_joined(distorted: bool) -> None:
    own = Lens.of((SIDE, SIDE), np.random.default_rng(1).normal(0, 1, (18, 2))) if distorted else None
    turn = np.array([[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]])
    affines = np.stack([np.c_[turn, [100.0, 20.0]], np.c_[turn, [60.0, 470.0]]])
    field, sizes = bumpy(), np.full((2, 2), SIDE)
    bent = bent_lenses(field, [own, own], sizes, affines)
    shown = []
    for matrix, of in zip(affines, bent, strict=True):
        assert of
        at = affine.apply(affine.invert(matrix), places())
        inside = ((at >= 0) & (at < SIDE)).all(axis=1)
        raw = of.to_raw(at[inside])
        seen = own.from_raw(raw) if own else raw
        error = affine.apply(matrix, seen) - places()[inside] - field.at(places()[inside])
        assert np.abs(error).max() < 0.05
        shown.append(np.full((len(at), 2), np.nan))
        shown[-1][inside] = affine.apply(matrix, seen)
    apart = np.linalg.norm(shown[0] - shown[1], axis=1)
    assert np.isfinite(apart).sum() > 100
    assert np.nanmax(apart) < 0.1


def test_a_grid_of_a_bent_tile_is_seen_as_its_points_are() -> None:
    affines = np.array([[[1.0, 0.02, 30.0], [-0.02, 1.0, 40.0]]])
    [bent] = bent_lenses(bumpy(), [None], [[SIDE, SIDE]], affines)
    assert bent
    to_tile = affine.invert(affines[0])
    grid = np.stack(np.indices((400, 400)), -1).reshape(-1, 2) + 60.0
    found = bent.on_grid(affine.compose(to_tile, affine.translation([60.0, 60.0])), 400, 400)
    assert np.abs(found - bent.to_raw(affine.apply(to_tile, grid)).T.reshape(2, 400, 400)).max() < 0.02


def test_without_a_field_the_lenses_are_those_of_the_cameras() -> None:
    own = lens.Lens.of((SIDE, SIDE), np.zeros((18, 2)))
    assert bent_lenses(None, [own, None], [[SIDE, SIDE]] * 2, np.zeros((2, 2, 3))) == [own, None]
