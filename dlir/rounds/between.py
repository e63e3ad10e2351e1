"""The step `between`: it registers the tiles of each round to those of the round against which it was found, mostly the first.

The tiles are turned and scaled as their rounds lie to each other (`turned.py`), and then registered as all other pairs are: by
the same network, with unrelated pairs for comparison, and in the light of all pairs of the two rounds together. What the stage
is for other pairs, the places are here that each round's own pairs give its tiles, so that a pair with debris, or with another
stain, is found out by its place. Where the pairs show that a round lies elsewhere, it is done again from there.

A tile that no pair joins to that round, such as one whose stain is bleached, is registered to the round before it as well.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from dlir.core import affine, hashing, tables
from dlir.core.affine import Array
from dlir.placement.settings import Place
from dlir.registration.inference.cache import EstimateCache
from dlir.registration.inference.register import register_planes
from dlir.registration.model.checkpoint import choose_device
from dlir.registration.model.estimate import Method
from dlir.registration.model.methods import load_method
from dlir.registration.settings import Register, own_method_file
from dlir.rounds.groups import found_against, leaders
from dlir.rounds.inputs import PlacedRound, read_placed
from dlir.rounds.pictures import Picture, pictures_of
from dlir.rounds.piece_pairs import LONGEST, of_tiles, pair_up
from dlir.rounds.similarity import similarity_between
from dlir.rounds.turned import Turned

log = logging.getLogger(__name__)
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
    shown = pictures_of(placed, LONGEST)
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
        both, pairs = pair_up(fixed, moving, to_firsts, (shown(names[0]), shown(names[1])), tiles)
        if pairs.empty:
            return pd.DataFrame(columns=list(tables.ROUND_PAIRS.columns)), to_first
        log.info("%s to %s: %d pieces of %d tiles", names[1], names[0], len(pairs), len(set(both.own[pairs["moving"]])))
        coarse, fine = (EstimateCache(folder and folder / kind, both.tiles, *how.inputs, *light, both.lenses)
                        for kind in ("affines", "overlaps"))  # fmt: skip
        found = register_planes(both.tiles, pairs, both.planes, how.method, how.settings,
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


def _correction(found: pd.DataFrame, both: Turned) -> Array | None:
    """The similarity (2, 3) that takes the moving round, in the first frame, to where its pairs lie; None without enough."""
    accepted = found[found["accepted"] & ~found["overruled"]]
    if len(accepted) < LEAST_PAIRS:
        return None
    places = both.tiles[["y", "x"]].to_numpy()
    centre = accepted[["centre_y", "centre_x"]].to_numpy()
    there = affine.apply(affine.from_table(accepted), centre[:, None])[:, 0] + places[accepted["fixed"]]
    return similarity_between(centre + places[accepted["moving"]], there)
