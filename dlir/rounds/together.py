"""One placement of all tiles of all rounds, by the pairs within and between rounds.

Each round is placed by its own pairs first, which show turn, scale, backlash and error of its stage, and where this slipped.
Then one solve places all tiles of all rounds (`joint_solve.py`).

A round that no accepted pair joins to the others lies where low resolution, or the stage alone, puts it. The deviations of its
tiles count how little that says.
"""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlir.core import affine, tables
from dlir.core.affine import Array
from dlir.placement.overrides import Overrides
from dlir.placement.place import Solved, solve_tiles
from dlir.placement.settings import Place
from dlir.placement.solution_table import placement_table
from dlir.placement.stage_model import turn_of
from dlir.placement.summary import group_sentences, slip_sentences
from dlir.rounds.common_frame import numbered
from dlir.rounds.groups import found_against, in_words, leaders
from dlir.rounds.inputs import Round
from dlir.rounds.joint_solve import solve_together
from dlir.rounds.maps import OwnTiles
from dlir.rounds.orientation import is_told

log = logging.getLogger(__name__)
LEAST_SPREAD = 1.0  # px: no map of a round that only low resolution shows is more exact
SPREADS = 3.0  # times the spread of its blocks, by which such a map may err
UNKNOWN = 0.5  # of the diagonal of a tile, by which a round may be shifted of which only the stage tells


def place_together(
    rounds: Sequence[Round],
    maps: pd.DataFrame,
    between: pd.DataFrame,
    settings: Place = Place(),
    users: Sequence[Overrides | None] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns where each tile of each round lies (tables.ROUND_PLACEMENT), and how the stages err (tables.ROUND_STAGE).

    Args:
        maps: how each round lies to the first, as low resolution shows it (tables.ROUNDS).
        between: the pairs of tiles of two rounds (tables.ROUND_PAIRS); only accepted ones are used.
        users: what the user knows better of each round.
    """
    users = users or [None] * len(rounds)
    alone = [_placed_alone(of, settings, user) for of, user in zip(rounds, users, strict=True)]
    tiles = [of.tiles for of in rounds]
    own = [_own_tiles(of, placed, settings, user) for of, placed, user in zip(rounds, alone, users, strict=True)]
    accepted = numbered(between[between["accepted"]], [of.name for of in rounds], tiles)
    by_name = _unknown(maps, tables.usual_size(pd.concat(tiles, ignore_index=True)))
    unknown = np.array([by_name[of.name] for of in rounds])
    found = solve_together(tiles, alone, own, accepted, affine.from_table(maps), unknown, settings)
    frame, solution, affines = found.frame, found.solution, found.affines.copy()
    by_user = [of.placed_tiles(table) if of else np.zeros(len(table), bool) for of, table in zip(users, tiles, strict=True)]
    stretched = np.concatenate([placed.stretched for placed in alone])
    placed = placement_table(frame.tiles, frame.pairs, found.measured, solution, stretched, np.concatenate(by_user))
    affines[:, :, 2] -= affine.apply(affines, affine.corners(*tables.sizes(frame.tiles).T)).min(axis=(0, 1))
    slip = np.concatenate([of.solution.slip for of in alone])
    slip = np.einsum("nab,nb->na", frame.turned, slip) + solution.slip
    for name, against in found_against(maps).items():
        by_name[name] = float(np.hypot(by_name[name], by_name[against]))  # against the first round
    unknown = np.array([by_name[of.name] for of in rounds])
    apart = _deviation_of_unjoined(placed["group"].to_numpy(), frame.of_round, unknown)
    alone_within = np.concatenate([of.placement["deviation"].to_numpy(float) for of in alone])
    placed = placed.assign(
        round=np.array([of.name for of in rounds], object)[frame.of_round],
        tile=np.concatenate([table["tile"] for table in tiles]),
        **affine.to_columns(affines),
        slip_y=slip[:, 0],
        slip_x=slip[:, 1],
        deviation=np.hypot(placed["deviation"], apart),
        within=alone_within if apart.any() else placed["deviation"],  # where a round is lost, all deviations count that
    )
    rows = [of.stage.assign(round=each.name) for of, each in zip(alone, rounds, strict=True)]
    _log_summary(
        placed, (frame.pairs["side"] == "round").to_numpy(), np.linalg.norm(solution.residual, axis=1), found.maps, maps
    )
    return placed, pd.concat(rows, ignore_index=True)


def _placed_alone(of: Round, settings: Place, user: Overrides | None) -> Solved:
    """The tiles of a round, placed by its own pairs."""
    log.info("round %s by itself:", of.name)
    return solve_tiles(of.tiles, of.affines, settings, user, of.survey, of.lenses())


def _own_tiles(of: Round, placed: Solved, settings: Place, user: Overrides | None) -> OwnTiles:
    """Where the own pairs of a round, and the user, place its tiles, in the own frame of the round."""
    affines, middle = affine.from_table(placed.placement), (tables.sizes(of.tiles) - 1)[:, None] / 2
    middles = affine.apply(affines, middle)[:, 0]
    if user:  # the own frame is that of the pairs alone
        without = affine.apply(affine.from_table(of.own_placement(settings)), middle)[:, 0]
        off = np.median(without - middles, axis=0)
        affines, middles = affine.compose(affine.translation(off), affines), middles + off
    ends = affine.apply(affines, affine.corners(*tables.sizes(of.tiles).T)) - middles.mean(axis=0)
    table, radius = placed.placement, float(np.linalg.norm(ends, axis=2).max())
    return OwnTiles(affines, middles, table["deviation"].to_numpy(), table["group"].to_numpy(), radius)


def _unknown(maps: pd.DataFrame, size: NDArray[np.int64]) -> dict[str, float]:
    """The standard deviation, px, both axes together, of where the maps (tables.ROUNDS) put each round, by its name.

    It is against the round that it was found against, or against the first one.

    Args:
        size: (2,) px, of a tile.
    """
    by_pixels = SPREADS * maps["spread"].fillna(LEAST_SPREAD).clip(lower=LEAST_SPREAD)
    own = np.select([maps["found"] == "first", maps["found"] == "pixels"], [0.0, by_pixels], UNKNOWN * float(np.hypot(*size)))
    return dict(zip(maps["round"], own.tolist(), strict=True))


def _deviation_of_unjoined(group: NDArray[np.int64], of_round: NDArray[np.int64], unknown: Array) -> Array:
    """The standard deviation (tiles,), px, of places in rounds that no pair joins to the largest group, against that one.

    Args:
        group: (tiles,) number of the group of each tile.
        of_round: (tiles,) the round of each tile.
        unknown: (rounds,) px, by how much the map of each round may err.
    """
    in_largest = np.zeros(len(unknown), bool)
    in_largest[of_round[group == 0]] = True
    joined, variance = np.zeros(group.max() + 1, bool), np.full(group.max() + 1, np.inf)
    np.logical_or.at(joined, group, in_largest[of_round])
    np.minimum.at(variance, group, unknown[of_round] ** 2)
    return np.asarray(np.where(joined, 0.0, np.sqrt(variance + variance[0]))[group])


def _log_summary(placed: pd.DataFrame, between: NDArray[np.bool_], residual: Array, exact: Array, maps: pd.DataFrame) -> None:
    """Logs how the rounds lie to the first, how well the pairs fit, slips, and what nothing joins.

    Args:
        placed: tables.ROUND_PLACEMENT.
        between: (pairs,) which pairs are those of two rounds; the others lie within one.
        residual: (pairs,) px.
        exact: (rounds, 2, 3) the maps of the rounds.
        maps: the same by low resolution (tables.ROUNDS).
    """
    for name, linear in zip(maps["round"], exact[:, :, :2], strict=True):
        turn, scale = np.degrees(turn_of(linear.T).rotation), np.sqrt(abs(np.linalg.det(linear)))
        log.info("round %s: turned by %.4f degrees and scaled by %.6f against the first", name, turn, scale)
    joined, leader = set(placed.loc[placed["group"] == 0, "round"]), leaders(maps)
    for _, part in placed[~placed["round"].isin(joined)].groupby(placed.groupby("round")["group"].transform("min")):
        names = list(dict.fromkeys(part["round"]))
        by_pixels = {leader[name] for name in joined} & {leader[name] for name in names}
        seen = maps.loc[maps["round"].isin(names) & maps["advice"].map(is_told), "advice"]
        log.warning(
            "no accepted pair joins %s %s to the others: %s where %s, known to about %.0f px. What could join %s: %s",
            *(("round", names[0], "it lies") if len(names) == 1 else ("rounds", in_words(names), "they lie")),
            "low resolution shows it" if by_pixels else "the stage says", part["deviation"].median(),
            "it" if len(names) == 1 else "them",
            f"another view, since {seen.iloc[0]}" if len(seen) else
            "another reference_channel, which all rounds show, or a larger overlap with the other rounds",
        )  # fmt: skip
    for what, chosen in (("within rounds", ~between), ("between rounds", between)):
        if chosen.any():
            log.info("residuals of the %d pairs %s: median %.3f px, 95 %% below %.3f px", chosen.sum(), what,
                     *np.quantile(residual[chosen], (0.5, 0.95)))  # fmt: skip
    for line in slip_sentences(placed):
        log.info(line)
    if unjoined := group_sentences(placed):
        log.warning("\n  ".join(unjoined))
