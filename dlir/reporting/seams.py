"""The seams that the report shows: which ones, with their numbers and pictures (`seam_pictures.py`).

A seam is the overlap of two neighbours, as they are placed. Shown are the worst ones, the least certain ones, and some that are
chosen at random, which show what is usual. The worst ones are, in turn,

- those whose pair has the largest residual against the placement, of the accepted pairs;
- those whose tiles differ most where they overlap as placed, in parts of the contrast;
- those whose pair has the largest residual, accepted or not.

The least certain ones are, in turn, accepted pairs of the lowest probability, any pairs of the lowest probability, and pairs
whose tiles have the largest deviation.
"""

from collections.abc import Iterable
from itertools import chain, zip_longest
from typing import Any

import imagecodecs
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlir.core import affine, tables
from dlir.reading.tile_reader import TileReader
from dlir.reporting.page_files import PageFiles
from dlir.reporting.results import Results
from dlir.reporting.seam_pictures import NAMES, Frame, Pictures, frames, pictures

EACH = 20  # seams of each group, at most; of few pairs, each group gets a third
MOST_COMPARED = 240  # pairs whose pixels are compared: of a large mosaic, those that may be bad, and some at random
MOST_READ = 4e9  # px of tiles that are read for it; of deep stacks fewer pairs are compared, but as many as are shown
QUALITY = 75  # of the JPEG pictures
SEED = 1  # of the choice at random: the same seams each time that the page is made
WORST, UNCERTAIN, RANDOM = "worst", "uncertain", "random"  # the groups


def seams(results: Results, files: PageFiles) -> list[dict[str, Any]]:
    """Returns the seams for the page, and adds their pictures to its files.

    - pair, group: number of the pair; worst, uncertain or random
    - top, left, height, width: px of the mosaic that the pictures show
    - fixed, moving, before: names of the pictures
    - outlines: of the tiles in the pictures, points (x, y) in per cent
    - moved: by how much registration moved the moving tile against the fixed one, px (y, x)
    - difference_before, difference_after: standard deviation of the difference of the tiles where they overlap, in parts of the
      contrast; None where they hardly overlap

    Args:
        results: those of one time point.
        files: of the page.

    Raises:
        ImageError: when a tile can no longer be read.
    """
    if results.pairs is None or results.pairs.empty:
        return []
    pairs = results.pairs.reset_index(drop=True)
    deviation = results.placed.set_index("tile")["deviation"].fillna(0)
    doubt = pd.concat([deviation.loc[pairs[end]].reset_index(drop=True) for end in ("fixed", "moving")], axis=1).max(axis=1)
    compared = pairs.loc[_candidates(pairs, doubt, _most_compared(results))]
    framed = dict(zip(compared.index.tolist(), frames(compared, results), strict=True))
    shown = dict(pictures(compared, framed, results))
    differences = _differences(shown)
    groups = chosen(pairs, doubt, differences["after"])
    records = pairs.to_dict("index")
    return [
        {
            "pair": records[row]["pair"],
            "group": group,
            **_places(records[row], framed[row], results),
            **_files(records[row]["pair"], shown[row].grey, files),
            **{f"difference_{name}": None if np.isnan(value) else value for name, value in differences.loc[row].items()},
        }
        for group, rows in groups.items()
        for row in rows
    ]


def chosen(pairs: pd.DataFrame, doubt: "pd.Series[float]", difference: "pd.Series[float]") -> dict[str, list[int]]:
    """Returns the rows of the pairs that are shown, by their group; no pair is in two groups.

    Args:
        pairs: tables.AFFINES with the residual.
        doubt: for each row, the larger one of the deviations of its two tiles, px.
        difference: for some of the rows, by how much the tiles differ; only these can be shown.
    """
    there = pairs.loc[difference.index]
    accepted, residual, uncertain, chance = _orders(there, doubt.loc[difference.index])
    differing = difference.dropna().sort_values(ascending=False, kind="stable").index.tolist()
    each = min(EACH, -(-len(there) // 3))
    taken: set[int] = set()
    found = {}
    for group, order in ((WORST, in_turn(accepted, differing, residual)), (UNCERTAIN, uncertain), (RANDOM, chance)):
        found[group] = [row for row in order if row not in taken][:each]
        taken |= set(found[group])
    return found


def in_turn(*orders: Iterable[int]) -> list[int]:
    """Returns the rows of several orders, one of each in turn, each row once."""
    return [row for row in dict.fromkeys(chain.from_iterable(zip_longest(*orders))) if row is not None]


def _most_compared(results: Results) -> int:
    """Returns how many pairs are compared at most, by the size of what has to be read of a tile."""
    reader = TileReader(results.listed)
    planes = (reader.depth if reader.z is None else 1) * (reader.channels if reader.channel is None else 1)
    size = int(tables.usual_size(results.listed).prod()) * planes
    return int(np.clip(MOST_READ // (2 * size), 3 * EACH, MOST_COMPARED))


def _candidates(pairs: pd.DataFrame, doubt: "pd.Series[float]", most: int) -> list[int]:
    """Returns the rows of the pairs whose pixels are compared: all where they are no more than `most`."""
    if len(pairs) <= most:
        return pairs.index.tolist()
    orders = _orders(pairs, doubt)
    return sorted(set(chain.from_iterable(order[: most // len(orders)] for order in orders)))


def _orders(pairs: pd.DataFrame, doubt: "pd.Series[float]") -> tuple[list[int], list[int], list[int], list[int]]:
    """Returns the rows of the pairs in four orders: accepted ones and all by their residual, by how uncertain they are, and at
    random."""
    residual = pairs.sort_values("residual", ascending=False, kind="stable")
    unsure = pairs.sort_values("confidence", kind="stable")
    loose = doubt.sort_values(ascending=False, kind="stable").index.tolist()
    uncertain = in_turn(unsure[unsure["accepted"]].index.tolist(), unsure.index.tolist(), loose)
    chance = np.random.default_rng(SEED).permutation(pairs.index.to_numpy()).tolist()
    return residual[residual["accepted"]].index.tolist(), residual.index.tolist(), uncertain, chance


def _differences(shown: dict[int, Pictures]) -> pd.DataFrame:
    """Returns how far the tiles of each row differ before and after, in parts of the contrast.

    An overlap without contrast shows noise alone, which always differs; so the contrast counts as at least the usual one.
    """
    contrast = np.array([each.contrast for each in shown.values()])
    grey = np.array([(each.before, each.after) for each in shown.values()])
    parts = grey / np.maximum(contrast, max(float(np.median(contrast)), 1e-6))[:, None]
    return pd.DataFrame(parts.round(3), list(shown), ["before", "after"])


def _places(pair: dict[Any, Any], frame: Frame, results: Results) -> dict[str, Any]:
    """Returns where the pictures of a pair lie, the outlines of the tiles in them, and how far the moving tile was moved."""
    region = frame.region
    sizes = tables.sizes(results.listed, [pair["fixed"], pair["moving"], pair["moving"]])
    corners = affine.corners(*(sizes + 1).T)[:, [0, 1, 3, 2]] - 0.5
    inside = affine.apply(frame.affines, corners) - (region.y - 0.5, region.x - 0.5)
    outlines = (100 * inside / (region.height, region.width))[..., ::-1].round(1)
    centre = np.array([[pair["centre_y"], pair["centre_x"]]])
    moved = (affine.apply(frame.affines[1], centre) - affine.apply(frame.affines[2], centre))[0]
    return {
        "top": region.y, "left": region.x, "height": region.height, "width": region.width,
        "outlines": dict(zip(NAMES, outlines.tolist(), strict=True)),
        "moved": moved.round(2).tolist(),
    }  # fmt: skip


def _files(number: int, grey: NDArray[np.uint8], files: PageFiles) -> dict[str, str]:
    """Adds the pictures (3, y, x) of a pair to the files, and returns their names."""
    encoded = [bytes(imagecodecs.jpeg8_encode(picture, level=QUALITY)) for picture in grey]
    return {name: files.add(f"seams/{number}_{name}.jpg", content) for name, content in zip(NAMES, encoded, strict=True)}
