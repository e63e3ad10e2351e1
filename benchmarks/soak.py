"""Very many small datasets in one command: what starting costs, how much memory snakemake takes, and what a dataset takes."""

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
SIDE, STEP = 96, 72  # px
LOOK = 0.2  # seconds between looks at the memory
TICKS = os.sysconf("SC_CLK_TCK")


class Cost(NamedTuple):
    """What a command took: seconds, those of the processor by itself and with all that it started, and MB at its peak."""

    wall: float
    own: float
    cpu: float
    memory: float


def main(*options: str, datasets: int = 200, tiles: int = 2, cores: int = 2, method: str = "phase") -> None:
    """Print what `datasets` of `tiles` x `tiles` tiles cost: a dry run, all of them, and a run with nothing left to do.

    What follows `--` goes to snakemake.
    """
    print("| | wall, s | CPU, s | of snakemake itself, s | its peak, MB | CPU a dataset, s | wall a dataset, s |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        write(place, datasets, tiles, method)
        for what in ("dry run", "run", "nothing to do"):
            cost = measured(place, cores, [*options, "-q", "all", *(["--dry-run"] if what == "dry run" else [])])
            each = f"{cost.cpu / datasets:.2f} | {cost.wall / datasets:.2f}"
            print(f"| {what} | {cost.wall:.1f} | {cost.cpu:.1f} | {cost.own:.1f} | {cost.memory:.0f} | {each} |", flush=True)


def write(place: Path, datasets: int, tiles: int, method: str) -> None:
    """The tiles of all datasets and the settings; each dataset is a specimen of its own."""
    rng = np.random.default_rng(1)
    side = SIDE + (tiles - 1) * STEP
    for number in range(datasets):
        specimen = ndimage.gaussian_filter(rng.normal(size=(side, side)), 1.5, mode="wrap")
        pixels = np.rint(2000 + 1500 * specimen).clip(0, 65535).astype(np.uint16)
        (place / f"in/{number:04d}").mkdir(parents=True)
        for row, col in np.ndindex(tiles, tiles):
            tile = pixels[row * STEP : row * STEP + SIDE, col * STEP : col * STEP + SIDE]
            tifffile.imwrite(place / f"in/{number:04d}/{row}_{col}.tif", tile)
    named = {f"d{number:04d}": {"images": f"in/{number:04d}/{{row}}_{{col}}.tif"} for number in range(datasets)}
    overlap = (SIDE - STEP) / SIDE
    config = {"datasets": named, "tiles": {"overlap": overlap}, "register": {"method": method}, "train": {"steps": 0}}
    (place / "mine.yaml").write_text(yaml.safe_dump(config))


def measured(place: Path, cores: int, options: list[str]) -> Cost:
    """Run snakemake to its end."""
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "-d", str(place), "--cores", str(cores)]
    command += ["--profile", str(ROOT / "workflow" / "profiles" / "local"), "--configfile", str(place / "mine.yaml"), *options]
    start, (own, memory) = time.monotonic(), (0.0, 0.0)
    with (place / "printed").open("w") as printed:
        run = subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT)
        while os.waitid(os.P_PID, run.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            own, memory = looked_at(run.pid) or (own, memory)
            time.sleep(LOOK)
    _, code, used = os.wait4(run.pid, 0)
    if code:
        raise SystemExit((place / "printed").read_text()[-3000:])
    return Cost(time.monotonic() - start, own, used.ru_utime + used.ru_stime, memory)


def looked_at(process: int) -> tuple[float, float] | None:
    """CPU seconds of a process without its children, and its peak memory, MB; None of one that has just ended."""
    folder = Path(f"/proc/{process}")
    times = (folder / "stat").read_text().rpartition(")")[2].split()
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    if "VmHWM" not in status:
        return None
    return (int(times[11]) + int(times[12])) / TICKS, int(status["VmHWM"].split()[0]) / 1e3


if __name__ == "__main__":
    cyclopts.run(main)
