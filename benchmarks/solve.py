"""Time and memory of placing very many tiles: synthetic grids with noise, of whose pairs 10 % are wrong.

    python benchmarks/solve.py

prints for each number of tiles the errors, and the CPU seconds and the memory for choosing the tile model and solving, as the
step `place` does. Each grid is solved in a process of its own.
"""

import resource
import subprocess
import sys
import time
from pathlib import Path

import cyclopts
import numpy as np

TESTS = Path(__file__).parents[1] / "tests"


def main(*sides: int, alone: bool = False) -> None:
    """Print a row for each grid of side x side tiles; by default 32, 100 and 316."""
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
    from dlir.placement.solver import initial_stage, measurements, solve
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


if __name__ == "__main__":
    cyclopts.run(main)
