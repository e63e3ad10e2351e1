"""The step `train_rounds`: trains the network on the pairs between rounds, as the step `train` does on those within them.

Two rounds differ by more than two tiles of one round do: by bleaching, background, focus and debris. So the network that all
rounds are registered with is looked at, and trained if it misses pairs (`improve.py`), on the pieces and the pairs that
`between` registers: turned and scaled as low resolution shows the rounds to lie. What it learns, it forgets again where that
does harm; the pairs within rounds keep the network that they were registered with.
"""

import logging
import shutil
from pathlib import Path

import pandas as pd

from dlir import steps
from dlir.core import affine, hashing, tables
from dlir.core.atomic import atomically, write_key
from dlir.placement.settings import Place
from dlir.registration.model import checkpoint
from dlir.registration.settings import Train
from dlir.registration.training.improve import improve
from dlir.registration.training.lessons import Source, source
from dlir.rounds.groups import found_against
from dlir.rounds.inputs import PlacedRound, read_placed
from dlir.rounds.pictures import pictures_of
from dlir.rounds.piece_pairs import LONGEST, pair_up

log = logging.getLogger(__name__)


def train_rounds(
    results: list[Path],
    rounds: Path,
    output: Path,
    *,
    model: Path,
    settings: Train = Train(),
    place: Place = Place(),
    device: str = "auto",
    cache: Path | None = None,
) -> None:
    """Writes the network for pairs between rounds to `output`, and its history (tables.HISTORY) beside it as a CSV.

    An interrupted run resumes from the file `output` with the ending .state.

    Args:
        results: the folders of the results of all rounds, in order.
        rounds: how they lie to the first (tables.ROUNDS).
        model: the network that all rounds were registered with, from which the training starts.
        settings: section `train` of config.yaml. One process trains, whatever it says.
        place: section `place` of config.yaml, by which each round places its own tiles.
        device: cpu, cuda, mps, or auto.
        cache: a folder that keeps a trained network, so that one more round does not train it again.

    Raises:
        ModelError: when the model cannot be read.
        TableError: when a table is damaged.
        ImageError: when a tile cannot be read, or has changed.
    """
    key = hashing.of(steps.code("train_rounds"), hashing.of_file(model), settings.model_dump_json())
    kept = cache / output.name if cache else None
    if kept and _key_of(kept) == key:
        log.info("the network was trained on pairs of these rounds before, and is used again")
        _copy(kept, output)
        return
    with checkpoint.full_precision():
        chosen = checkpoint.choose_device(device)
        network = checkpoint.load(model, chosen)
        placed = read_placed(results, place)
        taught = lessons(placed, tables.read(rounds, tables.ROUNDS), settings) if settings.when != "never" else []
        history = improve(network, taught, settings, chosen, output.with_suffix(".state")) if taught else []
        read = [sha256 for each in placed for sha256 in each.round.tiles["sha256"]] if len(history) > 1 else []
        checkpoint.save(network, settings.model_dump() | {"tiles": read}, output)
    tables.write(pd.DataFrame(history, columns=list(tables.HISTORY.columns)), tables.HISTORY, output.with_suffix(".csv"))
    output.with_suffix(".state").unlink(missing_ok=True)
    if kept and len(history) > 1:
        _copy(output, kept)
        write_key(kept, key)


def lessons(placed: list[PlacedRound], listed: pd.DataFrame, settings: Train) -> list[Source]:
    """Returns what the pairs of each round with the one against which the pixels show it teach.

    Args:
        listed: how the rounds lie to the first (tables.ROUNDS).
    """
    maps = dict(zip(listed["round"], affine.from_table(listed), strict=True))
    by_name, shown = {each.round.name: each for each in placed}, pictures_of(placed, LONGEST)
    taught = []
    for name, against in found_against(listed).items():
        fixed, moving = by_name[against], by_name[name]
        tiles = moving.round.tiles["tile"].tolist()
        both, pairs = pair_up(fixed, moving, (maps[against], maps[name]), (shown(against), shown(name)), tiles)
        if len(pairs):
            taught.append(source(both.tiles, both.planes, pairs, settings))
    return taught


def _key_of(model: Path) -> str | None:
    """What a network that was kept follows from; None without one."""
    files = (model, model.with_suffix(".csv"), key := model.with_suffix(".key"))
    return key.read_text(errors="replace").strip() if all(file.is_file() for file in files) else None


def _copy(model: Path, target: Path) -> None:
    """Copies a network with its history."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for ending in (".csv", ".pt"):
        with atomically(target.with_suffix(ending)) as partial:
            shutil.copyfile(model.with_suffix(ending), partial)
