"""Where the rough map of a round alone puts its tiles, before they are registered with those of other rounds.

The pairs within a round place its tiles in its own frame, and rounds.csv takes that to the frame of the round with which it is
compared, mostly the first. The tiles of that one moved a little from there, too, when all rounds were placed together; the
nearest of them tells by how much.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from dlir.core import affine, tables
from dlir.core.affine import Array
from dlir.placement.settings import Place
from dlir.reporting.round_results import RoundResults, Specimen
from dlir.rounds.inputs import read_rounds


def rough_places(specimen: Specimen, results: list[Path], settings: Place) -> dict[str, Array]:
    """Returns where the rough map puts the tiles of each round: affines (n, 2, 3) to px of the mosaic, in the order of its
    placement.

    Args:
        results: the folders of the results of the rounds.
        settings: section `place` of config.yaml.
    """
    own = {each.name: each.own_placement(settings) for each in read_rounds(results)}
    maps = affine.from_table(pd.DataFrame([each.found for each in specimen.rounds]))
    by_map = {
        each.name: affine.compose(to_first, _matrices(each, own[each.name]))
        for each, to_first in zip(specimen.rounds, maps, strict=True)
    }
    found = {}
    for each in specimen.rounds:
        other = specimen.compared_with(each)
        before, in_first = by_map[other.name], by_map[each.name]
        moved = affine.compose(affine.from_table(other.placed), affine.invert(before))  # each of its tiles, to the mosaic
        apart = np.linalg.norm(_middles(each, in_first)[:, None] - _middles(other, before)[None], axis=2)
        found[each.name] = affine.compose(moved[apart.argmin(axis=1)], in_first)
    return found


def moved_by(each: RoundResults, rough: Array) -> Array:
    """Returns how far (n,), px, the middles of the tiles of a round lie from where the rough map puts them (n, 2, 3)."""
    return np.asarray(np.linalg.norm(_middles(each, affine.from_table(each.placed)) - _middles(each, rough), axis=1))


def _matrices(each: RoundResults, placed: pd.DataFrame) -> Array:
    """The affines (n, 2, 3) of the tiles of a round in another placement, in the order of its own."""
    return affine.from_table(placed.set_index("tile").loc[each.placed["tile"]])


def _middles(each: RoundResults, matrices: Array) -> Array:
    """The middles (n, 2), px, of the tiles of a round under affines (n, 2, 3)."""
    middle = (tables.sizes(each.tiles, each.placed["tile"]) - 1) / 2
    return affine.apply(matrices, middle[:, None])[:, 0]
