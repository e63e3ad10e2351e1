"""Unrelated pairs: they show different places, and most of them stay when a tile is added."""

import numpy as np
import pandas as pd
import pytest
from support.specimens import ONE_PLANE

from dlir.registration.pairs.neighbours import neighbours
from dlir.registration.pairs.unrelated import COUNT, unrelated_pairs
from dlir.registration.settings import Pairs

NAMES = ["fixed_path", "moving_path", "side", "fixed_y", "fixed_x", "moving_y", "moving_x", "height", "width"]


def drawn(rows: int, columns: int, left_out: int = 0, seed: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The unrelated pairs of a grid whose last tiles are missing, with the names of their tiles, and the tiles."""
    cells = np.array(list(np.ndindex(rows, columns)))[: rows * columns - left_out]
    tiles = pd.DataFrame({"tile": range(len(cells)), "path": [f"{row}_{col}.tif" for row, col in cells]})
    tiles = tiles.assign(y=cells[:, 0] * 400.0, x=cells[:, 1] * 400.0, height=512, width=512, **ONE_PLANE)
    found = unrelated_pairs(neighbours(tiles, Pairs(search=0.5, min_overlap=8)), tiles, seed)
    path = tiles.set_index("tile")["path"]
    return found.assign(fixed_path=path.loc[found["fixed"]].to_numpy(), moving_path=path.loc[found["moving"]].to_numpy()), tiles


def test_their_windows_show_different_places() -> None:
    found, tiles = drawn(5, 6)
    place = tiles.set_index("tile")[["y", "x"]]
    corners = [place.loc[found[end]].to_numpy() + found[[f"{end}_y", f"{end}_x"]].to_numpy() for end in ("fixed", "moving")]
    assert (np.abs(corners[0] - corners[1]) > found[["height", "width"]].to_numpy() + 50).any(axis=1).all()
    assert len(found) == COUNT
    assert not found.duplicated(["fixed", "moving", "side"]).any()
    assert found["side"].value_counts().tolist() == [COUNT / 2, COUNT / 2]
    assert found["fixed"].nunique() > 15 and found["moving"].nunique() > 15


def test_small_grids_have_unrelated_pairs() -> None:
    assert len(drawn(2, 2)[0]) >= 16
    assert len(drawn(1, 2)[0]) >= 2


@pytest.mark.parametrize(("rows", "columns"), [(4, 5), (6, 8), (20, 30)])
def test_adding_a_tile_keeps_most_of_them(rows: int, columns: int) -> None:
    before, after = (set(drawn(rows, columns, left_out)[0][NAMES].itertuples(index=False)) for left_out in (1, 0))
    assert len(before & after) > 0.75 * COUNT


def test_the_seed_changes_the_pairs() -> None:
    first, second = (drawn(5, 6, seed=seed)[0] for seed in (1, 2))
    assert not first[["fixed", "moving"]].equals(second[["fixed", "moving"]])
    pd.testing.assert_frame_equal(first, drawn(5, 6)[0])


@pytest.mark.parametrize("seed", range(4))
def test_hardly_any_two_of_them_join_the_same_tiles(seed: int) -> None:
    """Not the other way round either: each pair is evidence of its own."""
    found, _ = drawn(6, 8, seed=seed)
    assert len({frozenset(tiles) for tiles in found[["fixed", "moving"]].to_numpy().tolist()}) > 0.85 * COUNT


def test_their_windows_show_different_places_wherever_the_search_finds_them() -> None:
    """Windows of tiles one above the other miss each other by the stage, by less than is searched."""
    cells = np.array(list(np.ndindex(5, 6)))
    tiles = pd.DataFrame({"tile": range(30), "path": [f"{row}_{col}.tif" for row, col in cells]})
    tiles = tiles.assign(y=cells[:, 0] * 352.0, x=cells[:, 1] * 352.0, height=512, width=512, **ONE_PLANE)
    found = unrelated_pairs(neighbours(tiles, Pairs(search=0.5, min_overlap=8)), tiles, seed=1)
    place = tiles.set_index("tile")[["y", "x"]]
    corners = [place.loc[found[end]].to_numpy() + found[[f"{end}_y", f"{end}_x"]].to_numpy() for end in ("fixed", "moving")]
    reach = found[["height", "width"]].to_numpy() + found[["search"]].to_numpy()
    assert (np.abs(corners[0] - corners[1]) > reach).any(axis=1).all()


def test_they_come_from_all_over_a_large_grid() -> None:
    found, _ = drawn(20, 30)
    assert 0.25 < (found[["fixed", "moving"]].to_numpy() < 300).mean() < 0.75
