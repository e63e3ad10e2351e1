"""Placing synthetic grids of tiles: time and memory for very many tiles, and slips of the stage.

    python benchmarks/solve.py

prints for each number of tiles the errors, and the CPU seconds and the memory for choosing the tile model and solving, as the
step `place` does. Of the pairs 10 % are wrong. Each grid is solved in a process of its own.

    python benchmarks/solve.py --slips 2

prints for each kind of slip (tests/support/slips.py) in how many grids any tile lies more than 0.1 px off, for slips of 5 to
200 px, three errors of the stage, grids of 2 x 3 to 20 x 20 and two seeds; and beside a tenth of wrong pairs, for slips of 20
and 100 px, in how many more than one tile in 16 lies more than 2 px off.
"""

import resource
import subprocess
import sys
import time
from functools import partial
from itertools import product
from pathlib import Path

import cyclopts
import numpy as np

GRIDS, STAGE_ERRORS = ((2, 3), (4, 4), (6, 8), (20, 20)), (0.5, 2.0, 5.0)  # of tiles; px
SLIPS, SLIPS_BESIDE_WRONG_PAIRS = (5.0, 10.0, 20.0, 50.0, 100.0, 200.0), (20.0, 100.0)  # px
TESTS = Path(__file__).parents[1] / "tests"


def main(*sides: int, alone: bool = False, slips: int = 0) -> None:
    """Print a row for each grid of side x side tiles; by default 32, 100 and 316. With `slips`, that many seeds of slips."""
    if slips:
        print_slips(slips)
        return
    if alone:
        print_row(sides[0])
        return
    print("| tiles | pairs | CPU s | memory, GB | median error, px | > 2 px, % |\n|---|---|---|---|---|---|", flush=True)
    for side in sides or (32, 100, 316):
        subprocess.run([sys.executable, __file__, str(side), "--alone"], check=True)


def print_row(side: int) -> None:
    """Solve one grid in this process and print its row."""
    sys.path.insert(0, str(TESTS))
    from support.pair_graphs import make_graph

    from dlir.core import affine
    from dlir.placement.measurements import measurements
    from dlir.placement.solver import initial_stage, solve
    from dlir.placement.tile_model import choose_model

    graph, rng = make_graph(side, side, noise=0.1, stage_error=4.0), np.random.default_rng(1)
    wrong = rng.random(len(graph.pairs)) < 0.1
    graph.pairs.loc[wrong, ["y0", "x0"]] += rng.uniform(-25, 25, (wrong.sum(), 2))
    start = time.process_time()
    known, model = choose_model(measurements(graph.tiles, graph.pairs), side**2)
    solution = solve(known, initial_stage(graph.tiles, known), model.deviations)
    took = time.process_time() - start
    error = graph.error(affine.translation(solution.places))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    errors = f"{np.median(error):.3f} | {100 * np.mean(error > 2):.2f}"
    print(f"| {side**2} | {len(graph.pairs)} | {took:.1f} | {memory:.2f} | {errors} |")


def print_slips(seeds: int) -> None:
    """Print a row for each kind of slip."""
    sys.path.insert(0, str(TESTS))
    from support.pair_graphs import Graph
    from support.slips import KINDS, slipped_graph, with_wrong_pairs

    from dlir.core import affine
    from dlir.placement.measurements import measurements
    from dlir.placement.solver import initial_stage, solve

    def error(graph: Graph) -> np.ndarray:
        known = measurements(graph.tiles, graph.pairs)
        return graph.error(affine.translation(solve(known, initial_stage(graph.tiles, known), np.empty(0)).places))

    print("| slip | any tile > 0.1 px | with wrong pairs: > 1 tile in 16 over 2 px |\n|---|---|---|", flush=True)
    for kind in KINDS:
        bad, spoiled = [], []
        for (rows, cols), stage_error, seed in product(GRIDS, STAGE_ERRORS, range(seeds)):
            make = partial(slipped_graph, kind, rows, cols, stage_error=stage_error, seed=seed)
            bad += [error(make(slip)).max() > 0.1 for slip in SLIPS]
            wrong = [error(with_wrong_pairs(make(slip), 0.1, seed)) for slip in SLIPS_BESIDE_WRONG_PAIRS]
            spoiled += [(errors > 2).sum() > len(errors) / 16 for errors in wrong]
        print(f"| {kind} | {sum(bad)} of {len(bad)} | {sum(spoiled)} of {len(spoiled)} |", flush=True)


if __name__ == "__main__":
    cyclopts.run(main)
