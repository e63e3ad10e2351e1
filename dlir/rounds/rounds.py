"""The step `rounds`: how each round lies to the first one, as low-resolution mosaics of both show it (`coarse.py`).

A round that does not match the first, such as one whose stain is nearly gone, is compared with the others that were found, the
one before it first. Where none of these matches, as where the first round is blank, it lies where the stage says, and leads a
group of its own (`groups.py`): the rounds that match it lie to it by the pixels.
"""

import logging
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from dlir.core import affine, tables
from dlir.core.affine import Array
from dlir.placement.settings import Place
from dlir.rounds.alike import RoundsError
from dlir.rounds.coarse import CoarseMap, coarse_map
from dlir.rounds.groups import in_words, leaders
from dlir.rounds.inputs import PlacedRound, Round, read_placed
from dlir.rounds.orientation import orientation, remedy
from dlir.rounds.pictures import pictures_of

log = logging.getLogger(__name__)
MOST_SCALE = 3.0  # between the sizes of the pixels of two rounds; more is a slip of the unit, and would make a huge mosaic
SIDE = 1200  # px, of the longest picture
STILL = CoarseMap(affine.translation(np.zeros(2)), 0, 0, float("nan"))
ADVICE = (
    "the pixels do not show how {} {} to {}: look whether both show the stain that the rounds share as their reference_channel "
    "({}a blank round is best left out), and the same part of the specimen, whether one is turned by more than 10 degrees or "
    "its pixel_size is wrong, and whether its camera sees the specimen in a mirror (mirrored: true for that round)"
)


def rounds(results: list[Path], output: Path, *, settings: Place = Place()) -> None:
    """Writes how the rounds lie to the first one (tables.ROUNDS) to `output`.

    Args:
        results: the folders of the results of all rounds, in order.
        settings: section `place` of config.yaml, by which each round places its own tiles.

    Raises:
        TableError: when a table is damaged.
        ImageError: when a tile cannot be read, or has changed.
        RoundsError: when the sizes of the pixels are too unlike.
    """
    tables.write(find_rounds(read_placed(results, settings)), tables.ROUNDS, output)


def find_rounds(placed: list[PlacedRound]) -> pd.DataFrame:
    """Returns how each round lies to the first one (tables.ROUNDS)."""
    first, names = placed[0], [each.round.name for each in placed]
    scales = _scales(placed)
    shown = pictures_of(placed, SIDE)

    @cache
    def match(fixed: int, moving: int) -> CoarseMap:
        return coarse_map(shown(names[fixed]), shown(names[moving]), scales[moving] / scales[fixed])

    rows: dict[int, dict[str, object]] = {}
    for leader in range(len(placed)):
        if leader in rows:
            continue
        how = "stage" if leader else "first"
        maps = {leader: _by_stage(placed[leader], first, scales[leader]) if leader else STILL}
        rows[leader] = _row(placed[leader], maps[leader], how)
        for moving, fixed in _joined(leader, [number for number in range(len(placed)) if number not in rows], match):
            coarse = match(fixed, moving)
            maps[moving] = coarse._replace(affine=affine.compose(maps[fixed].affine, coarse.affine))
            rows[moving] = _row(placed[moving], maps[moving], "pixels", names[fixed])
            log.info(
                "%s: turned by %.2f degrees and scaled by %.4f against %s; %d of %d parts agree within %.1f px",
                names[moving], coarse.turn, coarse.scale, names[fixed], coarse.agreeing, coarse.blocks, coarse.spread,
            )  # fmt: skip
    table = pd.DataFrame([rows[number] for number in range(len(placed))])
    of_group = pd.Series(leaders(table))
    for leader in table.index[table["found"] == "stage"]:
        members = of_group.index[of_group == names[leader]].tolist()
        how = orientation(shown(names[0]), shown(names[leader]), scales[leader])
        who, one = in_words(members), len(members) == 1
        table.loc[leader, "advice"] = (
            remedy(who, one, names[0], how)
            if how
            else ADVICE.format(who, "lies" if one else "lie", names[0], _unlike_stains(first, placed[leader]))
        )
        log.warning("%s", table.loc[leader, "advice"])
    return table


def _unlike_stains(first: PlacedRound, other: PlacedRound) -> str:
    """Returns by which channels two rounds are registered, where these have unlike names; empty where they are alike."""
    stains = []
    for each in (first.round, other.round):
        number, channels = each.tiles["reference_channel"].iloc[0], str(each.tiles["channel_names"].iloc[0]).split("|")
        stains.append("" if pd.isna(number) or int(number) >= len(channels) else channels[int(number)])
    if not all(stains) or stains[0] == stains[1]:
        return ""
    return f"{first.round.name} is registered by {stains[0]}, and {other.round.name} by {stains[1]}; "


def _joined(leader: int, others: list[int], match: Callable[[int, int], CoarseMap]) -> Iterator[tuple[int, int]]:
    """Yields the rounds that the pixels join to this one or to each other, and against which round each is found.

    Args:
        others: rounds that may be found.
        match: returns how a round lies to another one, the fixed one first.
    """
    group, before = [leader], 0
    while before < len(group):
        before = len(group)
        for moving in [number for number in others if number not in group]:
            near = sorted(group, key=lambda fixed: (fixed != leader, fixed > moving, abs(fixed - moving)))
            against = next((fixed for fixed in near if match(fixed, moving).found), None)
            if against is not None:
                group.append(moving)
                yield moving, against


def _scales(placed: list[PlacedRound]) -> list[float]:
    """Px of the first round in one px of each, by the sizes of their pixels; 1 where these are unknown."""
    first = placed[0].round
    scales = [_pixel_size(each.round) / _pixel_size(first) for each in placed]
    scales = [scale if np.isfinite(scale) else 1.0 for scale in scales]
    for each, scale in zip(placed, scales, strict=True):
        if not 1 / MOST_SCALE <= scale <= MOST_SCALE:
            sizes = f"{_pixel_size(each.round):g} µm, and that of {first.name} {_pixel_size(first):g} µm"
            remedy = "give the true pixel_size, in micrometres, of the round whose files tell it wrongly"
            raise RoundsError(f"the size of a pixel of {each.round.name} is {sizes}: {remedy}")
    return scales


def _pixel_size(each: Round) -> float:
    return float(each.tiles["pixel_size"].iloc[0])


def _by_stage(each: PlacedRound, first: PlacedRound, scale: float) -> CoarseMap:
    """The map of a round by the places of the stage alone."""
    offsets = []
    for own in (each, first):
        places = affine.from_table(own.placement)[:, :, 2]
        offsets.append((own.round.tiles[["y", "x"]].to_numpy() - places).mean(axis=0))
    linear = scale * np.eye(2)
    return CoarseMap(np.c_[linear, linear @ offsets[0] - offsets[1]], 0, 0, float("nan"))


def _row(each: PlacedRound, found: CoarseMap, how: str, against: str = "") -> dict[str, object]:
    """A row of tables.ROUNDS."""
    middle = np.array(affine.from_table(each.placement)[:, :, 2].mean(axis=0))
    shift: Array = affine.apply(found.affine, middle[None])[0] - middle
    return {
        "round": each.round.name, **{name: values[0] for name, values in affine.to_columns(found.affine[None]).items()},
        "turn": found.turn, "scale": found.scale, "shift_y": shift[0], "shift_x": shift[1], "blocks": found.blocks,
        "agreeing": found.agreeing, "spread": found.spread, "found": how, "against": against, "advice": "",
    }  # fmt: skip
