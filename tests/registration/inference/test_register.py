"""The step register on small grids whose truth is known: affines, covariances and verdicts."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from support.grids import Grid, make_grid
from support.pair_graphs import make_graph

from dlir.core import affine, hashing, tables
from dlir.registration.confidence.calibration import LIKE_UNRELATED, OUTSIDE
from dlir.registration.inference.consensus import OVERRULED, TOO_FAINT, doubt_contradicted, drop_unsupported, tell_overruled
from dlir.registration.inference.register import register
from dlir.registration.model import checkpoint
from dlir.registration.settings import Register


def run(grid: Grid, folder: Path, method: str = "network") -> pd.DataFrame:
    settings = Register(method=method, accept=0.5, seed=1)  # type: ignore[arg-type]
    model = checkpoint.GENERIC if method == "network" else None
    register(grid.tiles, grid.illumination, grid.pairs, folder / "affines.csv", model=model, settings=settings, device="cpu")
    return tables.read(folder / "affines.csv", tables.AFFINES)


@pytest.fixture(scope="module")
def by_network(grid: Grid, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The pairs of the grid as the network finds them."""
    return run(grid, tmp_path_factory.mktemp("by_network"))


@pytest.mark.parametrize(("method", "bound"), [("network", 0.1), ("phase", 2.0)])
def test_pairs_are_found(grid: Grid, by_network: pd.DataFrame, tmp_path: Path, method: str, bound: float) -> None:
    found = by_network if method == "network" else run(grid, tmp_path, method)
    assert (found["method"] == method).all()
    assert found["accepted"].mean() > 0.8
    assert np.median(grid.errors(found)) < bound
    assert (found["score_after"] > found["score_before"]).mean() > 0.8


def test_the_edges_of_tiles_do_not_bias_the_offsets(tmp_path: Path) -> None:
    grid = make_grid(tmp_path, 4, 4, noise=60.0)
    found = run(grid, tmp_path)
    across = np.where(found["side"] == "down", 0, 1)
    error = grid.offsets(found)[np.arange(len(found)), across]
    assert abs(error.mean()) < 0.01 and error.std() < 0.03


def test_the_centre_lies_in_the_overlap(grid: Grid, by_network: pd.DataFrame) -> None:
    found = by_network
    centre = found[["centre_y", "centre_x"]].to_numpy()[:, None]
    in_fixed = affine.apply(affine.from_table(found), centre)[:, 0]
    for point in (centre[:, 0], in_fixed):
        assert ((point > -1) & (point < np.array(grid.size))).all()
    across = np.where(found["side"] == "down", 0, 1)
    assert (centre[np.arange(len(found)), 0, across] < 0.4 * grid.size[0]).all()


def test_the_variance_is_that_of_the_errors(noisy_grid: Grid, tmp_path: Path) -> None:
    found = run(noisy_grid, tmp_path)
    right = noisy_grid.errors(found) < 3
    deviation = np.sqrt((found["var_y"] + found["var_x"])[right])
    assert 0.3 < np.median(noisy_grid.errors(found)[right] / deviation) < 1.6


def test_pairs_of_tiles_without_content_are_rejected_with_a_reason(blank_grid: Grid, tmp_path: Path) -> None:
    found = run(blank_grid, tmp_path)
    blank = found["fixed"].isin(blank_grid.blank) | found["moving"].isin(blank_grid.blank)
    assert not found.loc[blank, "accepted"].any()
    assert found.loc[blank, "reason"].isin([LIKE_UNRELATED, OUTSIDE]).all()
    assert found.loc[~blank, "accepted"].mean() > 0.5


def test_one_tile_has_an_empty_table(one_tile: Grid, tmp_path: Path) -> None:
    assert run(one_tile, tmp_path).empty


def test_the_network_needs_a_model(grid: Grid, tmp_path: Path) -> None:
    settings = Register(method="network", accept=0.5, seed=1)
    with pytest.raises(checkpoint.ModelError, match=r"register\.method"):
        register(grid.tiles, grid.illumination, grid.pairs, tmp_path / "affines.csv", settings=settings)


def test_the_same_inputs_give_the_same_table(grid: Grid, by_network: pd.DataFrame, tmp_path: Path) -> None:
    pd.testing.assert_frame_equal(run(grid, tmp_path), by_network)


@pytest.mark.slow
def test_only_the_pairs_of_a_tile_that_changed_are_registered_again(
    grid: Grid, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def registered(tiles: Path, cache: Path | None) -> tuple[pd.DataFrame, list[tuple[int, int]]]:
        caplog.clear()
        settings, given = Register(method="network", accept=0.5, seed=1), {"model": checkpoint.GENERIC, "device": "cpu"}
        register(tiles, grid.illumination, grid.pairs, tmp_path / "a.csv", settings=settings, cache=cache, **given)
        logged = re.findall(r"registering (\d+) of (\d+) pairs", caplog.text)
        return tables.read(tmp_path / "a.csv", tables.AFFINES), [(int(new), int(every)) for new, every in logged]

    caplog.set_level("INFO")
    first, counts = registered(grid.tiles, tmp_path / "cache")
    assert all(new == every for new, every in counts[:2]) and counts[0] == (12, 12)
    again, counts = registered(grid.tiles, tmp_path / "cache")
    assert all(new == 0 for new, _ in counts)
    pd.testing.assert_frame_equal(first, again)

    table = tables.read(grid.tiles, tables.TILES)
    pixels = tifffile.imread(table.loc[0, "path"])
    pixels = (pixels + np.random.default_rng(5).normal(0, 9, pixels.shape)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "0.tif", pixels)
    table.loc[0, ["path", "sha256"]] = str(tmp_path / "0.tif"), hashing.of_file(tmp_path / "0.tif")
    tables.write(table, tables.TILES, tmp_path / "tiles.csv")
    changed, counts = registered(tmp_path / "tiles.csv", tmp_path / "cache")
    # the tile in the corner has two neighbours, and is in a few unrelated pairs
    assert counts[0] == (2, 12) and 0 < counts[1][0] < counts[1][1] / 2
    whole, _ = registered(tmp_path / "tiles.csv", None)
    numbers = [*affine.COLUMNS, "var_y", "var_x", "score_after"]
    np.testing.assert_allclose(changed[numbers], whole[numbers], atol=1e-3)
    assert not np.allclose(changed.loc[:1, numbers], first.loc[:1, numbers], atol=1e-3)


def test_a_pair_that_all_others_contradict_is_probably_wrong_and_overruled() -> None:
    graph = make_graph(4, 5)
    pairs = graph.pairs.assign(reason="")
    pairs.loc[5, "x0"] += 6.0
    confidence = doubt_contradicted(pairs, graph.tiles)
    assert confidence[5] < 0.05 and confidence.drop(index=5).min() > 0.99
    found = tell_overruled(pairs, graph.tiles)
    assert found.index[found["overruled"]].tolist() == [5] == found.index[found["reason"] == OVERRULED].tolist()
    assert found["accepted"].all()


@pytest.mark.parametrize(("off", "least", "most"), [(0.5, 0.9, 1.0), (3.0, 0.05, 0.9), (8.0, 0.0, 0.01)])
def test_a_contradicted_pair_is_as_probably_right_as_it_lies_near_the_others(off: float, least: float, most: float) -> None:
    """Right is what is less than 2 px off, however exact the pair takes itself to be."""
    graph = make_graph(6, 7)
    graph.pairs.loc[20, "x0"] += off
    assert least <= doubt_contradicted(graph.pairs.assign(confidence=0.99), graph.tiles)[20] <= most


def test_faint_pairs_are_kept_only_where_a_tile_has_a_more_certain_pair() -> None:
    """Of six tiles in a row, the third to fifth have faint pairs alone, and the pair of the last two was rejected before."""
    pairs = make_graph(1, 6).pairs.assign(confidence=[0.9, 0.3, 0.3, 0.3, 0.8], reason="")
    pairs.loc[4, ["accepted", "reason"]] = False, LIKE_UNRELATED
    found = drop_unsupported(pairs, 0.5)
    assert found["accepted"].tolist() == [True, True, False, False, False]
    assert found["reason"].tolist() == ["", "", TOO_FAINT, TOO_FAINT, LIKE_UNRELATED]
