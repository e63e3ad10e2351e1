r"""Makes rounds of tiles of one specimen, with exact truth.

    python benchmarks/round_tiles.py --bench ../shared/bench --cuts ../shared/data/cuts --scratch /tmp/rounds --sets hard/cells

A set has the name KIND/SPECIMEN: the kinds are those of KINDS, the specimens are tissue, cells and dapi. Its folder has

    R1/r000_c000.ome.tif ...   the tiles of the first round: channel DAPI, which all rounds share, and one or two other stains
    R1/nominal.csv             path, row, col, y, x: where the stage says pixel (0, 0) of the tile is, in px of this round
    R1/truth.csv               the same tiles, with content (1 where its nuclear stain is visible), right and down (1 where the
                               overlap with that neighbour shows anything), and the affine from a px of the tile to the specimen
    R2/ ...
    rounds.json                what each round is, with `map`: the true affine from the stage's px to the specimen
    pattern.yaml, listed.yaml  settings for dlir, by {round} in images and by a list of rounds

All affines lead to one frame, in px of the first round:

    specimen = map(nominal + error of the stage) + linear part of map (px of the tile)

The nuclear stain is sampled by one spline of order 5, the others by one of order 3. From round to round the nuclear stain
bleaches, cells are lost, and vignette, background, debris, and the errors of the stage are drawn anew (`round_specimen.py`).
"""

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import cyclopts
import numpy as np
import pandas as pd
import tifffile
import yaml
from numpy.typing import NDArray
from round_specimen import Image, autofluorescence, debris, nuclear_last_first, other_stain, seen
from scipy import ndimage

from dlir.core import affine

Array = NDArray[np.float64]
STAGE_ERROR, MARGIN = 5.0, 40  # px: largest error of the stage along y or x; of the specimen around all tiles
PEAK, READ = 3000.0, 3.0  # photons of the nuclear stain in the first round; electrons
BLEACHED = 0.7  # what is left of the nuclear stain from a round to the next
OTHER, FIXED, OWN = 0.6, 0.04, 0.04  # parts of PEAK: other stains; autofluorescence of the specimen, and of one round
GAIN, OFFSET = 8.0, 500  # grey values: of an electron, of darkness
CONTENT = 1000  # in units of the noise: what the variance of a tile times its number of px surpasses
REFERENCE = "DAPI"
SPECIMENS = {"tissue": "tissue", "cells": "cells", "dapi": "dapi.tif"}
app = cyclopts.App(help=__doc__, default_parameter=cyclopts.Parameter(consume_multiple=True))


class Plan(NamedTuple):
    """What a round is to be; the turn, degrees, is drawn between two numbers, the shift, px, between half and all of it."""

    turn: tuple[float, float] = (0.0, 0.0)
    shift: float = 0.0
    scale: float = 1.0  # px of the first round in one px of this one
    overlap: float = 0.1
    rows: int = 5
    cols: int = 6
    side: int = 512  # px
    missing: int = 0  # tiles
    blank: int = 0  # tiles that show glass
    blur: float = 0.0  # px, sigma: out of focus


TURNED = Plan(turn=(-1, 1), shift=100)
KINDS: dict[str, tuple[Plan, ...]] = {
    "still": (Plan(), *[Plan(shift=100)] * 2),
    "turn1": (Plan(), *[TURNED] * 4),
    "hard": (
        Plan(),
        Plan(turn=(5, 5), shift=100, overlap=0.2),
        Plan(turn=(-5, -5), shift=100, blur=2),
        Plan(turn=(5, 5), shift=100, overlap=0.15, missing=2),
    ),
    "blank": (Plan(), TURNED, TURNED._replace(blank=6)),
    "far": (
        Plan(),
        Plan(turn=(10, 10), shift=512, scale=1.03),
        Plan(turn=(-10, -10), shift=512, scale=0.97, rows=7, cols=8, side=384),
    ),
    "many": (Plan(), *[TURNED] * 9),
}


class Round(NamedTuple):
    """A round: its stage, and the truth."""

    name: str
    plan: Plan
    stage: Array  # (n, 2) px: nominal places of its tiles
    true: Array  # (n, 2, 3): from a px of a tile to the specimen
    map: Array  # (2, 3): from the stage's px to the specimen
    blank: NDArray[np.bool_]  # (n,)
    kept: NDArray[np.bool_]  # (n,): which tiles are not missing


@app.default
def main(*, bench: Path, cuts: Path, scratch: Path, sets: tuple[str, ...], seeds: tuple[int, ...] = (1,)) -> None:
    """Make sets, each in the folder KIND_SPECIMEN_SEED of `scratch`, and print their folders.

    Args:
        bench: folder with make_tiles.py.
        cuts: folder with the real images.
        scratch: folder that keeps the sets from run to run.
        sets: such as turn1/tissue.
        seeds: of the sets.
    """
    sys.path.insert(0, str(bench.resolve()))
    for name in sets:
        kind, specimen = name.split("/")
        for seed in seeds:
            print(make(scratch / f"{kind}_{specimen}_{seed}", KINDS[kind], SPECIMENS[specimen], seed, cuts), flush=True)


def make(folder: Path, plans: tuple[Plan, ...], source: str, seed: int, cuts: Path) -> Path:
    """The folder of a set, which is made when it does not exist yet; what it holds is in the docstring of the module."""
    if (folder / "rounds.json").exists():
        return folder
    rng = np.random.default_rng([seed, 0])
    rounds, shape = in_specimen([drawn(f"R{number}", plan, rng) for number, plan in enumerate(plans, 1)])
    fixed = FIXED * autofluorescence(shape, np.random.default_rng([seed, 2]))
    nuclear = nuclear_last_first(source, shape, len(rounds), seed, cuts)
    for number, stain in zip(range(len(rounds), 0, -1), nuclear, strict=True):
        each, own = rounds[number - 1], np.random.default_rng([seed, 3, number])
        channels = {REFERENCE: seen(stain, source, each.plan.blur) * np.float32(BLEACHED ** (number - 1))}
        for other in range(1 + number % 2):
            channels[f"stain{number}{'ab'[other]}"] = OTHER * seen(other_stain(stain, own), source, each.plan.blur)
        beside = fixed + OWN * autofluorescence(shape, own) + seen(debris(shape, own), source, each.plan.blur)
        take(folder / each.name, each, channels, beside, own)
    write_settings(folder, source, seed, rounds)
    return folder


def drawn(name: str, plan: Plan, rng: np.random.Generator) -> Round:
    """A round whose middle lies at the specimen's point (0, 0), but for its shift."""
    step, middle = plan.side * (1 - plan.overlap), np.full(2, (plan.side - 1) / 2)
    stage = step * np.indices((plan.rows, plan.cols)).reshape(2, -1).T
    linear = import_module("make_tiles").linear(rng.uniform(*plan.turn), plan.scale)
    direction = rng.uniform(0, 2 * np.pi)
    shift = plan.shift * rng.uniform(0.5, 1) * np.array([np.sin(direction), np.cos(direction)])
    field = np.c_[linear, shift - linear @ (stage.mean(axis=0) + middle)]
    true = np.repeat(field[None], len(stage), axis=0)
    true[:, :, 2] = affine.apply(field, stage + rng.uniform(-STAGE_ERROR, STAGE_ERROR, stage.shape))
    order = rng.permutation(len(stage))
    blank, missing = np.zeros((2, len(stage)), bool)
    blank[order[: plan.blank]], missing[order[plan.blank :][: plan.missing]] = True, True
    return Round(name, plan, stage, true, field, blank, ~missing)


def in_specimen(rounds: list[Round]) -> tuple[list[Round], tuple[int, int]]:
    """The rounds in a specimen that begins at px (0, 0), and its height and width."""
    ends = [[[y, x] for y in (0, each.plan.side - 1) for x in (0, each.plan.side - 1)] for each in rounds]
    corners = np.concatenate([affine.apply(each.true, np.array(of, float)) for each, of in zip(rounds, ends, strict=True)])
    low, high = corners.reshape(-1, 2).min(axis=0) - MARGIN, corners.reshape(-1, 2).max(axis=0) + MARGIN
    height, width = np.ceil(high - low).astype(int) + 1
    for each in rounds:
        each.true[:, :, 2] -= low
        each.map[:, 2] -= low
    return rounds, (int(height), int(width))


def take(folder: Path, each: Round, channels: dict[str, Image], beside: Image, rng: np.random.Generator) -> None:
    """Take the tiles of a round, whose channels are in parts of PEAK, with what lies beside the stains in all channels."""
    made, plan = import_module("make_tiles"), each.plan
    splines = [ndimage.spline_filter(image, 5 if name == REFERENCE else 3, output=np.float32, mode="mirror")
               for name, image in channels.items()]  # fmt: skip
    below = ndimage.spline_filter(beside, 3, output=np.float32, mode="mirror")
    light = vignette(plan.side, rng)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [f"r{row:03d}_c{col:03d}.ome.tif" for row, col in np.ndindex(plan.rows, plan.cols)]
    strips, content = np.zeros((len(paths), 4), bool), np.zeros(len(paths), bool)
    for tile in np.flatnonzero(each.kept):
        pixels = []
        under = sampled(below, each.true[tile], plan.side, 3)
        for number, spline in enumerate(splines):
            stain = sampled(spline, each.true[tile], plan.side, 3 if number else 5)
            stain, glass = (0 * stain, under.mean()) if each.blank[tile] else (stain, under)
            photons = PEAK * (stain + glass) * light
            electrons = rng.poisson(photons) + rng.normal(0, READ, photons.shape)
            pixels.append(np.rint(electrons * GAIN + OFFSET).clip(0, 65535).astype(np.uint16))
            if number == 0:
                shown = stain * PEAK / np.sqrt(photons.mean() + READ**2)
                strips[tile] = [made.visible(strip) for strip in made.borders(shown, round(plan.side * plan.overlap))]
                content[tile] = shown.var() * shown.size > CONTENT
        tifffile.imwrite(folder / paths[tile], np.stack(pixels), metadata={"axes": "CYX", "Channel": {"Name": [*channels]}})
    write_truth(folder, each, paths, strips.reshape(plan.rows, plan.cols, 4), content)


def sampled(spline: Image, true: Array, side: int, order: int) -> Array:
    """The pixels of a tile from the spline of an image."""
    tile: Array = ndimage.affine_transform(
        spline, true[:, :2], true[:, 2], (side, side), order=order, prefilter=False, mode="mirror", output=np.float64
    )
    return tile.clip(0)


def vignette(side: int, rng: np.random.Generator) -> Array:
    """The light (side, side) of a round, which is dimmer in the corners, around a point beside the middle."""
    y, x = np.indices((side, side)) / (side - 1) * 2 - 1
    cy, cx = rng.uniform(-0.2, 0.2, 2)
    light: Array = 1 - rng.uniform(0.15, 0.4) * ((y - cy) ** 2 + (x - cx) ** 2) / 2.4
    return light


def write_truth(folder: Path, each: Round, paths: list[str], visible: NDArray[np.bool_], content: NDArray[np.bool_]) -> None:
    """Write nominal.csv and truth.csv; `visible` (rows, cols, 4): whether top, left, bottom and right show anything."""
    index = np.indices((each.plan.rows, each.plan.cols)).reshape(2, -1)
    right, down = np.zeros((2, *visible.shape[:2]), int)
    right[:, :-1] = visible[:, :-1, 3] & visible[:, 1:, 1]
    down[:-1] = visible[:-1, :, 2] & visible[1:, :, 0]
    table = pd.DataFrame({"path": paths, "row": index[0], "col": index[1]})
    table.assign(y=each.stage[:, 0], x=each.stage[:, 1])[each.kept].to_csv(folder / "nominal.csv", index=False)
    table = table.assign(content=content.astype(int), blank=each.blank.astype(int), right=right.ravel(), down=down.ravel())
    table[list(affine.COLUMNS)] = each.true.reshape(-1, 6)
    table[each.kept].to_csv(folder / "truth.csv", index=False)


def write_settings(folder: Path, source: str, seed: int, rounds: list[Round]) -> None:
    """Write rounds.json and the two files of settings."""
    listed: dict[str, Any] = {}
    pattern = str(folder.resolve() / "{round}" / "r{row}_c{col}.ome.tif")
    for each in rounds:
        listed[each.name] = {"images": pattern.replace("{round}", each.name), "overlap": each.plan.overlap}
    by_pattern = {"images": pattern, "reference_channel": REFERENCE}
    for name, dataset in (("pattern", by_pattern), ("listed", {"rounds": listed, "reference_channel": REFERENCE})):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"datasets": {"specimen": dataset}}, sort_keys=False))
    about = {each.name: each.plan._asdict() | {"map": each.map.tolist()} for each in rounds}
    (folder / "rounds.json").write_text(json.dumps({"source": source, "seed": seed, "rounds": about}, indent=1))


if __name__ == "__main__":
    app()
