"""Which pieces of the tiles of a round are registered to which tiles of another one.

Tiles of two rounds share far more than the narrow overlaps of neighbours, and a part of it is enough. So of each tile the two
pieces are taken that show most of what both rounds have in common: the product of both prepared pictures, summed over the
piece. Debris, glass and stains of one round alone add nothing to that sum.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from dlir.core import affine, tables
from dlir.core.affine import Array
from dlir.rounds.inputs import PlacedRound
from dlir.rounds.pictures import Picture

LARGEST, SHARE = (
    256,
    0.4,
)  # px, of the side of a piece, at most; and of the side of a tile, so that one tile holds it at any phase
SMALLEST, SMALLER = 48, 0.75  # px; and times as large, where no tile holds such a piece
MULTIPLE = 8  # px, of the side
EACH = 2  # pieces of a tile, at most
APART, ALIKE = 0.75, 0.3  # sides between the middles of both, at least; and of the sum of the first, that the second has
MARGIN = 8.0  # px from the border of both tiles
PLACES = 8  # tried in a side of a piece


def common_structure(fixed: Picture, moving: Picture, to_fixed: Array) -> Picture:
    """Returns the product of two prepared pictures on the grid of `fixed`.

    Args:
        moving: not prepared.
        to_fixed: (2, 3) from the frame of the moving round to that of the fixed one.
    """
    to_moving = affine.compose(affine.invert(to_fixed), fixed.to_frame())
    to_moving = affine.compose(affine.invert(moving.to_frame()), to_moving)
    both = moving.warped(to_moving, fixed.image.shape).prepared()
    return Picture(fixed.image * both.image, fixed.covered & both.covered, fixed.step)


def find_pieces(
    fixed: PlacedRound, moving: PlacedRound, maps: tuple[Array, Array], common: Picture, tiles: list[int]
) -> pd.DataFrame:
    """Returns the pieces of tiles of the moving round, by their numbers there: the columns tile, top, left, side and fixed.

    top and left, px, count from the first px of the turned tile; `fixed` is the number of the tile of the other round that
    shows the piece.

    Args:
        maps: affines (2, 3) from the frames of both rounds to that of the first.
        common: what both show, in the frame of the fixed round.
    """
    ends = [_Ends.of(each, to_first) for each, to_first in zip((fixed, moving), maps, strict=True)]
    smallest = int(min(end.sizes.min() for end in ends))
    to_picture = affine.compose(affine.invert(common.to_frame()), affine.invert(maps[0]))
    shown = lru_cache(lambda side: ndimage.uniform_filter(common.image, side / common.step, mode="constant"))
    chosen_pieces: list[pd.DataFrame] = []
    for tile in tiles:
        side, found = min(LARGEST, int(SHARE * smallest)), pd.DataFrame()
        while side >= SMALLEST and found.empty:
            own = side // MULTIPLE * MULTIPLE
            found = _candidates(ends[0], ends[1], tile, own)
            side = int(SMALLER * side)
        if len(found):
            middles = found[["y", "x"]].to_numpy() + (own - 1) / 2
            at = affine.apply(to_picture, middles)
            score = ndimage.map_coordinates(shown(own), at.T, order=1)
            chosen = found.iloc[_best(middles, np.asarray(score, float), own)]
            chosen_pieces.append(chosen[["top", "left", "fixed"]].astype(int).assign(tile=tile, side=own))
    empty = pd.DataFrame(columns=["tile", "top", "left", "side", "fixed"])
    return pd.concat(chosen_pieces or [empty], ignore_index=True)


class _Ends(NamedTuple):
    """The tiles of a round, in the frame of the first."""

    sizes: NDArray[np.int64]  # (n, 2) px
    to_first: Array  # (n, 2, 3)
    middles: Array  # (n, 2) px

    @classmethod
    def of(cls, each: PlacedRound, to_first: Array) -> "_Ends":
        sizes = tables.sizes(each.round.tiles)
        affines = affine.compose(to_first, affine.from_table(each.placement))
        return cls(sizes, affines, affine.apply(affines, ((sizes - 1) / 2)[:, None])[:, 0])


def _candidates(fixed: _Ends, moving: _Ends, tile: int, side: int) -> pd.DataFrame:
    """The pieces of a side, px, that lie in this tile and in one of the other round: top, left, fixed, and y and x there."""
    size, middle = moving.sizes[tile], (moving.sizes[tile] - 1) / 2
    starts = [np.arange(0, length - side + 1, max(1, side // PLACES)) for length in size]
    corner = np.stack(np.meshgrid(*starts, indexing="ij"), -1).reshape(-1, 2)
    place = corner + moving.middles[tile] - middle  # in the frame of the first round
    ends = place[:, None] + affine.corners(side, side)  # (n, 4, 2)
    near = np.flatnonzero(np.linalg.norm(fixed.middles - moving.middles[tile], axis=1) < np.hypot(*(fixed.sizes + size).T) / 2)
    if not len(near):
        return pd.DataFrame()
    own = _inside(moving.to_first[[tile]], moving.sizes[[tile]], ends)[0]
    there = _inside(fixed.to_first[near], fixed.sizes[near], ends)
    best = there.argmax(axis=0)
    held = (own >= MARGIN) & (there.max(axis=0) >= MARGIN)
    table = np.c_[corner, near[best], place][held]
    return pd.DataFrame(table, columns=["top", "left", "fixed", "y", "x"])


def _inside(to_first: Array, sizes: NDArray[np.int64], ends: Array) -> Array:
    """How far (tiles, n), px, the points (n, 4, 2) of the first frame lie inside of tiles, at least; negative outside."""
    points = ends.reshape(-1, 2)
    own = affine.apply(affine.invert(to_first), points)  # (tiles, 4 n, 2)
    apart = np.minimum(own, sizes[:, None] - 1 - own).min(axis=2)
    return np.asarray(apart.reshape(len(sizes), -1, 4).min(axis=2))


def _best(middles: Array, score: Array, side: int) -> list[int]:
    """The rows of the best pieces with these middles (n, 2), px, and scores (n,)."""
    chosen = [int(score.argmax())]
    while len(chosen) < EACH:
        apart = np.abs(middles[:, None] - middles[chosen]).max(axis=2).min(axis=1) >= APART * side
        rest = np.flatnonzero(apart & (score >= ALIKE * score[chosen[0]]))
        if not len(rest):
            break
        chosen.append(int(rest[score[rest].argmax()]))
    return chosen
