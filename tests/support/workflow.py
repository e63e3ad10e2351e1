"""Runs the workflow on small datasets, from a copy of the repository."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import yaml

from support import warm

FLOW = {  # the rules, and those whose output each reads
    "demo": [],
    "tiles": ["demo"],
    "survey": ["tiles"],
    "illumination": ["survey"],
    "pairs": ["survey"],
    "train": ["survey", "illumination", "pairs"],
    "register": ["pairs", "train"],
    "selfcheck": ["survey", "illumination", "pairs", "train", "register"],
    "place": ["survey", "register"],
    "mosaic": ["place"],
    "accuracy": ["place"],
    "report": ["mosaic", "selfcheck", "accuracy"],
}
SMALL = {
    "demo": {"rows": 2, "columns": 3, "tile": 128, "stage_error": 3.0},
    "train": {"steps": 2, "batch": 2},
    "selfcheck": {"count": 2},
}
PHASE = {"register": {"method": "phase"}}
GRID, SINGLE = {"images": "in/grid/{row}_{col}.tif", "overlap": 0.25}, {"images": "in/single/{row}_{col}.tif"}
TWO = {"datasets": {"grid": GRID, "single": SINGLE}, **PHASE}


def jobs_from(*steps: str) -> dict[str, int]:
    """Returns one job for each of these steps and for each step that depends on them."""
    run = set(steps)
    for step, reads in FLOW.items():
        if run.intersection(reads):
            run.add(step)
    return dict.fromkeys(run, 1)


class Workflow:
    """A copy of the repository and a working directory, with the settings of the user in a file."""

    def __init__(self, repository: Path, folder: Path, config: dict[str, Any]) -> None:
        self.repository, self.folder, self.config = repository, folder, config
        self.log = ""  # standard error of the last `finish`

    def __call__(self, *options: str, cwd: Path | None = None, **changes: Any) -> subprocess.CompletedProcess[str]:
        """Runs snakemake with these options; `changes` are sections of the settings, whose keys are added to `config`."""
        config = dict(self.config)
        for section, keys in changes.items():
            config[section] = {**config.get(section, {}), **keys}
        mine = self.folder / "mine.yaml"
        mine.write_text(yaml.safe_dump(config))
        folder = os.path.relpath(self.folder, cwd) if cwd else str(self.folder)
        profile = str(self.repository / "workflow" / "profiles" / "local")
        command = ["snakemake", "-s", str(self.repository / "Snakefile"), "-d", folder]
        command += ["--profile", profile, "--configfile", str(mine), "--cores", "2", *options]
        if not warm.address_of(self.repository).exists():
            command = [sys.executable, "-m", *command]
            return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd or self.folder)
        with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
            status = warm.Process(self.repository, command, cwd or self.folder, stdout, stderr).wait()
            stdout.seek(0), stderr.seek(0)
            return subprocess.CompletedProcess(command, status, stdout.read(), stderr.read())

    def finish(self, *options: str) -> str:
        """Runs snakemake, which must succeed, and returns its standard output."""
        result = self(*options)
        assert result.returncode == 0, result.stdout + result.stderr
        self.log = result.stderr
        return result.stdout

    def planned(self, *options: str, cwd: Path | None = None, **changes: Any) -> dict[str, int]:
        """Returns how many jobs of each step a dry run plans."""
        result = self("--dry-run", *options, cwd=cwd, **changes)
        assert result.returncode == 0, result.stdout + result.stderr
        if "Nothing to be done" in result.stdout + result.stderr:
            return {}
        rows = re.findall(r"^(\w+) +(\d+)$", result.stdout, re.MULTILINE)
        return {step: int(count) for step, count in rows if step not in ("all", "total")}

    def copy(self, folder: Path) -> "Workflow":
        """Returns a copy in another working directory, in which all files keep their times."""
        shutil.copytree(self.folder, folder)
        return Workflow(self.repository, folder, self.config)


def contents(results: Path) -> dict[str, bytes]:
    """Returns the content of each result by its path below the folder of a dataset.

    Logs, benchmarks, caches, unfinished files, the times in provenance.json and in the report, and the names of the files of
    settings are left out.
    """
    found = {}
    for path in sorted(path for path in results.rglob("*") if path.is_file()):
        name = str(path.relative_to(results))
        content = path.read_bytes()
        if name == "provenance.json":
            content = json.dumps({**json.loads(content), "stages": None, "configs": None}).encode()
        if name == "report.html":
            before, facts, after = re.split(rb'(?<=id="facts">)(.*?)(?=</script>)', content, maxsplit=1, flags=re.DOTALL)
            known = json.loads(facts)
            plots = [plot for plot in known["plots"] if plot["name"] != "cost"]
            content = before + json.dumps({**known, "plots": plots}).encode() + after
        if not name.startswith(("logs", "benchmarks", "cache")) and ".part/" not in name:
            found[name] = content
    return found


def write_tiles(folder: Path) -> None:
    """Writes two datasets of smooth noise: in/grid, 2 x 2 tiles that overlap by a quarter, and in/single, one large tile."""
    specimen = np.random.default_rng(1).normal(size=(112, 112))
    for axis in (0, 1):
        specimen = specimen + np.roll(specimen, 1, axis) + np.roll(specimen, -1, axis)
    pixels = (2000 + 300 * specimen).clip(0, 65535).astype(np.uint16)
    for name in ["grid", "single"]:
        (folder / "in" / name).mkdir(parents=True)
    for row, col in np.ndindex(2, 2):
        tile = pixels[row * 48 : row * 48 + 64, col * 48 : col * 48 + 64]
        tifffile.imwrite(folder / "in" / "grid" / f"{row}_{col}.tif", tile)
    tifffile.imwrite(
        folder / "in" / "single" / "0_0.tif", np.tile(pixels, (7, 7))
    )  # over 1 MB: Snakemake hashes smaller files only
