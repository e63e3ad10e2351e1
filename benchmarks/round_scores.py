"""How well the tiles of rounds lie, by the exact truth of `round_tiles.py`.

All placements are tables with the columns round, path (matched by its file name), yy, yx, y0, xy, xx and x0, in one frame of
their own. Errors are in px of the mosaic.
"""

import json
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlir.core import affine

Array = NDArray[np.float64]
POINTS = 5  # along a side of a tile, at which errors are measured
FAR = 1.0  # px: a tile is off where one of its points is farther
KEYS = ["round", "path"]


class Scores(NamedTuple):
    """How the rounds of a set came out."""

    between: Array  # (points,) px: from where a point of a later round lies to where the first round shows the same point
    off: int  # tiles with content that are FAR off by that, or that are missing
    tiles: int  # tiles with content that show what tiles of the first round with content show
    within: dict[
        str, Array
    ]  # (corners,) px, by round: of its tiles with content after one affine, which says nothing of the others
    blank: Array  # (tiles,) px: from blank tiles to where the map of their round has the places of the stage; see `blanks`


def truth_of(folder: Path) -> pd.DataFrame:
    """The truth of all rounds in the folder of a set: the columns of truth.csv, round, y and x (nominal), and side."""
    rounds, parts = json.loads((folder / "rounds.json").read_text())["rounds"], []
    for name, about in rounds.items():
        nominal = pd.read_csv(folder / name / "nominal.csv")[["path", "y", "x"]]
        own = pd.read_csv(folder / name / "truth.csv").merge(nominal, on="path", validate="one_to_one")
        parts.append(own.assign(round=name, side=about["side"]))
    return pd.concat(parts, ignore_index=True)


def score(folder: Path, placement: Path) -> Scores:
    """Compare a placement with the truth of a set."""
    truth, found = truth_of(folder), pd.read_csv(placement)
    found = found.assign(path=[Path(path).name for path in found["path"]])[[*KEYS, *affine.COLUMNS]]
    joined = truth[KEYS].merge(found, on=KEYS, how="left", validate="one_to_one")
    true, placed = affine.from_table(truth), affine.from_table(joined)
    apart = between(truth, true, placed)
    largest = [np.inf if np.isnan(each).any() else each.max() for each in apart.values()]
    shown = truth["content"].to_numpy(bool) & np.isfinite(placed[:, 0, 2])
    within = {
        name: corner_errors(true[rows], placed[rows], float(truth["side"][rows[0]]) - 1)
        for name in dict.fromkeys(truth["round"])
        if len(rows := np.flatnonzero(shown & (truth["round"] == name))) > 1
    }
    off = int(np.sum(np.array(largest) > FAR))
    every = np.concatenate([each[np.isfinite(each)] for each in apart.values()] or [np.zeros(0)])
    return Scores(every, off, len(apart), within, blanks(folder, truth, true, placed))


def lattice(side: float) -> Array:
    """Points (POINTS^2, 2) all over a tile, its corners among them."""
    ends = np.linspace(0, side - 1, POINTS)
    return np.stack(np.meshgrid(ends, ends, indexing="ij"), axis=-1).reshape(-1, 2)


def between(truth: pd.DataFrame, true: Array, placed: Array) -> dict[int, Array]:
    """How far points of each tile of a later round lie from where the first round shows them; NaN where a place is missing.

    Where several tiles of the first round show a point, their mean counts. Only tiles with content count.
    """
    first = np.flatnonzero((truth["round"] == truth["round"][0]) & truth["content"].astype(bool))
    size, found = float(truth["side"][0]), {}
    for tile in np.flatnonzero((truth["round"] != truth["round"][0]) & truth["content"].astype(bool)):
        points = lattice(float(truth["side"][tile]))
        in_first = affine.apply(affine.invert(true[first]), affine.apply(true[tile], points))  # (tiles, points, 2)
        inside = ((in_first >= 0) & (in_first <= size - 1)).all(axis=2)
        seen = inside.any(axis=0)
        if seen.any():
            there = np.where(inside[:, :, None], affine.apply(placed[first], in_first), 0).sum(axis=0)[seen]
            mean = there / inside.sum(axis=0)[seen][:, None]
            found[int(tile)] = np.asarray(np.linalg.norm(affine.apply(placed[tile], points[seen]) - mean, axis=1))
    return found


def corner_errors(true: Array, placed: Array, end: float) -> Array:
    """The errors of the corners of tiles, px, after one affine of all."""
    corners = np.array([[0, 0], [0, end], [end, 0], [end, end]])
    found, right = (affine.apply(each, corners).reshape(-1, 2) for each in (placed, true))
    gauge = import_module("score").gauge(found, right, True)
    return np.asarray(np.linalg.norm(affine.apply(gauge, found) - right, axis=1))


def blanks(folder: Path, truth: pd.DataFrame, true: Array, placed: Array) -> Array:
    """How far the middles of blank tiles lie from where the true map of their round has the places of the stage.

    The map is moved by the mean error of the stage over the tiles of the round with content, since no more can be known.
    """
    shown = truth["content"].to_numpy(bool) & np.isfinite(placed[:, 0, 2])
    first = np.flatnonzero((truth["round"] == truth["round"][0]) & shown)
    blank = np.flatnonzero(truth["blank"].astype(bool))
    if not len(blank) or not len(first):
        return np.zeros(0)
    end = float(truth["side"][0]) - 1
    corners = np.array([[0, 0], [0, end], [end, 0], [end, end]])
    at, right = (affine.apply(each[first], corners).reshape(-1, 2) for each in (placed, true))
    gauge = import_module("score").gauge(at, right, True)
    maps = {name: np.array(each["map"]) for name, each in json.loads((folder / "rounds.json").read_text())["rounds"].items()}
    stage = np.concatenate([affine.apply(maps[each], [yx]) for each, *yx in truth[["round", "y", "x"]].itertuples(index=False)])
    error, middles = true[:, :, 2] - stage, ((truth["side"] - 1) / 2).to_numpy()[:, None, None].repeat(2, axis=2)
    apart = []
    for tile in blank:
        known = shown & (truth["round"] == truth["round"][tile]).to_numpy()
        moved = true[tile] - np.c_[np.zeros((2, 2)), error[tile] - error[known].mean(axis=0)]
        told = affine.apply(moved, middles[tile])
        apart.append(np.linalg.norm(affine.apply(gauge, affine.apply(placed[tile], middles[tile])) - told))
    return np.array(apart)


def pair_errors(folder: Path, pairs: pd.DataFrame, tiles: dict[str, list[str]]) -> Array:
    """How far (n,), px, pairs of tiles of two rounds (tables.ROUND_PAIRS) are off, where their shift is known best.

    Args:
        tiles: the file names of the tiles of each round, by their number.
    """
    truth = truth_of(folder)
    true = dict(zip(zip(truth["round"], truth["path"], strict=True), affine.from_table(truth), strict=True))
    ends = [
        np.array([true[name, tiles[name][tile]] for name, tile in zip(pairs[f"{end}_round"], pairs[end], strict=True)])
        for end in ("fixed", "moving")
    ]
    right = affine.compose(affine.invert(ends[0]), ends[1])
    centre = pairs[["centre_y", "centre_x"]].to_numpy()[:, None]
    return np.asarray(
        np.linalg.norm(affine.apply(affine.from_table(pairs), centre) - affine.apply(right, centre), axis=2)[:, 0]
    )
