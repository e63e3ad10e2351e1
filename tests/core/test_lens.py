"""A lens shows pixels where its polynomial says, and points come back."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dlir.core import affine, lens, tables
from dlir.core.lens import Lens, LensError

SIZE = (200, 300)
MIDDLE = np.array([99.5, 149.5])
HALF = np.hypot(*MIDDLE)


def radial(k1: float, size: tuple[int, int] = SIZE) -> Lens:
    """Moves the pixel at the distance r, in half diagonals, outwards by k1 r^3 half diagonals."""
    half = np.hypot(*(np.array(size) - 1)) / 2
    return Lens.of(size, k1 * half * np.array([[1, 0], [1, 0], [0, 1], [0, 1]]), [(3, 0), (1, 2), (0, 3), (2, 1)])


def some(scale: float = 3.0, seed: int = 0) -> Lens:
    return Lens.of(SIZE, np.random.default_rng(seed).normal(0, scale, (18, 2)))


def test_a_radial_lens_moves_the_corners_along_the_diagonal() -> None:
    moved = radial(0.02).to_raw(affine.corners(*SIZE)) - MIDDLE
    np.testing.assert_allclose(moved, 1.02 * (affine.corners(*SIZE) - MIDDLE))
    np.testing.assert_allclose(radial(0.02).to_raw(MIDDLE), MIDDLE)
    inside = MIDDLE + np.array([0.6, 0.0]) * HALF
    np.testing.assert_allclose(radial(0.02).to_raw(inside) - inside, [0.02 * 0.6**3 * HALF, 0])


def test_the_middle_is_neither_shifted_nor_turned_nor_scaled() -> None:
    step = 1e-3 * np.array([[0, 0], [1, 0], [0, 1]])
    np.testing.assert_allclose(some().to_raw(MIDDLE + step), MIDDLE + step, atol=1e-6)


def test_points_come_back() -> None:
    points = lens.grid(SIZE, 15)
    np.testing.assert_allclose(some().from_raw(some().to_raw(points)), points, atol=1e-6)
    assert some().from_raw(np.zeros((0, 2))).shape == (0, 2)


@pytest.mark.parametrize("to_tile", [affine.translation([3.25, -7.5]), np.array([[0.9, -0.1, 12.0], [0.2, 1.1, -5.0]])])
def test_a_grid_of_points_is_seen_where_each_of_them_is(to_tile: np.ndarray) -> None:
    points = np.stack(np.meshgrid(np.arange(40), np.arange(70), indexing="ij"), -1).reshape(-1, 2)
    seen = some().on_grid(to_tile, 40, 70)
    np.testing.assert_allclose(seen.reshape(2, -1).T, some().to_raw(affine.apply(to_tile, points)), atol=1e-9)
    assert some().on_grid(to_tile, 1, 1).shape == (2, 1, 1)


def test_an_increment_is_composed() -> None:
    first, second = some(2.0, 1), some(0.3, 2)
    points = lens.grid(SIZE, 20)
    wanted = first.to_raw(second.to_raw(points))
    np.testing.assert_allclose(first.then(second).to_raw(points), wanted, atol=0.02)


@pytest.mark.parametrize("offset", [(180.0, 3.0), (-4.0, 250.0)])
def test_how_exactly_the_offset_of_two_tiles_is_known_follows_from_the_intervals(offset: tuple[float, float]) -> None:
    """Lenses that err by their intervals displace both sides of an overlap unlike, by so much on average over its pixels."""
    deviation = np.random.default_rng(1).uniform(0.1, 0.5, (18, 2))
    apart, pixels = np.array(offset), lens.grid(SIZE, 150)
    in_fixed = pixels[((pixels - apart >= 0) & (pixels - apart <= np.array(SIZE) - 1)).all(axis=1)]
    off = []
    for seed in range(300):
        error = Lens.of(SIZE, np.random.default_rng(seed).normal(0, deviation))
        off.append((error.displacement(in_fixed - apart) - error.displacement(in_fixed)).mean(axis=0))
    known = some()._replace(interval=1.96 * deviation).offset_deviation(offset)
    np.testing.assert_allclose(known, np.std(off, axis=0), rtol=0.15)
    assert not some().offset_deviation(offset).any()


def test_the_affine_part_of_a_field_is_taken_off() -> None:
    true, points = some(), lens.grid(SIZE)
    laid = MIDDLE + (points - MIDDLE) @ np.array([[1.02, 0.01], [-0.02, 0.97]])
    found = lens.without_affine(points, true.to_raw(laid), SIZE)
    np.testing.assert_allclose(found.coefficients, true.coefficients, atol=1e-6)
    pure = lens.without_affine(points, laid + 5.0, SIZE)
    np.testing.assert_allclose(pure.coefficients, 0, atol=1e-9)


def test_lenses_are_written_and_read(tmp_path: Path) -> None:
    lenses = {0: some()._replace(source="found", interval=np.full((18, 2), 0.1)), 2: radial(0.01)}
    lens.write(lenses, tmp_path / "lens.csv")
    back = lens.read(tmp_path / "lens.csv")
    assert [*back] == [0, 2]
    assert back[0].size == SIZE
    assert [back[0].source, back[2].source] == ["found", "given"]
    for camera, each in lenses.items():
        np.testing.assert_array_equal(back[camera].coefficients, each.coefficients)
        np.testing.assert_array_equal(back[camera].interval, each.interval)
        np.testing.assert_array_equal(back[camera].powers, each.powers)


def test_no_distortion_is_an_empty_table(tmp_path: Path) -> None:
    lens.write({}, tmp_path / "lens.csv")
    assert lens.read(tmp_path / "lens.csv") == {}
    assert (tmp_path / "lens.csv").read_text().strip() == ",".join(tables.LENS.columns)


def test_a_lens_of_other_tiles_is_refused() -> None:
    tiles = pd.DataFrame({"camera": [0, 0], "height": [200, 200], "width": [300, 300]})
    assert [*lens.fitting({0: some(), 1: some()}, tiles, Path("lens.csv"))] == [0]
    with pytest.raises(LensError, match=r"lens\.csv: .* 200 x 300 px.* 100 x 300 px"):
        lens.fitting({0: some()}, tiles.assign(height=100), Path("lens.csv"))
    with pytest.raises(LensError, match="units"):
        lens.fitting({0: radial(1.0)}, tiles, Path("lens.csv"))
    with pytest.raises(LensError, match="folds"):
        radial(-5.0).from_raw(affine.corners(*SIZE))
