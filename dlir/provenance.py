"""What made a result, and what it took: enough to make it again, and to see what differs if it comes out otherwise.

Versions of all that dlir stands on, every setting, the content of tiles, code and the results on the way as SHA-256, the
tiles that light and model were learnt from, which may be others by now, and the time and memory of each stage, which
Snakemake measured.
"""

import csv
import json
import platform
import re
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dlir import digest, light, tables
from dlir.files import whole
from dlir.settings import Settings

MEASURED = {"seconds": "s", "cpu_seconds": "cpu_time", "peak_memory_mb": "max_rss"}  # as Snakemake names them


def provenance(
    tiles: Path, results: list[Path], benchmarks: list[Path], project: Path, output: Path, *, settings: Settings
) -> None:
    """Write the provenance of one dataset as JSON.

    Args:
        results: the files of which the hash is kept.
        benchmarks: Snakemake's measurements, a table for each stage, which is named by its file.
        project: pyproject.toml, which names the direct dependencies.
    """
    table = tables.read(tiles, tables.TILES)
    about = tomllib.loads(project.read_text())["project"]
    names = [re.split(r"[^\w.-]", pin)[0] for pin in about["dependencies"]]
    code = sorted(path for path in Path(__file__).parent.iterdir() if path.suffix in (".py", ".pt"))
    content = {
        "versions": {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "dlir": about["version"],
            **{name: version(name) for name in names},
        },
        "settings": settings.model_dump(mode="json", by_alias=True),
        "tiles": dict(zip(table["path"], table["sha256"], strict=True)),
        "code": {path.name: digest.of_file(path) for path in code},
        "results": {path.name: digest.of_file(path) for path in results},
        "learnt_from": {path.name: _learnt_from(path) for path in results if path.suffix in (".tif", ".pt")},
        "stages": {path.stem: _measured(path) for path in benchmarks},
    }
    with whole(output) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n")


def _learnt_from(path: Path) -> list[str]:
    if path.suffix == ".tif":
        return light.learnt_from(path)
    from dlir import network  # with torch, which takes as long to start as all else, and not every dataset has a model

    return list(network.settings_of(path).get("tiles", []))


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
