"""What a placement says in words, in log and report: groups of tiles that nothing joins, and where the stage slipped."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MOST_NAMES = 8  # tiles that are named of one group or part
MOST_LINES = 5  # groups or parts that are described, the largest first
REMEDY = (
    "What could join them: a larger overlap, another plane to register (the keys reference_channel, reference_z and "
    "reference_time of the dataset), or an offset that you know, in a table of overrides."
)


def by_stage_alone(placed: pd.DataFrame) -> NDArray[np.bool_]:
    """Returns which tiles (n,) of a placement (tables.PLACEMENT) no pair holds, and the user did not place.

    A tile whose accepted pairs were all overruled is among them; a dataset of one tile has none.
    """
    size = placed.groupby("group")["tile"].transform("size").to_numpy()
    by_user = (placed["placed_by"] == "user").to_numpy()
    return np.asarray((size == 1) & ~by_user & (len(placed) > 1))


def group_sentences(placed: pd.DataFrame) -> list[str]:
    """Which tiles of a placement (tables.PLACEMENT) no accepted pair joins to the largest group; nothing if all are joined."""
    size = placed.groupby("group")["tile"].transform("size")
    alone = placed[by_stage_alone(placed)]
    others = placed[(size > 1) & (placed["group"] > 0)].groupby("group")
    if alone.empty and not len(others):
        return []
    lines = []
    if len(others):
        lines.append(
            f"the tiles form {len(others) + 1} groups that no accepted pair joins to each other. The largest has "
            f"{(placed['group'] == 0).sum()} tiles. Where the others lie to it, only the stage says, if it did not slip in "
            "between:"
        )
        lines += [f"{_named(tiles)}, known to about {tiles['deviation'].max():.1f} px" for _, tiles in others][:MOST_LINES]
        lines += [f"and {len(others) - MOST_LINES} smaller groups"] if len(others) > MOST_LINES else []
    if len(alone):
        who = "1 single tile has" if len(alone) == 1 else f"{len(alone)} single tiles have"
        they = "It lies" if len(alone) == 1 else "They lie"
        lines.append(
            f"{who} no accepted pair that counts. {they} where the stage says, corrected for its "
            f"turn, scale and backlash, which is known to about {alone['deviation'].median():.1f} px: {_named(alone)}"
        )
    return [*lines, REMEDY]


def slip_sentences(placed: pd.DataFrame) -> list[str]:
    """Where the stage slipped, by a placement (tables.PLACEMENT); nothing where it did not."""
    slipped = placed[(placed[["slip_y", "slip_x"]] != 0).any(axis=1)]
    parts = sorted(slipped.groupby(["slip_y", "slip_x"]), key=lambda part: -len(part[1]))
    lines = [
        f"the stage slipped: {len(tiles)} tiles lie ({y:+.1f}, {x:+.1f}) px (y, x) from where it says: {_named(tiles)}"
        for (y, x), tiles in parts[:MOST_LINES]
    ]
    more = sum(len(tiles) for _, tiles in parts[MOST_LINES:])
    return [*lines, f"it slipped in {len(parts) - MOST_LINES} further parts of {more} tiles"] if more else lines


def _named(tiles: pd.DataFrame) -> str:
    """The names of the first of the tiles, after those of their rounds where there are some, and how many more there are."""
    first = [Path(path).name for path in tiles["path"].iloc[:MOST_NAMES]]
    names = ", ".join(map("/".join, zip(tiles["round"], first, strict=False)) if "round" in tiles else first)
    return names + (f" and {len(tiles) - MOST_NAMES} more" if len(tiles) > MOST_NAMES else "")
