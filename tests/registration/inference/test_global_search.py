"""The global search: it finds tiles far from where they should lie, and is silent where nothing can be known."""

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from dlir.registration.inference.global_search import global_search
from dlir.registration.pairs.neighbours import neighbours
from dlir.registration.pairs.planes import TilePlanes
from dlir.registration.settings import Pairs

SIDE, STEP = 160, 136


class Slipped:
    """Tiles of 3 x 4 whose last two rows lie `shift` (y, x) px from where the table says, cut from an image (700, 850)."""

    def __init__(self, image: np.ndarray, shift: tuple[int, int], noise: float = 0.2, blank: tuple[int, ...] = ()) -> None:
        rng, cells = np.random.default_rng(3), np.array(list(np.ndindex(3, 4)))
        self.places = 80 + STEP * cells + rng.integers(-2, 3, cells.shape) + np.where(cells[:, :1] > 0, [shift], 0)
        self.tiles = pd.DataFrame({"tile": range(12), "row": cells[:, 0], "col": cells[:, 1], "y": STEP * cells[:, 0],
                                   "x": STEP * cells[:, 1], "camera": 0, "height": SIDE, "width": SIDE})  # fmt: skip
        clean = [image[y : y + SIDE, x : x + SIDE] * (tile not in blank) for tile, (y, x) in enumerate(self.places)]
        self.images = [(tile + noise * rng.standard_normal(tile.shape)).astype(np.float32) for tile in clean]
        self.pairs = neighbours(self.tiles, Pairs())

    def search(self, pairs: pd.DataFrame) -> np.ndarray:
        """How far (n, 2), px, the offsets that are found lie from the truth; NaN where none is certain."""
        found, exact = global_search(pairs, TilePlanes.of_arrays(self.images), self.tiles)
        assert exact == 1.0  # px of such a small tile
        return np.asarray(found - (self.places[pairs["moving"]] - self.places[pairs["fixed"]]))

    def across(self) -> pd.DataFrame:
        """The pairs of the first row with the second, which slipped."""
        return self.pairs[(self.pairs["fixed"] < 4) & (self.pairs["moving"] >= 4)].reset_index(drop=True)


def texture(seed: int = 0) -> np.ndarray:
    """An image of unit variance that repeats itself nowhere."""
    image = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(700, 850)), 2.0)
    return np.asarray(image / image.std())


@pytest.mark.parametrize("shift", [(0, 45), (-60, 10)])
def test_tiles_that_slipped_are_found(shift: tuple[int, int]) -> None:
    dataset = Slipped(texture(), shift)
    error = dataset.search(dataset.across())
    assert np.isfinite(error).all() and np.abs(error).max() < 1.5


def test_blank_tiles_and_tiles_that_show_different_places_are_not_found() -> None:
    dataset = Slipped(texture(), (0, 45), blank=(4, 5))
    found = np.isfinite(dataset.search(dataset.across())).all(axis=1)
    assert found.tolist() == [False, False, True, True]
    apart = dataset.across().assign(moving=[11, 10, 8, 8])
    assert np.isnan(dataset.search(apart)).all()


def test_a_specimen_that_repeats_itself_is_not_found() -> None:
    y, x = np.mgrid[:700, :850]
    dataset = Slipped(np.cos(2 * np.pi * y / 24) + np.cos(2 * np.pi * x / 24), (0, 45))
    assert np.isnan(dataset.search(dataset.across())).all()
