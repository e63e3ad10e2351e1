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
STEPS = ["tiles", "survey", "illumination", "pairs", "register", "selfcheck", "place", "mosaic", "report"]
FIRST = "in/grid/0_0.tif"
# Put into the copy's command. The file `pause` names a step and what it is to stop before: `put` 1, 2, ... is the first,
# second, ... time that something takes its place, or `put` and the name of that; `open` 1, 2, ... that a tile is opened.
PAUSE = """
import dlir.core.atomic
import dlir.reading.image_files

_done = []


def _stops(kind, change):
    def changed(*given):
        import time

        paths = [each for each in given if isinstance(each, (str, Path))]

        pause = Path("pause").read_text().split() if Path("pause").exists() else []
        rule = {"judge": "report"}.get(sys.argv[1], sys.argv[1])  # the rule `report` runs the step `judge` first
        if pause[:2] == [rule, kind]:
            _done.append(paths)
            if pause[2] in (str(len(_done)), Path(paths[-1 if kind == 'put' else 0]).name):
                Path("paused.new").write_text(str(os.getpid()))
                os.rename("paused.new", "paused")
                while Path("pause").exists():
                    time.sleep(0.02)
        return change(*given)

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
    "report": {"embed": 0},
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
    return [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_size]


def test_kills_at_every_step(run: Run, undisturbed: Path, survived: Survived) -> None:
    """Each step is killed each time that it is about to put something in place; with Snakemake the first time."""
    losses, kills = {"snakemake": 0, "job": 0}, {"snakemake": 0, "job": 0}
    for step in STEPS:
        before = contents(run.results)
        for number in count(1):
            for victim in ["snakemake", "job"] if number == 1 else ["job"]:
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
    gone, steps = 0, STEPS if number == signal.SIGTERM else ["survey", "register", "mosaic", "report"]
    for step in steps:
        started = run.start(f"{step} put 1", "--until", step)
        before = contents(run.results)
        stopped(started, number)
        gone += lost(before, run)
    (run.folder / "pause").unlink()
    outcome, _ = recovered(run, undisturbed, contents(run.results))
    assert gone == 0
    survived(f"{number.name} to snakemake at {len(steps)} steps", outcome, gone)


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


@pytest.mark.parametrize("step", ["register", "mosaic"])
@pytest.mark.parametrize("times", ["new", "restored"])
def test_a_tile_is_modified_while_a_step_reads(run: Run, undisturbed: Path, survived: Survived, step: str, times: str) -> None:
    started = run.start(f"{step} open 1", "--until", step)
    before, path = contents(run.results), run.folder / "in" / "grid" / "1_0.tif"
    state = path.stat()
    content = rewritten(path)
    if times == "restored":
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
        assert (path.stat().st_size, path.stat().st_mtime_ns) == (state.st_size, state.st_mtime_ns)
    assert started.go_on() == 1
    assert f"Error in rule {step}" in started.said() and "Traceback" not in started.said()
    assert "in/grid/1_0.tif: was changed, or replaced by another file, since the step tiles read it" in started.said()
    path.write_bytes(content)
    survived(f"a tile is modified while {step} reads, date {times}", *recovered(run, undisturbed, before, "--until", step))


def test_tiles_change_places_and_an_older_one_comes(finished: Run, tmp_path: Path, survived: Survived) -> None:
    finished.config["layout"] = {"check": "warn"}  # swapped tiles do not fit together
    finished.finish()
    tiles = finished.folder / "in" / "grid"
    (tiles / "0_0.tif").rename(tiles / "moved")
    (tiles / "1_1.tif").rename(tiles / "0_0.tif")
    (tiles / "moved").rename(tiles / "1_1.tif")
    older = tmp_path / "older.tif"
    shutil.copy(tiles / "0_1.tif", older)
    rewritten(older)
    os.utime(older, (10**9, 10**9))
    shutil.copy2(older, tiles / "0_1.tif")
    before, expected = contents(finished.results), contents(finished.from_scratch(tmp_path / "scratch").results)
    assert sum(expected[name] != before[name] for name in expected) > 5
    outcome = same(finished, expected, {})
    survived("two tiles are swapped with their dates", *outcome)
    survived("a tile is replaced by an older file", *outcome)


@pytest.mark.parametrize("damage", [flip, cut])
def test_the_cache_is_damaged(finished: Run, undisturbed: Path, survived: Survived, damage: Callable[[Path], None]) -> None:
    time.sleep(2.1)  # what files hold is kept as soon as they are that old
    finished.finish()
    kept = files(finished.results / "cache")
    assert {path.name for path in kept} >= {"illumination", "affines", "mosaic", "shards", "tiles"}
    for path in kept:
        damage(path)
    options = ["--forcerun", "tiles"] if damage is flip else ["--forceall"]
    outcome = same(finished, contents(undisturbed / "results" / "grid"), {}, *options)
    logs = "".join(path.read_text() for path in files(finished.results / "logs"))
    for name in ["affines", "shards"]:
        assert f"{name} is damaged" in logs
    assert finished.planned() == {}
    kind = "a bit flipped" if damage is flip else "cut"
    survived(f"all {len(kept)} files of the cache are damaged: {kind}", *outcome)


@pytest.mark.parametrize("kind", ["a bit flipped", "cut", "one missing", "its sums"])
def test_the_mosaic_is_damaged(finished: Run, undisturbed: Path, survived: Survived, kind: str) -> None:
    parts = files(finished.results / "mosaic.ome.zarr")
    assert "zarr.json" in {path.name for path in parts} and len(parts) == 3
    if kind == "one missing":
        (finished.results / "mosaic.ome.zarr/0/c/0/0").unlink()
    else:
        for path in [finished.results / "mosaic.sha256"] if kind == "its sums" else parts:
            (cut if kind == "cut" else flip)(path)
    assert finished.planned().keys() >= {"mosaic"}
    survived(f"the mosaic is damaged: {kind}", *same(finished, contents(undisturbed / "results" / "grid"), {}))


def test_two_working_directories_share_their_results(
    run: Run, undisturbed: Path, blended: Run, tmp_path: Path, survived: Survived
) -> None:
    other = Run(run.repository, tmp_path / "other", **{"mosaic": blended.config["mosaic"]})
    for each in (run, other):
        each.folder.mkdir(exist_ok=True)
        (each.folder / "results").symlink_to(tmp_path / "shared", target_is_directory=True)
    (other.folder / "in").symlink_to(run.folder / "in", target_is_directory=True)
    (tmp_path / "shared").mkdir()
    recovered(run, undisturbed, {})
    same(other, contents(blended.results), {})
    survived("two working directories share results", *recovered(run, undisturbed, {}))


def test_results_move_to_another_working_directory(run: Run, undisturbed: Path, survived: Survived) -> None:
    shutil.copytree(undisturbed / "results", run.folder / "results")
    survived("results without .snakemake", *recovered(run, undisturbed, contents(run.results)))


@root_only
@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_the_old_mosaic_stands(finished: Run, blended: Run, survived: Survived, mount: Callable[..., None], fault: str) -> None:
    parked, results = finished.folder / "parked", finished.folder / "results"
    results.rename(parked)
    results.mkdir()
    mount("-t", "tmpfs", "-o", "size=4m", "tmpfs", str(results))
    shutil.copytree(parked, results, dirs_exist_ok=True)
    finished.config = blended.config
    before = contents(finished.results)
    if fault == "full":
        with (results / "filler").open("wb") as filler:
            filler.write(bytes(shutil.disk_usage(results).free - 5 * 4096))
    else:
        mount("-o", "remount,ro", str(results))
    result = finished()
    printed = result.stdout + result.stderr
    assert result.returncode == 1 and "Traceback" not in printed, printed
    words = ("Error in rule mosaic", "No space left on device") if fault == "full" else ("Write-protected output files",)
    assert all(word in printed for word in words), printed
    if fault == "full":
        before.pop("mosaic.sha256")  # without it, the next run makes the mosaic again
    assert contents(finished.results) == before
    (results / "filler").unlink() if fault == "full" else mount("-o", "remount,rw", str(results))
    survived(f"the old mosaic stands where the disk is {fault}", *same(finished, contents(blended.results), before))


def test_a_kill_between_the_mosaic_and_its_sums(finished: Run, blended: Run, survived: Survived) -> None:
    old, new = contents(finished.results), contents(blended.results)
    finished.config = blended.config
    for victim in ("job", "snakemake"):
        started = finished.start("mosaic put mosaic.sha256")
        started.kill(snakemake=victim == "snakemake", job=True)
        found = contents(finished.results)
        stores = [{name: each[name] for name in each if name.startswith("mosaic.ome.zarr")} for each in (found, old, new)]
        stores = [{name: store[name] for name in store if not name.endswith(".snakemake_timestamp")} for store in stores]
        assert stores[0] == stores[2]
    shutil.rmtree(finished.folder / ".snakemake" / "locks")
    (finished.folder / "pause").unlink()
    survived("SIGKILL between the mosaic and its sums", *same(finished, new, {}))


def test_touch_is_refused(finished: Run, undisturbed: Path, survived: Survived) -> None:
    rewritten(finished.folder / FIRST)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files(finished.results, finished.folder / "in")}
    for option in ("--touch", "-t"):
        result = finished(option)
        assert result.returncode == 1 and "error: --touch " in result.stderr and "Traceback" not in result.stderr
    after = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files(finished.results, finished.folder / "in")}
    assert after == before
    assert "tiles" in finished.planned()
    shutil.copy(undisturbed / FIRST, finished.folder / FIRST)
    survived("--touch", *recovered(finished, undisturbed, contents(finished.results)))


def test_the_code_is_upgraded_between_two_runs(finished: Run, undisturbed: Path, survived: Survived) -> None:
    edited = [finished.repository / "dlir" / name for name in ("fusion/blend.py", "registration/inference/consensus.py")]
    texts = [path.read_text() for path in edited]
    try:
        for path, text in zip(edited, texts, strict=True):
            path.write_text(f"{text}\nEDITED = True\n")
        planned = finished.planned()
        assert planned.keys() >= {"register", "place", "mosaic"} and not planned.keys() & {"tiles", "survey", "pairs"}
        expected, before = contents(undisturbed / "results" / "grid"), contents(finished.results)
        finished.finish()
        assert finished.planned() == {}
        after = contents(finished.results)
        assert [name for name in expected if after[name] != expected[name]] == ["provenance.json"]  # which has the code
    finally:
        for path, text in zip(edited, texts, strict=True):
            path.write_text(text)
    assert lost({**before, "provenance.json": after["provenance.json"]}, finished) == 0
    survived("an upgrade of the code, and back", *recovered(finished, undisturbed, after))


def test_another_umask(run: Run, undisturbed: Path, survived: Survived) -> None:
    before = os.umask(0o077)
    try:
        run.finish("--until", "register")
        assert (run.results / "affines.csv").stat().st_mode & 0o777 == 0o600
        os.umask(0o022)
        outcome = recovered(run, undisturbed, contents(run.results))
        assert (run.results / "placement.csv").stat().st_mode & 0o777 == 0o644
    finally:
        os.umask(before)
    survived("another umask", *outcome)


def test_all_settings_change_and_change_back(finished: Run, undisturbed: Path, tmp_path: Path, survived: Survived) -> None:
    before, config = contents(finished.results), finished.config
    (finished.folder / "in" / "places.csv").write_text("path,y,x\n0_0.tif,0,0\n0_1.tif,0,49\n1_0.tif,47,1\n1_1.tif,48,48\n")
    content = rewritten(finished.folder / FIRST)
    finished.config = OTHERWISE
    expected = contents(finished.from_scratch(tmp_path / "scratch").results)
    equal = {name for name in before if before[name] == expected.get(name)}
    stamps = {name for name in before if name.endswith(".snakemake_timestamp")}
    assert equal == {"exposure.csv", "lens.csv"} | stamps  # the overlaps are too small to tell gains or a distortion
    survived("all settings and a tile change", *same(finished, expected, {}))
    (finished.folder / FIRST).write_bytes(content)
    finished.config = config
    survived("all settings and a tile change back", *recovered(finished, undisturbed, {}))


def test_a_tile_from_the_future(run: Run, undisturbed: Path, survived: Survived) -> None:
    ahead = time.time() + 365 * 86400
    os.utime(run.folder / FIRST, (ahead, ahead))
    result = run()
    assert result.returncode == 0, result.stderr
    warning = result.stderr.index(f"warning: {FIRST}: dated in the future")
    assert warning < result.stderr.index(": finds and checks the tiles")
    again = run()
    assert again.returncode == 0 and "Nothing to be done" in again.stdout + again.stderr
    survived("a tile is dated in the future", *recovered(run, undisturbed, contents(run.results)))


def test_a_file_that_still_grows(run: Run, undisturbed: Path, tmp_path: Path, survived: Survived) -> None:
    content, path = (undisturbed / "in/grid/0_1.tif").read_bytes(), run.folder / "in/grid/0_2.tif"
    ended = threading.Event()

    def grow() -> None:
        for size in range(3000, len(content) - 1, 20):
            path.write_bytes(content[:size])
            if ended.wait(0.3):
                return

    writer = threading.Thread(target=grow)
    writer.start()
    while not path.exists():
        time.sleep(0.01)
    result = run()
    ended.set()
    writer.join()
    assert result.returncode == 0, result.stderr
    assert "in/grid/0_2.tif: still being written, so left out now" in result.stderr
    without = contents(undisturbed / "results" / "grid")
    found = contents(run.results)
    assert [name for name in without if found[name] != without[name]] == []
    path.write_bytes(content)
    expected = contents(run.from_scratch(tmp_path / "scratch").results)
    assert b"0_2.tif" in expected["tiles.csv"]
    survived("a file still grows", *same(run, expected, {}))
