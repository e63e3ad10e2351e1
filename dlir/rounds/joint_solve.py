"""One solve for the tiles of all rounds, by the pairs within and between rounds.

1. The pairs between rounds show how each round lies to the first: shift, turn and scale (`maps.py`).
2. All pairs are turned into one frame (`common_frame.py`), in which the solver of the placement takes them as those of one
   dataset, with the tile model that they support, and with the stage of each round (`stages.py`).
3. The places that it finds show the maps better than those that each round has by itself, above all where its own pairs are few
   or wrong. So both steps are repeated until the maps rest.
"""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from dlir.core import affine, tables
from dlir.core.affine import Array
from dlir.placement.measurements import Measurements, measurements
from dlir.placement.place import Solved
from dlir.placement.settings import Place
from dlir.placement.solution_table import tile_affines
from dlir.placement.solver import Solution, solve
from dlir.placement.stage_model import Stage
from dlir.placement.tile_model import TileModel, choose_model
from dlir.rounds.common_frame import CommonFrame, in_common_frame
from dlir.rounds.maps import OwnTiles, fit_maps
from dlir.rounds.stages import Stages

log = logging.getLogger(__name__)
PASSES = 4  # at most
AT_REST = 0.1  # px, at the corner of a round: the maps moved by less


class Joint(NamedTuple):
    """The tiles of all rounds, placed together."""

    maps: Array  # (rounds, 2, 3) from the own frames of the rounds to that of the first
    frame: CommonFrame
    measured: Measurements  # by the pairs of `frame`
    model: TileModel
    solution: Solution[Stages]
    affines: Array  # (tiles, 2, 3) from a pixel of a tile to the frame of the first round


def solve_together(
    tiles: Sequence[pd.DataFrame],
    alone: Sequence[Solved],
    own: Sequence[OwnTiles],
    between: pd.DataFrame,
    start: Array,
    deviation: Array,
    settings: Place,
) -> Joint:
    """Places the tiles of all rounds.

    Args:
        tiles: of each round (tables.TILES).
        alone, own: where the own pairs of each round place its tiles.
        between: the accepted pairs of two rounds, as `common_frame.numbered` returns them.
        start, deviation: the maps of the rounds as they are known before, and how far they may err, as `fit_maps` takes them.
    """
    seen, joint = list(own), None
    for _ in range(PASSES):
        maps = fit_maps(seen, between, start, deviation, joint and joint.maps)
        if joint and _moved(joint.maps, maps, seen) < AT_REST:
            break
        joint = _solved(tiles, alone, own, between, maps, settings)
        seen = _as_seen_now(own, joint)
    assert joint
    model = joint.model
    log.info("the tile model of all rounds is %s; the other pairs predict, of what one pair measures, %s",
             model.name, model.described())  # fmt: skip
    return joint


def _solved(
    tiles: Sequence[pd.DataFrame],
    alone: Sequence[Solved],
    own: Sequence[OwnTiles],
    between: pd.DataFrame,
    maps: Array,
    settings: Place,
) -> Joint:
    """Places the tiles of all rounds, as the maps (rounds, 2, 3) turn their pairs."""
    frame = in_common_frame(tiles, [placed.pairs for placed in alone], between, maps[:, :, :2])
    measured, model = choose_model(measurements(frame.tiles, frame.pairs), len(frame.tiles), settings.model)
    stages = Stages(tuple(_stage(*of, frame.tiles, settings) for of in zip(alone, own, maps, strict=True)))
    solution = solve(measured, stages, model.deviations, settings.stage_weight)
    affines = tile_affines(frame.tiles, solution.places, affine.linear(solution.linear) @ frame.turned)
    return Joint(maps, frame, measured, model, solution, affines)


def _stage(placed: Solved, own: OwnTiles, to_common: Array, tiles: pd.DataFrame, settings: Place) -> Stage:
    """The stage of a round in the common frame, by its map (2, 3): where it puts the tiles, and how far it errs.

    Args:
        tiles: of all rounds (tables.TILES).
    """
    stage = placed.solution.stage
    in_own = own.middles + stage.prior - placed.solution.places
    nominal = affine.apply(to_common, in_own) - (tables.usual_size(tiles) - 1) / 2
    scale = float(np.sqrt(abs(np.linalg.det(to_common[:, :2]))))
    return Stage(
        nominal=nominal, parity=stage.parity, to_camera=np.eye(2), backlash=np.zeros((2, 2)), error=scale * stage.error,
        prior=nominal, measured=np.eye(2), interval=np.zeros(3), known_map=np.eye(2) if settings.camera else None,
        certain=stage.certain,
    )  # fmt: skip


def _as_seen_now(own: Sequence[OwnTiles], joint: Joint) -> list[OwnTiles]:
    """The tiles of each round in its own frame, as all pairs together place them."""
    ends = np.cumsum([len(of.affines) for of in own])[:-1]
    of_round = (np.split(values, ends) for values in (joint.affines, joint.solution.deviation, joint.solution.group))
    return [
        of._replace(affines=affine.compose(affine.invert(to_common), affines), deviation=deviation, group=group)
        for of, to_common, affines, deviation, group in zip(own, joint.maps, *of_round, strict=True)
    ]


def _moved(before: Array, after: Array, own: Sequence[OwnTiles]) -> float:
    """By how far, px, the turn and scale of a map moves the corner of its round, at most."""
    changed = np.linalg.norm((after - before)[:, :, :2], axis=(1, 2))
    return float((changed * [of.radius for of in own]).max())
