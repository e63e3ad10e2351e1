"""Affines follow the convention of the tables; composition and inversion are those of algebra."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dlir.core import affine

NUMBERS = st.floats(-3, 3, allow_subnormal=False)
POINTS = np.array([[0.0, 0.0], [1.0, 2.0], [-3.0, 5.0]])


def is_invertible(linear: np.ndarray) -> bool:
    return abs(linear[0, 0] * linear[1, 1] - linear[0, 1] * linear[1, 0]) > 0.1


AFFINES = arrays(float, (2, 3), elements=NUMBERS).filter(is_invertible)


def test_the_columns_of_a_table_follow_the_convention() -> None:
    table = pd.DataFrame([{"yy": 1.0, "yx": 2.0, "y0": 3.0, "xy": 4.0, "xx": 5.0, "x0": 6.0}])
    y, x = 10.0, 100.0
    moved = affine.apply(affine.from_table(table), np.array([[[y, x]]]))[0, 0]
    assert moved.tolist() == [y + 2 * x + 3, 4 * y + 5 * x + 6]
    assert pd.DataFrame(affine.to_columns(affine.from_table(table))).equals(table)


@given(AFFINES, AFFINES)
def test_compose_applies_the_first_first(second: np.ndarray, first: np.ndarray) -> None:
    both = affine.apply(affine.compose(second, first), POINTS)
    np.testing.assert_allclose(both, affine.apply(second, affine.apply(first, POINTS)), atol=1e-9)


@given(AFFINES)
def test_the_inverse_undoes_an_affine(matrix: np.ndarray) -> None:
    np.testing.assert_allclose(affine.apply(affine.invert(matrix), affine.apply(matrix, POINTS)), POINTS, atol=1e-8)


def test_translations_move_the_corners_of_an_image() -> None:
    moved = affine.apply(affine.translation([[1, 2], [3, 4]]), affine.corners(5, 7))
    assert moved.shape == (2, 4, 2)
    assert moved[1].tolist() == [[3, 4], [3, 10], [7, 4], [7, 10]]


def test_an_affine_moves_its_point_and_has_its_linear_part() -> None:
    parts = np.array([[0.01, 0.02, 0.0, 0.0], [0.0, 0.0, 0.03, 0.04]])
    linear = affine.linear(parts)
    np.testing.assert_allclose(linear, [[[1.02, 0.01], [-0.01, 1.02]], [[1.03, 0.04], [0.04, 0.97]]])
    at, offset = np.array([[100.0, 50.0], [3.0, 7.0]]), np.array([[1.0, -2.0], [5.0, 0.5]])
    moving = affine.moving(at, offset, linear)
    np.testing.assert_allclose(affine.offsets(moving, at), offset)
    np.testing.assert_array_equal(moving[:, :, :2], linear)
