"""What happens when something goes wrong in the middle: a clear message, nothing half done, and the next run ends the same.

One small dataset is stitched once without any fault; each test disturbs a run of the same, takes the cause away, runs again,
and compares every result byte by byte. The table at the end says which faults were tried and what each of them lost.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tifffile
import yaml
from support import warm
from support.workflow import GRID, PHASE, Workflow, contents, write_tiles

pytestmark = pytest.mark.slow
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="mounting file systems needs root")
STEPS = ["tiles", "survey", "illumination", "pairs", "register", "selfcheck", "place", "export", "exposure", "mosaic",
          "report", "provenance"]  # fmt: skip
FIRST = "in/grid/0_0.tif"
# Put into the copy's command. The file `pause` names a step and what it is to stop before: `put` 1, 2, ... is the first,
# second, ... time that a result takes its place, `open` 1, 2, ... the same for opening a file of the user.
PAUSE = """
import dlir.core.atomic
import dlir.reading.image_files

_done = []


def _stops(kind, change):
    def changed(*paths):
        import time

        pause = Path("pause").read_text().split() if Path("pause").exists() else []
        if pause[:2] == [sys.argv[1], kind]:
            _done.append(paths)
            if len(_done) == int(pause[2]):
                Path("paused.new").write_text(str(os.getpid()))
                os.rename("paused.new", "paused")
                while Path("pause").exists():
                    time.sleep(0.02)
        return change(*paths)

    return changed


Path.replace = _stops("put", Path.replace)
dlir.core.atomic.exchange = _stops("put", dlir.core.atomic.exchange)
dlir.reading.image_files.opened = _stops("open", dlir.reading.image_files.opened)
"""
OTHERWISE = {  # another value of a setting of each section
    "datasets": {"grid": {"images": GRID["images"], "overlap": "auto", "positions": "in/places.csv"}},
    "layout": {"check": "warn"},
    "illumination": {"correct": False},
    "pairs": {"search": 0.4},
    "register": {"method": "phase", "accept": 0.9},
    "selfcheck": {"count": 3},
    "place": {"model": "translation"},
    "exposure": {"correct": True},
    "mosaic": {"blend": "max", "chunk": 32, "shard": 64},
    "report": {"overview": 50},
}
Survived = Callable[[str, str, int], None]  # takes a row of the table


@pytest.fixture(scope="module")
def plain(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The copy of the code, whose steps can be paused."""
    command = repository / "dlir" / "__main__.py"
    command.write_text(command.read_text().replace("\nif __name__", f"\n{PAUSE}\n\nif __name__"))
    return Path(shutil.copytree(repository, tmp_path_factory.mktemp("plain") / "dlir"))


@pytest.fixture(scope="module")
def code(plain: Path, request: pytest.FixtureRequest) -> Path:
    """The same, and its steps run in processes that have imported everything already."""
    quick: Path = request.getfixturevalue("quick")
    return quick


@pytest.fixture(scope="module")
def undisturbed(code: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working directory of a run without any fault; not to be changed."""
    run = Run(code, tmp_path_factory.mktemp("undisturbed"))
    write_tiles(run.folder)
    run.finish()
    return run.folder


@pytest.fixture(scope="module")
def blended(code: Path, undisturbed: Path, tmp_path_factory: pytest.TempPathFactory) -> "Run":
    """A run of the same tiles with another mosaic, from scratch."""
    run = Run(code, tmp_path_factory.mktemp("blended"), mosaic={"blend": "max"})
    shutil.copytree(undisturbed / "in", run.folder / "in")
    run.finish()
    return run


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
def finished(code: Path, undisturbed: Path, tmp_path: Path) -> "Run":
    """A copy of the finished run."""
    shutil.copytree(undisturbed, tmp_path / "finished")
    return Run(code, tmp_path / "finished")


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

    def begin(self, pause: str, *options: str) -> "Started":
        """Start snakemake, and come back when a step is paused (see PAUSE), or snakemake has ended."""
        (self.folder / "pause").write_text(pause)
        (self.folder / "paused").unlink(missing_ok=True)
        (self.folder / "mine.yaml").write_text(yaml.safe_dump(self.config))
        started = Started(self, options)
        while not (self.folder / "paused").exists() and started.process.poll() is None:
            time.sleep(0.02)
        if (self.folder / "paused").exists():
            started.job = int((self.folder / "paused").read_text())
        return started

    def start(self, pause: str, *options: str) -> "Started":
        """The same, where a step has to be paused."""
        started = self.begin(pause, *options)
        assert started.job, started.said()
        return started

    def from_scratch(self, folder: Path) -> "Run":
        """A run of the same tiles in a new folder."""
        shutil.copytree(self.folder / "in", folder / "in")
        run = Run(self.repository, folder, **self.config)
        run.finish()
        return run


class Started:
    """A snakemake that runs, and the step in it that is paused; `job` is 0 without one."""

    def __init__(self, run: Run, options: tuple[str, ...]) -> None:
        self.run, self.job, self.output = run, 0, run.folder / "printed"
        command = ["snakemake", "-s", str(run.repository / "Snakefile"), "-d", str(run.folder)]
        profile = str(run.repository / "workflow" / "profiles" / "local")
        command += ["--profile", profile, "--configfile", str(run.folder / "mine.yaml"), "--cores", "1", *options]
        self.process: subprocess.Popen[bytes] | warm.Process
        with self.output.open("w") as output:
            if warm.address_of(run.repository).exists():
                self.process = warm.Process(run.repository, command, run.folder, output, output)
            else:
                command = [sys.executable, "-m", *command]
                self.process = subprocess.Popen(command, cwd=run.folder, stdout=output, stderr=output)

    def said(self) -> str:
        return self.output.read_text()

    def go_on(self) -> int:
        """Let the step go on; the exit code of snakemake."""
        (self.run.folder / "pause").unlink()
        return self.process.wait(timeout=300)

    def kill(self, *, snakemake: bool = False, job: bool = False) -> None:
        if snakemake:
            self.process.kill()
            self.process.wait(timeout=60)
        if job:
            os.kill(self.job, signal.SIGKILL)
        if not snakemake:
            self.process.wait(timeout=60)


def lost(before: dict[str, bytes], run: Run) -> int:
    """How many results are not any more what they were."""
    return len(before.items() - contents(run.results).items())


def same(run: Run, expected: dict[str, bytes], before: dict[str, bytes], *options: str) -> tuple[str, int]:
    """Run again; that all results made are the expected ones, and how many of those before the fault are lost."""
    gone = lost(before, run)
    assert gone == 0
    result = run(*options)
    assert result.returncode == 0, result.stdout + result.stderr
    found = contents(run.results)
    if not options:
        assert set(found) == set(expected)
        assert run.planned() == {}
    assert [name for name in found if found[name] != expected[name]] == []
    assert not list(run.results.glob("*.part"))
    return "yes", gone


def recovered(run: Run, undisturbed: Path, before: dict[str, bytes], *options: str) -> tuple[str, int]:
    """Run again; that all results made are those of the undisturbed run, and how many from before the fault are lost."""
    return same(run, contents(undisturbed / "results" / "grid"), before, *options)


def rewritten(path: Path) -> bytes:
    """Put another picture into a tile of the same size; the bytes that it had."""
    content, pixels = path.read_bytes(), tifffile.imread(path)
    with path.open("r+b") as file:
        file.seek(content.index(pixels.tobytes()))
        file.write((pixels + np.random.default_rng(5).integers(0, 20, pixels.shape, np.uint16)).tobytes())
    return content


def flip(path: Path) -> None:
    """Turn over one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    """Leave the first half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def files(*folders: Path) -> Iterable[Path]:
    return [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]


def test_kills_at_every_step(run: Run, undisturbed: Path, survived: Survived) -> None:
    """Each step is killed each time that it is about to put something in place."""
    losses, kills = {"snakemake": 0, "job": 0}, {"snakemake": 0, "job": 0}
    for step in STEPS:
        before = contents(run.results)
        for number in count(1):
            for victim in losses:
                started = run.begin(f"{step} put {number}", "--until", step)
                if not started.job:
                    break
                started.kill(snakemake=victim == "snakemake", job=True)
                losses[victim] += lost(before, run)
                kills[victim] += 1
                if victim == "snakemake":
                    if (step, number) == (STEPS[0], 1):
                        locked = run()
                        assert locked.returncode == 1 and "unlock" in locked.stdout + locked.stderr
                        assert run("--unlock").returncode == 0
                    else:
                        shutil.rmtree(run.folder / ".snakemake" / "locks")
                else:
                    assert f"Error in rule {step}" in started.said()
            if not started.job:
                break
        assert started.process.wait() == 0, started.said()
        assert number > 1, f"nothing was killed in {step}"
    (run.folder / "pause").unlink()
    outcome, _ = recovered(run, undisturbed, contents(run.results))
    assert losses == {"snakemake": 0, "job": 0}
    for victim, gone in losses.items():
        survived(f"SIGKILL of {victim}, {kills[victim]} times in {len(STEPS)} steps", outcome, gone)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_in_every_step(run: Run, undisturbed: Path, survived: Survived, number: signal.Signals) -> None:
    gone = 0
    for step in STEPS:
        started = run.start(f"{step} put 1", "--until", step)
        before = contents(run.results)
        stopped(started, number)
        gone += lost(before, run)
    (run.folder / "pause").unlink()
    outcome, _ = recovered(run, undisturbed, contents(run.results))
    assert gone == 0
    survived(f"{number.name} to snakemake at {len(STEPS)} steps", outcome, gone)


def stopped(started: Started, number: signal.Signals) -> None:
    """Send a signal to snakemake alone; it ends soon, in words, with its jobs and without its locks."""
    family = [psutil.Process(started.job), *psutil.Process(started.process.pid).children(recursive=True)]
    os.kill(started.process.pid, number)
    assert started.process.wait(timeout=10) != 0
    assert "Traceback" not in started.said(), started.said()
    assert not list((started.run.folder / ".snakemake" / "locks").glob("*"))
    assert not psutil.wait_procs(family, timeout=1)[1]


def test_a_signal_to_processes_of_their_own(plain: Path, run: Run, undisturbed: Path, survived: Survived) -> None:
    """As at a terminal: Snakemake and its step were started by nobody else, and import all by themselves."""
    own = Run(plain, run.folder)
    for number in (signal.SIGTERM, signal.SIGINT):
        stopped(own.start("tiles put 1", "--until", "tiles"), number)
    (run.folder / "pause").unlink()
    survived("signals to snakemake, without the tests' server", *recovered(run, undisturbed, {}, "--until", "tiles"))


def test_a_job_that_outlives_its_snakemake(run: Run, undisturbed: Path, survived: Survived) -> None:
    started = run.start("pairs put 1", "--until", "pairs")
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
    started = run.start("illumination put 1", "--until", "register")
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
    started = run.start("register put 1", "--until", "register")
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
