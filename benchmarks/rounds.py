r"""Rounds of one specimen: how well the tiles of later rounds lie on those of the first, beside ashlar.

    python benchmarks/rounds.py --bench ../shared/bench --cuts ../shared/data/cuts --scratch /tmp/rounds --seeds 1 2
    python benchmarks/rounds.py --bench ../shared/bench --cuts ../shared/data/cuts --scratch /tmp/rounds --peers /tmp/peers

`round_tiles.py` makes the sets, with exact truth, and `round_scores.py` says what the errors are. dlir runs by its command
lines, from `tiles` to `place_rounds`, with the default settings and the generic weights. ashlar reads the same folders and
the same nominal places: EdgeAligner places the first round, LayerAligner the others, by the channel that all rounds share.

CPU seconds are those of all commands, imports included; measure them on an idle machine.
"""

import json
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import cyclopts
import grids
import numpy as np
import pandas as pd
import round_scores
import round_tiles
from round_scores import FAR, Array, Scores

from dlir.core import tables
from dlir.registration.model.checkpoint import GENERIC

SETS = [f"{kind}/{specimen}" for kind, specimen in product(round_tiles.KINDS, round_tiles.SPECIMENS)]
# bars: median and 95 %, px, between rounds
BARS = {"turn1/tissue": (0.05, 0.2), "turn1": (0.1, 0.4), "hard": (0.2, 0.8)}
# the defaults of ashlar, and the option that helped on sets of seed 1; a larger max_shift did not
ASHLAR: dict[str, dict[str, float]] = {"ashlar": {}, "ashlar, filter_sigma 1": {"filter_sigma": 1.0}}
COLUMNS = (
    "set", "program", "between rounds: median / 95 %, px", f"tiles over {FAR:.0f} px", "within rounds: median / 95 %, px",
    "each round by itself", "blank tiles, largest, px", "CPU s", "rounds found", "pairs between: accepted, over 1 px",
)  # fmt: skip
app = cyclopts.App(help=__doc__, default_parameter=cyclopts.Parameter(consume_multiple=True))


class Ran(NamedTuple):
    """What a program made of a set."""

    scores: Scores
    cpu: float  # seconds
    alone: dict[str, Array]  # (corners,) px, by round: the errors where each round is placed by itself
    found: str  # of the rounds after the first, how many their pixels showed
    pairs: str  # pairs between rounds that were accepted, and those of them that are off


@app.default
def rounds(
    *,
    bench: Path,
    cuts: Path,
    scratch: Path,
    peers: Path | None = None,
    seeds: tuple[int, ...] = (1,),
    sets: tuple[str, ...] = ("still/*", "turn1/*", "hard/*", "blank/*", "far/*"),
) -> None:
    """Print a row for each set, seed and program.

    Args:
        bench: folder with make_tiles.py and score.py.
        cuts: folder with the real images.
        scratch: folder that keeps the sets from run to run.
        peers: folder for the environment of ashlar; without it, dlir runs alone.
        seeds: of the sets.
        sets: which to run; * stands for anything.
    """
    sys.path.insert(0, str(bench.resolve()))
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|", flush=True)
    for name, seed in product(SETS, seeds):
        if not any(fnmatch(name, pattern) for pattern in sets):
            continue
        kind, specimen = name.split("/")
        folder = scratch / f"{kind}_{specimen}_{seed}"
        round_tiles.make(folder, round_tiles.KINDS[kind], round_tiles.SPECIMENS[specimen], seed, cuts)
        for program, ran in all_programs(folder, peers):
            print(f"| {name} {seed} | {program} |", " | ".join(cells(name, ran)), "|", flush=True)


def all_programs(folder: Path, peers: Path | None) -> Iterator[tuple[str, Ran]]:
    """Run dlir and, where there are peers, ashlar."""
    yield "dlir", with_dlir(folder)
    for program, options in ASHLAR.items() if peers else ():
        assert peers
        output = folder / "out" / f"{program.replace(', ', '_').replace(' ', '_')}.csv"
        before = grids.cpu_seconds()
        script = Path(__file__).with_name("peers") / "align_rounds_ashlar.py"
        grids.run(
            [
                str(grids.peer_python(peers, "ashlar")),
                "-W",
                "ignore",
                str(script),
                str(folder),
                str(output),
                json.dumps(options),
            ]
        )
        yield program, Ran(round_scores.score(folder, output), grids.cpu_seconds() - before, {}, "", "")


def with_dlir(folder: Path) -> Ran:
    """Run the steps of dlir on a set."""
    about = json.loads((folder / "rounds.json").read_text())["rounds"]
    out, before = folder / "out", grids.cpu_seconds()
    results = [out / name for name in about]
    for name, each in zip(about, results, strict=True):
        images = str(folder.resolve() / name / "r{row}_c{col}.ome.tif")
        channel = {"reference_channel": round_tiles.REFERENCE}
        settings, dataset = grids.settings_for(images=images, overlap=about[name]["overlap"], **channel)
        run_round(each, settings, dataset)
    found, joined, placed = (str(out / file) for file in ("rounds.csv", "between.csv", "placement.csv"))
    listed = ["--results", *map(str, results)]
    place, register = (each.model_dump_json() for each in (settings.place, settings.register_))
    also = ["--rounds", found, "--model", str(GENERIC), "--place", place, "--device", "cpu"]
    together = ["rounds", *listed, "--output", found, "--settings", place]
    together += ["--then", "between", *listed, "--output", joined, "--settings", register, *also]
    dlir(*together)
    solved = ["--stage", str(out / "stage.csv"), "--canvas", str(out / "canvas.csv"), "--settings", place]
    dlir("place_rounds", *listed, "--rounds", found, "--between", joined, "--output", placed, *solved)
    cpu = grids.cpu_seconds() - before
    return Ran(
        round_scores.score(folder, Path(placed)), cpu, placed_alone(folder, settings, results), rounds_found(out),
        pairs_between(folder, out, results),
    )  # fmt: skip


def run_round(out: Path, settings: Any, dataset: Any) -> None:
    """Run the steps from tiles to register on a round."""
    out.mkdir(parents=True, exist_ok=True)
    files, listed, surveyed, fields, near, found = (str(out / name) for name in grids.FILES[:6])
    layout = dataset.model_dump_json()
    seen = ["--tiles", listed, "--illumination", fields, "--pairs", near, "--model", str(GENERIC), "--device", "cpu"]
    looked = ["--layout", layout, "--settings", of(settings.layout)]
    steps = [
        ["tiles", "--output", files, "--settings", layout],
        ["survey", "--files", files, "--output", listed, "--survey", surveyed, *looked],
        ["illumination", "--tiles", listed, "--output", fields, "--settings", of(settings.illumination)],
        ["pairs", "--tiles", listed, "--output", near, "--settings", of(settings.pairs)],
        ["register", *seen, "--output", found, "--lens", str(out / "lens.csv"), "--settings", of(settings.register_)],
    ]  # fmt: skip
    dlir(*steps[0], *(word for step in steps[1:] for word in ("--then", *step)))


def of(section: Any) -> str:
    """A section of the settings, as JSON."""
    return str(section.model_dump_json())


def dlir(*words: str) -> None:
    """Run steps of dlir."""
    grids.run([sys.executable, "-m", "dlir", *words])


def placed_alone(folder: Path, settings: Any, results: list[Path]) -> dict[str, Array]:
    """The errors within each round where its own pairs alone place its tiles."""
    parts = []
    for out in results:
        own, stage = out / "alone.csv", out / "alone_stage.csv"
        grids.place(
            out / "tiles.csv", out / "affines.csv", own, stage=stage, survey=out / "survey.csv", settings=settings.place
        )
        parts.append(pd.read_csv(own).assign(round=out.name))
    both = folder / "out" / "alone.csv"
    pd.concat(parts).to_csv(both, index=False)
    return round_scores.score(folder, both).within


def rounds_found(out: Path) -> str:
    """How many rounds after the first were found in their pixels."""
    found = tables.read(out / "rounds.csv", tables.ROUNDS)["found"][1:]
    return f"{(found == 'pixels').sum()} of {len(found)}"


def pairs_between(folder: Path, out: Path, results: list[Path]) -> str:
    """How many pairs between rounds were accepted, and how many of them are off."""
    pairs = tables.read(out / "between.csv", tables.ROUND_PAIRS)
    used = pairs[pairs["accepted"] & ~pairs["overruled"]]
    names = {each.name: [Path(path).name for path in tables.read(each / "tiles.csv", tables.TILES)["path"]] for each in results}
    errors = round_scores.pair_errors(folder, used, names)
    return f"{len(used)} of {len(pairs)}, {(errors > FAR).sum()}"


def cells(name: str, ran: Ran) -> list[str]:
    """The cells of a row, without the first two."""
    scores, kind = ran.scores, name.partition("/")[0]
    middle = np.percentile(scores.between, [50, 95]) if len(scores.between) else np.full(2, np.nan)
    bar = BARS.get(name, BARS.get(kind))
    missed = " (bar missed)" if bar and not ((middle <= bar).all() and not scores.off) else ""
    within, alone = (" / ".join(f"{each:.2f}" for each in worst(errors)) for errors in (scores.within, ran.alone))
    return [
        f"{middle[0]:.3f} / {middle[1]:.3f}{missed}", f"{scores.off} of {scores.tiles}", within, alone if ran.alone else "",
        f"{scores.blank.max():.2f}" if len(scores.blank) else "", f"{ran.cpu:.0f}", ran.found, ran.pairs,
    ]  # fmt: skip


def worst(errors: dict[str, Array]) -> Array:
    """Median and 95 %, px, each of the round where it is largest."""
    parts = [np.percentile(each, [50, 95]) for each in errors.values()]
    return np.max(parts, axis=0) if parts else np.full(2, np.nan)


if __name__ == "__main__":
    app()
