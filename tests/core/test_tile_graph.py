"""The graph of the tiles: differences along pairs, groups, and the tiles near one tile."""

import numpy as np
from scipy import sparse

from dlir.core.factors import factorised
from dlir.core.tile_graph import bridges, differences, groups, neighbourhood, numbered_by_size


def test_a_difference_is_the_value_at_j_less_the_value_at_i() -> None:
    matrix = differences(np.array([0, 2]), np.array([1, 0]), 4)
    np.testing.assert_array_equal(matrix @ np.array([1.0, 10.0, 100.0, 1000.0]), [9.0, -99.0])


def test_each_tile_without_pairs_is_its_own_group() -> None:
    group = groups(np.array([0, 1, 4]), np.array([1, 3, 5]), 7)
    assert group[0] == group[1] == group[3] != group[4] == group[5]
    assert len({group[0], group[2], group[4], group[6]}) == 4


def test_values_follow_from_their_differences_when_one_value_is_fixed() -> None:
    random = np.random.default_rng(0)
    values, more = random.normal(size=300), random.integers(0, 300, (2, 400))
    i, j = np.concatenate([[np.arange(299), np.arange(1, 300)], more], axis=1)
    matrix = differences(i, j, 300)
    first_is_zero = sparse.diags(np.eye(300)[0])
    found = factorised(matrix.T @ matrix + first_is_zero).solve(matrix.T @ (values[j] - values[i]))
    np.testing.assert_allclose(found, values - values[0], atol=1e-9)


def test_the_neighbourhood_is_a_connected_part_of_the_largest_group() -> None:
    row = np.arange(99)
    i, j = np.concatenate([row, [110]]), np.concatenate([row + 1, [111]])
    found = neighbourhood(i, j, 120, 21)
    assert found.tolist() == list(range(40, 61))
    assert len(neighbourhood(i, j, 120, 1000)) == 100


def test_a_bridge_is_a_pair_without_which_tiles_come_apart() -> None:
    random = np.random.default_rng(0)
    for _ in range(30):
        i, j = np.array([pair for pair in random.integers(0, 40, (45, 2)) if pair[0] != pair[1]]).T
        i, j = np.unique(np.sort(np.c_[i, j], axis=1), axis=0).T
        without = [groups(np.delete(i, k), np.delete(j, k), 40).max() for k in range(len(i))]
        assert bridges(i, j, 40).tolist() == (np.array(without) > groups(i, j, 40).max()).tolist()
    assert bridges(np.array([0, 1]), np.array([1, 0]), 3).tolist() == [False, False]  # two pairs of the same tiles
    assert len(bridges(np.array([], int), np.array([], int), 3)) == 0


def test_groups_are_numbered_by_their_size() -> None:
    assert numbered_by_size(np.array([4, 7, 7, 2, 9, 9, 9])).tolist() == [2, 1, 1, 3, 0, 0, 0]
