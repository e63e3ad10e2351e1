"""Real tiles: 63 of a brain section, most of them nearly empty, taken by a stage that is exact to about 1 px.

    python benchmarks/real_tiles.py --data ../shared/data [--peers /tmp/peers]

There is no truth for these tiles, but the true places form a lattice: each is a linear function of row and column, to about
1 px. dlir runs with the default settings and the generic weights. Then the places of every stitcher are measured alike, each
against its own best lattice, which is fitted robustly to the places that this stitcher found. This measure does not see when
a lattice is wrong as a whole, so the table also has how far its steps, from row to row and from column to column, are from
those of dlir.

The second table, of dlir alone, has the bars, and compares the offset of each pair with the step of dlir's lattice.
"""

import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import cyclopts
import grids
import numpy as np
import pandas as pd

from dlir import __version__
from dlir.core import affine, tables

BRAIN = {"columns": 9, "rows": 7, "start": "top-right", "snake": True}  # as in tests/datasets/brain.yaml
STAGE_ERROR = 5.0  # px along y or x; for the other stitchers
NEAREST = 0.05  # px; closer tiles do not weigh more in the fit of the lattice
ROUNDS = 50  # of the fit


class Lattice(NamedTuple):
    """A linear function of row and column, fitted to the places of tiles."""

    steps: np.ndarray  # (2, 2) px, (y, x) from row to row and from column to column
    residuals: np.ndarray  # (n,) px, from each tile to it

    def words(self) -> str:
        """Median / 95 % / largest of the residuals, px."""
        return " / ".join(f"{residual:.2f}" for residual in np.quantile(self.residuals, (0.5, 0.95, 1)))


def main(*, data: Path, peers: Path | None = None) -> None:
    """Print the tables.

    Args:
        data: folder of the real tiles.
        peers: folder for the environments of the other stitchers; without it dlir is measured alone.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        images = str(data.resolve() / "brain" / "C3-BrainSection{index}.tif")
        files = grids.run_to_placement(*grids.settings_for(images=images, **BRAIN), folder / "out")
        tiles, found = tables.read(files[0], tables.TILES), tables.read(files[3], tables.AFFINES)
        tiles[["path", "row", "col", "y", "x"]].to_csv(folder / "nominal.csv", index=False)
        ours = fit_lattice(tiles, tables.read(files[4], tables.PLACEMENT))
        print(f"dlir {__version__}, generic weights; {len(tiles)} tiles\n")
        print(
            "| stitcher | tiles against its own lattice: median / 95 % / largest, px | steps against dlir's: row, column, px |"
        )
        print("|---|---|---|")
        print_lattice("dlir", ours, ours)
        for method in grids.METHODS if peers else ():
            assert peers
            try:
                placed = pd.read_csv(grids.place_with_peer(method, peers, folder, STAGE_ERROR))
            except SystemExit as error:
                print(f"{method}: {error}", file=sys.stderr)
                print(f"| {method} | fails | |", flush=True)
                continue
            print_lattice(method, fit_lattice(tiles, placed), ours)
    print_bars(found, ours)


def fit_lattice(tiles: pd.DataFrame, placed: pd.DataFrame) -> Lattice:
    """The lattice closest to the places, by least absolute distances; the tiles of both tables are in the same order."""
    if list(tiles["path"]) != list(placed["path"]):
        raise SystemExit("a placement does not have the tiles of tiles.csv in the same order")
    places = placed[["y0", "x0"]].to_numpy()
    design, weight = np.c_[tiles["row"], tiles["col"], np.ones(len(tiles))], np.ones(len(tiles))
    for _ in range(ROUNDS):
        root = np.sqrt(weight)[:, None]
        fitted = np.linalg.lstsq(design * root, places * root, rcond=None)[0]
        residuals = np.linalg.norm(design @ fitted - places, axis=1)
        weight = 1 / np.maximum(residuals, NEAREST)
    return Lattice(fitted[:2], residuals)


def print_lattice(name: str, found: Lattice, ours: Lattice) -> None:
    """Print the row of one stitcher."""
    row, col = np.linalg.norm(found.steps - ours.steps, axis=1)
    print(f"| {name} | {found.words()} | {row:.2f}, {col:.2f} |", flush=True)


def print_bars(found: pd.DataFrame, ours: Lattice) -> None:
    """Print what is asked of dlir: the pairs against the steps of its lattice, and the tiles against the lattice."""
    errors = pair_errors(found, ours.steps)
    sure = (found["confidence"] >= 0.9).to_numpy() & found["accepted"].to_numpy(bool)
    rows = [
        ("pairs within 1 px of the lattice's step", f"{100 * np.mean(errors < 1):.0f} %", ">= 58 %"),
        ("pairs that are right with a probability of 0.9 or more", f"{sure.sum()} of {len(found)}", ""),
        ("of these, more than 2 px off", f"{100 * np.mean(errors[sure] > 2):.1f} %", "<= 1 %"),
        ("tiles against the lattice: median / 95 % / largest, px", ours.words(), "<= 1.0 / 2.0 / 2.5"),
    ]
    print("\n| what | dlir | bar |\n|---|---|---|")
    for row in rows:
        print("|", " | ".join(row), "|")


def pair_errors(found: pd.DataFrame, steps: np.ndarray) -> np.ndarray:
    """How far (n,), px, the offsets of the pairs are from the steps of the lattice, at the middle of the overlap."""
    centre = found[["centre_y", "centre_x"]].to_numpy()
    offset = affine.apply(affine.from_table(found), centre[:, None])[:, 0] - centre
    expected = np.where((found["side"] == "down").to_numpy()[:, None], steps[0], steps[1])
    return np.asarray(np.linalg.norm(offset - expected, axis=1))


if __name__ == "__main__":
    cyclopts.run(main)
