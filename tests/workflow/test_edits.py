"""Sixty random edits of a small dataset, of its tiles, tables and settings: what comes out is that of a run from scratch.

The edits come from a seed, and a few follow each other before the next run. Now and then the same inputs are stitched in a
folder where nothing was done before, and every result is compared byte by byte.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from support.specimens import Specimen
from support.workflow import Workflow, contents

pytestmark = pytest.mark.slow
ROWS, COLUMNS, SIDE, STEP = 2, 3, 64, 48
EDITS, AT_ONCE, SCRATCH = 60, 5, 3  # edits in all, before a run, and runs before one from scratch
SETTINGS: dict[str, list[Any]] = {
    "tiles.overlap": [0.25, 0.26],
    "pairs.search": [0.5, 0.4],
    "register.accept": [0.5, 0.9],
    "selfcheck.count": [1, 2],
    "place.model": ["auto", "translation"],
    "place.stage_weight": [1.0, 2.0],
    "exposure.correct": [False, True],
    "exposure.pedestal": [True, False],
    "mosaic.blend": ["linear", "none"],
    "mosaic.interpolation": [1, 0],
    "mosaic.bands": [1, 2],
    "report.embed": [9.0, 0.0],
}
TABLES = ("positions", "overrides", "flat")


class Edits:
    """A dataset in a working directory, and edits of it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.random = folder, np.random.default_rng(seed)
        self.specimen = Specimen(1, waves=100, shortest=5.0)
        self.settings = {key: values[0] for key, values in SETTINGS.items()}
        self.given = dict.fromkeys(TABLES, "")
        (folder / "in").mkdir(parents=True)
        for row, col in np.ndindex(ROWS, COLUMNS):
            self.write(row, col, 0)

    def path(self, row: int, col: int) -> Path:
        return self.folder / "in" / f"{row}_{col}.tif"

    def write(self, row: int, col: int, noise: int) -> None:
        """Writes a tile; another `noise` is another picture of the same place."""
        place = np.array([row, col]) * STEP + np.random.default_rng([row, col]).uniform(-2, 2, 2)
        shown = 1000 + 30 * self.specimen.tile(np.c_[np.eye(2), place], SIDE, SIDE)
        shown += 10 * np.random.default_rng([row, col, noise]).standard_normal(shown.shape)
        tifffile.imwrite(self.path(row, col), np.rint(shown).astype(np.uint16))

    def edit(self) -> str:
        """Makes an edit, and returns what it was."""
        kinds = ["setting", "setting", "rewrite", "swap", "older", "touch", "more", "less", "table"]
        kind, row, col, noise = str(self.random.choice(kinds)), *(int(self.random.integers(n)) for n in (ROWS, COLUMNS, 3))
        path, other = self.path(row, col), self.path(noise % ROWS, noise)
        if kind == "setting":
            key = str(self.random.choice(list(SETTINGS)))
            self.settings[key] = SETTINGS[key][noise % 2]
            return f"{key} = {self.settings[key]}"
        if kind == "table":
            return self.edit_table(row, noise)
        if kind == "rewrite":
            self.write(row, col, noise)
        elif kind == "swap":  # as mv does, which keeps the times
            for start, end in ((path, self.folder / "parked"), (other, path), (self.folder / "parked", other)):
                if start.exists():
                    start.replace(end)
        elif kind == "older":  # as cp -p and unzip do
            self.write(row, col, noise)
            os.utime(path, (1e9, 1e9))
        elif kind == "touch":
            path.touch()
        elif kind == "more":
            self.write(row, COLUMNS, 0)
        else:
            self.path(row, COLUMNS).unlink(missing_ok=True)
        return f"{kind} {path.name}"

    def edit_table(self, row: int, noise: int) -> str:
        """Adds, changes or removes a table or a field of the user."""
        kind = str(self.random.choice(TABLES))
        if self.given[kind] and noise:
            self.given[kind] = ""
            return f"no {kind}"
        self.given[kind] = "flat.tif" if kind == "flat" else f"{kind}.csv"
        if kind == "positions":
            rows = [f"{r}_{c}.tif,{r * STEP},{c * STEP + noise % 2}" for r in range(ROWS) for c in range(COLUMNS)]
            (self.folder / "positions.csv").write_text("\n".join(["path,y,x", *rows]))
        elif kind == "overrides":
            (self.folder / "overrides.csv").write_text(f"fixed,moving,y,x\n{row}_0.tif,{row}_1.tif,{noise},{STEP}\n")
        else:
            field = 1 + 0.1 * np.random.default_rng(noise).random((SIDE, SIDE))
            tifffile.imwrite(self.folder / "flat.tif", field.astype(np.float32))
        return f"{kind} {row} {noise}"

    def config(self) -> dict[str, Any]:
        """The settings as they are now."""
        tree: dict[str, Any] = {"train": {"steps": 0}, "mosaic": {"chunk": 32, "shard": 64}, "layout": {"check": "warn"}}
        for key, value in self.settings.items():
            section, name = key.split(".")
            tree.setdefault(section, {})[name] = value
        dataset = {"images": "in/{row}_{col}.tif", **{name: file for name, file in self.given.items() if file}}
        return {**tree, "datasets": {"grid": dataset}, "illumination": {"correct": bool(self.given["flat"])}}


def test_sixty_random_edits_end_as_from_scratch(quick: Path, tmp_path: Path) -> None:
    edits = Edits(tmp_path / "edited", seed=25)
    done, compared = [], 0
    for number in range(EDITS // AT_ONCE):
        done += [edits.edit() for _ in range(AT_ONCE)]
        Workflow(quick, edits.folder, edits.config()).finish()
        if number % SCRATCH == SCRATCH - 1:
            scratch = tmp_path / f"scratch{number}"
            shutil.copytree(edits.folder, scratch, ignore=shutil.ignore_patterns("results", ".snakemake"))
            Workflow(quick, scratch, edits.config()).finish()
            found, expected = (contents(folder / "results" / "grid") for folder in (edits.folder, scratch))
            assert set(found) == set(expected), done
            assert [name for name in found if found[name] != expected[name]] == [], done
            compared += 1
    assert len(done) == EDITS and compared == EDITS // AT_ONCE // SCRATCH
