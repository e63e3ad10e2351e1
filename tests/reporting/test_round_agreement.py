"""How rounds agree, measured in the pixels of a specimen with a wrong tile and stretched tissue."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.rounds import SIDE, WRONG, MadeSpecimen, stretch, true_affines

from dlir.core import affine
from dlir.reporting import round_results
from dlir.reporting.round_agreement import Agreement, _supported, agreement, quantiles

NAMES = ["R2", "R3"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Agreement:
    made = MadeSpecimen(tmp_path_factory.mktemp("specimen") / "S")
    return agreement(round_results.read(*made.inputs, "S"))


def test_each_patch_is_measured_and_lies_in_its_tile(found: Agreement) -> None:
    assert (found.patches["state"] == "measured").mean() > 0.95
    for name in NAMES:
        of_round = found.patches[found.patches["round"] == name]
        inside = affine.apply(affine.invert(true_affines(name)[of_round["tile"]]), of_round[["y", "x"]].to_numpy()[:, None])
        assert ((inside > -4) & (inside < SIDE + 4)).all()


def test_a_tile_that_is_placed_wrongly_is_found_and_by_how_much(found: Agreement) -> None:
    name, wrong, off = WRONG
    tiles = found.tiles[found.tiles["round"] == name].set_index("tile")
    np.testing.assert_allclose(tiles.loc[wrong, ["off_y", "off_x"]].to_numpy(float), off, atol=0.15)
    assert (tiles.drop(index=wrong)["offset"] < 0.1).all()


def test_stretched_tissue_is_followed(found: Agreement) -> None:
    of_round = found.patches[(found.patches["round"] == "R3") & (found.patches["state"] == "measured")]
    truth = stretch("R3", of_round[["y", "x"]].to_numpy(float))
    errors = np.linalg.norm(of_round[["dy", "dx"]].to_numpy() - truth, axis=1)
    assert np.median(errors) < 0.1 and np.quantile(errors, 0.95) < 0.25
    rounds = found.rounds.set_index("round")
    assert rounds.loc["R3", "bend_p95"] > 0.5 > rounds.loc["R2", "bend_p95"]
    assert rounds.loc["R2", "median"] < 0.06 < 1 < rounds.loc["R3", "median"]


def test_a_round_that_shows_nothing_of_the_stain_is_not_measured(tmp_path: Path) -> None:
    made = MadeSpecimen(tmp_path / "S", blank=("R2",))
    rounds = agreement(round_results.read(*made.inputs, "S")).rounds.set_index("round")
    assert rounds.loc["R2", "measured"] < 5 < 50 < rounds.loc["R3", "measured"]


def test_windows_are_read_and_never_a_whole_mosaic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = MadeSpecimen(tmp_path / "S")
    specimen = round_results.read(*made.inputs, "S")
    sizes = []
    read = round_results.MosaicStore.read
    monkeypatch.setattr(
        round_results.MosaicStore,
        "read",
        lambda store, *args: sizes.append(np.asarray(read(store, *args)).size) or read(store, *args),
    )
    agreement(specimen)
    assert max(sizes) <= (6 * 64) ** 2 + 1 and len(sizes) > 3


def test_exact_patches_count_most() -> None:
    table = pd.DataFrame({"length": [0.1, 0.1, 0.1, 0.9, 0.9, 0.9, 0.9], "deviation": [0.01] * 3 + [0.3] * 4})
    assert quantiles(table, 0.5)[0] < 0.15 and table["length"].median() == 0.9


def test_a_patch_that_is_far_off_needs_a_neighbour_that_is_off_alike() -> None:
    places = np.array([(0, 0), (0, 100), (0, 200), (0, 900), (100, 0)])
    shift = np.array([(0.1, 0.1), (20.0, 0.0), (20.5, 0.5), (20.0, 0.0), (-30.0, 0.0)])
    found = _supported(places, shift, np.array([True] * 5))
    assert found.tolist() == [True, True, True, False, False]
