r"""Whole runs, from tiles to mosaic, side by side with other stitchers: CPU seconds, wall seconds, memory, and error.

    python benchmarks/whole.py --bench ../shared/bench --scratch /tmp/whole --peers /tmp/peers

Each set is stitched from nothing with the default settings, one program after the other, all imports and Snakemake included.
The small sets are those of `make_tiles.py` (clean tissue). The sets of many tiles are cut at whole px from one texture, which
repeats itself every 5003 px, so that they are made quickly. m2stitch only places the tiles; the other stitchers place in one
process and fuse in another. Run it on an idle machine, with nothing else beside it.
"""

import json
import os
import resource
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import cyclopts
import grids
import numpy as np
import pandas as pd
import tifffile
import yaml
from scipy import ndimage

PERIOD = 5003  # px, of the texture from which large sets are cut
OVERLAP, JITTER = 0.1, 5
PEERS = ("ashlar", "multiview-stitcher", "m2stitch")
app = cyclopts.App(help=__doc__, default_parameter=cyclopts.Parameter(consume_multiple=True))


class Set(NamedTuple):
    """A grid of tiles."""

    rows: int
    columns: int
    side: int  # px
    cut: bool = False  # whether the tiles are cut from one texture


SETS = {
    "30 tiles of 512 px": Set(5, 6, 512),
    "120 tiles of 512 px": Set(10, 12, 512),
    "16 tiles of 2048 px": Set(4, 4, 2048),
    "400 tiles of 2048 px": Set(20, 20, 2048, cut=True),
    "2000 tiles of 512 px": Set(40, 50, 512, cut=True),
}


@app.default
def whole(
    *,
    bench: Path,
    scratch: Path,
    peers: Path | None = None,
    sets: tuple[str, ...] = tuple(SETS),
    beside: tuple[str, ...] = PEERS,
    seed: int = 1,
) -> None:
    """Print what each program takes for each set, and the ratio to dlir.

    Args:
        bench: folder with make_tiles.py and score.py.
        scratch: folder that keeps the tiles from run to run.
        peers: folder for the environments of the other stitchers; without it, dlir runs alone.
        sets: the sets to stitch.
        beside: the other stitchers.
        seed: of the sets.
    """
    sys.path.insert(0, str(bench.resolve()))
    score = import_module("score").score
    print(
        "| set | program | CPU s | wall s | memory, MB | error: median / 95 %, px | CPU of dlir / its CPU |\n"
        + "|---" * 7
        + "|"
    )
    for name in sets:
        grid = made(bench, scratch, SETS[name], seed)
        used = {}
        for program in ("dlir", *(beside if peers else ())):
            output = grid / "whole" / f"{program}.csv"
            output.unlink(missing_ok=True)
            command = [sys.executable, __file__, "one", program, str(grid), str(output), *([str(peers)] if peers else [])]
            found = used[program] = json.loads(grids.run(command).splitlines()[-1])
            result = score(grid, output)
            cells = f"{found['cpu']:.1f} | {found['wall']:.1f} | {found['memory']:.0f}"
            error = f"{result.get('median', np.nan):.3f} / {result.get('p95', np.nan):.3f}"
            print(f"| {name} | {program} | {cells} | {error} | {used['dlir']['cpu'] / found['cpu']:.2f} |", flush=True)


def made(bench: Path, scratch: Path, size: Set, seed: int) -> Path:
    """The folder of a set, which is made when it does not exist yet."""
    grid = scratch / f"{size.rows}x{size.columns}_{size.side}_{seed}"
    if (grid / "truth.csv").exists():
        return grid
    if size.cut:
        cut(grid, size, seed)
    else:
        options = {"--seed": seed, "--rows": size.rows, "--cols": size.columns, "--tile": size.side}
        shape = [str(word) for pair in options.items() for word in pair]
        grids.run([sys.executable, str(bench / "make_tiles.py"), "clean", "tissue", str(grid), *shape])
    return grid


def cut(grid: Path, size: Set, seed: int) -> None:
    """Cut a set of tiles from a texture that repeats itself, with noise of their own; nominal.csv and truth.csv say where."""
    random = np.random.default_rng(seed)
    waves = [
        ndimage.gaussian_filter(random.normal(size=(PERIOD, PERIOD)).astype(np.float32), s, mode="wrap") for s in (2, 8, 30)
    ]
    texture = 2000 + 400 * np.sum([wave / wave.std() for wave in waves], axis=0)
    (grid / "tiles").mkdir(parents=True, exist_ok=True)
    step, rows = round(size.side * (1 - OVERLAP)), []
    for row, col in np.ndindex(size.rows, size.columns):
        nominal = np.array([row, col]) * step
        y, x = place = nominal + random.integers(-JITTER, JITTER + 1, 2)
        shown = texture[np.ix_(np.arange(y, y + size.side) % PERIOD, np.arange(x, x + size.side) % PERIOD)]
        noisy = shown + np.sqrt(shown.clip(1)) * random.standard_normal(shown.shape, np.float32)
        path = f"tiles/img_Y{row:03d}_X{col:03d}_040.tif"
        tifffile.imwrite(grid / path, np.rint(noisy.clip(0, 65535)).astype(np.uint16))
        seen = {"right": int(col + 1 < size.columns), "down": int(row + 1 < size.rows)}
        true = {"yy": 1, "yx": 0, "y0": place[0], "xy": 0, "xx": 1, "x0": place[1]}
        rows.append({"path": path, "row": row, "col": col, "y": nominal[0], "x": nominal[1], **seen, **true})
    table = pd.DataFrame(rows)
    table[["path", "row", "col", "y", "x"]].to_csv(grid / "nominal.csv", index=False)
    meta = {"tile": size.side, "rows": size.rows, "cols": size.columns, "overlap": OVERLAP, "jitter": JITTER}
    meta |= {"cam_rotation": 0, "cam_scale": 1, "tile_rotation": 0, "tile_scale": 0}
    (grid / "meta.json").write_text(json.dumps(meta))
    table.drop(columns=["y", "x"]).to_csv(grid / "truth.csv", index=False)


@app.command(show=False)
def one(program: str, grid: Path, output: Path, peers: Path | None = None) -> None:
    """Stitch a set with one program, write the placement to `output`, and print what it took as JSON."""
    output.parent.mkdir(exist_ok=True)
    start = time.perf_counter()
    if program == "dlir":
        stitch_with_dlir(grid, output)
    else:
        assert peers
        python = str(grids.peer_python(peers, program))
        folder = Path(__file__).with_name("peers")
        start, script = time.perf_counter(), program.replace("-", "_")
        grids.run([python, str(folder / f"place_{script}.py"), str(grid), str(output), "{}"])
        if (fuse := folder / f"fuse_{script}.py").exists():
            fused = output.with_suffix("")
            fused.mkdir(exist_ok=True)
            placed = pd.read_csv(output)
            placed.assign(path=[str(grid / path) for path in placed["path"]]).to_csv(fused / "placement.csv", index=False)
            grids.run([python, str(fuse), str(fused)])
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = {"cpu": used.ru_utime + used.ru_stime, "wall": time.perf_counter() - start, "memory": used.ru_maxrss / 1e3}
    print(json.dumps(found))


def stitch_with_dlir(grid: Path, output: Path) -> None:
    """Run the workflow from nothing with the default settings and the names of the tiles."""
    folder = output.with_suffix("")
    subprocess.run(["rm", "-rf", str(folder)], check=True)
    folder.mkdir()
    settings = {"datasets": {"grid": {"images": str(grid.resolve() / "tiles" / "img_Y{row}_X{col}_040.tif")}}}
    (folder / "mine.yaml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(grids.ROOT / "Snakefile"), "--directory", str(folder)]
    command += ["--profile", str(grids.ROOT / "workflow" / "profiles" / "local"), "--cores", str(os.cpu_count())]
    grids.run([*command, "--configfile", str(folder / "mine.yaml")])
    (folder / "results" / "grid" / "placement.csv").replace(output)


if __name__ == "__main__":
    app()
