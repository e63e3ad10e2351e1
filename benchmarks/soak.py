"""Very many small datasets in one command: time of each, overhead of starting programs, and memory of snakemake."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import cyclopts
import numpy as np
import tifffile
import yaml
from scipy import ndimage

ROOT = Path(__file__).parents[1]
SIDE, STEP = 96, 72  # px, side of a tile and distance from tile to tile
INTERVAL = 0.2  # s between two readings of the memory
TICKS = os.sysconf("SC_CLK_TCK")  # of the kernel's CPU times, 1 / s


class Cost(NamedTuple):
    """Time and memory of a command."""

    wall: float  # s
    own: float  # CPU s of the command alone
    cpu: float  # CPU s of the command and of all that it started
    memory: float  # MB, peak of the command alone


def main(*options: str, datasets: int = 200, tiles: int = 2, cores: int = 2, method: str = "phase") -> None:
    """Print the time and memory of a dry run, of a run, and of a run with nothing left to do.

    Args:
        options: of snakemake, after `--`.
        datasets: how many.
        tiles: rows and columns of each dataset.
        cores: for snakemake.
        method: of registration.
    """
    columns = [
        "wall, s",
        "CPU, s",
        "CPU of snakemake alone, s",
        "its peak memory, MB",
        "CPU per dataset, s",
        "wall per dataset, s",
    ]
    print("| |", " | ".join(columns), "|\n" + "|---" * (1 + len(columns)) + "|")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_datasets(folder, datasets, tiles, method)
        for what in ("dry run", "run", "nothing to do"):
            cost = measure(folder, cores, [*options, "-q", "all", *(["--dry-run"] if what == "dry run" else [])])
            each = f"{cost.cpu / datasets:.2f} | {cost.wall / datasets:.2f}"
            print(f"| {what} | {cost.wall:.1f} | {cost.cpu:.1f} | {cost.own:.1f} | {cost.memory:.0f} | {each} |", flush=True)


def write_datasets(folder: Path, datasets: int, tiles: int, method: str) -> None:
    """Write the tiles of all datasets, each of its own specimen, and the settings."""
    rng = np.random.default_rng(1)
    side = SIDE + (tiles - 1) * STEP
    for number in range(datasets):
        specimen = ndimage.gaussian_filter(rng.normal(size=(side, side)), 1.5, mode="wrap")
        pixels = np.rint(2000 + 1500 * specimen).clip(0, 65535).astype(np.uint16)
        (folder / f"in/{number:04d}").mkdir(parents=True)
        for row, col in np.ndindex(tiles, tiles):
            tile = pixels[row * STEP : row * STEP + SIDE, col * STEP : col * STEP + SIDE]
            tifffile.imwrite(folder / f"in/{number:04d}/{row}_{col}.tif", tile)
    named = {f"d{number:04d}": {"images": f"in/{number:04d}/{{row}}_{{col}}.tif"} for number in range(datasets)}
    overlap = (SIDE - STEP) / SIDE
    config = {"datasets": named, "tiles": {"overlap": overlap}, "register": {"method": method}, "train": {"steps": 0}}
    (folder / "mine.yaml").write_text(yaml.safe_dump(config))


def measure(folder: Path, cores: int, options: list[str]) -> Cost:
    """Run snakemake to its end; its time and memory."""
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "-d", str(folder), "--cores", str(cores)]
    command += ["--profile", str(ROOT / "workflow" / "profiles" / "local"), "--configfile", str(folder / "mine.yaml"), *options]
    start, (own, memory) = time.monotonic(), (0.0, 0.0)
    with (folder / "printed").open("w") as printed:
        run = subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT)
        while os.waitid(os.P_PID, run.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            own, memory = usage_of(run.pid) or (own, memory)
            time.sleep(INTERVAL)
    _, code, used = os.wait4(run.pid, 0)
    if code:
        raise SystemExit((folder / "printed").read_text()[-3000:])
    return Cost(time.monotonic() - start, own, used.ru_utime + used.ru_stime, memory)


def usage_of(process: int) -> tuple[float, float] | None:
    """CPU seconds of a process without its children, and its peak memory, MB; None when it has just ended."""
    proc = Path(f"/proc/{process}")
    times = (proc / "stat").read_text().rpartition(")")[2].split()
    status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
    if "VmHWM" not in status:
        return None
    return (int(times[11]) + int(times[12])) / TICKS, int(status["VmHWM"].split()[0]) / 1e3


if __name__ == "__main__":
    cyclopts.run(main)
