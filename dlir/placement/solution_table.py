"""The table of a placement (tables.PLACEMENT), made from what the solver found."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlir.core import affine, tables
from dlir.core.affine import Array
from dlir.placement.measurements import Measurements
from dlir.placement.solver import AnyStage, Solution


def placement_table(
    tiles: pd.DataFrame,
    pairs: pd.DataFrame,
    measured: Measurements,
    solution: Solution[AnyStage],
    stretched: Array,
    by_user: NDArray[np.bool_],
) -> pd.DataFrame:
    """Returns the rows of tables.PLACEMENT, with affines by which the smallest coordinate of the first pixels is zero.

    Args:
        tiles: tables.TILES.
        pairs: the accepted pairs (tables.AFFINES), and what they measure.
        stretched: (n,) px, by how much the places may be wrong, since the camera distorts the tiles.
        by_user: (n,) tiles that the user placed.
    """
    affines = tile_affines(tiles, solution.places, affine.linear(solution.linear))
    affines[:, :, 2] -= affines[:, :, 2].min(axis=0)
    square = (solution.residual**2).sum(axis=1)
    ends = pd.DataFrame({"tile": np.concatenate([measured.i, measured.j]), "square": np.tile(square, 2)})
    by_tile = ends.groupby("tile")["square"].agg(["size", "mean"]).reindex(range(len(tiles)))
    count = by_tile["size"].fillna(0).astype(int).to_numpy()
    return tiles[["tile", "path"]].assign(
        **affine.to_columns(affines),
        pairs=count,
        residual=np.sqrt(by_tile["mean"].to_numpy()),
        deviation=np.hypot(solution.deviation, stretched),
        group=solution.group,
        slip_y=solution.slip[:, 0],
        slip_x=solution.slip[:, 1],
        loop=_loop_errors(len(tiles), pairs, measured),
        placed_by=np.where(by_user, "user", np.where(count > 0, "pairs", "stage")),
    )


def tile_affines(tiles: pd.DataFrame, places: Array, linear: Array) -> Array:
    """Returns the affines (n, 2, 3) of tiles (TILES) at places (n, 2), px, of a solution, with linear parts (n, 2, 2)."""
    size = tables.sizes(tiles)
    to_first_pixel = (tables.usual_size(tiles) - size) / 2  # places are those of the tiles' middles
    return affine.moving((size - 1) / 2, places + to_first_pixel, linear)


def _loop_errors(count: int, pairs: pd.DataFrame, measured: Measurements) -> Array:
    """Returns by how much (count,), px, the four pairs around a 2 x 2 of tiles fail to close; NaN where one of them is missing.

    A loop belongs to its first tile. It compares the way right and down with the way down and right.
    """
    neighbour = {side: {} for side in ("right", "down", "round")}  # type: dict[str, dict[int, tuple[int, Array]]]
    for i, j, side, offset in zip(measured.i, measured.j, pairs["side"], measured.offset, strict=True):
        neighbour[side][int(i)] = (int(j), offset)
    loops = np.full(count, np.nan)
    for tile, (right, to_right) in neighbour["right"].items():
        if tile in neighbour["down"] and right in neighbour["down"]:
            below, down = neighbour["down"][tile]
            opposite, down_from_right = neighbour["down"][right]
            right_of_below = neighbour["right"].get(below)
            if right_of_below is not None and right_of_below[0] == opposite:
                loops[tile] = np.linalg.norm(to_right + down_from_right - down - right_of_below[1])
    return loops
