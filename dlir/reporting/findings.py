"""What a finding is: something that a user should know of a mosaic, and what would mend it.

A finding alone makes the verdict `bad` (not to be trusted) or `look` (good, but look here), or leaves it `good` (to know).
Whether a tile is in doubt, its expected error says (`expected_error.py`): a tile that is off by 2 px shows as a seam, and a
tile is sure when that is twice its expected error. The findings themselves are in `doubtful_places.py` and
`doubtful_pairs.py`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlir.core.affine import Array
from dlir.core.lens import Lenses
from dlir.placement.summary import by_stage_alone

SEAM = 2.0  # px: a tile that is off by more shows in the mosaic
SURE = SEAM / 2  # px: largest expected error of a tile that is not worth a look
MOST_NAMES = 4  # tiles or pairs that a sentence names
Grade = Literal["good", "look", "bad"]
GRADES: tuple[Grade, ...] = ("good", "look", "bad")
VIEW = "look at the seams with `dlir view RESULTS`, and mark each pair there as right or wrong"
JOIN = (
    "a larger overlap, another plane to register (reference_channel, reference_z or reference_time of the dataset), or an "
    "offset that you know, in a table of overrides"
)


class Finding(NamedTuple):
    """Something that a user should know of a mosaic."""

    kind: str
    grade: Grade  # what this finding alone makes of the verdict
    sentence: str
    remedy: str  # the setting or the action that would mend it; empty where nothing needs to be mended
    tiles: Sequence[int] = ()  # numbers of the tiles that it is about, the worst first
    pairs: Sequence[int] = ()  # likewise of the pairs


class Evidence(NamedTuple):
    """What is known of one placement; a table that does not exist is None."""

    tiles: pd.DataFrame  # tables.TILES
    placed: pd.DataFrame  # tables.PLACEMENT of one time, with the columns error, px, and body (expected_error.py)
    stretch: Array  # (tiles,) px, by which a distortion of the camera may have moved each tile
    pairs: pd.DataFrame | None  # tables.AFFINES, with the columns misfit, px, and sigmas (`clear_misfit`)
    lenses: Lenses  # that were taken out of the tiles
    survey: pd.DataFrame | None
    exposure: pd.DataFrame | None
    selfcheck: pd.DataFrame | None

    @property
    def alone(self) -> NDArray[np.bool_]:
        """Which tiles (n,) no pair holds, and the user did not place."""
        return by_stage_alone(self.placed)

    @property
    def within_group(self) -> Array:
        """The expected error (n,), px, of each tile within its group, without what a distortion of the camera adds.

        Where there are several groups, what all tiles of a group have in common is how far the group as a whole may be off.
        """
        square = self.placed["error"] ** 2 - self.stretch**2
        if (self.placed["group"] > 0).any():
            in_common = self.placed["deviation"] ** 2 - self.stretch**2
            square -= in_common.groupby(self.placed["group"]).transform("min")
        return np.asarray(np.sqrt(square.clip(lower=0).to_numpy(float)))


def told_first(grade: Grade, findings: Sequence[Finding]) -> list[str]:
    """The sentences of a verdict of this grade on its findings: the first one, and how many more of that grade there are."""
    if not findings:
        return []
    word = {"good": "To know", "look": "Look first", "bad": "Why"}[grade]
    more = sum(finding.grade == grade for finding in findings[1:])
    return [f"{word}: {findings[0].sentence}", *([f"{more} more in the report"] if more else [])]


def worst_first(placed: pd.DataFrame, chosen: NDArray[np.bool_]) -> list[int]:
    """The numbers of the chosen tiles, the largest expected error first."""
    return [int(tile) for tile in placed[chosen].sort_values("error", ascending=False, kind="stable")["tile"]]


def names_of(placed: pd.DataFrame, tiles: list[int]) -> str:
    """The numbers of tiles with the names of their files."""
    path = placed.set_index("tile")["path"]
    names = ", ".join(f"{tile} ({Path(path[tile]).name})" for tile in tiles[:MOST_NAMES])
    return names + (f" and {len(tiles) - MOST_NAMES} more" if len(tiles) > MOST_NAMES else "")


def pair_in_words(pair: "pd.Series[Any]") -> str:
    """A pair in words: its tiles, its NCC, and how sure it is."""
    sure = "" if pair["overruled"] else f", {100 * pair['confidence']:.0f} % sure"
    return f"{pair['fixed']}-{pair['moving']} (NCC {pair['score_after']:.3f}{sure})"


def number_of(number: int, what: str) -> str:
    """A number with its noun."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def in_px(length: float) -> str:
    """A length in words."""
    return f"{length:.1f} px"
