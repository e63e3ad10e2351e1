"""Tiles of two rounds as if the first round's camera had taken them: turned and scaled by how their rounds lie to the first.

A turn and a scale are a distortion with terms of degree 1, so a tile is turned by its lens, in the one resampling that takes
out the distortion. The middle of a tile stays where it is; what lies outside of the raw tile does not count.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlir.core import affine, lens, tables
from dlir.core.affine import Array
from dlir.core.lens import Lens, Lenses
from dlir.reading.image_files import Plane
from dlir.registration.pairs.planes import TilePlanes
from dlir.rounds.inputs import PlacedRound

LINEAR_POWERS = np.array([(1, 0), (0, 1)])  # of the terms that turn and scale
KEPT, KEPT_PIXELS = 256, 2**16  # turned pieces that are kept in memory, at most, and of how many px


class Piece(NamedTuple):
    """A part of the turned plane of a tile."""

    planes: TilePlanes  # of its round
    tile: int
    top: int  # px
    left: int
    height: int
    width: int


class PiecePlanes(TilePlanes):
    """The planes of pieces of tiles of several rounds, which are numbered from 0."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        """Prepares to read pieces."""
        self.pieces = list(pieces)
        self.blind = any(left_out.any() for piece in self.pieces for left_out in piece.planes.left_out)
        self.whole = lru_cache(maxsize=KEPT)(self._whole)  # a piece is registered several times, and turned once

    def forget(self) -> None:
        """Frees the memory of the tiles that were read."""
        self.whole.cache_clear()
        for planes in {id(piece.planes): piece.planes for piece in self.pieces}.values():
            planes.forget()

    def shown(self, tile: int) -> Plane | None:
        """Returns 1 where a pixel (y, x) of a piece counts, else 0; None where all pixels of all pieces do."""
        piece = self.pieces[tile]
        whole = piece.planes.shown(piece.tile) if self.blind else None
        if whole is None:
            return np.ones((piece.height, piece.width), np.float32) if self.blind else None
        return whole[piece.top : piece.top + piece.height, piece.left : piece.left + piece.width]

    def plane(self, tile: int, rows: slice = slice(None), columns: slice = slice(None)) -> Plane:
        """Returns the plane of a piece, or a part of it, given by its rows and columns of pixels."""
        piece = self.pieces[tile]
        if piece.height * piece.width <= KEPT_PIXELS:
            return self.whole(tile)[rows, columns]
        (top, bottom, _), (left, right, _) = rows.indices(piece.height), columns.indices(piece.width)
        inner = slice(piece.top + top, piece.top + bottom), slice(piece.left + left, piece.left + right)
        return piece.planes.plane(piece.tile, *inner)

    def _whole(self, tile: int) -> Plane:
        """The whole plane of a piece."""
        piece = self.pieces[tile]
        rows, columns = slice(piece.top, piece.top + piece.height), slice(piece.left, piece.left + piece.width)
        plane = piece.planes.plane(piece.tile, rows, columns)
        plane.flags.writeable = False  # since it is kept
        return plane


class Turned(NamedTuple):
    """The tiles of one round and pieces of those of another one, turned."""

    tiles: pd.DataFrame  # tables.TILES: the fixed tiles, then the pieces; y and x in the frame of the first round
    planes: PiecePlanes
    to_turned: Array  # (tiles, 2, 3) from px of the tile to px of the turned tile or of its piece
    own: NDArray[np.int64]  # (tiles,) number of the tile in its round
    lenses: str  # what turns and undistorts them, as text


def turned(fixed: PlacedRound, moving: PlacedRound, maps: tuple[Array, Array], pieces: pd.DataFrame) -> Turned:
    """Returns tiles of two rounds as the camera of the first round would show them.

    Args:
        maps: affines (2, 3) from the frames of both rounds to that of the first.
        pieces: of the moving round, as `pieces.find_pieces` returns them.
    """
    listed, parts, affines, texts, cameras = [], list[Piece](), [], [], 0
    for each, to_first in zip((fixed, moving), maps, strict=True):
        tiles, linear = each.round.tiles, to_first[:, :2]
        if each is moving:
            own, corner = pieces["tile"].to_numpy(int), pieces[["top", "left"]].to_numpy(float)
            sizes = np.repeat(pieces[["side"]].to_numpy(int), 2, axis=1)
        else:
            own, corner, sizes = tiles["tile"].to_numpy(int), np.zeros((len(tiles), 2)), tables.sizes(tiles)
        lenses = turning(each.round.lenses(), tiles, linear)
        planes = each.round.planes(lenses)
        texts.append(lens.to_table(lenses).to_csv())
        middle = (tables.sizes(tiles)[own] - 1) / 2
        in_first = affine.apply(affine.compose(to_first, affine.from_table(each.placement)[own]), middle[:, None])[:, 0]
        y, x = (in_first - middle + corner).T
        height, width = sizes.T
        listed.append(tiles.iloc[own].assign(y=y, x=x, height=height, width=width, camera=tiles["camera"].iloc[own] + cameras))
        affines.append(affine.moving(middle, -corner, np.broadcast_to(linear, (len(own), 2, 2))))
        parts += [Piece(planes, *row) for row in np.c_[own, corner, sizes].astype(int).tolist()]
        cameras += int(tiles["camera"].max()) + 1
    joined = pd.concat(listed, ignore_index=True)
    own = joined["tile"].to_numpy(int)
    return Turned(joined.assign(tile=np.arange(len(joined))), PiecePlanes(parts), np.concatenate(affines), own, "".join(texts))


def turning(lenses: Lenses, tiles: pd.DataFrame, linear: Array) -> Lenses:
    """Returns the lenses of cameras with a turn, so that tiles (tables.TILES) are undistorted and turned by `linear` (2, 2)."""
    if (linear == np.eye(2)).all():
        return lenses
    sizes = dict(zip(tiles["camera"].tolist(), map(tuple, tables.sizes(tiles).tolist()), strict=True))
    back = np.asarray(np.linalg.inv(linear), float)
    return {camera: _turning(lenses.get(camera), size, back) for camera, size in sizes.items()}


def _turning(own: Lens | None, size: tuple[int, int], back: Array) -> Lens:
    """The lens that sees px of a turned tile in the raw one; `back` (2, 2) turns them back to the undistorted tile."""
    points, middle = lens.grid(size), (np.asarray(size, float) - 1) / 2
    straight = (points - middle) @ back.T + middle
    raw = straight if own is None else own.to_raw(straight)
    powers = LINEAR_POWERS if own is None else np.concatenate([LINEAR_POWERS, lens.POWERS])
    terms = np.linalg.lstsq(lens.basis(points, size, powers), raw - points, rcond=None)[0]
    return Lens.of(size, terms, powers)
