"""The command `dlir transform`: takes points of tiles to the mosaic, and points of the mosaic to the tiles that show them.

A point of a tile is a pixel of its file, (y, x) from 0, with pixel centres at integers. The distortion of the lens is taken off
first, and by what the tissue of a round was stretched; then the affine of the tile places the point. On the way back, a tile
shows a point where it lies on one of its pixels.
"""

import logging
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlir.core import affine, lens, local_field, tables, text_tables
from dlir.core.affine import Array
from dlir.core.atomic import atomically
from dlir.core.lens import Lens
from dlir.core.text_tables import Row
from dlir.reading import filenames
from dlir.reading.named_tiles import NamedTiles

log = logging.getLogger(__name__)
PIXEL = 0.5  # px that a pixel reaches around its centre


class PointsError(ValueError):
    """A table of points cannot be used; the message names the line and the remedy."""


class PlacedTiles(NamedTuple):
    """The n tiles of a run, with their places."""

    paths: list[str]
    numbers: list[int]
    names: list[list[str]]  # by which a table may mean each tile
    sizes: NDArray[np.int64]  # (n, 2) px
    affines: Array  # (n, 2, 3) from an undistorted pixel of a tile to the mosaic
    lenses: list[Lens | None]  # of each tile: of its camera, and of the field where its tissue was stretched
    mirrored: NDArray[np.bool_]  # (n,) left to right, when they are read
    many: bool = False  # whether they are of many rounds, in each of which tiles are numbered from 0

    def to_mosaic(self, tile: int, points: Array) -> Array:
        """Returns points (m, 2) of the file of a tile, by its row, in the mosaic, px."""
        own, found = self.lenses[tile], self._mirrored(tile, points)
        return affine.apply(self.affines[tile], own.from_raw(found) if own else found)

    def to_tile(self, tile: int, points: Array) -> Array:
        """Returns points (m, 2) of the mosaic in the file of a tile, by its row, px; they may lie outside it."""
        own, found = self.lenses[tile], affine.apply(affine.invert(self.affines[tile]), points)
        return self._mirrored(tile, own.to_raw(found) if own else found)

    def inside(self, tile: int, points: Array) -> Array:
        """Returns how far (m,), px, points of a tile lie from its border; negative outside."""
        found: Array = (PIXEL + np.minimum(points, self.sizes[tile] - 1 - points)).min(axis=1)
        return found

    def _mirrored(self, tile: int, points: Array) -> Array:
        return np.c_[points[:, 0], self.sizes[tile, 1] - 1 - points[:, 1]] if self.mirrored[tile] else points


def transform(points: Path, results: Path, output: Path, *, to_tiles: bool = False, time: int | None = None) -> None:
    """Writes a table of points with where they lie in the mosaic, or in the tiles.

    To the mosaic, `points` has the columns tile (number) or path, y and x; the output has mosaic_y and mosaic_x beside them. To
    the tiles, it has y and x; the output has a row for each tile that shows the point, the one that shows it farthest from its
    border first, with the columns point (its number from 1), y, x, tile, path, tile_y and tile_x. The last four are empty for a
    point that no tile shows.

    Args:
        points: a CSV file.
        results: the folder of a finished run, results/NAME; of a specimen with rounds, the tiles are those of all rounds.
        time: the time point, where each is placed by itself.

    Raises:
        PointsError, TextTableError, TableError: when a table cannot be used.
    """
    placed = read_placed(results, time)
    found = _in_tiles(points, placed) if to_tiles else _in_mosaic(points, placed)
    with atomically(output) as partial:
        found.to_csv(partial, index=False, float_format="%.4f")
    log.info("wrote %s: %d rows", output, len(found))


def read_placed(results: Path, time: int | None = None) -> PlacedTiles:
    """Returns the tiles of a finished run, at a time point where each is placed by itself; of a specimen, of all rounds."""
    if (results / "rounds.csv").is_file():
        return _joined([read_placed(results / name) for name in tables.read(results / "rounds.csv", tables.ROUNDS)["round"]])
    tiles, placed = (
        tables.read(results / name, schema)
        for name, schema in (("tiles.csv", tables.TILES), ("placement.csv", tables.PLACEMENT))
    )
    if "time" in placed:
        known = sorted({*placed["time"].tolist()})
        if time not in known:
            raise PointsError(f"{results}: each time point is placed by itself: give --time, one of {known[0]} to {known[-1]}")
        placed = placed[placed["time"] == time]
    placed = placed.set_index("tile").loc[tiles["tile"]]
    file, affines = results / "lens.csv", affine.from_table(placed)
    of_cameras = lens.read_for(file if file.is_file() else None, tiles)
    lenses, field = [of_cameras.get(camera) for camera in tiles["camera"]], local_field.read(results / "local.csv")
    return PlacedTiles(
        paths=tiles["path"].tolist(),
        numbers=tiles["tile"].tolist(),
        names=[filenames.paths_of(tile) for tile in tiles.to_dict("records")],
        sizes=tables.sizes(tiles),
        affines=affines,
        lenses=local_field.bent_lenses(field, lenses, tables.sizes(tiles), affines),
        mirrored=tiles["mirrored"].to_numpy(bool),
    )


def _joined(rounds: list[PlacedTiles]) -> PlacedTiles:
    """Returns the tiles of all rounds of a specimen, whose mosaics have one frame."""
    sizes, affines, mirrored = (
        np.concatenate([getattr(of, name) for of in rounds]) for name in ("sizes", "affines", "mirrored")
    )
    return PlacedTiles(
        paths=[path for of in rounds for path in of.paths],
        numbers=[number for of in rounds for number in of.numbers],
        names=[names for of in rounds for names in of.names],
        sizes=sizes,
        affines=affines,
        lenses=[lens for of in rounds for lens in of.lenses],
        mirrored=mirrored,
        many=True,
    )


def _in_mosaic(points: Path, placed: PlacedTiles) -> pd.DataFrame:
    header = re.split(f"[{text_tables.SEPARATORS}]", (text_tables.lines(points) or [""])[0].lower())
    column = "tile" if "tile" in map(str.strip, header) else "path"
    rows = text_tables.rows(points, (column, "y", "x"))
    at = _places(points, rows)
    named = NamedTiles(placed.names)
    tile = [_tile(points, row, column, placed, named) for row in rows]
    found = np.empty((len(rows), 2))
    for number in {*tile}:
        chosen = np.array(tile) == number
        found[chosen] = placed.to_mosaic(number, at[chosen])
    columns = {"tile": [placed.numbers[each] for each in tile], "path": [placed.paths[each] for each in tile]}
    return pd.DataFrame({**columns, "y": at[:, 0], "x": at[:, 1], "mosaic_y": found[:, 0], "mosaic_x": found[:, 1]})


def _in_tiles(points: Path, placed: PlacedTiles) -> pd.DataFrame:
    at = _places(points, text_tables.rows(points, ("y", "x")))
    shown = []
    for tile, (number, path) in enumerate(zip(placed.numbers, placed.paths, strict=True)):
        there = placed.to_tile(tile, at)
        inside = placed.inside(tile, there)
        shown += [
            {"point": point + 1, "tile": number, "path": path, "tile_y": there[point, 0], "tile_x": there[point, 1],
             "inside": inside[point]}
            for point in np.flatnonzero(inside >= 0).tolist()
        ]  # fmt: skip
    columns = ["point", "tile", "path", "tile_y", "tile_x", "inside"]
    table = pd.DataFrame(shown, columns=columns).astype({"tile": "Int64"})
    every = pd.DataFrame({"point": np.arange(len(at)) + 1, "y": at[:, 0], "x": at[:, 1]})
    joined = every.merge(table.astype({"point": "int64"}), on="point", how="left")
    return joined.sort_values(["point", "inside"], ascending=[True, False]).drop(columns="inside")


def _places(points: Path, rows: list[Row]) -> Array:
    """Returns the columns y and x (n, 2)."""
    found = []
    for line, cells in rows:
        y, x = (text_tables.number(cells[name]) for name in "yx")
        if y is None or x is None:
            raise PointsError(f"{points}, line {line}: y is {cells['y']!r} and x is {cells['x']!r}: give two numbers, in px")
        found.append((y, x))
    return np.array(found, float).reshape(-1, 2)


def _tile(points: Path, row: Row, column: str, placed: PlacedTiles, named: NamedTiles) -> int:
    """Returns the row of the tile that a row of points means."""
    cell = row.cells[column]
    if column == "tile":
        if placed.many:
            what = "tiles are numbered in each round by itself"
            raise PointsError(f"{points}, line {row.line}: {what}: give their path, or the folder of one round as --results")
        if cell.isdecimal() and int(cell) in placed.numbers:
            return placed.numbers.index(int(cell))
        raise PointsError(f"{points}, line {row.line}: there is no tile {cell!r}: tiles.csv has their numbers")
    meant = named.at(cell)
    if len(meant) != 1:
        what = "no tile" if not meant else f"{len(meant)} tiles"
        raise PointsError(f"{points}, line {row.line}: {cell!r} means {what}: write the path as tiles.csv has it")
    return next(iter(meant))
