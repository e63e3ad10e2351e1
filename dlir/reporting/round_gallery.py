"""The patches of which the page of a specimen has pictures: the worst, the least certain, and some at random.

Of each patch there are the round and the one with which it is compared, as they lie in the mosaic, and the round where the
rough map puts it. Each has its own black and white, since stains bleach. The rounds take turns, so that each is among the
worst.
"""

from typing import Any

import imagecodecs
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from dlir.core import affine
from dlir.core.affine import Array
from dlir.reporting.page_files import PageFiles
from dlir.reporting.round_agreement import EMPTY, MEASURED, UNMATCHED, Agreement
from dlir.reporting.round_results import RoundResults, Specimen
from dlir.reporting.seam_pictures import SHOWN
from dlir.reporting.seams import QUALITY, RANDOM, SEED, UNCERTAIN, WORST, in_turn

EACH = 12  # patches of each group, at most; of few patches, each group gets a third
AROUND = 1.5  # patches, the side of a picture
MARGIN = 2  # px, that interpolation needs


def gallery(specimen: Specimen, agreement: Agreement, rough: dict[str, Array] | None, files: PageFiles) -> list[dict[str, Any]]:
    """Returns the patches for the page, and adds their pictures to its files.

    - patch, group: the row of agreement.patches; worst, uncertain or random
    - width, height: px
    - fixed, moving: names of the pictures of the round with which it is compared, and of its own; before: where the rough map
      puts it

    Args:
        rough: where the rough map puts the tiles of each round (`round_places.py`); None where that is not known.
    """
    by_name = {each.name: each for each in specimen.rounds}
    side = round(AROUND * agreement.side)
    found, records = [], agreement.patches.to_dict("index")
    for group, rows in chosen(agreement.patches).items():
        for row in rows:
            patch = records[row]
            each = by_name[patch["round"]]
            top, left = (int(patch[axis]) - side // 2 for axis in ("y", "x"))
            as_placed = affine.translation(np.array([top, left], float))
            pictures = {
                name: _picture(of, as_placed, side) for name, of in (("fixed", specimen.compared_with(each)), ("moving", each))
            }
            if rough is not None:
                at = int(np.flatnonzero(each.placed["tile"] == patch["tile"])[0])
                to_placed = affine.compose(affine.from_table(each.placed)[at], affine.invert(rough[each.name][at]))
                pictures["before"] = _picture(each, affine.compose(to_placed, as_placed), side)
            names = {
                name: files.add(f"patches/{row}_{name}.jpg", bytes(imagecodecs.jpeg8_encode(grey, level=QUALITY)))
                for name, grey in pictures.items()
            }
            found.append({"patch": int(row), "group": group, "width": side, "height": side, **names})
    return found


def chosen(patches: pd.DataFrame) -> dict[str, list[int]]:
    """Returns the rows of the patches (see `round_agreement.agreement`) that are shown, by their group; none is in two."""
    by_round = [of_round for _, of_round in patches[patches["state"] != EMPTY].groupby("round", sort=False)]
    far = [_order(of_round, MEASURED, "length") for of_round in by_round]
    unlike = [_order(of_round, UNMATCHED, "after") for of_round in by_round]
    unsure = [_order(of_round, MEASURED, "deviation") for of_round in by_round]
    there = [row for of_round in by_round for row in of_round.index]
    chance = np.random.default_rng(SEED).permutation(there).tolist()
    each = min(EACH, -(-len(there) // 3))
    taken: set[int] = set()
    found = {}
    for group, order in (
        (WORST, in_turn(in_turn(*far), in_turn(*unlike))), (UNCERTAIN, in_turn(*unsure)), (RANDOM, chance),
    ):  # fmt: skip
        found[group] = [row for row in order if row not in taken][:each]
        taken |= set(found[group])
    return found


def _order(patches: pd.DataFrame, state: str, column: str) -> list[int]:
    of_state = patches[patches["state"] == state]
    return of_state.sort_values(column, ascending=False, kind="stable").index.tolist()


def _picture(each: RoundResults, to_mosaic: Array, side: int) -> NDArray[np.uint8]:
    """What registration saw of a round, as 8-bit grey (side, side); black outside of the mosaic.

    Args:
        to_mosaic: the affine (2, 3) from a px of the picture to a px of the mosaic.
    """
    height, width = each.mosaic.shape
    corners = affine.apply(to_mosaic, affine.corners(side, side))
    low = np.maximum(np.floor(corners.min(axis=0)).astype(int) - MARGIN, 0)
    high = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + MARGIN + 1, (height, width))
    if (high - low < 1).any():
        return np.zeros((side, side), np.uint8)
    part = each.registered(slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1])))
    pixels = ndimage.affine_transform(part, to_mosaic[:, :2], to_mosaic[:, 2] - low, (side, side), order=1)
    black, white = np.percentile(pixels[pixels > 0], SHOWN) if (pixels > 0).any() else (0.0, 1.0)
    return np.asarray(((pixels - black) * 255 / max(white - black, 1e-6)).clip(0, 255), np.uint8)
