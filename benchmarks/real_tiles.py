"""Real tiles: 63 of a brain section, most of them nearly empty, whose stage keeps to a lattice.

    python benchmarks/real_tiles.py --data ../shared/data

runs the stages on the set `brain` with the default settings, the generic weights left as they are, and compares with the
lattice that is fitted to the places, robustly: a place is a linear function of row and column, which the true ones keep to
about 1 px. A pair is compared with the lattice's step where it is surest.
"""

import tempfile
from pathlib import Path

import cyclopts
import grids
import numpy as np
import pandas as pd

from dlir.core import affine, tables

BRAIN = {"columns": 9, "rows": 7, "start": "top-right", "snake": True, "overlap": 0.1015625}


def main(*, data: Path) -> None:
    """Print the table.

    Args:
        data: folder of the real tiles.
    """
    images = str(data.resolve() / "brain" / "C3-BrainSection{index}.tif")
    with tempfile.TemporaryDirectory() as folder:
        listed, _, _, affines, placement, _ = grids.to_placement(*grids.configured(images=images, **BRAIN), Path(folder))
        found, placed = tables.read(affines, tables.AFFINES), tables.read(placement, tables.PLACEMENT)
        steps, apart = lattice(tables.read(listed, tables.TILES), placed)
    errors = pair_errors(found, steps)
    sure = (found["confidence"] >= 0.9).to_numpy() & found["accepted"].to_numpy(bool)
    rows = [
        ("pairs within 1 px of the lattice's step", f"{100 * np.mean(errors < 1):.0f} %", ">= 58 %"),
        ("of the pairs that are right with 0.9 or more, > 2 px off", f"{100 * np.mean(errors[sure] > 2):.1f} %", "<= 1 %"),
        ("pairs that are right with 0.9 or more", f"{sure.sum()} of {len(found)}", ""),
        ("tiles against the lattice: median, px", f"{np.median(apart):.2f}", "<= 1.0"),
        ("95 %, px", f"{np.quantile(apart, 0.95):.2f}", "<= 2.0"),
        ("largest, px", f"{apart.max():.2f}", "<= 2.5"),
    ]
    print("| what | dlir | bar |\n|---|---|---|")
    for row in rows:
        print("|", " | ".join(row), "|")


def lattice(tiles: pd.DataFrame, placed: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The steps (2, 2), px, from row to row and from column to column, and how far (n,), px, each tile lies from it."""
    places = placed[["y0", "x0"]].to_numpy()
    design, weight = np.c_[tiles["row"], tiles["col"], np.ones(len(tiles))], np.ones(len(tiles))
    for _ in range(50):
        root = np.sqrt(weight)[:, None]
        fit = np.linalg.lstsq(design * root, places * root, rcond=None)[0]
        apart = np.linalg.norm(design @ fit - places, axis=1)
        weight = 1 / np.maximum(apart, 0.05)
    return fit[:2], apart


def pair_errors(found: pd.DataFrame, steps: np.ndarray) -> np.ndarray:
    """How far (n,), px, the pairs' offsets lie from the lattice's."""
    centre = found[["centre_y", "centre_x"]].to_numpy()
    offset = affine.apply(affine.from_table(found), centre[:, None])[:, 0] - centre
    return np.asarray(
        np.linalg.norm(offset - np.where((found["side"] == "down").to_numpy()[:, None], steps[0], steps[1]), axis=1)
    )


if __name__ == "__main__":
    cyclopts.run(main)
