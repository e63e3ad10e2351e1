"""Each name that the workflow takes from Snakemake's inside still does what it did: a small workflow asks all of them."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from support import ROOT

pytestmark = pytest.mark.slow

SNAKEFILE = """
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import psutil

include: {internals!r}

found = {{"provider": storage_provider(), "prefix": storage_prefix(), "folder": str(folder_of_snakefile())}}
found |= {{"files": [file.name for file in config_files()]}}

def ask(wildcards):
    late = {{"copy": working_copy("a/b.tif"), "forced": is_forced("made"), "other": is_forced("all")}}
    late |= {{"main": is_main_process(), "touched": is_touched(), "triggers": missing_triggers()}}
    late |= {{"inputs": last_inputs("made.txt")}}
    run_incomplete_jobs_again()
    if Path("force").exists():
        force("made.txt")
    Path({found!r}).write_text(json.dumps({{**found, **late}}))
    return "input.txt"

rule all:
    input: "made.txt"

rule made:
    input: ask
    output: "made.txt", folder=replaced_at_once("folder")
    shell: "ls folder > {{output[0]}} || true; sleep $(cat sleep || echo 0); test ! -e fail; mkdir -p folder; touch folder/new"

rule many:
    output: "1.txt", "2.txt", "3.txt", "4.txt", "5.txt"
    shell: "touch {{output}}"

few_files_in_reasons()
explain_missing(lambda path: "" if path == "else.txt" else f"{{path}}: no such specimen")

onstart:
    without_pauses()
    stop_jobs_at_a_signal()
    Path({pace!r}).write_text(repr(workflow.scheduler.job_rate_limiter))
"""


@pytest.fixture
def run(tmp_path: Path):
    """Runs the small workflow with options; what it found, and what limits its scheduler."""

    def run(*options: str) -> tuple[dict[str, object], str]:
        paths = {"found": str(tmp_path / "found.json"), "pace": str(tmp_path / "pace.txt")}
        internals = str(ROOT / "workflow" / "rules" / "snakemake_internals.smk")
        (tmp_path / "Snakefile").write_text(SNAKEFILE.format(internals=internals, **paths))
        (tmp_path / "input.txt").touch()
        command = [sys.executable, "-m", "snakemake", "-s", tmp_path / "Snakefile", "-d", tmp_path, "--cores", "1", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(Path(paths["found"]).read_text()), Path(paths["pace"]).read_text()

    return run


def test_without_a_storage_paths_stay_and_no_rule_is_forced(run, tmp_path: Path) -> None:
    found, pace = run()
    nothing = {"provider": "", "prefix": "", "files": [], "forced": False, "other": False, "touched": False, "triggers": []}
    nothing |= {"inputs": []}
    assert found == {**nothing, "main": True, "copy": "a/b.tif", "folder": str(tmp_path)}
    assert pace == "None"


def test_a_forced_rule_is_found(run) -> None:
    found, _ = run("--forcerun", "made")
    assert found["forced"] is True and found["other"] is False
    found, _ = run("--forceall")
    assert found["forced"] is True


def test_what_an_output_was_made_from_is_known_in_the_next_run(run) -> None:
    run()
    found, _ = run()
    assert found["inputs"] == ["input.txt"]


def test_the_files_of_the_settings_are_found(run, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("a: 1")
    found, _ = run("--configfile", str(tmp_path / "mine.yaml"))
    assert found["files"] == ["mine.yaml"]


def test_a_pace_that_the_user_gives_stays(run) -> None:
    _, pace = run("--max-jobs-per-timespan", "5/1s")
    assert pace != "None"


def test_an_output_can_be_forced_while_the_jobs_are_found(run, tmp_path: Path) -> None:
    run()
    made = tmp_path / "made.txt"
    assert made.read_text() == ""  # there was no folder yet
    run()
    assert made.read_text() == ""
    (tmp_path / "force").touch()
    run()
    assert made.read_text() == "new\n"  # the folder of the first run was there when the job ran again


def test_a_folder_that_is_replaced_at_once_outlives_a_failed_job_that_runs_again(run, tmp_path: Path) -> None:
    run()
    (tmp_path / "fail").touch()
    with pytest.raises(AssertionError, match="command exited with non-zero"):
        run("--forcerun", "made")
    assert (tmp_path / "folder" / "new").exists() and not list((tmp_path / ".snakemake").glob("backups/*"))
    assert (tmp_path / "folder" / ".snakemake_timestamp").stat().st_mtime == 1
    (tmp_path / "fail").unlink()
    run()
    assert (tmp_path / "made.txt").read_text() == "new\n"


def test_a_reason_names_few_files_and_counts_the_others(run, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "snakemake", "-s", tmp_path / "Snakefile", "-d", tmp_path, "--cores", "1", "many"]
    run()
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert "reason: Missing output files: 1.txt, 2.txt and 3 more" in shown


def test_a_file_that_no_rule_makes_gets_the_sentence(run) -> None:
    with pytest.raises(AssertionError, match=r"brian\.txt: no such specimen"):
        run("brian.txt")
    with pytest.raises(AssertionError, match=r"No rule to produce else\.txt"):
        run("else.txt")


def test_triggers_that_are_left_out_are_named(run) -> None:
    found, _ = run("--rerun-triggers", "mtime", "code")
    assert found["triggers"] == ["input", "params"]


def test_touch_is_found(run) -> None:
    run()
    found, _ = run("--touch", "--forceall")
    assert found["touched"] is True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_jobs_at_once_and_unlocks(run, tmp_path: Path, number: signal.Signals) -> None:
    run()
    (tmp_path / "sleep").write_text("300")
    command = [sys.executable, "-m", "snakemake", "-s", tmp_path / "Snakefile", "-d", tmp_path, "--cores", "1", "-R", "made"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as snakemake:
        while not (jobs := [child for child in psutil.Process(snakemake.pid).children(True) if child.name() == "sleep"]):
            time.sleep(0.1)
        snakemake.send_signal(number)
        assert snakemake.wait(20) == 1
    assert not any(job.is_running() and job.status() != psutil.STATUS_ZOMBIE for job in jobs)
    (tmp_path / "sleep").unlink()
    run()
