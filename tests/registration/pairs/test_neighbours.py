"""Neighbours and their windows: which tiles are neighbours, and what the windows contain."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.specimens import ONE_PLANE

from dlir.core import tables
from dlir.core.tile_graph import groups
from dlir.registration.pairs.neighbours import WINDOW, PairsError, neighbours, pairs, with_overlaps
from dlir.registration.settings import Pairs

SETTINGS = Pairs(search=0.5, min_overlap=8)


def grid(rows: int, cols: int, step: tuple[float, float], size: tuple[int, int] = (128, 160)) -> pd.DataFrame:
    places = [(r, c, r * step[0], c * step[1]) for r in range(rows) for c in range(cols)]
    table = pd.DataFrame(places, columns=["row", "col", "y", "x"])
    return table.assign(tile=range(len(table)), height=size[0], width=size[1])


def test_a_grid_has_horizontal_and_vertical_but_no_diagonal_pairs() -> None:
    table = neighbours(grid(3, 4, (100, 130)), SETTINGS)
    found = set(zip(table["fixed"], table["moving"], table["side"], strict=True))
    right = {(4 * r + c, 4 * r + c + 1, "right") for r in range(3) for c in range(3)}
    down = {(4 * r + c, 4 * r + c + 4, "down") for r in range(2) for c in range(4)}
    assert found == right | down
    assert table["pair"].tolist() == list(range(len(table)))


def test_missing_tiles_and_gaps_have_no_pairs() -> None:
    tiles = grid(2, 3, (100, 130)).drop(index=[1]).reset_index(drop=True)
    found = {tuple(pair) for pair in neighbours(tiles, SETTINGS)[["fixed", "moving"]].to_numpy().tolist()}
    assert found == {(0, 3), (2, 5), (3, 4), (4, 5)}
    assert neighbours(grid(2, 2, (125, 158)), SETTINGS).empty


@pytest.mark.parametrize("rows", [1, 2])
def test_several_tiles_without_any_neighbour_are_an_error(tmp_path: Path, rows: int) -> None:
    one_plane = {"channels": 1, "dtype": "uint8", "pixel_size": np.nan, "sha256": "-", **ONE_PLANE}
    tiles = grid(rows, 1, (500, 500)).assign(path=[f"{row}.tif" for row in range(rows)], **one_plane)
    tables.write(tiles, tables.TILES, tmp_path / "tiles.csv")
    if rows == 1:
        pairs(tmp_path / "tiles.csv", tmp_path / "pairs.csv")
        assert tables.read(tmp_path / "pairs.csv", tables.PAIRS).empty
    else:
        with pytest.raises(PairsError, match=r"no two of the 2 tiles are neighbours: nowhere do they share 8 px"):
            pairs(tmp_path / "tiles.csv", tmp_path / "pairs.csv")
        assert not (tmp_path / "pairs.csv").exists()


@pytest.mark.parametrize("jitter", [0.0, 6.0])
def test_windows_contain_the_overlap_for_all_errors_within_the_search(jitter: float) -> None:
    tiles = grid(3, 3, (100.3, 129.7))
    tiles[["y", "x"]] += np.random.default_rng(0).uniform(-jitter, jitter, (9, 2))
    table = neighbours(tiles, SETTINGS)
    places = tiles.set_index("tile")[["y", "x"]]
    for pair in table.itertuples():
        offset = (places.loc[pair.moving] - places.loc[pair.fixed]).to_numpy()
        assert (pair.nominal_y, pair.nominal_x) == pytest.approx(tuple(offset))
        assert pair.height % 8 == 0 and pair.width % 8 == 0
        for start in ((pair.fixed_y, pair.fixed_x), (pair.moving_y, pair.moving_x)):
            assert min(start) >= 0 and start[0] + pair.height <= 128 and start[1] + pair.width <= 160
        if pair.side == "right":  # an overlap wider by the search distance still lies in both windows
            assert pair.fixed_x <= offset[1] - min(pair.search, offset[1]) + 1
            assert pair.width >= min(160 - offset[1] + pair.search, 152)


def test_tiles_that_share_a_corner_are_pairs_where_nothing_else_joins_them() -> None:
    chain = grid(1, 5, (0, 0)).assign(y=np.arange(5) * 70.0, x=np.arange(5) * -88.0)
    table = neighbours(chain, SETTINGS)
    joined = np.sort(table[["fixed", "moving"]].to_numpy(), axis=1).tolist()
    assert sorted(joined) == [[0, 1], [1, 2], [2, 3], [3, 4]]
    places, search = chain[["y", "x"]].to_numpy(), table["search"].to_numpy()
    assert neighbours(chain.assign(y=chain["y"] * 1.7), SETTINGS).empty  # such a small corner shows too little
    for shift in ((0.0, 0.0), (10.0, -15.0), (-15.0, 10.0)):  # the true overlap lies in both windows
        offset = places[table["moving"]] - places[table["fixed"]] + shift
        assert (np.abs(shift) <= search[0]).all()
        first = np.maximum(offset, 0), np.maximum(-offset, 0)
        for end, start in zip(("fixed", "moving"), first, strict=True):
            window = table[[f"{end}_y", f"{end}_x"]].to_numpy()
            overlap = np.array([128, 160]) - np.abs(offset)
            assert (window <= start).all()
            assert (window + table[["height", "width"]].to_numpy() >= start + overlap).all()


@pytest.mark.parametrize("overlap", [0.5, 0.75, 0.9])
def test_pairs_that_others_replace_are_left_out(overlap: float) -> None:
    tiles = grid(5, 5, (128 * (1 - overlap), 160 * (1 - overlap)))
    tiles[["y", "x"]] += np.random.default_rng(0).uniform(-2, 2, (25, 2))
    table = neighbours(tiles, SETTINGS)
    assert len(table) == 40  # those of a grid with a small overlap
    assert len(np.unique(groups(table["fixed"].to_numpy(), table["moving"].to_numpy(), 25))) == 1


def test_a_further_tile_changes_only_pairs_near_it() -> None:
    tiles = grid(6, 6, (40, 50))
    tiles[["y", "x"]] += np.random.default_rng(0).uniform(-6, 6, (36, 2))
    before, after = (
        set(neighbours(each, SETTINGS)[["fixed", "moving"]].itertuples(index=False, name=None)) for each in (tiles[:-1], tiles)
    )
    place = tiles[["y", "x"]].to_numpy()
    changed = np.array(sorted(before ^ after)).ravel()
    assert (np.abs(place[changed] - place[-1]) < [128, 160]).all()


@pytest.mark.parametrize("offset", [(3, 120), (-5, 100), (97, -11), (0, 131), (60, 0)])
def test_overlap_windows_show_the_same_in_both_tiles(offset: tuple[int, int]) -> None:
    size = np.array([128, 160])
    tiles = pd.DataFrame({"tile": [0, 1], "height": 128, "width": 160})
    pair = with_overlaps(pd.DataFrame([(0, 1, *offset)], columns=["fixed", "moving", "nominal_y", "nominal_x"]), tiles).iloc[0]
    fixed, moving, extent = (pair[list(names)].to_numpy() for names in (WINDOW[:2], WINDOW[2:4], WINDOW[4:]))
    assert (fixed - moving == offset).all()
    for start in (fixed, moving):
        assert (start >= 0).all() and (start + extent <= size).all()
    assert (extent == size - np.abs(offset)).all()


def test_the_order_of_the_tiles_does_not_change_a_pair() -> None:
    tiles = grid(1, 2, (100, 130))
    swapped = tiles.iloc[::-1].reset_index(drop=True)
    pd.testing.assert_frame_equal(neighbours(tiles, SETTINGS), neighbours(swapped, SETTINGS))


def test_one_tile_has_no_pair() -> None:
    assert neighbours(grid(1, 1, (100, 130)), SETTINGS).empty


@pytest.mark.parametrize("other", [(128, 64), (60, 160), (90, 100), (160, 200)])
@pytest.mark.parametrize("nominal", [(0, 100), (5, -60), (70, 4), (-60, 0), (10, 40)])
def test_windows_of_unequal_tiles_lie_in_both_and_hold_the_overlap(other: tuple[int, int], nominal: tuple[int, int]) -> None:
    sizes = np.array([(128, 160), other])
    tiles = pd.DataFrame(
        {"tile": [0, 1], "height": sizes[:, 0], "width": sizes[:, 1], "y": [0, nominal[0]], "x": [0, nominal[1]]}
    )
    pairs = neighbours(tiles.astype({"y": float, "x": float}), SETTINGS)
    overlap = np.minimum(sizes[0], np.add(nominal, sizes[1])) - np.maximum(nominal, 0)
    if (overlap < 8).any():
        assert pairs.empty
        return
    pair = pairs.iloc[0]
    ends = [(sizes[pair[end]], pair[[f"{end}_y", f"{end}_x"]].to_numpy(int)) for end in ("fixed", "moving")]
    extent = pair[["height", "width"]].to_numpy(int)
    assert all((start >= 0).all() and (start + extent <= size).all() for size, start in ends)
    across = int(pair["side"] == "right")
    first = np.array(nominal if pair["moving"] else np.negative(nominal))
    common = np.array([np.maximum(first, 0), np.minimum(ends[0][0], first + ends[1][0])])  # in the fixed tile
    assert (extent > 0.5 * overlap - 8).all() and extent[across] >= min(overlap[across], ends[0][0][across]) - 8
    assert ends[0][1][across] <= common[0][across] + 8 and (ends[0][1] + extent)[across] >= common[1][across] - 8


def test_a_narrow_column_at_the_edge_is_joined_to_the_tiles_beside_and_below() -> None:
    tiles = grid(3, 3, (100, 130)).assign(width=[160, 160, 40] * 3)
    found = {tuple(pair) for pair in neighbours(tiles, SETTINGS)[["fixed", "moving"]].to_numpy().tolist()}
    assert {(1, 2), (4, 5), (2, 5), (5, 8)} <= found
