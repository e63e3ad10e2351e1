"""The step `provenance`: writes down what made a result, so that it can be repeated, or compared with another one.

provenance.json has the versions of all libraries, all settings, the SHA-256 of the tiles, of the code of each step and of the
intermediate results, the grey levels of the mosaic, how far the lens distorts, the tiles from which illumination and network
were learnt (they may have been replaced since), and the time and memory of each step as Snakemake measured them. That of a
specimen with rounds has the tiles of all rounds, what was found for all together, and the SHA-256 of this file of each round.
"""

import csv
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import dlir
from dlir import steps
from dlir.core import hashing, tables
from dlir.core.atomic import atomically
from dlir.core.lens import read as read_lenses
from dlir.illumination import fields
from dlir.registration.model.model_settings import settings_of

DEPENDENCIES = (
    "cyclopts", "imagecodecs", "jinja2", "matplotlib", "numpy", "ome-zarr-models", "pandas", "pillow", "pydantic",
    "pyyaml", "scikit-image", "scipy", "snakemake", "tifffile", "torch", "zarr",
)  # fmt: skip  # the dependencies in pyproject.toml, in the same order
MEASURED = {"seconds": "s", "cpu_seconds": "cpu_time", "peak_memory_mb": "max_rss"}  # our name: the column of Snakemake


def provenance(
    tiles: list[Path],
    results: list[Path],
    benchmarks: list[Path],
    output: Path,
    *,
    settings: str,
    configs: list[Path] | None = None,
    rounds: list[Path] | None = None,
) -> None:
    """Write the provenance of one dataset, or of a specimen with rounds, as JSON.

    Args:
        tiles: tiles.csv; of a specimen that of each round.
        results: the files whose hashes are written.
        benchmarks: Snakemake's measurements, one table for each step; the file is named after the step.
        settings: all settings of the run, as JSON.
        configs: the files of the user from which they come.
        rounds: the folders of the results of the rounds of a specimen, each with its own provenance.json.
    """
    table = pd.concat([tables.read(path, tables.TILES) for path in tiles])
    content = {
        "versions": {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "dlir": dlir.__version__,
            **{name: version(name) for name in DEPENDENCIES},
        },
        "settings": json.loads(settings),
        "configs": [str(path) for path in configs or []],
        "tiles": dict(zip(table["path"], table["sha256"], strict=True)),
        "rounds": {folder.name: hashing.of_file(folder / "provenance.json") for folder in rounds or []},
        "code": {step: steps.code(step) for step in steps.STEPS},
        "results": {path.name: hashing.of_file(path) for path in results},
        "learnt_from": {path.name: _learnt_from(path) for path in results if path.suffix in (".tif", ".pt")},
        "distortion": [camera for path in results if path.name == "lens.csv" for camera in _distortion(path)],
        "grey_levels": [level for path in results if path.name == "exposure.csv" for level in _grey_levels(path)],
        # the key keeps the word of earlier versions
        "stages": {path.stem: _measured(path) for path in benchmarks},
    }
    with atomically(output) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n")


def _grey_levels(exposure: Path) -> list[dict[str, float]]:
    """The scale, the pedestal and the number of clipped pixels of the mosaic in each channel (tables.EXPOSURE)."""
    by_channel = tables.read(exposure, tables.EXPOSURE).groupby("channel")
    levels = by_channel.agg({"scale": "first", "pedestal": "first", "clipped": "sum"})
    return [dict(zip(levels.columns, map(float, row), strict=True)) for row in levels.to_numpy(float)]


def _distortion(lens: Path) -> list[dict[str, Any]]:
    """How far each camera that distorts displaces the corners of its tiles (tables.LENS), px at most, and how that is known."""
    return [
        {"camera": camera, "corners": float(np.linalg.norm(each.at_corners(), axis=1).max()), "source": each.source}
        for camera, each in read_lenses(lens).items()
    ]


def _learnt_from(path: Path) -> list[str]:
    """The SHA-256 of the tiles from which illumination (.tif) or a network (.pt) was learnt."""
    if path.suffix == ".tif":
        return [tile for lesson in fields.lessons(path) for tile in lesson.tiles]
    return list(settings_of(path).get("tiles", []))


def _measured(path: Path) -> dict[str, Any]:
    """The time and the memory of a step; null where it was too short to be measured."""
    with path.open() as file:
        row = next(csv.DictReader(file, delimiter="\t"), {})
    return {name: _number(row.get(key, "")) for name, key in MEASURED.items()}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:  # Snakemake writes "NA" or "-"
        return None
