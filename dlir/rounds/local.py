"""The step `local`: where tissue was stretched from the first round to another one, which no rigid tile can mend.

Both rounds are fused as all rounds are placed together, part by part, and patches of the registered channel are compared all
over the mosaic (`shifts.py`). What is left between the rounds there is one smooth field for each round (`local_fit.py`), within
the setting `rounds.local`, and none where the patches do not need it. The step `round_place` hands each round its field, and
the step `mosaic` takes it with the distortion of the lens, in the one resampling.

The brightness of the tiles (`exposure`), the seams and all pairs stay as they are: neighbours in a round follow one field, so
they show the same of the specimen as without it.
"""

import logging
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlir.core import affine, tables
from dlir.core.local_field import LocalField
from dlir.core.progress import progress
from dlir.fusion.blend import PlacedTiles, Region, borders, camera_weight
from dlir.illumination.blind import filled
from dlir.reading.image_files import Image
from dlir.reading.tile_reader import TileReader
from dlir.rounds.inputs import Round, read_rounds
from dlir.rounds.local_fit import fit_local
from dlir.rounds.settings import Rounds
from dlir.rounds.shifts import EXACT, MATCH, shifts

log = logging.getLogger(__name__)
OF_TILE, SIDES = 5, (48, 128)  # patches along the side of a tile, and px of their sides, at least and at most
SPACING, CLOSEST = 1 / 3, 96.0  # sides of a tile from node to node of the field, so that a tile follows it; and px, at least
BLOCK = 6  # patches along each side of a part that is fused at once
CACHED = 32  # tiles of each round kept in memory


def local(
    results: list[Path], placement: Path, canvas: Path, output: Path, *, mended: Path, settings: Rounds = Rounds()
) -> None:
    """Writes the field of each round that was stretched (tables.ROUND_LOCAL), and what it mends (tables.LOCAL_ROUNDS).

    Args:
        results: the folders of the results of the rounds, the first of which the others are compared with.
        placement, canvas: files of the step `place_rounds`.
        mended: the file for what the fields mend.
        settings: section `rounds` of config.yaml.

    Raises:
        TableError: when a table is damaged.
        ImageError: when a tile cannot be read, or has changed.
    """
    found, size = read_rounds(results), tables.read(canvas, tables.CANVAS)
    placed = tables.read(placement, tables.ROUND_PLACEMENT)
    first = _shown(found[0], placed)
    shape = int(size["height"][0]), int(size["width"][0])
    tile = min(int(tables.usual_size(each.tiles).min()) for each in found)
    nodes, rows = [], []
    for each in found[1:]:  # one after the other, so that memory does not grow with their number
        patches = compared(first, _shown(each, placed), shape, side_of(tile))
        fit = fit_local(patches, field_over(shape, tile), settings.local)
        before, after = ([*np.percentile(part, [50, 95])] if len(part) else [np.nan] * 2 for part in (fit.before, fit.after))
        largest = 0.0
        if fit.field is not None:
            nodes.append(fit.field.table().assign(round=each.name))
            largest = float(np.linalg.norm(fit.field.shifts, axis=2).max())
        rows.append([each.name, len(fit.before), *before, *after, largest, fit.field is not None])
        what = "its tissue was stretched" if fit.field else "no field helps"
        log.info("%s: %s (%d places, median %.2f px; %.2f px then)", each.name, what, len(fit.before), before[0], after[0])
    empty = pd.DataFrame(columns=list(tables.ROUND_LOCAL.columns))
    tables.write(pd.DataFrame(rows, columns=list(tables.LOCAL_ROUNDS.columns)), tables.LOCAL_ROUNDS, mended)
    tables.write(pd.concat(nodes, ignore_index=True) if nodes else empty, tables.ROUND_LOCAL, output)


def side_of(tile: int) -> int:
    """Returns the side, px, of the patches of rounds with tiles of this side, px."""
    return int(np.clip(tile // OF_TILE, *SIDES)) // 8 * 8


def field_over(shape: tuple[int, int], tile: int) -> LocalField:
    """Returns the field, 0 everywhere, of a mosaic of this size (y, x), px, of tiles of this side, px."""
    return LocalField.over(*shape, max(CLOSEST, SPACING * tile))


def compared(first: PlacedTiles, other: PlacedTiles, shape: tuple[int, int], side: int) -> pd.DataFrame:
    """Returns the patches of a round that match those of the first one.

    The columns are y and x: middle of the patch in the mosaic; dy and dx: from where the first round shows something to where
    this one does; deviation: of that; all in px.
    """
    found = [np.empty((0, 5))]
    for region in progress(list(_regions(shape, side)), "comparing a round with the first"):
        (fixed, there), (moving, here) = (each.fuse(region) for each in (first, other))
        whole = _cut(there & here, side).all(axis=(1, 2))
        if not whole.any():
            continue
        of_patch = shifts(*(_cut(values.mean(axis=0, dtype=float), side)[whole] for values in (fixed, moving)))
        corner = np.indices((region.height // side, region.width // side)).reshape(2, -1).T[whole] * side
        row = np.c_[corner + (region.y, region.x) + (side - 1) / 2, of_patch.shift, of_patch.deviation]
        found.append(row[(of_patch.after >= MATCH) & (of_patch.deviation <= EXACT)])
    return pd.DataFrame(np.concatenate(found), columns=["y", "x", "dy", "dx", "deviation"])


def _regions(shape: tuple[int, int], side: int) -> Iterator[Region]:
    """Yields the parts of the mosaic, which hold whole patches."""
    rows, columns = (length // side for length in shape)
    for row in range(0, rows, BLOCK):
        for column in range(0, columns, BLOCK):
            height, width = min(BLOCK, rows - row), min(BLOCK, columns - column)
            yield Region(row * side, column * side, height * side, width * side)


def _cut(image: NDArray[Any], side: int) -> NDArray[Any]:
    """Returns the patches (n, side, side) of an image (y, x), row by row."""
    rows, columns = (length // side for length in image.shape)
    return image.reshape(rows, side, columns, side).swapaxes(1, 2).reshape(-1, side, side)


def _shown(each: Round, placed: pd.DataFrame) -> PlacedTiles:
    """Returns what registration saw of a round, with its tiles as they are placed (tables.ROUND_PLACEMENT)."""
    placed = placed[placed["round"] == each.name]
    tiles, reader = each.tiles.set_index("tile").loc[placed["tile"]], TileReader(each.tiles)
    light, of_cameras = [fields.of(reader.chosen) for fields in each.light()], each.lenses()
    cameras, paths = tiles["camera"].tolist(), tiles["path"].tolist()
    camera_of = dict(zip(paths, cameras, strict=True))

    @lru_cache(CACHED)
    def read(path: str) -> Image:
        return filled(reader.reference(path), light[camera_of[path]].blind)

    channels = light[0].flat.shape[0]
    weights = [camera_weight(fields, "linear") for fields in light]
    lenses = [of_cameras.get(camera) for camera in cameras]
    grey = np.ones((len(paths), channels)), np.zeros(channels)
    outlines = borders(light, cameras, lenses)
    tiles_there = paths, cameras, affine.from_table(placed), *grey, light, read
    return PlacedTiles(*tiles_there, 1, "linear", weights, lenses, outlines)
