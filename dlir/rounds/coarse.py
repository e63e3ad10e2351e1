"""How one round lies to another: turned by up to 10 degrees, scaled by up to 5 %, and shifted, as their pictures show.

1. The whole pictures are compared over all shifts, for turns and scales in steps (`scores.py`). The best is certain where a
   mirrored picture, which has the same texture and cannot match, hardly ever scores as high.
2. Blocks of the picture are then looked for near there, one by one. A similarity is fitted to where they are found, by robust
   least squares; blocks with debris, or without what both rounds show, do not agree and do not count. That is done again from
   there, in a smaller search, and then in a wide one: noise agrees with a similarity that was fitted to it, but does not match
   best there in a wide search.
3. How many blocks agree is the verdict. A round counts as found where so many would hardly agree by chance.
"""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
from scipy.special import bdtrc

from dlir.core import affine
from dlir.core.affine import Array
from dlir.rounds.pictures import Picture
from dlir.rounds.scores import Scored
from dlir.rounds.similarity import similarity_between, turning
from dlir.survey.correlation import chance

SIDES = (256, 512)  # px of the pictures that are compared as a whole; the second where the first does not decide
TURNS = np.arange(-11.0, 12.0)  # degrees
SCALES = (1.0, 0.975, 1.025, 0.95, 1.05)
NEAR = 1.0  # degrees: turns up to that, at the scale 1, are tried first
MIRRORED = 8  # mirrored pictures, to see what chance reaches
CERTAIN = 1e-4  # probability to score as high by chance
LEAST_SHARE = 0.1  # of the smaller picture, that has to overlap
BLOCK, STEP = 64, 48  # px of a picture, side of a block, and from one to the next
LEAST_COVERED = 0.4  # of a block
REACHES = (14, 10, 24)  # px of a picture, that blocks are searched by in turn
LEAST_CONTENT = 0.25  # of the mean square of all px: blocks with less show nothing
AGREEING = 1.5  # px of a picture
BY_CHANCE = 0.03  # probability that the highest score of a block lies so near to the fit by chance
SURE = 1e-4  # probability that so many blocks agree by chance, below which a round is found
LEAST_AGREEING = 0.15  # of all blocks: where tissue was stretched, few agree with one similarity
MOST_TURN = 12.0  # degrees
FREE = 3  # blocks that a similarity nearly always fits


class CoarseMap(NamedTuple):
    """How a round lies to another."""

    affine: Array  # (2, 3) from px of the frame of the moving round to px of that of the fixed one
    blocks: int  # that were compared
    agreeing: int  # of them
    spread: float  # px, root mean square of how far these depart from the affine; NaN where none agrees

    @property
    def turn(self) -> float:
        """Degrees by which the moving round is turned against the fixed one, from y to x."""
        linear = self.affine[:, :2]
        return float(np.degrees(np.arctan2(linear[0, 1] - linear[1, 0], np.trace(linear))))

    @property
    def scale(self) -> float:
        """Px of the fixed round in one px of the moving one."""
        return float(np.sqrt(np.linalg.det(self.affine[:, :2])))

    @property
    def found(self) -> bool:
        """Whether so many blocks would hardly agree by chance, and rounds may lie like that."""
        by_chance = bdtrc(self.agreeing - FREE - 1, max(self.blocks - FREE, 0), BY_CHANCE)
        return bool(by_chance < SURE and self.agreeing >= LEAST_AGREEING * self.blocks and abs(self.turn) < MOST_TURN)


def coarse_map(fixed: Picture, moving: Picture, scale: float = 1.0) -> CoarseMap:
    """Returns how the round of the picture `moving` lies to that of `fixed`; both have one step.

    Args:
        scale: px of the fixed round in one px of the moving one, as far as it is known beforehand.
    """
    to_moving, prepared = whole_match(fixed, moving, scale), fixed.prepared()
    for reach in REACHES:
        to_moving, blocks, agreeing, spread = _by_blocks(prepared, moving, to_moving, reach)
    to_fixed = affine.compose(affine.invert(to_moving), affine.invert(moving.to_frame()))
    return CoarseMap(affine.compose(fixed.to_frame(), to_fixed), blocks, agreeing, spread * fixed.step)


def whole_match(fixed: Picture, moving: Picture, scale: float = 1.0) -> Array:
    """Returns the similarity (2, 3), from px of the picture `fixed` to px of `moving`, at which both match best as a whole."""
    longest = max(*fixed.image.shape, *moving.image.shape)
    near = [(0.0, 1.0), (-NEAR, 1.0), (NEAR, 1.0)]
    found = np.zeros((2, 3))
    for side in SIDES:
        by = max(1, longest // side)
        small, other = fixed.pooled(by), moving.pooled(by)
        for tried in (near, list(product(TURNS.tolist(), SCALES))):
            found, certain = _best(small.prepared(), other.prepared(), tried, scale)
            found[:, 2] = by * found[:, 2] + (by - 1) / 2 - found[:, :2] @ np.full(2, (by - 1) / 2)
            if certain:
                return found
        if by == 1:
            break
    return found


def _best(fixed: Picture, moving: Picture, tried: list[tuple[float, float]], scale: float) -> tuple[Array, bool]:
    """The best of some turns (degrees) and scales: from px of `fixed` to px of `moving`; and whether it is certain."""
    scored = Scored(fixed.image, fixed.covered, fixed.image.shape)
    middle = [(np.array(each.image.shape) - 1) / 2 for each in (fixed, moving)]
    least = LEAST_SHARE * min(int(fixed.covered.sum()), int(moving.covered.sum()))

    def match(turn: float, by: float, mirrored: bool) -> tuple[float, Array]:
        about = turning(turn, 1 / (by * scale))
        to_moving = np.concatenate([about, (middle[1] - about @ middle[0])[:, None]], 1)
        other = moving._replace(image=moving.image[:, ::-1], covered=moving.covered[:, ::-1]) if mirrored else moving
        warped = other.warped(to_moving, fixed.image.shape)
        peak = scored.peak(warped.image, warped.covered, least)
        return peak.height, affine.compose(to_moving, affine.translation(-peak.shift))

    found = [match(turn, by, False) for turn, by in tried]
    height, best = max(found, key=lambda each: each[0])
    turns = np.linspace(TURNS[0], TURNS[-1], MIRRORED)
    by_chance = chance([match(float(turn), 1.0, True)[0] for turn in turns])
    return best, by_chance(height) * len(tried) < CERTAIN


def _by_blocks(fixed: Picture, moving: Picture, to_moving: Array, reach: int) -> tuple[Array, int, int, float]:
    """The similarity that blocks show, from px of `fixed` to px of `moving`; blocks, agreeing ones, and their spread, px.

    Args:
        fixed: prepared; `moving` is not.
        to_moving: (2, 3) where the search begins.
        reach: px, that blocks are searched by.
    """
    other = moving.warped(to_moving, fixed.image.shape).prepared()
    at, found = [], []
    for rows, columns in _blocks(fixed, other):
        block, mask = fixed.image[rows, columns], fixed.covered[rows, columns]
        first = max(rows.start - reach, 0), max(columns.start - reach, 0)
        around = slice(first[0], rows.stop + reach), slice(first[1], columns.stop + reach)
        near = rows.start - first[0], columns.start - first[1]
        scored = Scored(other.image[around], other.covered[around], block.shape, near, reach)
        peak = scored.peak(block, mask, LEAST_COVERED * float(mask.sum()))
        at.append([start + (side - 1) / 2 for start, side in zip((rows.start, columns.start), block.shape, strict=True)])
        found.append(peak.shift - near)
    places, moved = np.array(at).reshape(-1, 2), np.array(found).reshape(-1, 2)
    fit = similarity_between(places, places + moved, AGREEING / 2)
    apart = np.linalg.norm(affine.apply(fit, places) - places - moved, axis=1)
    near_fit = apart < AGREEING
    spread = float(np.sqrt((apart[near_fit] ** 2).mean())) if near_fit.any() else float("nan")
    return affine.compose(to_moving, fit), len(places), int(near_fit.sum()), spread


def _blocks(fixed: Picture, other: Picture) -> Iterator[tuple[slice, slice]]:
    """Yields the rows and columns of blocks in which both prepared pictures show something."""
    both = fixed.covered & other.covered
    powers = [float((each.image[both] ** 2).mean()) if both.any() else 1.0 for each in (fixed, other)]
    starts = [range(0, max(side - BLOCK // 2, 1), STEP) for side in both.shape]
    for top, left in product(*starts):
        block = slice(top, min(top + BLOCK, both.shape[0])), slice(left, min(left + BLOCK, both.shape[1]))
        seen = both[block]
        content = [float((each.image[block][seen] ** 2).sum()) for each in (fixed, other)]
        if seen.sum() >= LEAST_COVERED * BLOCK**2 and all(
            own > 0 and own >= LEAST_CONTENT * power * seen.sum() for own, power in zip(content, powers, strict=True)
        ):
            yield block
