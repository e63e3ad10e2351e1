"""What happens when something goes wrong in the middle: a clear message, nothing half done, and the next run ends the same.

One small dataset is stitched once without any fault; each test disturbs a run of the same, takes the cause away, runs again,
and compares every result byte by byte. The table at the end says which faults were tried and what each of them lost.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.workflow import GRID, PHASE, Workflow, contents, write_tiles

pytestmark = pytest.mark.slow
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="mounting file systems needs root")
STEPS = ["tiles", "survey", "illumination", "pairs", "register", "selfcheck", "place", "export", "exposure", "mosaic",
          "report", "provenance"]  # fmt: skip
# Put into the copy's command: the step that the file `pause` names stops where its result would take its place.
PAUSE = """
def _pause(path, target, replace=__import__("pathlib").Path.replace):
    import os, time
    from pathlib import Path
    named = Path("pause").read_text() if Path("pause").exists() else ""
    if named in sys.argv[1:2]:
        Path("paused.new").write_text(str(os.getpid()))
        replace(Path("paused.new"), "paused")
        while Path("pause").exists():
            time.sleep(0.05)
    return replace(path, target)
__import__("pathlib").Path.replace = _pause
"""
Survived = Callable[[str, str, int], None]  # takes a row of the table


@pytest.fixture(scope="module")
def code(repository: Path) -> Path:
    """The copy of the code, whose steps can be paused."""
    command = repository / "dlir" / "__main__.py"
    command.write_text(command.read_text().replace("\nif __name__", f"\n{PAUSE}\n\nif __name__"))
    return repository


@pytest.fixture(scope="module")
def undisturbed(code: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working directory of a run without any fault; not to be changed."""
    run = Run(code, tmp_path_factory.mktemp("undisturbed"))
    write_tiles(run.folder)
    run.finish()
    return run.folder


@pytest.fixture
def survived(record_property: Callable[[str, object], None]) -> Survived:
    """Takes a fault that was survived, whether the next run ends the same, and how many results were lost; shown at the end."""
    return lambda fault, same, lost: record_property("fault", f"{fault:<55} {same:<25} {lost}")


@pytest.fixture
def run(code: Path, undisturbed: Path, tmp_path: Path) -> "Run":
    """The same tiles in a directory of their own, nothing done yet."""
    shutil.copytree(undisturbed / "in", tmp_path / "work" / "in")
    return Run(code, tmp_path / "work")


@pytest.fixture
def mount() -> Iterator[Callable[..., None]]:
    """Mounts a file system; what is mounted goes after the test."""
    folders = []

    def do(*arguments: str) -> None:
        subprocess.run(["mount", *arguments], check=True)
        if "remount" not in arguments[1]:
            folders.append(arguments[-1])

    yield do
    for folder in folders:
        subprocess.run(["umount", folder], check=True)


class Run(Workflow):
    """Runs of one dataset, which can be paused in the middle of a step."""

    def __init__(self, repository: Path, folder: Path, **config: Any) -> None:
        super().__init__(repository, folder, {"datasets": {"grid": GRID}, **PHASE, **config})
        self.results = folder / "results" / "grid"

    def start(self, pause: str, *options: str) -> "Started":
        """Start snakemake, and come back when the step `pause` is about to put its result in place."""
        (self.folder / "pause").write_text(pause)
        (self.folder / "paused").unlink(missing_ok=True)
        (self.folder / "mine.yaml").write_text(yaml.safe_dump(self.config))
        started = Started(self, options)
        while not (self.folder / "paused").exists():
            assert started.process.poll() is None, started.said()
            time.sleep(0.05)
        started.job = int((self.folder / "paused").read_text())
        return started


class Started:
    """A snakemake that runs, and the step in it that is paused."""

    def __init__(self, run: Run, options: tuple[str, ...]) -> None:
        self.run, self.job, self.output = run, 0, run.folder / "printed"
        command = [sys.executable, "-m", "snakemake", "-s", str(run.repository / "Snakefile"), "-d", str(run.folder)]
        profile = str(run.repository / "workflow" / "profiles" / "local")
        command += ["--profile", profile, "--configfile", str(run.folder / "mine.yaml"), "--cores", "1", *options]
        with self.output.open("w") as output:
            self.process = subprocess.Popen(command, cwd=run.folder, stdout=output, stderr=subprocess.STDOUT)

    def said(self) -> str:
        return self.output.read_text()

    def go_on(self) -> int:
        """Let the step go on; the exit code of snakemake."""
        (self.run.folder / "pause").unlink()
        return self.process.wait(timeout=300)

    def kill(self, *, snakemake: bool = False, job: bool = False) -> None:
        if snakemake:
            self.process.kill()
            self.process.wait()
        if job:
            os.kill(self.job, signal.SIGKILL)
        if not snakemake:
            self.process.wait(timeout=60)


def recovered(run: Run, undisturbed: Path, before: dict[str, bytes], *options: str) -> tuple[str, int]:
    """Run again; that all results made are those of the undisturbed run, and how many from before the fault are lost."""
    lost = len(before.items() - contents(run.results).items())
    assert lost == 0
    result = run(*options)
    assert result.returncode == 0, result.stdout + result.stderr
    expected, found = contents(undisturbed / "results" / "grid"), contents(run.results)
    if not options:
        assert set(found) == set(expected)
        assert run.planned() == {}
    assert [name for name in found if found[name] != expected[name]] == []
    assert not list(run.results.glob("*.part"))
    return "yes", lost


def test_kills_at_every_step(run: Run, undisturbed: Path, survived: Survived) -> None:
    losses = {"snakemake": 0, "job": 0}
    for step in STEPS:
        for victim in ("snakemake", "job"):
            started = run.start(step, "--until", step)
            before = contents(run.results)
            started.kill(snakemake=victim == "snakemake", job=True)
            losses[victim] += len(before.items() - contents(run.results).items())
            if victim == "snakemake":
                if step == STEPS[0]:
                    locked = run()
                    assert locked.returncode == 1 and "unlock" in locked.stdout + locked.stderr
                assert run("--unlock").returncode == 0
            else:
                assert f"Error in rule {step}" in started.said()
    (run.folder / "pause").unlink()
    same, lost = recovered(run, undisturbed, contents(run.results))
    assert lost == 0 and losses == {"snakemake": 0, "job": 0}
    for victim, lost in losses.items():
        survived(f"SIGKILL of {victim}, at {len(STEPS)} steps", same, lost)


def test_a_job_that_outlives_its_snakemake(run: Run, undisturbed: Path, survived: Survived) -> None:
    started = run.start("pairs", "--until", "pairs")
    before = contents(run.results)
    started.kill(snakemake=True)
    assert run("--unlock").returncode == 0
    second = run("--until", "pairs")
    assert second.returncode == 1
    assert "pairs.csv" in second.stderr and "is being written by another process" in second.stderr
    os.kill(started.job, signal.SIGKILL)
    (run.folder / "pause").unlink()
    survived("SIGKILL of snakemake, its job lives on", *recovered(run, undisturbed, before, "--until", "pairs"))


@pytest.mark.parametrize("fault", ["deleted", "truncated"])
def test_a_tile_is_lost_in_the_middle(run: Run, undisturbed: Path, survived: Survived, fault: str) -> None:
    started = run.start("illumination", "--until", "register")
    path = run.folder / "in" / "grid" / "1_0.tif"
    content = path.read_bytes()
    path.unlink() if fault == "deleted" else path.write_bytes(content[:3000])
    assert started.go_on() == 1
    assert "in/grid/1_0.tif" in started.said()
    assert "Traceback" not in started.said()
    before = contents(run.results)
    path.write_bytes(content)
    survived(f"a tile is {fault} in the middle", *recovered(run, undisturbed, before, "--until", "register"))


@root_only
def test_two_runs_at_once_on_a_read_only_input_folder(
    run: Run, undisturbed: Path, survived: Survived, mount: Callable[..., None]
) -> None:
    tiles = str(run.folder / "in")
    mount("--bind", tiles, tiles)
    mount("-o", "remount,ro,bind", tiles)
    started = run.start("register", "--until", "register")
    before = contents(run.results)
    second = run("--until", "register")
    assert second.returncode == 1 and "unlock" in second.stdout + second.stderr
    assert started.go_on() == 0, started.said()
    outcome = recovered(run, undisturbed, before, "--until", "register")
    survived("two runs at once", *outcome)
    survived("a read-only input folder", *outcome)


@root_only
def test_the_disk_is_full(run: Run, undisturbed: Path, survived: Survived, mount: Callable[..., None]) -> None:
    shutil.copytree(undisturbed, run.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("mosaic*", "report*", "prov*"))
    parked, results = run.folder / "parked", run.folder / "results"
    results.rename(parked)
    results.mkdir()
    mount("-t", "tmpfs", "-o", "size=4m", "tmpfs", str(results))
    shutil.copytree(parked, results, dirs_exist_ok=True)
    used = shutil.disk_usage(results).used
    mount("-o", f"remount,size={used + 16384}", str(results))
    before = contents(run.results)
    full = run()
    assert full.returncode == 1
    assert "No space left on device" in full.stdout + full.stderr
    mount("-o", "remount,size=64m", str(results))
    survived("the disk is full", *recovered(run, undisturbed, before))


@root_only
@pytest.mark.parametrize("fault", ["read-only", "a file in the way"])
def test_the_output_folder_cannot_be_written(
    run: Run, undisturbed: Path, survived: Survived, mount: Callable[..., None], fault: str
) -> None:
    results = run.folder / "results"
    if fault == "read-only":
        results.mkdir()
        mount("-t", "tmpfs", "-o", "ro", "tmpfs", str(results))
    else:
        results.write_text("in the way")
    result = run("--until", "pairs")
    printed = result.stdout + result.stderr
    assert result.returncode == 1 and "Traceback" not in printed, printed
    assert ("Read-only file system: 'results/" if fault == "read-only" else "error: results is a file") in printed
    if fault == "read-only":
        mount("-o", "remount,rw", str(results))
    else:
        results.unlink()
    survived(f"the output folder cannot be written: {fault}", *recovered(run, undisturbed, {}, "--until", "pairs"))


def test_a_model_is_cut_short(code: Path, run: Run, survived: Survived) -> None:
    run = Run(code, run.folder, register={"method": "network"}, train={"steps": 0})
    assert run("--until", "register").returncode == 0
    expected = contents(run.results)
    model = run.results / "model.pt"
    model.write_bytes(model.read_bytes()[:5000])
    damaged = run("--until", "register")
    assert damaged.returncode == 1
    assert "results/grid/model.pt is not a model of dlir" in damaged.stderr
    assert "delete it and train again" in damaged.stderr
    assert "Traceback" not in damaged.stdout + damaged.stderr
    model.unlink()
    assert run("--until", "register").returncode == 0
    assert contents(run.results) == expected
    survived("a model file is cut short", "yes", 0)
