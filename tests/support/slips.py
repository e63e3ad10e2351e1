"""Grids whose stage slipped: it says that some tiles lie elsewhere than they do."""

import numpy as np

from support.pair_graphs import Graph, make_graph

KINDS = ("tile", "row", "last column", "half", "corner", "every second row", "shear")


def slipped_graph(kind: str, rows: int, cols: int, slip: float, *, stage_error: float, seed: int, noise: float = 0.03) -> Graph:
    """Makes a grid of which the stage slipped by `slip` px, in a random direction, in the tiles of this kind (KINDS)."""
    graph, rng = make_graph(rows, cols, noise=noise, stage_error=stage_error, seed=seed), np.random.default_rng(seed)
    row, col = graph.tiles["row"].to_numpy(), graph.tiles["col"].to_numpy()
    times = {
        "tile": (row == rng.integers(rows)) & (col == rng.integers(cols)),
        "row": row == rng.integers(rows),
        "last column": col == cols - 1,
        "half": row >= (rows + 1) // 2,
        "corner": (row >= rows - max(rows // 3, 1)) & (col >= cols - max(cols // 3, 1)),
        "every second row": row % 2,
        "shear": row,
    }[kind]
    angle = rng.uniform(0, 2 * np.pi)
    graph.tiles[["y", "x"]] -= np.outer(times, slip * np.array([np.sin(angle), np.cos(angle)]))
    return graph


def with_wrong_pairs(graph: Graph, share: float, seed: int) -> Graph:
    """Returns the graph with a random share of its pairs off by up to 25 px along both axes."""
    rng, pairs = np.random.default_rng(seed), graph.pairs.copy()
    wrong = rng.permutation(len(pairs))[: int(share * len(pairs))]
    pairs.loc[wrong, ["y0", "x0"]] += rng.uniform(-25, 25, (len(wrong), 2))
    return graph._replace(pairs=pairs)
