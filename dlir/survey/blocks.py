"""Blocks of tiles that lie side by side, with their thumbnails: all tiles of a small dataset, a part of a large one."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlir.core import tables
from dlir.core.affine import Array
from dlir.reading.cameras import within_cells
from dlir.reading.tile_reader import TileReader
from dlir.survey.correlation import Correlator, Scores
from dlir.survey.scans import Pair
from dlir.survey.thumbnails import factor, shrunk, whitened

MOST_TILES = 128  # of a block
LINES = 2.5  # that a block of numbered tiles holds at least
SHARES = (0.5, 0.25, 0.75)  # where in the dataset the blocks lie, in the order in which they are tried
MOST_PAIRS = 48  # in each direction
UNRELATED = 24  # pairs of a tile and a mirrored other one


class Block(NamedTuple):
    """Some of the tiles, with their thumbnails."""

    tiles: pd.DataFrame  # tables.FILES
    reader: TileReader
    factor: int  # px of a tile in one px of a thumbnail
    within_cells: Array  # (n, 2) px, where the first pixels of the tiles lie in their cells of the grid
    correlator: Correlator
    unrelated: list[Scores]  # of pairs with the second tile mirrored, which show what chance reaches

    def plane(self, tile: int) -> NDArray[np.float32]:
        """Returns the pixels (y, x) of a tile, by its place in the block."""
        return _plane(self.reader, self.tiles["path"].iloc[tile])

    def neighbours(self, axis: int, one_camera: bool) -> list[Pair]:
        """Returns up to MOST_PAIRS pairs of tiles of which the second is the next one along an axis of the grid.

        Args:
            one_camera: whether only pairs of tiles of one camera are wanted.
        """
        camera = self.tiles["camera"].to_numpy()
        where = {(int(row), int(col)): k for k, (row, col) in enumerate(self.tiles[["row", "col"]].to_numpy())}
        beside = ((row + 1 - axis, col + axis) for row, col in where)
        pairs = [(k, where[cell]) for k, cell in zip(where.values(), beside, strict=True) if cell in where]
        pairs = [(i, j) for i, j in pairs if camera[i] == camera[j] or not one_camera]
        chosen = np.linspace(0, len(pairs) - 1, min(len(pairs), MOST_PAIRS)).round().astype(int)
        return [pairs[k] for k in chosen]


def blocks(tiles: pd.DataFrame, numbers: NDArray[np.int64] | None = None, line: int = 1) -> Iterator[Block]:
    """Yields blocks of the tiles (tables.FILES), one after the other: the first often suffices.

    Args:
        numbers: (n,) of the tiles in the order of the scan, where they are numbered; then a block holds tiles that follow each
            other, in several lines.
        line: tiles of a line of the scan.
    """
    length = MOST_TILES if numbers is None else max(MOST_TILES, int(np.ceil(LINES * line)))
    within = within_cells(tables.sizes(tiles), tiles[["row", "col"]].to_numpy())
    if len(tiles) <= length:
        yield _block(tiles, within)
        return
    places = tiles[["row", "col"]].to_numpy(float)
    for share in SHARES:
        if numbers is None:
            distance = np.abs(places - places[int(share * len(tiles))]).max(axis=1)
            chosen = np.argsort(distance, kind="stable")[:length]
        else:
            start = int(share * (len(tiles) - length))
            chosen = np.argsort(numbers)[start : start + length]
        chosen = np.sort(chosen)
        yield _block(tiles.iloc[chosen], within[chosen])


def _block(tiles: pd.DataFrame, within: Array) -> Block:
    reader = TileReader(tiles)
    by = factor(tables.usual_size(tiles).tolist())
    correlator = Correlator(whitened([shrunk(_plane(reader, path), by) for path in tiles["path"]], tiles["camera"].tolist()))
    random = np.random.default_rng(0)
    drawn = [random.choice(len(tiles), 2, replace=False).tolist() for _ in range(UNRELATED)]
    return Block(tiles, reader, by, within, correlator, [correlator.scores(i, j, mirrored=True) for i, j in drawn])


def _plane(reader: TileReader, path: str) -> NDArray[np.float32]:
    """The reference (y, x) of a tile, the mean of its channels."""
    return np.asarray(reader.reference(path).mean(axis=0, dtype=np.float32))
