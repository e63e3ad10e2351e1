"""Tiles of two rounds as if the first round's camera had taken them: turned and scaled by how their rounds lie to the first.

A turn and a scale are a distortion with terms of degree 1, so a tile is turned by its lens, in the one resampling that takes
out the distortion. The middle of a tile stays where it is; what lies outside of the raw tile does not count.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from dlir.core import affine, lens, tables
from dlir.core.affine import Array
from dlir.core.lens import Lens, Lenses
from dlir.reading.image_files import Plane
from dlir.registration.pairs.windows import TilePlanes
from dlir.rounds.inputs import Placed

LINEAR_POWERS = np.array([(1, 0), (0, 1)])  # of the terms that turn and scale


class JoinedPlanes(TilePlanes):
    """The planes of the tiles of several rounds, which are numbered one after the other."""

    def __init__(self, parts: Sequence[TilePlanes]) -> None:
        """Joins the planes of rounds, whose tiles are numbered from 0 in each."""
        self.parts = list(parts)
        self.own = [(part, tile) for part in parts for tile in sorted(part.paths)]
        counts = np.cumsum([0, *(len(part.light) for part in parts)]).tolist()
        first = dict(zip(map(id, parts), counts, strict=False))
        self.cameras = {number: first[id(part)] + part.cameras[tile] for number, (part, tile) in enumerate(self.own)}
        self.masks = None
        if any(part.masks is not None for part in parts):
            self.masks = [
                np.ones(light.size, np.float32) if part.masks is None else part.masks[camera]
                for part in parts
                for camera, light in enumerate(part.light)
            ]

    def forget(self) -> None:
        """Frees the memory of the tiles that were read."""
        for part in self.parts:
            part.forget()

    def plane(self, tile: int, rows: slice = slice(None), columns: slice = slice(None)) -> Plane:
        """Returns the plane of a tile, or a part of it, given by its rows and columns of pixels."""
        part, own = self.own[tile]
        return part.plane(own, rows, columns)


class Turned(NamedTuple):
    """The tiles of two rounds, turned."""

    tiles: pd.DataFrame  # tables.TILES, numbered one after the other; y and x are those of the turned tiles in the first frame
    planes: JoinedPlanes
    counts: tuple[int, int]  # tiles of each round
    to_turned: Array  # (tiles, 2, 3) from px of a tile to px of the turned tile
    lenses: str  # what turns and undistorts them, as text


def turned(fixed: Placed, moving: Placed, maps: tuple[Array, Array]) -> Turned:
    """Returns the tiles of two rounds as the camera of the first round would show them.

    Args:
        maps: affines (2, 3) from the frames of both rounds to that of the first.
    """
    listed, planes, affines, texts, cameras = [], [], [], [], 0
    for each, to_first in zip((fixed, moving), maps, strict=True):
        tiles, linear = each.round.tiles, to_first[:, :2]
        lenses = turning(each.round.lenses(), tiles, linear)
        planes.append(each.round.planes(lenses))
        texts.append(lens.to_table(lenses).to_csv())
        middle = (tables.sizes(tiles) - 1) / 2
        in_first = affine.apply(affine.compose(to_first, affine.from_table(each.placement)), middle[:, None])[:, 0]
        y, x = (in_first - middle).T
        listed.append(tiles.assign(y=y, x=x, camera=tiles["camera"] + cameras))
        affines.append(affine.moving(middle, np.zeros_like(middle), np.broadcast_to(linear, (len(tiles), 2, 2))))
        cameras += int(tiles["camera"].max()) + 1
    joined = pd.concat(listed, ignore_index=True)
    counts = len(listed[0]), len(listed[1])
    joined = joined.assign(tile=np.arange(len(joined)))
    return Turned(joined, JoinedPlanes(planes), counts, np.concatenate(affines), "".join(texts))


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
