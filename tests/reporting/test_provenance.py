"""The provenance: versions of what is installed, hashes of what was read, and settings from which the run can be repeated."""

import hashlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pandas as pd
import pytest
import yaml
from support.distorted import barrel
from support.grids import Grid

from dlir import steps
from dlir.config import Settings
from dlir.core import lens, tables
from dlir.illumination import fields
from dlir.registration.model import checkpoint
from dlir.reporting.provenance import provenance

ROOT = Path(__file__).parents[2]
BENCHMARK = "s\th:m:s\tmax_rss\tcpu_time\n"


def test_provenance_names_versions_settings_hashes_and_cost(grid: Grid, tmp_path: Path) -> None:
    model, flat = tmp_path / "model.pt", tmp_path / "illumination.tif"
    checkpoint.save(checkpoint.ARCHITECTURES["dlir"](), {"tiles": ["a5", "0c"]}, model)
    fields.write([fields.identity((1, 8, 8))], flat, [fields.Lesson(("0c",))])
    levels = pd.DataFrame({"tile": [0, 1], "channel": 0, "gain": 1.0, "scale": 0.9, "pedestal": 500.0, "clipped": [2, 1]})
    tables.write(levels, tables.EXPOSURE, tmp_path / "exposure.csv")
    lens.write({1: barrel((160, 160), 2.5)}, tmp_path / "lens.csv")
    (tmp_path / "register.tsv").write_text(BENCHMARK + "12.5\t0:00:12\t480.25\t20.1\n")
    (tmp_path / "pairs.tsv").write_text(BENCHMARK + "0.1\t0:00:00\tNA\t-\n")
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    settings = Settings.checked({**config, "register": {**config["register"], "accept": 0.75}})
    benchmarks = [tmp_path / "register.tsv", tmp_path / "pairs.tsv"]
    output = tmp_path / "provenance.json"
    provenance(
        [grid.tiles],
        [model, flat, tmp_path / "exposure.csv", tmp_path / "lens.csv"],
        benchmarks,
        output,
        settings=settings.model_dump_json(by_alias=True),
        configs=[Path("mine.yaml"), Path("/more.yaml")],
    )
    found = json.loads(output.read_text())
    about = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [re.split(r"[^\w.-]", pin)[0] for pin in about["dependencies"]]
    freeze = subprocess.run([sys.executable, "-m", "pip", "list", "--format", "json"], capture_output=True, check=True).stdout
    installed = {entry["name"].lower().replace("_", "-"): entry["version"] for entry in json.loads(freeze)}
    assert {name: found["versions"].get(name) for name in names} == {name: installed[name] for name in names}
    assert found["versions"]["python"] == sys.version.split()[0]
    assert Settings.parse(json.dumps(found["settings"])) == settings
    assert found["configs"] == ["mine.yaml", "/more.yaml"]
    assert len(found["tiles"]) == 9
    assert found["results"]["model.pt"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert found["learnt_from"] == {"model.pt": ["a5", "0c"], "illumination.tif": ["0c"]}
    assert found["distortion"] == [{"camera": 1, "corners": pytest.approx(2.5), "source": "given"}]
    assert found["grey_levels"] == [{"scale": 0.9, "pedestal": 500.0, "clipped": 3.0}]
    assert found["code"] == {step: steps.code(step) for step in steps.STEPS}
    assert found["stages"]["register"] == {"seconds": 12.5, "cpu_seconds": 20.1, "peak_memory_mb": 480.25}
    assert found["stages"]["pairs"] == {"seconds": 0.1, "cpu_seconds": None, "peak_memory_mb": None}


def test_a_specimen_names_the_tiles_and_the_provenance_of_its_rounds(grid: Grid, tmp_path: Path) -> None:
    rounds = [tmp_path / "R1", tmp_path / "R2"]
    table = tables.read(grid.tiles, tables.TILES)
    for number, folder in enumerate(rounds):
        folder.mkdir()
        (folder / "provenance.json").write_text(folder.name)
        tables.write(table.assign(path=[f"R{number}/{path}" for path in table["path"]]), tables.TILES, folder / "tiles.csv")
    provenance([each / "tiles.csv" for each in rounds], [], [], tmp_path / "p.json", settings="{}", rounds=rounds)
    found = json.loads((tmp_path / "p.json").read_text())
    assert len(found["tiles"]) == 2 * len(table)
    assert found["rounds"] == {name: hashlib.sha256(name.encode()).hexdigest() for name in ("R1", "R2")}
