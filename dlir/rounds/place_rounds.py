"""The steps `place_rounds` and `round_place`: one placement of all tiles of all rounds (`together.py`), and its parts."""

from pathlib import Path

import pandas as pd

from dlir.core import affine, tables
from dlir.core.tile_graph import numbered_by_size
from dlir.placement.overrides import read_overrides
from dlir.placement.settings import Place
from dlir.rounds.inputs import read_rounds
from dlir.rounds.together import place_together

NONE = "none"  # in place of a table of overrides


class RoundsError(ValueError):
    """The tables of rounds do not fit each other."""


def place_rounds(
    *,
    results: list[Path],
    rounds: Path,
    between: Path,
    output: Path,
    stage: Path,
    canvas: Path,
    settings: Place = Place(),
    overrides: list[str] | None = None,
) -> None:
    """Writes where each tile of each round lies (tables.ROUND_PLACEMENT), how the stages err (tables.ROUND_STAGE), and the size
    of the mosaic of all rounds (tables.CANVAS).

    Args:
        results: the folders of the results of the rounds, the first of which gives the common frame.
        rounds, between: files of earlier steps: rounds.csv and between.csv.
        overrides: for each round, the table of the user that replaces measurements, or none.

    Raises:
        RoundsError: when the tables are those of other rounds.
        OverridesError, TextTableError: when overrides have a mistake.
    """
    found = read_rounds(results)
    given = overrides or [NONE] * len(found)
    if len(given) != len(found):
        raise RoundsError(f"--overrides names {len(given)} tables for {len(found)} rounds: give one for each, or {NONE}")
    users = [None if path == NONE else read_overrides(Path(path), of.tiles) for path, of in zip(given, found, strict=True)]
    maps, pairs = tables.read(rounds, tables.ROUNDS), tables.read(between, tables.ROUND_PAIRS)
    names = [of.name for of in found]
    if maps["round"].tolist() != names:
        raise RoundsError(f"{rounds}: has the rounds {', '.join(maps['round'])} instead of {', '.join(names)}: make it again")
    if other := set(pairs["fixed_round"]).union(pairs["moving_round"]) - set(names):
        raise RoundsError(f"{between}: has pairs of rounds that are not placed ({', '.join(sorted(other))}): make it again")
    placed, stages = place_together(found, maps, pairs, settings, users)
    size = tables.sizes(pd.concat([of.tiles for of in found], ignore_index=True))
    height, width = affine.mosaic_size(affine.from_table(placed), size)
    first = found[0].tiles.iloc[0]
    size_of_all = {"height": [height], "width": [width], "pixel_size": [first["pixel_size"]]}
    tables.write(pd.DataFrame(size_of_all), tables.CANVAS, canvas)
    tables.write(stages, tables.ROUND_STAGE, stage)
    tables.write(placed, tables.ROUND_PLACEMENT, output)


def round_place(
    *,
    placement: Path,
    stages: Path,
    round: str,
    output: Path,
    stage: Path,
    field: Path | None = None,
    local: Path | None = None,
) -> None:
    """Writes the part of one round of the placement of all rounds (tables.PLACEMENT), and of its stage (tables.STAGE).

    The groups are those of all rounds, numbered by how many tiles of this round they have. Deviations are those within it.

    Args:
        placement, stages: files of the step `place_rounds`.
        round: the name of the round.
        field: the file for how its tissue was stretched (tables.LOCAL), which is empty where it was not; None to write none.
        local: a file of the step `local`; None: no stretch is mended.

    Raises:
        RoundsError: when it is not among them.
    """
    placed, rows = tables.read(placement, tables.ROUND_PLACEMENT), tables.read(stages, tables.ROUND_STAGE)
    for path, table in ((placement, placed), (stages, rows)):
        if round not in set(table["round"]):
            raise RoundsError(f"{path}: has no round {round}; it has {', '.join(dict.fromkeys(table['round']))}")
    if field:
        fields = tables.read(local, tables.ROUND_LOCAL) if local else pd.DataFrame(columns=list(tables.ROUND_LOCAL.columns))
        tables.write(fields[fields["round"] == round].drop(columns="round"), tables.LOCAL, field)
    tables.write(rows[rows["round"] == round].drop(columns="round"), tables.STAGE, stage)
    part = placed[placed["round"] == round].drop(columns="round")
    part = part.assign(deviation=part.get("within", part["deviation"])).drop(columns="within", errors="ignore")
    tables.write(part.assign(group=numbered_by_size(part["group"].to_numpy())), tables.PLACEMENT, output)
