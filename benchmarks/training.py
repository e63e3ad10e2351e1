r"""Whether training on the tiles does harm: twenty hard sets of specimens that the generic weights have never seen.

    python benchmarks/training.py --scratch /tmp/hard [--when auto always] [--seeds 1 2 3 4 5]

Four specimens (fibres, crystals, fine dots, phase contrast), each with few photons, debris, low contrast, a turned camera, and
a stage that errs by much: grids of 3 x 4 tiles of 256 px with 15 % overlap and exact truth. Each row has the decision of the
step `train`, and the error of the places with the generic weights and with the model of that step: median / largest, px, and
tiles over 2 px.
"""

from pathlib import Path

import cyclopts
import grids
import numpy as np
import pandas as pd
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

from dlir.core import affine, tables
from dlir.placement.place import place
from dlir.registration.inference.register import register
from dlir.registration.model.checkpoint import GENERIC
from dlir.registration.settings import Train
from dlir.registration.training.train import train

Image = NDArray[np.float64]
ROWS, COLUMNS, SIDE, OVERLAP = 3, 4, 256, 0.15
KINDS = ("few photons", "debris", "low contrast", "turned camera", "stage errs by much")
app = cyclopts.App(help=__doc__, default_parameter=cyclopts.Parameter(consume_multiple=True))


def fibres(size: tuple[int, int], random: np.random.Generator) -> Image:
    """Thin lines in all directions, slightly bent."""
    picture = np.zeros(size)
    for _ in range(size[0] * size[1] // 4000):
        start, angle, bend = random.uniform(0, size), random.uniform(0, np.pi), random.normal(0, 0.002)
        along = np.arange(-250, 250)
        turn = angle + bend * along
        y, x = start[0] + np.cumsum(np.sin(turn)), start[1] + np.cumsum(np.cos(turn))
        inside = (y >= 0) & (y < size[0]) & (x >= 0) & (x < size[1])
        picture[y[inside].astype(int), x[inside].astype(int)] += random.uniform(0.3, 1)
    return ndimage.gaussian_filter(picture, 1.2)


def crystals(size: tuple[int, int], random: np.random.Generator) -> Image:
    """Polygons of even brightness that touch each other."""
    count = size[0] * size[1] // 1500
    seeds, level = random.uniform(0, size, (count, 2)), random.uniform(0, 1, count)
    marked = np.ones(size, bool)
    marked[tuple(seeds.astype(int).T)] = False
    nearest = ndimage.distance_transform_edt(marked, return_distances=False, return_indices=True)
    label = np.full(size, 0)
    label[tuple(seeds.astype(int).T)] = np.arange(count)
    return ndimage.gaussian_filter(level[label[tuple(nearest)]], 0.8)


def dots(size: tuple[int, int], random: np.random.Generator) -> Image:
    """Sparse dots, finer than 3 px."""
    picture = np.zeros(size)
    places = random.uniform(0, size, (size[0] * size[1] // 900, 2)).astype(int)
    picture[tuple(places.T)] = random.uniform(0.5, 2, len(places))
    return ndimage.gaussian_filter(picture, 1.0) * 4


def phase(size: tuple[int, int], random: np.random.Generator) -> Image:
    """Blobs with a bright halo around a dark middle."""
    picture = np.zeros(size)
    places = random.uniform(0, size, (size[0] * size[1] // 2500, 2)).astype(int)
    picture[tuple(places.T)] = random.uniform(0.5, 1.5, len(places))
    return 1 + 40 * (ndimage.gaussian_filter(picture, 7) * 1.5 - ndimage.gaussian_filter(picture, 4))


SPECIMENS = {"fibres": fibres, "crystals": crystals, "fine dots": dots, "phase contrast": phase}


@app.default
def training(*, scratch: Path, when: tuple[str, ...] = ("auto",), seeds: tuple[int, ...] = (1, 2, 3, 4, 5)) -> None:
    """Print the errors before and after for each set; the seeds are those of the kinds, in their order."""
    print("| specimen | kind | when | decision | generic weights | after the step train |\n" + "|---" * 6 + "|", flush=True)
    for name, make in SPECIMENS.items():
        for kind, seed in zip(KINDS, seeds, strict=False):
            folder = scratch / f"{name}_{kind}_{seed}".replace(" ", "_")
            truth = write(folder, make, kind, seed)
            settings, dataset = grids.settings_for(images=str(folder / "tiles" / "r{row}_c{col}.tif"), overlap=OVERLAP)
            files = grids.run_to_pairs(settings, dataset, folder / "out")[:3]
            before = errors(files, GENERIC, folder / "out", truth)
            for chosen in when:
                model = folder / "out" / f"{chosen}.pt"
                train(*([file] for file in files), model, settings=Train(when=chosen))
                decided = tables.read(model.with_suffix(".csv"), tables.HISTORY)["decision"].dropna().tolist()
                after = errors(files, model, folder / "out", truth)
                print(f"| {name} | {kind} | {chosen} | {'; '.join(decided)} | {before} | {after} |", flush=True)


def write(folder: Path, make: object, kind: str, seed: int) -> NDArray[np.float64]:
    """Writes the tiles of a set; the true places (n, 2) of their middles, px."""
    random = np.random.default_rng(seed)
    step, jitter = SIDE * (1 - OVERLAP), 30.0 if kind == "stage errs by much" else 6.0
    size = tuple(int(step * (n - 1) + SIDE + 2 * jitter + 80) for n in (ROWS, COLUMNS))
    picture = make(size, random)  # type: ignore[operator]
    picture = (picture - picture.mean()) / picture.std()
    peak, contrast = (12.0, 1.0) if kind == "few photons" else (2000.0, 0.06 if kind == "low contrast" else 1.0)
    turn = np.deg2rad(0.8 if kind == "turned camera" else 0.0)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    spline, middle = ndimage.spline_filter(picture, 3), (np.array(size) - 1) / 2
    grid = np.moveaxis(np.indices((SIDE, SIDE)), 0, -1) - (SIDE - 1) / 2
    (folder / "tiles").mkdir(parents=True, exist_ok=True)
    truth = []
    for row, col in np.ndindex(ROWS, COLUMNS):
        nominal = np.array([row - (ROWS - 1) / 2, col - (COLUMNS - 1) / 2]) * step
        place = middle + nominal + random.uniform(-jitter, jitter, 2)
        points = np.moveaxis(grid @ rotation.T + place, -1, 0)
        shown = ndimage.map_coordinates(spline, points, order=3, prefilter=False, mode="mirror")
        light = np.maximum(3 + contrast * shown, 0.05) * peak / 3
        if kind == "debris":
            specks = (random.random((SIDE, SIDE)) > 0.9995).astype(float)
            light = light + peak * 30 * ndimage.gaussian_filter(specks, 3)
        counts = random.poisson(light) + random.normal(0, 2, light.shape)
        tifffile.imwrite(folder / "tiles" / f"r{row}_c{col}.tif", np.rint((counts * 20 + 500).clip(0, 65535)).astype(np.uint16))
        truth.append(place)
    return np.array(truth)


def errors(files: list[Path], model: Path, out: Path, truth: NDArray[np.float64]) -> str:
    """The error of the places with a model, after the best rotation and shift of all: median / largest, px, tiles over 2 px."""
    register(*files, out / "affines.csv", model=model)
    place(files[0], out / "affines.csv", out / "placement.csv", stage=out / "stage.csv", survey=out / "survey.csv")
    placed: pd.DataFrame = tables.read(out / "placement.csv", tables.PLACEMENT).sort_values("path")
    half = (SIDE - 1) / 2
    found = affine.apply(affine.from_table(placed), np.full((len(placed), 1, 2), half))[:, 0]
    solution = np.linalg.lstsq(np.c_[found, np.ones(len(found))], truth, rcond=None)[0]
    error = np.linalg.norm(np.c_[found, np.ones(len(found))] @ solution - truth, axis=1)
    return f"{np.median(error):.3f} / {error.max():.2f}, {int((error > 2).sum())} over 2 px"


if __name__ == "__main__":
    app()
