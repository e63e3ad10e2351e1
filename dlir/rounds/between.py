"""The step `between`: it registers the tiles of each round to those of the round against which it was found, mostly the first.

The tiles are turned and scaled as their rounds lie to each other (`turned.py`), and then registered as all other pairs are: by
the same network, with unrelated pairs for comparison, and in the light of all pairs of the two rounds together. What the stage
is for other pairs, the places are here that each round's own pairs give its tiles, so that a pair with debris, or with another
stain, is found out by its place. Where the pairs show that a round lies elsewhere, it is done again from there.

A tile that no pair joins to that round, such as one whose stain is bleached, is registered to the round before it as well.
"""

import logging
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from dlir.core import affine, hashing, tables
from dlir.core.affine import Array
from dlir.core.tables import LINEAR_COVARIANCE
from dlir.placement.settings import Place
from dlir.registration.inference.cache import EstimateCache
from dlir.registration.inference.register import register_planes
from dlir.registration.model.checkpoint import choose_device
from dlir.registration.model.estimate import Method
from dlir.registration.model.methods import load_method
from dlir.registration.pairs.neighbours import ROUND, with_windows
from dlir.registration.settings import Register, own_method_file
from dlir.rounds.groups import found_against, leaders
from dlir.rounds.inputs import PlacedRound, read_placed
from dlir.rounds.maps import turn_covariance, turn_linear_covariance
from dlir.rounds.pictures import Picture, picture, step_for
from dlir.rounds.pieces import common_structure, find_pieces
from dlir.rounds.similarity import similarity_between
from dlir.rounds.turned import Turned, turned

log = logging.getLogger(__name__)
SEARCH = 12.0  # px, around where the rounds are known to lie
SIDE = 700  # px, of the longest picture
MOVED = 1.0  # px: where the pairs move a round by more, they are registered again
LOOKS = 3  # times at most
LEAST_PAIRS = 3  # accepted ones, that show where a round lies


class Registration(NamedTuple):
    """How pairs are registered."""

    method: Method
    settings: Register
    device: torch.device
    inputs: tuple[object, ...]  # what all estimates follow from
    cache: Path | None  # the folder that keeps them


def between(
    results: list[Path],
    rounds: Path,
    output: Path,
    *,
    model: Path | None = None,
    settings: Register = Register(),
    place: Place = Place(),
    device: str = "auto",
    cache: Path | None = None,
) -> None:
    """Registers the tiles of each round to those of others and writes the pairs (tables.ROUND_PAIRS) to `output`.

    Args:
        results: the folders of the results of all rounds, in order.
        rounds: how they lie to the first (tables.ROUNDS).
        model, settings, device: as the step `register` takes them.
        place: section `place` of config.yaml, by which each round places its own tiles.
        cache: a folder that keeps estimates from run to run. A pair that did not change is not registered again.

    Raises:
        ModelError, MethodError: as the step `register` does.
        TableError: when a table is damaged.
        ImageError: when a tile cannot be read, or has changed.
    """
    chosen = choose_device(device if settings.method != "phase" else "cpu")
    own = own_method_file(settings.method)
    inputs = (settings.method, own and hashing.of_file(own), model and hashing.of_file(model))
    how = Registration(load_method(settings.method, model, chosen), settings, chosen, inputs, cache)
    placed, listed = read_placed(results, place), tables.read(rounds, tables.ROUNDS)
    rough = dict(zip(listed["round"], affine.from_table(listed), strict=True))
    maps = dict(rough)
    step = max(step_for(each.round.tiles, each.placement, SIDE) for each in placed)

    @lru_cache(maxsize=3)  # of the round that it was found against, of this one, and of the one before
    def shown(name: str) -> Picture:
        each = next(each for each in placed if each.round.name == name)
        return picture(each.round.planes(), each.round.tiles, each.placement, step)

    by_name, leader = {each.round.name: each for each in placed}, leaders(listed)
    groups: dict[str, list[str]] = {name: [name] for name in leader.values()}
    found = []
    for name, against in found_against(listed).items():
        each, group = by_name[name], groups[leader[name]]
        tiles = each.round.tiles["tile"].tolist()
        to_against = affine.compose(affine.invert(rough[against]), rough[name])
        maps[name] = affine.compose(maps[against], to_against)  # the pairs of that round have moved it
        joined, maps[name] = register_rounds(by_name[against], each, tiles, maps, shown, how)
        held = set(joined["moving"][joined["accepted"]])
        found.append(joined)
        loose = [tile for tile in tiles if tile not in held]
        if others := [other for other in (group[-1], leader[name]) if other != against and loose]:
            found.append(register_rounds(by_name[others[0]], each, loose, maps, shown, how)[0])
        group.append(name)
    empty = pd.DataFrame(columns=list(tables.ROUND_PAIRS.columns))
    table = pd.concat([each for each in found if len(each)] or [empty], ignore_index=True)
    tables.write(table[list(empty.columns)].assign(pair=np.arange(len(table))), tables.ROUND_PAIRS, output)


def register_rounds(
    fixed: PlacedRound,
    moving: PlacedRound,
    tiles: list[int],
    maps: Mapping[str, Array],
    shown: Callable[[str], Picture],
    how: Registration,
) -> tuple[pd.DataFrame, Array]:
    """Registers tiles of a round to those of another one that see the same place.

    Args:
        tiles: numbers of tiles of the moving round.
        maps: affines (2, 3) from the frame of each round to that of the first, by the name of the round.
        shown: returns the picture of a round, by its name.

    Returns:
        the pairs (tables.ROUND_PAIRS), and the map of the moving round as they show it.
    """
    names, to_first = (fixed.round.name, moving.round.name), maps[moving.round.name]
    folder = how.cache and how.cache / "-".join(names)
    light = [hashing.of_file(each.round.folder / "illumination.tif") for each in (fixed, moving)]
    for _ in range(LOOKS):
        to_firsts = maps[names[0]], to_first
        to_fixed = affine.compose(affine.invert(to_firsts[0]), to_first)
        common = common_structure(shown(names[0]).prepared(), shown(names[1]), to_fixed)
        pieces = find_pieces(fixed, moving, to_firsts, common, tiles)
        if pieces.empty:
            return pd.DataFrame(columns=list(tables.ROUND_PAIRS.columns)), to_first
        both = turned(fixed, moving, to_firsts, pieces)
        log.info("%s to %s: %d pieces of %d tiles", names[1], names[0], len(pieces), pieces["tile"].nunique())
        coarse, fine = (EstimateCache(folder and folder / kind, both.tiles, *how.inputs, *light, both.lenses)
                        for kind in ("affines", "overlaps"))  # fmt: skip
        found = register_planes(both.tiles, list_pairs(both, pieces), both.planes, how.method, how.settings,
                                device=how.device, coarse=coarse, fine=fine, slipped=False)  # fmt: skip
        for each in (coarse, fine):
            each.write()
        correction = _correction(found, both)
        if correction is None:
            break
        to_first = affine.compose(correction, to_first)
        places = both.tiles[["y", "x"]].to_numpy()
        if np.abs(affine.apply(correction, places) - places).max() < MOVED:
            break
    else:
        log.warning("%s: where it lies to %s changes each time that it is registered", names[1], names[0])
    return of_tiles(found, both).assign(fixed_round=names[0], moving_round=names[1]), to_first


def list_pairs(both: Turned, pieces: pd.DataFrame) -> pd.DataFrame:
    """Returns the pairs (tables.PAIRS) of the pieces of a round with the tiles that show them, numbered as in `both`."""
    fixed = pieces["fixed"].to_numpy(int)
    moving = len(both.tiles) - len(pieces) + np.arange(len(pieces))
    places = both.tiles[["y", "x"]].to_numpy()
    y, x = (places[moving] - places[fixed]).T
    rows = pd.DataFrame({"pair": np.arange(len(pieces)), "fixed": fixed, "moving": moving, "side": ROUND, "nominal_y": y,
                         "nominal_x": x, "search": SEARCH})  # fmt: skip
    return with_windows(rows, both.tiles)[list(tables.PAIRS.columns)]


def of_tiles(found: pd.DataFrame, both: Turned) -> pd.DataFrame:
    """Returns registered pairs of turned tiles as those of the tiles themselves, by their numbers in their rounds.

    With T from px of a tile to px of the turned one, the affine A becomes T_fixed^-1 A T_moving, and covariances go with it.
    """
    fixed, moving = (found[end].to_numpy(int) for end in ("fixed", "moving"))
    to_fixed, to_moving = affine.invert(both.to_turned[fixed]), both.to_turned[moving]
    affines = affine.compose(to_fixed, affine.compose(affine.from_table(found), to_moving))
    centre = affine.apply(affine.invert(to_moving), found[["centre_y", "centre_x"]].to_numpy()[:, None])[:, 0]
    left, right = to_fixed[:, :, :2], to_moving[:, :, :2]
    shift = turn_covariance(tables.shift_covariance(found), left)
    linear = turn_linear_covariance(found[LINEAR_COVARIANCE].to_numpy().reshape(-1, 4, 4), left, np.linalg.inv(right))
    return found.assign(
        fixed=both.own[fixed], moving=both.own[moving], **affine.to_columns(affines),
        centre_y=centre[:, 0], centre_x=centre[:, 1], var_y=shift[:, 0, 0], cov_yx=shift[:, 0, 1], var_x=shift[:, 1, 1],
        **dict(zip(LINEAR_COVARIANCE, linear.reshape(-1, 16).T, strict=True)),
    )  # fmt: skip


def _correction(found: pd.DataFrame, both: Turned) -> Array | None:
    """The similarity (2, 3) that takes the moving round, in the first frame, to where its pairs lie; None without enough."""
    accepted = found[found["accepted"] & ~found["overruled"]]
    if len(accepted) < LEAST_PAIRS:
        return None
    places = both.tiles[["y", "x"]].to_numpy()
    centre = accepted[["centre_y", "centre_x"]].to_numpy()
    there = affine.apply(affine.from_table(accepted), centre[:, None])[:, 0] + places[accepted["fixed"]]
    return similarity_between(centre + places[accepted["moving"]], there)
