"""Where the rough map of a round alone puts its tiles, before they are registered with those of other rounds.

The pairs within a round place its tiles in its own frame, and rounds.csv takes that to the frame of the first round. The tiles
of the first one moved a little from there, too, when all rounds were placed together; the nearest of them tells by how much.
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
    first = specimen.rounds[0]
    before, after = _matrices(first, own[first.name]), affine.from_table(first.placed)
    moved = affine.compose(after, affine.invert(before))  # of each tile of the first round, from its own frame to the mosaic
    middles = _middles(first, before)
    found = {}
    for each in specimen.rounds:
        in_first = affine.compose(affine.from_table(pd.DataFrame([each.found])), _matrices(each, own[each.name]))
        apart = np.linalg.norm(_middles(each, in_first)[:, None] - middles[None], axis=2)
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
