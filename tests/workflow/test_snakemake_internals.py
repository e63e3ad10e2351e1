"""Each name that the workflow takes from Snakemake's inside still does what it did: a small workflow asks all of them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support import ROOT

SNAKEFILE = """
import json
from pathlib import Path

include: {internals!r}

found = {{"provider": storage_provider(), "prefix": storage_prefix(), "folder": str(folder_of_snakefile())}}
found |= {{"files": [file.name for file in config_files()]}}

def ask(wildcards):
    late = {{"copy": working_copy("a/b.tif"), "forced": is_forced("made"), "other": is_forced("all")}}
    Path({found!r}).write_text(json.dumps({{**found, **late}}))
    return []

rule all:
    input: "made.txt"

rule made:
    input: ask
    output: "made.txt"
    shell: "echo 1 > {{output}}"

onstart:
    without_pauses()
    Path({pace!r}).write_text(repr(workflow.scheduler.job_rate_limiter))
"""


@pytest.fixture
def run(tmp_path: Path):
    """Runs the small workflow with options; what it found, and what limits its scheduler."""

    def run(*options: str) -> tuple[dict[str, object], str]:
        paths = {"found": str(tmp_path / "found.json"), "pace": str(tmp_path / "pace.txt")}
        internals = str(ROOT / "workflow" / "rules" / "snakemake_internals.smk")
        (tmp_path / "Snakefile").write_text(SNAKEFILE.format(internals=internals, **paths))
        command = [sys.executable, "-m", "snakemake", "-s", tmp_path / "Snakefile", "-d", tmp_path, "--cores", "1", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(Path(paths["found"]).read_text()), Path(paths["pace"]).read_text()

    return run


def test_without_a_storage_paths_stay_and_no_rule_is_forced(run, tmp_path: Path) -> None:
    found, pace = run()
    nothing = {"provider": "", "prefix": "", "files": [], "forced": False, "other": False}
    assert found == {**nothing, "copy": "a/b.tif", "folder": str(tmp_path)}
    assert pace == "None"


def test_a_forced_rule_is_found(run) -> None:
    found, _ = run("--forcerun", "made")
    assert found["forced"] is True and found["other"] is False


def test_the_files_of_the_settings_are_found(run, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("a: 1")
    found, _ = run("--configfile", str(tmp_path / "mine.yaml"))
    assert found["files"] == ["mine.yaml"]


def test_a_pace_that_the_user_gives_stays(run) -> None:
    _, pace = run("--max-jobs-per-timespan", "5/1s")
    assert pace != "None"
