"""The slurm profile on a real SLURM of one node, and the resources that the rules ask for."""

import csv
import math
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import ROOT, slurm
from support.workflow import GRID, PHASE, Workflow, write_tiles

from dlir import needs
from dlir.config import Settings

pytestmark = pytest.mark.slow
FAST = ["--seconds-between-status-checks", "2", "--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "5"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """That of a running SLURM."""
    if not find_spec("snakemake_executor_plugin_slurm"):
        pytest.skip("needs the plugin: pip install '.[slurm]'")
    if why := slurm.missing():
        pytest.skip(why)
    with slurm.cluster(tmp_path_factory.mktemp("slurm")) as found:
        yield found


def profile(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "workflow" / "profiles" / name / "config.yaml").read_text())
    return content


def test_two_datasets_on_a_cluster_with_a_job_that_is_killed(
    environment: dict[str, str],
    repository: Path,
    tmp_path: Path,
) -> None:
    write_tiles(tmp_path)
    second = {**GRID, "images": "in/second/{row}_{col}.tif"}
    (tmp_path / "in" / "grid").rename(tmp_path / "in" / "second")
    (tmp_path / "in" / "grid").symlink_to("second")
    workflow = Workflow(repository, tmp_path, {"datasets": {"grid": GRID, "second": second}, **PHASE})
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(workflow.config))
    command = [sys.executable, "-m", "snakemake", "-s", str(repository / "Snakefile"), "-d", str(tmp_path), *FAST]
    command += ["--profile", str(repository / "workflow" / "profiles" / "slurm"), "--configfile", str(tmp_path / "mine.yaml")]
    with (tmp_path / "printed").open("w") as printed:
        run = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=printed, stderr=subprocess.STDOUT)
        killed = cancel_first(environment, run)
        code = run.wait(timeout=900)
    words = (tmp_path / "printed").read_text()
    assert code == 0, words
    assert f"JOB {killed} ON" in words
    assert "Trying to restart" in words
    for name in ("grid", "second"):
        assert (tmp_path / "results" / name / "provenance.json").is_file()
        assert (tmp_path / "results" / name / "mosaic.ome.zarr" / "zarr.json").is_file()
    submitted = len(re.findall(r"submitted with SLURM jobid", words))
    assert (
        submitted == 2 * 6 + 2
    )  # prepare, register, selfcheck, solve, mosaic, page; the page of both; and the one that was killed
    assert workflow.planned() == {}


def test_processes_that_train_together_share_a_job(
    environment: dict[str, str],
    repository: Path,
    tmp_path: Path,
) -> None:
    write_tiles(tmp_path)
    train = {"processes": 2, "steps": 2, "batch": 2, "start": "random"}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"datasets": {"grid": GRID}, "train": train}))
    command = [sys.executable, "-m", "snakemake", "-s", str(repository / "Snakefile"), "-d", str(tmp_path), *FAST]
    command += ["--profile", str(repository / "workflow" / "profiles" / "slurm"), "--configfile", str(tmp_path / "mine.yaml")]
    run = subprocess.run([*command, "--until", "train"], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    jobs = subprocess.run(["scontrol", "--oneliner", "show", "job"], env=environment, capture_output=True, text=True)
    (job,) = [line for line in jobs.stdout.splitlines() if "rule_train" in line]
    told = dict(item.partition("=")[::2] for item in job.split() if "=" in item)
    assert (told["TresPerJob"], told["NumNodes"], told["NumTasks"]) == ("gres:gpu:2", "1", "1")
    assert (tmp_path / "results" / "grid" / "model.pt").is_file()


def cancel_first(environment: dict[str, str], run: subprocess.Popen[bytes]) -> str:
    """Cancel the first job that runs; its number."""
    while run.poll() is None:
        listed = subprocess.run(["squeue", "-h", "-t", "R", "-o", "%i"], env=environment, capture_output=True, text=True)
        if jobs := listed.stdout.split():
            subprocess.run(["scancel", "--signal=KILL", jobs[0]], env=environment, check=True)
            return str(jobs[0])
        time.sleep(0.2)
    raise AssertionError("no job ran")


@pytest.mark.parametrize("name", ["local", "slurm"])
def test_every_key_of_a_profile_has_its_comment(name: str) -> None:
    lines = (ROOT / "workflow" / "profiles" / name / "config.yaml").read_text().splitlines()
    assert [line for line in lines if "#" not in line] == []


def test_profiles_name_rules_that_exist() -> None:
    rules = set(
        re.findall(r"^ *rule (\w+):", "\n".join(p.read_text() for p in ROOT.glob("workflow/rules/*.smk")), re.MULTILINE)
    )
    for name in ("local", "slurm"):
        found = profile(name)
        assert set(found["set-threads"]) | set(found["set-resources"]) | set(found.get("groups", {})) <= rules
        assert set(found["set-threads"]) <= rules


def test_resources_grow_with_tiles_and_attempt(tmp_path: Path) -> None:
    """The functions of the rules, on tables of few and of many tiles."""
    space: dict[str, Any] = {
        "seen_by": lambda name: [name], "Path": tmp_path.joinpath, "working_copy": str, "csv": csv, "ceil": math.ceil,
        "cache": cache, "needs": needs, "SETTINGS": Settings(),
    }  # fmt: skip
    exec((ROOT / "workflow" / "rules" / "resources.smk").read_text(), space)
    for name, rows, side in (("few", 4, 512), ("many", 400, 512), ("large", 4, 2048)):
        table = tmp_path / "results" / name / "tiles.csv"
        table.parent.mkdir(parents=True)
        lines = "".join(f"{i},{i % 2},{side},{side},1,1,1\n" for i in range(rows))
        table.write_text("tile,col,height,width,channels,times,depth\n" + lines)
    memory, minutes = space["memory"]("register"), space["minutes"]("register")
    assert memory("few", 1) < memory("many", 1) and memory("few", 1) < memory("large", 1)
    assert memory("few", 3) == pytest.approx(3 * memory("few", 1), abs=3)
    assert minutes("few", 1) < minutes("many", 1) and minutes("many", 2) == pytest.approx(2 * minutes("many", 1), abs=2)
