"""Displacements: tiles lie by the pairs alone where a minority of the pairs is wrong."""

import numpy as np
import pytest
from support.pair_graphs import make_graph
from support.slips import with_wrong_pairs

from dlir.placement.displacements import displacements
from dlir.placement.measurements import measurements


@pytest.mark.parametrize("seed", range(6))
def test_no_wrong_pair_testifies(seed: int) -> None:
    right = make_graph(6, 7, noise=0.03, stage_error=0.0, seed=seed)
    graph = with_wrong_pairs(right, 0.15, seed)
    wrong = (graph.pairs["y0"] != right.pairs["y0"]).to_numpy()
    measured = measurements(graph.tiles, graph.pairs)
    nominal = graph.tiles[["y", "x"]].to_numpy()
    off = measured.offset - (nominal[measured.j] - nominal[measured.i])
    found = displacements(measured, off, np.full(len(off), 0.03**2), len(nominal))
    assert not found.testifying[wrong].any() and found.testifying[~wrong].mean() > 0.8


def test_two_pairs_that_agree_win_over_two_that_do_not() -> None:
    """Four pairs join the 2 x 2 tiles at a corner to the others, and no loop about them closes."""
    graph = make_graph(4, 4, noise=0.03, stage_error=0.0)
    ends = list(zip(graph.pairs["fixed"] - 10, graph.pairs["moving"] - 10, strict=True))
    for pair, off in (((5, 6), [8.0, 7.0]), ((6, 10), [-24.0, -19.0])):
        graph.pairs.loc[ends.index(pair), ["y0", "x0"]] += off
    measured = measurements(graph.tiles, graph.pairs)
    nominal = graph.tiles[["y", "x"]].to_numpy()
    off = measured.offset - (nominal[measured.j] - nominal[measured.i])
    found = displacements(measured, off, np.full(len(off), 0.03**2), len(nominal)).of_tile
    assert np.abs(found - np.median(found, axis=0)).max() < 0.5
