"""The mosaic: CPU seconds beside other stitchers, speed and memory for many tiles, and errors against the specimen.

    python benchmarks/mosaic.py speed --bench ../shared/bench --scratch /tmp/grids [--peers /tmp/peers]
    python benchmarks/mosaic.py large --scratch /tmp/grids
    python benchmarks/mosaic.py truth --bench ../shared/bench --scratch /tmp/grids

`speed` fuses 120 tiles of 512 px at their true places, which are not whole pixels, and writes the whole pyramid. With --peers
it installs multiview-stitcher and ashlar in that folder, each in an environment of its own, and they fuse the same tiles at the
same places. `large` fuses 1849 tiles to 20 000 x 20 000 px, and four times as many. The limit is printed beside it: the time to
read all tiles and to write an array of that size with the same chunks and codec. `truth` compares mosaics with the specimen of
the tiles. Each measurement runs in a process of its own.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import cyclopts
import grids
import numpy as np
import pandas as pd
import tifffile

from dlir.config import Settings
from dlir.core import affine, tables
from dlir.fusion.settings import Mosaic
from dlir.illumination.estimate import illumination
from dlir.reading import image_files
from dlir.reading.inventory import tiles
from dlir.reading.settings import Dataset

SIDE, STEP = 512, 460.8  # px, side of a tile and distance from tile to tile
FUSE = ("ashlar", "multiview-stitcher")  # the other stitchers that fuse; m2stitch only places
OPTIONS = {"interpolation": 1, "blend": "linear", "bands": 1, "chunk": 256, "shard": 2048}
app = cyclopts.App(help=__doc__, default_parameter=cyclopts.Parameter(consume_multiple=True))


@app.command
def speed(*, bench: Path, scratch: Path, peers: Path | None = None, threads: int = 2) -> None:
    """Print the CPU seconds of fusing 26 Mpx, without imports."""
    grid = grids.make(bench, scratch, "clean", "tissue", 1, rows=10, cols=12)
    folder = place_at_truth(grid)
    print("| stitcher | CPU s | wall s | memory, MB |\n" + "|---" * 4 + "|", flush=True)
    print_speed("dlir", measure("fuse", folder, threads))
    for name in FUSE if peers else ():
        assert peers
        python = grids.peer_python(peers, name)
        script = Path(__file__).with_name("peers") / f"fuse_{name.replace('-', '_')}.py"
        print_speed(name, last_json([str(python), str(script), str(folder)]))


@app.command
def large(*, scratch: Path, threads: int = 2) -> None:
    """Print the speed and the peak memory for 1849 and for 7396 tiles, and the limit."""
    print("| what | Mpx | CPU s | wall s | Mpx/s | memory, MB |\n" + "|---" * 6 + "|", flush=True)
    for side in (43, 86):
        folder = random_grid(scratch / f"large_{side}", side)
        for what, command in (("read the tiles, write an array", "limit"), ("dlir", "fuse")):
            found = measure(command, folder, threads)
            cells = (f"{found[k]:.{d}f}" for k, d in (("mpx", 0), ("cpu", 1), ("wall", 1), ("speed", 1), ("memory", 0)))
            print(f"| {what}, {side**2} tiles |", " | ".join(cells), "|", flush=True)


@app.command
def truth(*, bench: Path, scratch: Path, seeds: tuple[int, ...] = (1, 2, 3)) -> None:
    """Print the root mean square error against the specimen, in units of the noise of one tile."""
    print(
        "| set | seed | interpolation | error / noise, where one tile lies | in the overlaps |\n" + "|---" * 5 + "|", flush=True
    )
    for specimen in ("tissue", "cells"):
        for seed in seeds:
            grid = grids.make(bench, scratch, "clean", specimen, seed)
            for order in (1, 3):
                single, shared = errors(bench, grid, order)
                print(f"| clean {specimen} | {seed} | {order} | {single:.3f} | {shared:.3f} |", flush=True)


def errors(bench: Path, grid: Path, order: int) -> tuple[float, float]:
    """The root mean square error where one tile lies and where several do, in units of the noise of one tile there."""
    import zarr
    from scipy import ndimage

    sys.path.insert(0, str(bench.resolve()))
    make_tiles = import_module("make_tiles")
    folder = place_at_truth(grid)
    measure("fuse", folder, 2, order)
    fused = np.asarray(zarr.open_group(folder / "mosaic.ome.zarr", mode="r")["0"][...]).astype(np.float64)
    meta, true = json.loads((grid / "meta.json").read_text()), affine.from_table(pd.read_csv(grid / "truth.csv"))
    corner, size = true[:, :, 2].min(axis=0), meta["tile"]
    margin = meta["jitter"] + 8 + 0.02 * size
    step = size * (1 - meta["overlap"])
    need = tuple(int(np.ceil(step * (n - 1) + size + 2 * margin)) + 2 for n in (meta["rows"], meta["cols"]))
    spline = ndimage.spline_filter(
        make_tiles.specimen(meta["source"], need, 1000 + meta["seed"]).astype(float), 5, mode="mirror"
    )
    seen = ndimage.affine_transform(spline, np.eye(2), corner, fused.shape, order=5, prefilter=False, mode="mirror").clip(0)
    photons = seen * meta["peak"] + meta["background"]
    gain = min(60000 / (meta["peak"] * 1.25 + meta["background"]), 100.0)
    noise = gain * np.sqrt(photons + meta["read"] ** 2)
    over = np.zeros(fused.shape, int)
    for y, x in np.ceil(true[:, :, 2] - corner).astype(int):
        over[y + 1 : y + size - 2, x + 1 : x + size - 2] += 1
    error = (fused - (photons * gain + 500)) / noise
    return float(np.sqrt((error[over == 1] ** 2).mean())), float(np.sqrt((error[over > 1] ** 2).mean()))


def place_at_truth(grid: Path) -> Path:
    """A folder with the inputs of the step mosaic; its placement is the truth."""
    folder = grid / "fused"
    settings, dataset = grids.settings_of_grid(grid)
    table = write_tiles(dataset, settings, folder)
    true = pd.read_csv(grid / "truth.csv").assign(name=lambda rows: [Path(path).name for path in rows["path"]])
    affines = affine.from_table(true.set_index("name").loc[[Path(path).name for path in table["path"]]])
    affines[:, :, 2] -= affines[:, :, 2].min(axis=0)
    write_placement(table[["tile", "path"]], affines, folder)
    return folder


def write_tiles(dataset: Dataset, settings: Settings, folder: Path) -> pd.DataFrame:
    """The table of the tiles; it is written with an illumination that corrects nothing."""
    folder.mkdir(exist_ok=True)
    tiles(folder / "tiles.csv", settings=dataset)
    uncorrected = settings.illumination.model_copy(update={"correct": False})
    illumination(folder / "tiles.csv", folder / "illumination.tif", settings=uncorrected)
    return tables.read(folder / "tiles.csv", tables.TILES)


def write_placement(named: pd.DataFrame, affines: affine.Array, folder: Path) -> None:
    """Write a placement with these affines, and an exposure of 1 for every tile."""
    others = {"pairs": 1, "residual": 0.0, "deviation": 0.0, "loop": np.nan, "placed_by": "pairs"}
    others |= dict.fromkeys(("group", "slip_y", "slip_x"), 0)
    tables.write(named.assign(**affine.to_columns(affines), **others), tables.PLACEMENT, folder / "placement.csv")
    tables.write(
        named[["tile"]].assign(channel=0, gain=1.0, scale=1.0, pedestal=0.0, clipped=0),
        tables.EXPOSURE,
        folder / "exposure.csv",
    )


def random_grid(folder: Path, side: int) -> Path:
    """A folder with the inputs of the step mosaic: side x side tiles of noise, whose places are not whole pixels."""
    (folder / "tiles").mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(1)
    mean = 1000 + 400 * np.outer(np.sin(np.arange(2048) / 20), np.cos(np.arange(2048) / 31))
    source = random.poisson(mean).astype(np.uint16)
    places = np.array([[row * STEP, col * STEP] for row in range(side) for col in range(side)])
    places = places + random.uniform(0, 8, places.shape)
    for number in range(side**2):
        y, x = random.integers(0, 2048 - SIDE, 2)
        tifffile.imwrite(folder / "tiles" / f"{number // side:03d}_{number % side:03d}.tif", source[y : y + SIDE, x : x + SIDE])
    names = str(folder / "tiles" / "{row}_{col}.tif")
    settings, dataset = grids.settings_for(images=names, overlap=0.1)
    table = write_tiles(dataset, settings, folder)
    write_placement(table[["tile", "path"]], affine.translation(places - places.min(axis=0)), folder)
    return folder


def measure(command: str, *arguments: Any) -> dict[str, float]:
    """Run a command of this file in a process of its own; what it measures."""
    return last_json([sys.executable, __file__, command, *map(str, arguments)])


def last_json(command: list[str]) -> dict[str, float]:
    """The JSON in the last line that a command prints."""
    found: dict[str, float] = json.loads(grids.run(command).splitlines()[-1])
    return found


def print_speed(name: str, found: dict[str, float]) -> None:
    """Print a row of `speed`."""
    print(f"| {name} | {found['cpu']:.2f} | {found['wall']:.2f} | {found['memory']:.0f} |", flush=True)


def report(work: Callable[[], float]) -> None:
    """Do the work, which returns Mpx, and print its time and memory as JSON."""
    cpu, wall = time.process_time(), time.perf_counter()
    mpx = work()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(json.dumps({"cpu": cpu, "wall": wall, "memory": memory, "mpx": mpx, "speed": mpx / wall}))


@app.command(show=False)
def fuse(folder: Path, threads: int, interpolation: int = 1) -> None:
    """Run the step mosaic on a folder with its inputs."""
    import zarr

    from dlir.fusion.mosaic import mosaic

    def work() -> float:
        options = Mosaic(**{**OPTIONS, "interpolation": interpolation})
        output = folder / "mosaic.ome.zarr"
        files = (folder / name for name in ("tiles.csv", "illumination.tif", "exposure.csv", "placement.csv"))
        mosaic(*files, output, settings=options, threads=threads)
        return float(zarr.open_group(output, mode="r")["0"].size) / 1e6

    report(work)


@app.command(show=False)
def limit(folder: Path, threads: int) -> None:
    """Read all tiles, and write an array as large as the mosaic, block by block, without any pyramid."""
    from concurrent.futures import ThreadPoolExecutor

    from dlir.fusion.pyramid import Pyramid

    paths = list(tables.read(folder / "tiles.csv", tables.TILES)["path"])
    largest = affine.from_table(tables.read(folder / "placement.csv", tables.PLACEMENT))[:, :, 2].max(axis=0)
    height, width = (int(length) + SIDE for length in largest)
    pixels = np.random.default_rng(1).poisson(1000, (2048, 2048)).astype(np.uint16)

    def work() -> float:
        store = Pyramid(folder / "limit.zarr", (1, 1, 1, height, width), "uint16", Mosaic(**OPTIONS)).arrays[0]
        blocks = [(y, x) for y in range(0, height, 2048) for x in range(0, width, 2048)]

        def write(at: tuple[int, int]) -> None:
            part = tuple(slice(start, min(start + 2048, end)) for start, end in zip(at, (height, width), strict=True))
            store[part] = pixels[tuple(slice(s.stop - s.start) for s in part)]

        with ThreadPoolExecutor(threads) as pool:
            for _ in pool.map(image_files.read, paths):  # the pixels are not kept
                pass
            list(pool.map(write, blocks))
        return height * width / 1e6

    report(work)


if __name__ == "__main__":
    app()
