"""The factors of sparse matrices: they solve, also where a matrix with as many other numbers came before."""

import numpy as np
import pytest
from scipy import sparse

from dlir.core import factors
from dlir.core.factors import factorised
from dlir.core.tile_graph import normal_of_differences


def chain(seed: int, count: int) -> sparse.csc_matrix:
    weight = np.random.default_rng(seed).uniform(0.1, 10, 2 * count)
    i = np.arange(count - 1)
    return normal_of_differences(
        np.r_[i, i[::3]], np.r_[i + 1, i[::3][::-1]], weight[: count - 1 + len(i[::3])], np.full(count, 0.1)
    )


@pytest.mark.parametrize("columns", [(), (3,)])
def test_matrices_with_the_same_zeros_share_an_order_and_are_solved_each(
    columns: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(factors, "_orders", {})
    for seed in range(3):
        matrix = chain(seed, 40)
        side = np.random.default_rng(9).normal(size=(40, *columns))
        np.testing.assert_allclose(factorised(matrix).solve(side), np.linalg.solve(matrix.toarray(), side), rtol=1e-9)
    assert len(factors._orders) == 1


def test_a_solution_does_not_depend_on_what_was_solved_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factors, "_orders", {})
    matrix, side = chain(1, 200), np.random.default_rng(9).normal(size=200)
    first, again = (factorised(matrix).solve(side) for _ in range(2))
    assert np.array_equal(first, again)


def test_only_the_last_orders_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factors, "_orders", {})
    monkeypatch.setattr(factors, "KEPT", 2)
    for count in (5, 6, 5, 7, 8):
        factorised(chain(0, count))
    assert [len(order.rows) for order in factors._orders.values()] == [7, 8]
