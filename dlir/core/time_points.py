"""Time points that are registered and placed each by itself: there `reference_time` of the tiles (tables.TILES) is empty.

The tables AFFINES, PLACEMENT and STAGE then have a column time, and rows for each time point. Elsewhere one time point is
registered, its placement holds for all, and there is no such column.
"""

from collections.abc import Mapping

import pandas as pd


def references(tiles: pd.DataFrame) -> dict[int | None, pd.DataFrame]:
    """Returns the tiles (tables.TILES) with the time point that is registered, by its number: one for each time point.

    Where one time point stands for all, they are the tiles as they are, with None for its number.
    """
    if tiles["reference_time"].notna().all():
        return {None: tiles}
    return {time: tiles.assign(reference_time=time) for time in range(int(tiles["times"].iloc[0]))}


def joined(found: Mapping[int | None, pd.DataFrame]) -> pd.DataFrame:
    """Returns one table of those of all time points, in the order of time."""
    if None in found:
        return found[None]
    return pd.concat([table.assign(time=time) for time, table in found.items()], ignore_index=True)


def at(table: pd.DataFrame, time: int) -> pd.DataFrame:
    """Returns the rows of a time point; all rows of a table that holds for all time points."""
    return table[table["time"] == time].reset_index(drop=True) if "time" in table else table


def listed(table: pd.DataFrame) -> list[int]:
    """Returns the time points in a table; none where it holds for all."""
    return sorted({int(time) for time in table["time"]}) if "time" in table else []
