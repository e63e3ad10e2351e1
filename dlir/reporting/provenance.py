"""What made a result, and what it took: enough to make it again, and to see what differs if it comes out otherwise.

Versions of all that dlir stands on, every setting, the content of tiles, code and the results on the way as SHA-256, the
tiles that light and model were learnt from, which may be others by now, and the time and memory of each stage, which
Snakemake measured.
"""

import csv
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dlir
from dlir import steps
from dlir.core import hashing, tables
from dlir.core.atomic import atomically
from dlir.illumination import fields

DEPENDENCIES = (
    "cyclopts", "imagecodecs", "jinja2", "matplotlib", "numpy", "ome-zarr-models", "pandas", "pandera", "pydantic", "pyyaml",
    "scikit-image", "scipy", "snakemake", "tifffile", "torch", "zarr",
)  # fmt: skip  # those that pyproject.toml names, in its order
MEASURED = {"seconds": "s", "cpu_seconds": "cpu_time", "peak_memory_mb": "max_rss"}  # as Snakemake names them


def provenance(tiles: Path, results: list[Path], benchmarks: list[Path], output: Path, *, settings: str) -> None:
    """Write the provenance of one dataset as JSON.

    Args:
        results: the files of which the hash is kept.
        settings: all settings of the run, as JSON.
        benchmarks: Snakemake's measurements, a table for each stage, which is named by its file.
    """
    table = tables.read(tiles, tables.TILES)
    content = {
        "versions": {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "dlir": dlir.__version__,
            **{name: version(name) for name in DEPENDENCIES},
        },
        "settings": json.loads(settings),
        "tiles": dict(zip(table["path"], table["sha256"], strict=True)),
        "code": {step: steps.code(step) for step in steps.STEPS},
        "results": {path.name: hashing.of_file(path) for path in results},
        "learnt_from": {path.name: _learnt_from(path) for path in results if path.suffix in (".tif", ".pt")},
        "stages": {path.stem: _measured(path) for path in benchmarks},
    }
    with atomically(output) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n")


def _learnt_from(path: Path) -> list[str]:
    if path.suffix == ".tif":
        return fields.learnt_from(path)
    from dlir.registration.model import (
        checkpoint,  # with torch, which takes as long to start as all else, and not every dataset has a model
    )

    return list(checkpoint.settings_of(path).get("tiles", []))


def _measured(path: Path) -> dict[str, Any]:
    """What a stage took; null where it was too short to be measured."""
    with path.open() as file:
        row = next(csv.DictReader(file, delimiter="\t"), {})
    return {name: _number(row.get(key, "")) for name, key in MEASURED.items()}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:  # NA or -
        return None
