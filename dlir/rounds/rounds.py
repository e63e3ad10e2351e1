"""The step `rounds`: how each round lies to the first one, as low-resolution mosaics of both show it (`coarse.py`).

A round that does not match the first, such as one whose stain is nearly gone, is compared with the others that were found, the
one before it first. Where no other round matches, it lies where the stage says.
"""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from dlir.core import affine, tables
from dlir.core.affine import Array
from dlir.placement.settings import Place
from dlir.rounds.alike import RoundsError
from dlir.rounds.coarse import CoarseMap, coarse_map
from dlir.rounds.inputs import PlacedRound, Round, read_placed
from dlir.rounds.pictures import Picture, picture, step_for

log = logging.getLogger(__name__)
MOST_SCALE = 3.0  # between the sizes of the pixels of two rounds; more is a slip of the unit, and would make a huge mosaic
SIDE = 1200  # px, of the longest picture
ADVICE = (
    "the pixels do not show how this round lies to the others: look whether its reference_channel is the stain that the rounds "
    "share, whether it shows the same part of the specimen, whether it is turned by more than 10 degrees or its pixel_size is "
    "wrong, and whether its camera sees the specimen in a mirror (mirrored: true for this round)"
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
    first = placed[0]
    scales = [_pixel_size(each.round) / _pixel_size(first.round) for each in placed]
    scales = [scale if np.isfinite(scale) else 1.0 for scale in scales]
    for each, scale in zip(placed, scales, strict=True):
        if not 1 / MOST_SCALE <= scale <= MOST_SCALE:
            sizes = f"{_pixel_size(each.round):g} µm, and that of {first.round.name} {_pixel_size(first.round):g} µm"
            remedy = "give the true pixel_size, in micrometres, of the round whose files tell it wrongly"
            raise RoundsError(f"the size of a pixel of {each.round.name} is {sizes}: {remedy}")
    steps = [step_for(each.round.tiles, each.placement, SIDE) for each in placed]
    pictures: dict[int, Picture] = {}

    def shown(number: int) -> Picture:
        if number not in pictures:
            each = placed[number]
            pictures[number] = picture(each.round.planes(), each.round.tiles, each.placement, max(steps))
        return pictures[number]

    found = {0: CoarseMap(affine.translation(np.zeros(2)), 0, 0, float("nan"))}
    rows = [_row(first, found[0], "first")]
    for number in range(1, len(placed)):
        other = next(
            (
                (coarse, to)
                for to in (0, *range(number - 1, 0, -1))
                if to in found and (coarse := coarse_map(shown(to), shown(number), scales[number] / scales[to])).found
            ),
            None,
        )
        if other is None:
            rows.append(_row(placed[number], _by_stage(placed[number], first, scales[number]), "stage"))
            log.warning("%s: %s", placed[number].round.name, ADVICE)
        else:
            coarse, to = other
            found[number] = coarse._replace(affine=affine.compose(found[to].affine, coarse.affine))
            rows.append(_row(placed[number], found[number], "pixels"))
            log.info(
                "%s: turned by %.2f degrees and scaled by %.4f against %s; %d of %d parts agree within %.1f px",
                placed[number].round.name, rows[-1]["turn"], rows[-1]["scale"], first.round.name, coarse.agreeing,
                coarse.blocks, coarse.spread,
            )  # fmt: skip
        pictures = {kept: pictures[kept] for kept in pictures if kept in (0, number)}
    return pd.DataFrame(rows)


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


def _row(each: PlacedRound, found: CoarseMap, how: str) -> dict[str, object]:
    """A row of tables.ROUNDS."""
    middle = np.array(affine.from_table(each.placement)[:, :, 2].mean(axis=0))
    shift: Array = affine.apply(found.affine, middle[None])[0] - middle
    return {
        "round": each.round.name, **{name: values[0] for name, values in affine.to_columns(found.affine[None]).items()},
        "turn": found.turn, "scale": found.scale, "shift_y": shift[0], "shift_x": shift[1], "blocks": found.blocks,
        "agreeing": found.agreeing, "spread": found.spread, "found": how, "advice": ADVICE if how == "stage" else "",
    }  # fmt: skip
