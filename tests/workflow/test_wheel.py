"""The wheel brings the workflow along: it runs in any folder, and other workflows use it as a module."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from support import ROOT
from support.workflow import contents, write_tiles

pytestmark = pytest.mark.slow
PATTERN = "in/grid/{row}_{col}.tif"
FAST = {"register": {"method": "phase"}, "selfcheck": {"count": 2}}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the built package, as pip would install it."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("dlir", "workflow", "envs"):
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "config.yaml", "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, folder / "source")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        folder,
        folder / "source",
    ]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder / "site")
    return folder / "site"


def run(site: Path, folder: Path, *command: object) -> subprocess.CompletedProcess[str]:
    """Run a command of Python's modules with the built package, and no checkout, in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(site)}
    words = [sys.executable, "-m", *map(str, command)]
    return subprocess.run(words, capture_output=True, text=True, cwd=folder, env=environment, check=False)


@pytest.fixture(scope="module")
def stitched(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder in which `dlir stitch` ran on a grid of tiles, without any file written by hand."""
    folder = tmp_path_factory.mktemp("stitched")
    write_tiles(folder)
    options = ["--overlap", "0.25", "--name", "grid", "--cores", "2"]
    settings = ["--set", "register.method=phase", "--set", "selfcheck.count=2"]
    done = run(site, folder, "dlir", "stitch", PATTERN, *options, *settings)
    assert done.returncode == 0, done.stdout + done.stderr
    assert str(site / "dlir" / "_workflow") in done.stderr
    return folder


def test_stitch_needs_no_file_written_by_hand(stitched: Path) -> None:
    made = {path.name for path in (stitched / "results" / "grid").iterdir()}
    assert {"mosaic.ome.zarr", "report.html", "placement.csv", "positions.csv", "config.yaml"} <= made


def test_stitch_again_has_nothing_to_do(site: Path, stitched: Path) -> None:
    options = ["--overlap", "0.25", "--name", "grid", "--set", "register.method=phase", "--set", "selfcheck.count=2"]
    done = run(site, stitched, "dlir", "stitch", PATTERN, *options, "--dry-run")
    assert "Nothing to be done" in done.stdout + done.stderr


def test_the_snakefile_of_the_wheel_gives_the_same(site: Path, stitched: Path, tmp_path: Path) -> None:
    write_tiles(tmp_path)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"datasets": {"grid": {"images": PATTERN, "overlap": 0.25}}, **FAST}))
    snakefile = run(site, tmp_path, "dlir", "snakefile").stdout.strip()
    assert Path(snakefile).is_relative_to(site)
    done = run(site, tmp_path, "snakemake", "-s", snakefile, "--cores", "2", "--configfile", "mine.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = (contents(folder / "results" / "grid") for folder in (stitched, tmp_path))
    first.pop("config.yaml")
    assert [name for name in {*first, *second} if first.get(name) != second.get(name)] == []


def test_another_workflow_uses_it_as_a_module(site: Path, stitched: Path, tmp_path: Path) -> None:
    write_tiles(tmp_path)
    snakefile = run(site, tmp_path, "dlir", "snakefile").stdout.strip()
    config = {"datasets": {"grid": {"images": PATTERN, "overlap": 0.25}}, **FAST}
    (tmp_path / "Snakefile").write_text(
        f"""
rule count:
    input:
        "results/grid/placement.csv",
    output:
        "count.txt",
    shell:
        "wc -l < {{input}} > {{output}}"


module dlir:
    snakefile:
        {snakefile!r}
    config:
        {config!r}


use rule * from dlir as dlir_*
"""
    )
    done = run(site, tmp_path, "snakemake", "--cores", "2", "count")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "count.txt").read_text().strip() == "5"
    expected = (stitched / "results" / "grid" / "placement.csv").read_bytes()
    assert (tmp_path / "results" / "grid" / "placement.csv").read_bytes() == expected
    assert "Nothing to be done" in run(site, tmp_path, "snakemake", "--cores", "2", "-n", "count").stdout
