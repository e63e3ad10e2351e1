"""Low-resolution mosaics of rounds: the registered channel of all tiles of a round, placed by its own pairs.

A px of a picture is the mean of `step` x `step` px of the round's own frame. `prepared` makes of it what can be compared with
other rounds: a band-pass takes away background and light, and dividing by the local energy makes faint places count as much as
bright ones. So neither bleaching nor autofluorescence nor a bright speck decides.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from dlir.core import affine, tables
from dlir.core.affine import Array
from dlir.registration.pairs.planes import TilePlanes
from dlir.rounds.inputs import PlacedRound
from dlir.survey.thumbnails import FEWEST_TILES, MOST_TILES, shrunk

Image = NDArray[np.float32]  # (y, x)
Mask = NDArray[np.bool_]  # (y, x)
FINE_SIGMA, COARSE_SIGMA, ENERGY_SIGMA = 0.7, 4.0, 8.0  # px of a picture: the band-pass, and the local energy
QUIET = 4.0  # times the median of the band-passed px: where the local energy is below it, the place stays quiet
ROUNDING = 1e-5  # of the largest px: what is smaller in the band-passed picture is an error of rounding
LARGEST = 3.0  # standard deviations, at which px are clipped
LIGHT_SHARE = 0.05  # of the side of a tile: what all tiles have in common is smoothed so far
KEPT = 3  # pictures: of the round that one is compared with, of this one, and of another one
LEAST_COVER = 0.5  # of a px, that tiles cover


class Picture(NamedTuple):
    """A low-resolution mosaic."""

    image: Image  # 0 where no tile lies
    covered: Mask
    step: int  # px of the frame along the side of a px

    def pooled(self, by: int) -> "Picture":
        """Returns the picture with `by` x `by` px in one."""
        weight = shrunk(self.covered.astype(np.float32), by)
        image = shrunk(self.image, by) / np.maximum(weight, 1e-6)
        covered = weight >= LEAST_COVER
        return Picture(np.where(covered, image, np.float32(0)), covered, self.step * by)

    def prepared(self) -> "Picture":
        """Returns the picture as it is compared with others: band-passed, and of even local energy."""
        mask = self.covered.astype(np.float32)

        def blurred(sigma: float) -> Image:  # over the px that are covered
            weight = ndimage.gaussian_filter(mask, sigma)
            return np.asarray(ndimage.gaussian_filter(self.image * mask, sigma) / np.maximum(weight, 1e-3))

        band = np.where(self.covered, blurred(FINE_SIGMA) - blurred(COARSE_SIGMA), np.float32(0))
        band[np.abs(band) <= ROUNDING * np.abs(self.image).max()] = 0  # of a blank picture nothing is left
        quiet = QUIET * float(np.median(np.abs(band[self.covered]))) if self.covered.any() else 1.0
        band /= np.sqrt(ndimage.gaussian_filter(band**2, ENERGY_SIGMA) + quiet**2 + 1e-20)
        band /= band.std() + 1e-12
        return self._replace(image=band.clip(-LARGEST, LARGEST).astype(np.float32))

    def warped(self, to_here: Array, shape: tuple[int, ...]) -> "Picture":
        """Returns the picture on the grid (y, x) of another one, whose px `to_here` (2, 3) takes to px of this one."""
        matrix, offset = to_here[:, :2], to_here[:, 2]
        image = ndimage.affine_transform(self.image, matrix, offset, shape, order=1)
        cover = ndimage.affine_transform(self.covered.astype(np.float32), matrix, offset, shape, order=1)
        covered = cover > 1 - 1e-3
        return self._replace(image=np.where(covered, image, np.float32(0)), covered=covered)

    def to_frame(self) -> Array:
        """Returns the affine (2, 3) from px of the picture to px of the frame."""
        middle = (self.step - 1) / 2
        return np.array([[self.step, 0, middle], [0, self.step, middle]], float)


def step_for(tiles: pd.DataFrame, placed: pd.DataFrame, side: int) -> int:
    """Returns the step at which the picture of placed tiles (tables.TILES, tables.PLACEMENT) is at most `side` px long."""
    corners = affine.apply(affine.from_table(placed), affine.corners(*tables.sizes(tiles).T))
    return max(1, int(np.ceil(corners.max() / side)))


def without_light(pooled: list[Image], cameras: list[int]) -> list[Image]:
    """Returns pooled tiles less what all tiles of a camera have in common, such as light that is not corrected.

    Without that, the borders of tiles would show, and match those of any other round.

    Args:
        cameras: the number of the camera of each tile.
    """
    found = list(pooled)
    for camera in set(cameras):
        own = [number for number, each in enumerate(cameras) if each == camera]
        if len(own) >= FEWEST_TILES:
            stack = np.stack([pooled[number] for number in own[:: -(-len(own) // MOST_TILES)]])
            common = ndimage.gaussian_filter(np.median(stack, axis=0), LIGHT_SHARE * stack.shape[1])
            for number in own:
                found[number] = pooled[number] - common
    return found


def pictures_of(placed: list[PlacedRound], longest: int) -> Callable[[str], Picture]:
    """Returns a function that makes the picture of a round, by its name; it keeps the last ones.

    Args:
        longest: px, of the longest picture; all have one step.
    """
    by_name = {each.round.name: each for each in placed}
    step = max(step_for(each.round.tiles, each.placement, longest) for each in placed)

    @lru_cache(maxsize=KEPT)
    def shown(name: str) -> Picture:
        each = by_name[name]
        return picture(each.round.planes(), each.round.tiles, each.placement, step)

    return shown


def picture(planes: TilePlanes, tiles: pd.DataFrame, placed: pd.DataFrame, step: int) -> Picture:
    """Returns the picture of a round.

    Args:
        planes: gives the px of its tiles.
        tiles: tables.TILES.
        placed: their places in the frame (tables.PLACEMENT), which begins at (0, 0).
    """
    middle, places = (step - 1) / 2, affine.from_table(placed)
    corners = affine.apply(places, affine.corners(*tables.sizes(tiles).T)).max(axis=(0, 1))
    height, width = (int(side) for side in np.ceil((corners + 1) / step))
    total, weight = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    shown = without_light([shrunk(planes.plane(tile), step) for tile in tiles["tile"]], tiles["camera"].tolist())
    for small, place in zip(shown, places, strict=True):
        # a px k of the pooled tile lies at the px  A k + (A m + t - m) / step  of the picture, with m the middle of a px
        shift = (place[:, :2] @ [middle, middle] + place[:, 2] - middle) / step
        to_picture = np.concatenate([place[:, :2], shift[:, None]], 1)
        ends = affine.apply(to_picture, affine.corners(*small.shape))
        top, left = np.floor(ends.min(axis=0)).astype(int).clip(0)
        bottom, right = np.minimum(np.ceil(ends.max(axis=0)).astype(int) + 1, (height, width))
        back = affine.compose(affine.invert(to_picture), affine.translation([top, left]))
        shape = (bottom - top, right - left)
        for sums, pixels in ((total, small), (weight, np.ones_like(small))):
            sums[top:bottom, left:right] += ndimage.affine_transform(pixels, back[:, :2], back[:, 2], shape, order=1)
    covered = weight >= LEAST_COVER
    return Picture(np.where(covered, total / np.maximum(weight, 1e-6), np.float32(0)), covered, step)
