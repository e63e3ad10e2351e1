"""How well the rounds of a specimen agree, by pixels that no pair has to answer for.

Patches on a grid over the mosaics are compared (`rounds/shifts.py`): the registered channel of each round with that of the
round against which it was found, mostly the first one. Each patch belongs to the tile of its round that shows it farthest from
its border. What bends there within tiles, `round_bend.py` finds. Medians and quantiles weigh a patch by how exactly its shift
is known. They hold the noise of the measurement, so the rounds agree as well as they say, or better.

The stores are read in blocks, one round after the other, so memory does not grow with the number of rounds.
"""

from collections.abc import Iterator
from itertools import pairwise
from math import ceil, sqrt
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlir.core import affine, tables
from dlir.core.affine import Array
from dlir.core.progress import progress
from dlir.reporting.round_bend import smooth_power, with_bend
from dlir.reporting.round_results import RoundResults, Specimen
from dlir.rounds.shifts import MATCH, Shifts, shifts

SIDES = 64, 128  # px, of a patch: a quarter of a tile within these limits
OF_TILE, LEAST_OF_TILE = 12, 2  # patches of a tile; as few as this where a round would have more than MOST patches
LEAST, MOST = 400, 1500  # patches of a round
BLOCK = 6  # patches along each side of a block that is read at once
EXACT = 0.3  # px: a shift that is known less exactly says nothing
FLOOR = 0.05  # px: no patch counts as known better
FAR, ALIKE = 3.0, 1.5  # px: a patch that is off by more has to have a neighbour that is off alike, or it matched by chance
CONTENT = 0.5  # of the usual contrast of patches that match: others with as much in both rounds should match
UPPER = 0.75  # quantile of the contrast that is usual where no patch matches
MEASURED, UNMATCHED, EMPTY = "measured", "unmatched", "empty"  # states of a patch
OF_ROUND = ("round", MEASURED, UNMATCHED, EMPTY, "median", "p95", "largest", "deviation", "ncc", "rigid", "bend", "bend_p95")


class Agreement(NamedTuple):
    """How well the rounds agree."""

    side: int  # px, of a patch
    patches: pd.DataFrame  # see `agreement`
    rounds: pd.DataFrame  # see `by_round`
    tiles: pd.DataFrame  # see `by_tile`


def agreement(specimen: Specimen) -> Agreement:
    """Returns how well each round agrees with the one that it is compared with (`Specimen.compared_with`).

    The patches have a row for each round but the first and each place that both show:

    - round, tile: name of the round, and number of its tile that shows the patch best
    - y, x: middle of the patch, px of the mosaic
    - dy, dx, length: from where the other round shows something to where this one does, px
    - deviation: standard deviation of it, px
    - before, after: NCC as the patches lie, and after the shift
    - state: measured; unmatched: both show something, and it does not match; empty: too little is seen to tell
    - what `with_bend` adds
    """
    size = min(int(tables.usual_size(each.tiles).min()) for each in specimen.rounds)
    side = int(np.clip(size // 4 // 8 * 8, *SIDES))
    places = _places(specimen, side)
    others = specimen.rounds[1:]
    owners = {each.name: _owners(each, places, side) for each in specimen.rounds}
    fixed = {each.name: specimen.compared_with(each) for each in others}
    tiles = {each.name: np.where(owners[fixed[each.name].name] >= 0, owners[each.name], -1) for each in others}
    measured: dict[str, list[Shifts]] = {each.name: [] for each in others}
    order: dict[str, list[NDArray[np.int64]]] = {each.name: [] for each in others}
    blocks = list(_blocks(places, np.any([of >= 0 for of in tiles.values()] or [places[:, 0] < 0], axis=0)))
    for block in progress(blocks, "comparing the rounds"):
        shown: dict[str, Array] = {}  # what the rounds show with which others are compared
        for each in others:
            there, of = np.flatnonzero(tiles[each.name][block] >= 0), fixed[each.name]
            if len(there):
                if of.name not in shown:
                    shown[of.name] = _cut(of, places[block], side)
                measured[each.name].append(shifts(shown[of.name][there], _cut(each, places[block[there]], side)))
                order[each.name].append(block[there])
    found = []
    for name in (each.name for each in others if order[each.name]):
        rows = np.concatenate(order[name])
        found.append(_table(name, tiles[name][rows], places[rows], Shifts.joined(measured[name])))
    patches = with_bend(pd.concat(found, ignore_index=True) if found else _no_patches())
    return Agreement(side, patches, by_round(patches, [each.name for each in others]), by_tile(patches))


def by_round(patches: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Returns a row for each round but the first, from patches as `agreement` has them.

    - round; measured, unmatched, empty: number of patches
    - median, p95, largest: of the lengths of the shifts, px; NaN where nothing was measured
    - deviation: median standard deviation of a measured shift, px
    - ncc: median NCC as the patches lie
    - rigid: median length of what a shift and a turn of each tile would mend, px
    - bend, bend_p95: root mean square and 95 % quantile of the smooth field that no rigid tile can mend, px; 0 where there is
      none
    """
    rows = []
    for name in names:
        of_round = patches[patches["round"] == name]
        measured = of_round[of_round["state"] == MEASURED]
        count = of_round["state"].value_counts()
        power = smooth_power(measured)
        median, p95 = quantiles(measured, 0.5, 0.95)
        bend, rigid = ((measured[f"{of}_y"] ** 2 + measured[f"{of}_x"] ** 2) ** 0.5 for of in ("bend", "rigid"))
        rows.append({
            "round": name, **{state: int(count.get(state, 0)) for state in (MEASURED, UNMATCHED, EMPTY)},
            "median": median, "p95": p95, "largest": measured["length"].max(),
            "deviation": measured["deviation"].median(), "ncc": measured["before"].median(),
            "rigid": rigid.median(), "bend": sqrt(power), "bend_p95": bend.quantile(0.95) if power else 0.0,
        })  # fmt: skip
    return pd.DataFrame(rows, columns=list(OF_ROUND))


def quantiles(measured: pd.DataFrame, *parts: float) -> list[float]:
    """Returns quantiles of the lengths of measured shifts, px, each weighted by how exactly it is known; NaN without any."""
    if measured.empty:
        return [float("nan")] * len(parts)
    ordered = measured.sort_values("length")
    weight = 1 / (ordered["deviation"].to_numpy() ** 2 + FLOOR**2)
    below = np.cumsum(weight) - weight / 2
    return [float(np.interp(part * weight.sum(), below, ordered["length"])) for part in parts]


def by_tile(patches: pd.DataFrame) -> pd.DataFrame:
    """Returns a row for each tile of each round that has patches.

    - round, tile; measured, unmatched, empty: number of patches
    - off_y, off_x, offset: median of the shifts, px: how far the tile as a whole lies from the round it is compared with
    - median, largest: of the lengths of the shifts, px
    - ncc: median NCC of the patches as they lie
    - bend: root mean square of the smooth field in the tile, px; NaN where too few patches tell

    All lengths and the NCC are NaN where nothing was measured.
    """
    found = patches.assign(
        bend=patches["bend_y"] ** 2 + patches["bend_x"] ** 2,
        **{state: patches["state"] == state for state in (MEASURED, UNMATCHED, EMPTY)},
    )
    measured = found["state"] == MEASURED
    found.loc[~measured, ["dy", "dx", "length", "before"]] = np.nan
    grouped = found.groupby(["round", "tile"], sort=False)
    table = grouped[[MEASURED, UNMATCHED, EMPTY]].sum().astype(int)
    table["off_y"], table["off_x"] = grouped["dy"].median(), grouped["dx"].median()
    table["offset"] = np.hypot(table["off_y"], table["off_x"])
    table["median"], table["largest"] = grouped["length"].median(), grouped["length"].max()
    table["ncc"], table["bend"] = grouped["before"].median(), np.sqrt(grouped["bend"].mean())
    return table.reset_index()


def _places(specimen: Specimen, side: int) -> NDArray[np.int64]:
    """The middles (n, 2), px, of patches on a grid over the mosaic; see OF_TILE."""
    tiles = max(len(each.tiles) for each in specimen.rounds)
    most = max(LEAST, LEAST_OF_TILE * tiles, min(OF_TILE * tiles, MOST))
    compared = {fixed.name: fixed for fixed in map(specimen.compared_with, specimen.rounds)}.values()
    corners = np.concatenate([
        affine.apply(affine.from_table(of.placed), affine.corners(*tables.sizes(of.tiles, of.placed["tile"]).T)).reshape(-1, 2)
        for of in compared
    ])  # fmt: skip
    low, high = np.ceil(corners.min(axis=0)).astype(int) + side // 2, np.floor(corners.max(axis=0)).astype(int) - side // 2
    step = max(side, ceil(sqrt(float((high - low + side).prod()) / most)))
    rows, columns = (np.arange(start, end + 1, step) for start, end in zip(low.tolist(), high.tolist(), strict=True))
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)


def _owners(each: RoundResults, places: NDArray[np.int64], side: int) -> NDArray[np.int64]:
    """The tile (n,) of a round that shows each patch farthest from its border; -1 where its tiles do not hold all of it."""
    best, owner = np.full(len(places), -np.inf), np.full(len(places), -1)
    corners = places[:, None] + np.array([(0, 0), (-1, -1), (-1, 1), (1, -1), (1, 1)]) * (side / 2 - 0.5)
    seen = np.zeros(corners.shape[:2], bool)
    sizes = tables.sizes(each.tiles, each.placed["tile"])
    placed = affine.from_table(each.placed)
    for number, matrix, size in zip(each.placed["tile"].tolist(), placed, sizes, strict=True):
        inside = affine.apply(affine.invert(matrix), corners.reshape(-1, 2)).reshape(corners.shape)
        depth = np.minimum(inside, size - 1 - inside).min(axis=2)
        seen |= depth >= 0
        deeper = depth[:, 0] > best
        best[deeper], owner[deeper] = depth[deeper, 0], number
    return np.where(seen.all(axis=1), owner, -1)


def _blocks(places: NDArray[np.int64], chosen: NDArray[np.bool_]) -> Iterator[NDArray[np.int64]]:
    """Yields the rows of the chosen places, block by block."""
    rows = np.flatnonzero(chosen)
    number = [np.unique(axis, return_inverse=True)[1].ravel() // BLOCK for axis in places.T]
    key = number[0] * (number[1].max(initial=0) + 1) + number[1]
    rows = rows[np.argsort(key[rows], kind="stable")]
    ends = [0, *(np.flatnonzero(np.diff(key[rows])) + 1).tolist(), len(rows)]
    yield from (rows[start:end] for start, end in pairwise(ends) if end > start)


def _cut(each: RoundResults, places: NDArray[np.int64], side: int) -> Array:
    """The patches (n, side, side) of a round around these places, from one part of its mosaic."""
    first = places - side // 2
    low, high = first.min(axis=0), first.max(axis=0) + side
    part = each.registered(slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1])))
    return np.stack([part[y : y + side, x : x + side] for y, x in (first - low).tolist()])


def _table(name: str, tiles: NDArray[np.int64], places: NDArray[np.int64], shift: Shifts) -> pd.DataFrame:
    """The patches of a round, with their states."""
    matches = (shift.after >= MATCH) & (shift.deviation <= EXACT)
    chance = matches & ~_supported(places, shift.shift, matches)
    matches &= ~chance
    usual = np.median(shift.contrast[matches], axis=0) if matches.any() else np.quantile(shift.contrast, UPPER, axis=0)
    holds = (shift.contrast >= CONTENT * usual).all(axis=1)
    return pd.DataFrame({
        "round": name, "tile": tiles, "y": places[:, 0], "x": places[:, 1], "dy": shift.shift[:, 0],
        "dx": shift.shift[:, 1], "length": np.linalg.norm(shift.shift, axis=1), "deviation": shift.deviation,
        "before": shift.before, "after": shift.after,
        "state": np.where(matches, MEASURED, np.where(holds & (chance | (shift.after < MATCH)), UNMATCHED, EMPTY)),
    })  # fmt: skip


def _supported(places: NDArray[np.int64], shift: Array, matches: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which patches (n,) are not far off, or have a neighbour among the matches that is off alike."""
    near = np.linalg.norm(shift, axis=1) <= FAR
    steps = [np.diff(np.unique(axis)) for axis in places.T]
    step = min((int(each.min()) for each in steps if len(each)), default=0)
    for at in np.flatnonzero(matches & ~near):
        apart = np.abs(places - places[at]).max(axis=1)
        others = matches & (apart > 0) & (apart <= 1.5 * step)
        near[at] = (np.linalg.norm(shift[others] - shift[at], axis=1) < ALIKE).any()
    return np.asarray(near)


def _no_patches() -> pd.DataFrame:
    columns = ["round", "tile", "y", "x", "dy", "dx", "length", "deviation", "before", "after", "state"]
    return pd.DataFrame(columns=columns).astype(dict.fromkeys(columns[2:10], float))
