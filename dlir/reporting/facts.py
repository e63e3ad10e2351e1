"""The tables of the report's page: every tile and every pair, in the px of the mosaic, rounded to what can be seen."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dlir.core import affine, tables, time_points
from dlir.core.affine import COLUMNS, Array
from dlir.reporting.accuracy import common_affine
from dlir.reporting.results import Results

LITTLE_CONTRAST = "too little contrast"  # in the reason of a pair whose overlap shows nothing to register by
FEW_TILES = 4  # from so many on, turn and scale of the stage's places can be told from its errors
DECIMALS = {
    **dict.fromkeys(("yy", "yx", "xy", "xx"), 6),
    **dict.fromkeys(("y0", "x0", "stage_y", "stage_x", "y", "x", "off_y", "off_x"), 2),
    **dict.fromkeys(("residual", "deviation", "score_before", "score_after", "confidence"), 3),
}
DIGITS = 4  # significant ones, of all other numbers
TILE_COLUMNS = ["tile", "name", *COLUMNS, "height", "width", "stage_y", "stage_x", "pairs", "residual", "deviation", "group",
                "placed_by", "blank"]  # fmt: skip
PAIR_COLUMNS = ["pair", "fixed", "moving", "side", "y", "x", "off_y", "off_x", "residual", "score_before", "score_after",
                "confidence", "var_y", "cov_yx", "var_x", "accepted", "overruled", "reason"]  # fmt: skip


def tile_table(results: Results) -> dict[str, Any]:
    """Returns the tiles for the page, as columns and rows; the last column is the time where each is placed by itself.

    - name: the name of the file
    - stage_y, stage_x: where pixel (0, 0) would lie if the tile stood where the stage says. The stage's places are shifted,
      turned and scaled to the mosaic, as most tiles have it, so that what is left is the stage's own error
    - blank: whether no pair of the tile was accepted, since its overlaps show too little contrast
    """
    found = []
    for time in results.times or [0]:
        there = results.at(time)
        stage = stage_places(there)
        table = there.placed.assign(
            name=[Path(path).name for path in there.placed["path"]],
            stage_y=stage[:, 0],
            stage_x=stage[:, 1],
            blank=there.placed["tile"].isin(_blank(there)),
        )
        table[["height", "width"]] = tables.sizes(there.listed, table["tile"])
        found.append(table)
    return columns_and_rows(pd.concat(found, ignore_index=True), TILE_COLUMNS)


def pair_table(results: Results) -> dict[str, Any]:
    """Returns the pairs for the page, as columns and rows; the last column is the time where each is placed by itself.

    - y, x: the centre of the overlap, where the moving tile is placed
    - off_y, off_x: from there to where the pair would have it; residual is its length
    """
    if results.pairs is None:
        return {"columns": PAIR_COLUMNS, "rows": []}
    found = []
    for time in results.times or [0]:
        there = results.at(time)
        assert there.pairs is not None
        moving = affine.from_table(there.placed.set_index("tile").loc[there.pairs["moving"]])
        centres = affine.apply(moving, there.pairs[["centre_y", "centre_x"]].to_numpy()[:, None])[:, 0]
        found.append(there.pairs.assign(y=centres[:, 0], x=centres[:, 1]))
    return columns_and_rows(pd.concat(found, ignore_index=True), PAIR_COLUMNS)


def worst_first(results: Results) -> pd.DataFrame:
    """Returns what is known of each time point, the worst one first: that with the most tiles that no pair holds, then the
    largest residuals."""
    assert results.pairs is not None
    rows = []
    for time in results.times:
        tiles, of_time = time_points.at(results.placed, time), time_points.at(results.pairs, time)
        residual = of_time.loc[of_time["accepted"], "residual"]
        rows.append({"time": time, "pairs": len(of_time), "accepted": len(residual), "alone": int((tiles["pairs"] == 0).sum()),
                     "median": residual.median(), "p95": residual.quantile(0.95), "largest": residual.max(),
                     "deviation": tiles["deviation"].max()})  # fmt: skip
    return pd.DataFrame(rows).sort_values(["alone", "p95"], ascending=False, ignore_index=True)


def stage_places(results: Results) -> Array:
    """Returns stage_y and stage_x (n, 2), px, of the placed tiles of one time point; see `tile_table`."""
    placed = affine.from_table(results.placed)
    middle = (tables.sizes(results.listed, results.placed["tile"]) - 1) / 2
    solved = affine.apply(placed, middle[:, None])[:, 0]
    told = results.listed.set_index("tile").loc[results.placed["tile"], ["y", "x"]].to_numpy(float) + middle
    if len(told) < FEW_TILES:
        aligned = told + np.median(solved - told, axis=0)
    else:
        aligned = affine.apply(common_affine(told, solved), told)
    return placed[:, :, 2] + aligned - solved


def _blank(results: Results) -> list[int]:
    """Returns the tiles that have pairs, none of them accepted, and all for want of contrast."""
    if results.pairs is None:
        return []
    ends = pd.concat([results.pairs.assign(tile=results.pairs[side]) for side in ("fixed", "moving")])
    hopeless = ~ends["accepted"] & ends["reason"].fillna("").str.contains(LITTLE_CONTRAST)
    by_tile = hopeless.groupby(ends["tile"]).all()
    return [int(tile) for tile in by_tile.index[by_tile]]


def columns_and_rows(table: pd.DataFrame, columns: list[str]) -> dict[str, Any]:
    """Returns columns of a table for JSON, and the column time where there is one: rounded, and None for what is not known."""
    columns = [*columns, "time"] if "time" in table else columns
    cells = [_cells(name, table[name].tolist()) for name in columns]
    return {"columns": columns, "rows": [list(row) for row in zip(*cells, strict=True)]}


def _cells(name: str, values: Sequence[Any]) -> list[Any]:
    """Returns the values of a column for JSON: numbers rounded, and None where there is none."""
    return [None if pd.isna(value) else _rounded(name, value) if isinstance(value, float) else value for value in values]


def _rounded(name: str, value: float) -> float | None:
    if not np.isfinite(value):
        return None
    return round(value, DECIMALS[name]) if name in DECIMALS else float(f"{value:.{DIGITS}g}")
