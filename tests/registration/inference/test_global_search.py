"""The global search: it finds tiles far from where they should lie, and is silent where nothing can be known."""

import numpy as np
import pandas as pd
import pytest
from support.specimens import Specimen

from dlir.registration.inference.global_search import global_search
from dlir.registration.pairs.neighbours import neighbours
from dlir.registration.pairs.windows import TilePlanes
from dlir.registration.settings import Pairs

SIDE, STEP = 160, 136


class Slipped:
    """Tiles of 3 x 4 whose last two rows lie `shift` (y, x) from where the table says, in a noisy image (float32)."""

    def __init__(self, specimen: Specimen, shift: tuple[int, int], noise: float = 0.3, blank: tuple[int, ...] = ()) -> None:
        rng, cells = np.random.default_rng(3), np.array(list(np.ndindex(3, 4)))
        self.stage = cells * float(STEP)
        self.places = self.stage + rng.integers(-2, 3, cells.shape) + np.where(cells[:, :1] > 0, [shift], 0)
        self.tiles = pd.DataFrame({"tile": range(12), "row": cells[:, 0], "col": cells[:, 1], "y": self.stage[:, 0],
                                   "x": self.stage[:, 1], "height": SIDE, "width": SIDE})  # fmt: skip
        images = [
            specimen.tile(np.c_[np.eye(2), place], SIDE, SIDE) * (at not in blank) for at, place in enumerate(self.places)
        ]
        self.images = [(image + noise * rng.standard_normal(image.shape)).astype(np.float32) for image in images]
        self.pairs = neighbours(self.tiles, Pairs())

    def search(self, pairs: pd.DataFrame) -> np.ndarray:
        """How far (n, 2), px, the offsets that are found lie from the truth; NaN where none is certain."""
        found, exact = global_search(pairs, TilePlanes.of_arrays(self.images), self.tiles)
        assert exact == 1.0  # px of such a small tile
        return np.asarray(found - (self.places[pairs["moving"]] - self.places[pairs["fixed"]]))

    def across(self) -> pd.DataFrame:
        """The pairs of the first row with the second, which slipped."""
        return self.pairs[(self.pairs["fixed"] < 4) & (self.pairs["moving"] >= 4)].reset_index(drop=True)


@pytest.mark.parametrize("shift", [(0, 45), (-60, 10)])
def test_tiles_that_slipped_are_found(shift: tuple[int, int]) -> None:
    dataset = Slipped(Specimen(1, waves=400, shortest=6.0), shift)
    error = dataset.search(dataset.across())
    assert np.isfinite(error).all() and np.abs(error).max() < 1.5


def test_blank_tiles_and_tiles_that_show_different_places_are_not_found() -> None:
    dataset = Slipped(Specimen(1, waves=400, shortest=6.0), (0, 45), blank=(4, 5))
    found = np.isfinite(dataset.search(dataset.across())).all(axis=1)
    assert found.tolist() == [False, False, True, True]
    apart = dataset.across().assign(moving=[11, 10, 8, 8])
    assert np.isnan(dataset.search(apart)).all()


def test_a_specimen_that_repeats_itself_is_not_found() -> None:
    specimen = Specimen(1)
    specimen.wave, specimen.phase, specimen.height = 2 * np.pi / 24 * np.eye(2), np.zeros(2), np.ones(2)
    dataset = Slipped(specimen, (0, 45), noise=0.1)
    assert np.isnan(dataset.search(dataset.across())).all()
