"""The model that the pairs call for."""

import pytest
from pair_graphs import make_graph

from dlir.models import choose
from dlir.solve import measured


@pytest.mark.parametrize(
    ("linear", "free"),
    [
        ((0, 0, 0, 0), 0),
        ((0.004, 0, 0, 0), 1),
        ((0.004, 0.003, 0, 0), 2),
        ((0.004, 0.003, 0.002, 0.002), 4),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_the_model_is_that_of_the_tiles(linear: tuple[float, ...], free: int, seed: int) -> None:
    graph = make_graph(6, 7, linear=linear, seed=seed)
    spread = choose(measured(graph.tiles, graph.pairs), len(graph.tiles)).spread
    assert len(spread) == free
    assert spread == pytest.approx(linear[:free], rel=0.5)
