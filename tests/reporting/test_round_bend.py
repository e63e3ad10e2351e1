"""Stretched tissue is told from rigid errors and from noise."""

import numpy as np
import pandas as pd

from dlir.reporting.round_bend import smooth_power, with_bend

NOISE = 0.05  # px


def measured(field: object, tiles: int = 6, each: int = 4) -> pd.DataFrame:
    """Patches of tiles of 100 px, `each` along both sides, with the shifts that field(y, x) gives, and noise."""
    rng = np.random.default_rng(0)
    places = np.array([(y, x) for y in range(each) for x in range(each)]) * 100 / each
    tables = []
    for tile in range(tiles):
        y, x = (places + np.array([0, 100 * tile])).T
        shift = np.stack(field(tile, y, x), 1) + NOISE * rng.standard_normal((len(y), 2))  # type: ignore[operator]
        tables.append(pd.DataFrame({"round": "R2", "tile": tile, "y": y, "x": x, "dy": shift[:, 0], "dx": shift[:, 1]}))
    return pd.concat(tables, ignore_index=True).assign(state="measured")


def test_tiles_that_are_shifted_and_turned_are_not_stretched() -> None:
    found = with_bend(measured(lambda tile, y, x: (tile + 0.01 * x, -2.0 - 0.01 * y)))
    assert smooth_power(found) == 0
    np.testing.assert_allclose(found["rigid_y"], found["dy"], atol=4 * NOISE)


def test_the_field_of_stretched_tissue_is_found_beside_the_rigid_part() -> None:
    def field(tile: int, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return 3.0 + 0 * y, 1.5 * np.sin(2 * np.pi * y / 250)

    patches = measured(field)
    found = with_bend(patches)
    truth = patches["dx"] - patches.groupby("tile")["dx"].transform("mean")  # its turn is small
    assert 0.3 < np.sqrt(smooth_power(found)) < 1.0
    assert np.corrcoef(found["bend_x"], truth)[0, 1] > 0.8 and np.abs(found["bend_y"]).max() < 0.5


def test_where_tiles_have_few_patches_all_tiles_are_taken_as_one() -> None:
    patches = measured(lambda tile, y, x: (2 * np.sin(2 * np.pi * x / 900), 0 * y), each=2)
    found = with_bend(patches)
    assert np.corrcoef(found["bend_y"], patches["dy"])[0, 1] > 0.8 and smooth_power(found) > 0.3
    assert smooth_power(with_bend(measured(lambda tile, y, x: (0.02 * x, -0.02 * y), each=2))) == 0


def test_few_patches_say_nothing() -> None:
    found = with_bend(measured(lambda tile, y, x: (y, x), tiles=1, each=2))
    assert found["bend_y"].isna().all() and smooth_power(found) == 0
