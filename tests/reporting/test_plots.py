"""The plots of the report: that they show what the tables say, and say why where they are left out."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.distorted import barrel
from support.results import results_of_grid

from dlir.core import tables
from dlir.illumination import fields
from dlir.reporting.lens_plot import lens_plot
from dlir.reporting.machine_plots import cost_plot, exposure_plot, light_plot, stage_plot
from dlir.reporting.method_plots import calibration_plot, methods_plot, training_plot, wilson
from dlir.reporting.page_files import PageFiles
from dlir.reporting.page_plot import histogram
from dlir.reporting.pair_plots import loop_plot, place_in_tile_plot, residual_plot, tile_residuals
from dlir.reporting.plots import plots
from dlir.reporting.results import Results


@pytest.fixture
def found(tmp_path: Path) -> Results:
    return results_of_grid(tmp_path)


def known(method: str = "network", **columns: object) -> pd.DataFrame:
    rows = [
        {"side": "down", "pair": pair, "method": name, "error": error, "confidence": confidence}
        for pair in range(20)
        for name, error, confidence in ((method, 0.1 + pair / 4, 1 - pair / 20), ("phase", 4.0, 1.0), ("none", 9.0, 0.0))
    ]
    return pd.DataFrame(rows).assign(**columns)


def test_all_plots_are_json_with_words_for_who_does_not_see_them(found: Results, tmp_path: Path) -> None:
    made = plots(found._replace(known_pairs=known()), PageFiles(tmp_path / "files", 1e9))
    json.dumps(made, allow_nan=False)
    assert len({plot["name"] for plot in made}) == len(made) == 11
    for plot in made:
        sentence = plot["missing"] or plot["described"]
        assert sentence.endswith(".") and "nan" not in sentence
    assert {plot["name"] for plot in plots(found._replace(pairs=None), PageFiles(tmp_path / "more", 1e9))} == {
        "lens", "light", "exposure", "cost",
    }  # fmt: skip


def test_the_last_bar_counts_all_larger_values() -> None:
    values = np.r_[np.linspace(0, 1, 995), np.full(5, 50.0)]
    bars = histogram(values, 0.5)
    assert sum(bars["counts"]) == 1000
    assert bars["edges"][-1] < 1.01 and bars["counts"][-1] >= 5
    assert histogram(np.array([0.01]), 0.5)["edges"][-1] == 0.5


def test_residuals_and_loops_are_counted(found: Results, tmp_path: Path) -> None:
    assert found.pairs is not None
    plot = residual_plot(found)
    assert sum(plot["counts"]) == found.pairs["accepted"].sum() == plot["counts"][0]
    wrong = residual_plot(results_of_grid(tmp_path / "wrong", wrong=3.0))
    assert wrong["counts"][-1] == 4 and "largest 3.00 px" in wrong["described"]
    assert residual_plot(found._replace(pairs=found.pairs.assign(accepted=False)))["missing"]
    assert loop_plot(found)["missing"]
    looped = loop_plot(found._replace(placed=found.placed.assign(loop=[0.5] * 6 + [np.nan] * 6)))
    assert sum(looped["counts"]) == 6 and "median 0.50 px" in looped["described"]


def test_arrows_lead_to_where_the_neighbours_show_a_misplaced_tile(tmp_path: Path) -> None:
    """The tile 5 is placed too far down, so its own arrows lead up, and those of its neighbours down."""
    found = results_of_grid(tmp_path, wrong=3.0)
    assert found.pairs is not None
    pairs = found.pairs[found.pairs["accepted"]]
    for row, pair in enumerate(pairs.to_dict("records")):
        places, arrows = tile_residuals(pairs.iloc[[row]], found)
        assert len(places) == 6  # three of each tile
        expected = {pair["moving"]: 0.0, pair["fixed"]: 0.0}
        if 5 in expected:
            other = pair["moving"] + pair["fixed"] - 5
            expected |= {5: -3.0, other: 3.0}
        for start, tile in ((0, pair["moving"]), (1, pair["fixed"])):
            assert arrows[start::2] == pytest.approx(np.tile([expected[tile], 0.0], (3, 1)), abs=1e-6)


def test_a_distortion_of_the_camera_shows_in_the_corners(found: Results) -> None:
    """A camera that shows the specimen ever larger outwards bends overlaps so that all arrows in the corners lead inwards."""
    assert found.pairs is not None
    down = (found.pairs["side"] == "down").to_numpy()
    bent = found.pairs.assign(bow_y=np.where(down, -0.5, 0.0), bow_x=np.where(down, 0.0, -0.5))
    plot = place_in_tile_plot(found._replace(pairs=bent))
    height, width = plot["size"]
    place = np.c_[plot["y"], plot["x"]] - [(height - 1) / 2, (width - 1) / 2]
    arrow = np.c_[plot["down"], plot["right"]]
    long = np.linalg.norm(arrow, axis=1) > 0.1
    inwards = -(place * arrow).sum(axis=1) / np.linalg.norm(place, axis=1) / np.linalg.norm(arrow, axis=1).clip(1e-9)
    assert long.sum() >= 4 and (inwards[long] > 0.5).all()
    assert plot["scale"] == pytest.approx(0.5, abs=0.2)
    assert place_in_tile_plot(found._replace(pairs=bent.head(5)))["missing"]
    assert place_in_tile_plot(found)["scale"] == 0.1  # residuals of thousandths of a px are not drawn as if they were large


def test_a_zigzag_of_the_stage_shows_by_row(found: Results) -> None:
    rows = found.listed["tile"] // 4
    zigzag = found.listed.assign(y=rows * 80.0, x=found.listed["tile"] % 4 * 80.0 - 6.0 * (rows % 2))
    placed = found.placed.assign(y0=rows * 80.0, x0=found.listed["tile"] % 4 * 80.0)
    lines = pd.DataFrame(stage_plot(found._replace(listed=zigzag, placed=placed))["lines"])
    by_row = lines[(lines["line"] == "row") & (lines["axis"] == "x")].set_index("number")["median"]
    assert by_row[1] - (by_row[0] + by_row[2]) / 2 == pytest.approx(6.0, abs=0.1)
    assert lines.loc[lines["axis"] == "y", "median"].abs().max() < 0.1


def test_calibration_compares_the_stated_probability_with_the_truth(found: Results) -> None:
    plot = calibration_plot(found._replace(known_pairs=known()))
    right = known()[known()["method"] == "network"].assign(right=lambda table: table["error"] < 2)
    assert sum(plot["count"]) == 20
    assert np.dot(plot["share"], plot["count"]) == pytest.approx(right["right"].sum(), abs=0.01)
    assert plot["stated"] == sorted(plot["stated"]) and plot["share"][0] == 0 and plot["share"][-1] == 1
    assert all(low < share or share == 0 for low, share in zip(plot["low"], plot["share"], strict=True))
    assert calibration_plot(found._replace(known_pairs=None))["missing"]
    phase_only = known()[known()["method"] != "network"]
    assert "phase correlation" in calibration_plot(found._replace(known_pairs=phase_only))["missing"]


def test_wilson_interval_is_that_of_the_literature() -> None:
    assert wilson(8, 10) == pytest.approx((0.490, 0.943), abs=5e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 0.278), abs=5e-4)


def test_methods_are_compared_pair_by_pair(found: Results) -> None:
    plot = methods_plot(found._replace(known_pairs=known("mine.package:orb")))
    assert plot["own"] == pytest.approx(0.1 + np.arange(20) / 4) and plot["phase"] == [4.0] * 20
    assert "better in 80%" in plot["described"] and plot["label"] == "mine.package:orb"


def test_training_shows_its_checks_and_its_decision(found: Results) -> None:
    columns = list(tables.HISTORY.columns)
    rows = [(0, np.nan, "corner error, px", 2.0, 3.0, "trained: it misses <b>"), (50, 0.4, "corner error, px", 0.5, 0.6, None)]
    plot = training_plot(found._replace(history=pd.DataFrame(rows, columns=columns)))
    assert plot["median"] == [2.0, 0.5] and "from 2.000 to 0.500" in plot["described"]
    assert "The network was trained: it misses <b>." in plot["caption"]
    untrained = training_plot(found._replace(history=pd.DataFrame(rows[:1], columns=columns)))
    assert "no training" in untrained["missing"]
    assert training_plot(found)["missing"] == "no network was trained on these tiles."


def test_the_distortion_is_shown_with_its_size_in_the_corners(found: Results) -> None:
    assert "no distortion" in lens_plot(found)["missing"]
    given = barrel((96, 96), 3.0)
    plot = lens_plot(found._replace(lenses={0: given}))
    assert "bottom right 3.00 px (given in the settings)" in plot["described"]
    (camera,) = plot["cameras"]
    assert len(camera["y"]) == 81 and camera["scale"] == pytest.approx(3.0)
    outwards = np.array(camera["down"]) * (np.array(camera["y"]) - 47.5) + np.array(camera["right"]) * (
        np.array(camera["x"]) - 47.5
    )
    assert (outwards >= 0).all()
    measured = given._replace(source="found", interval=np.full((4, 2), 0.1))
    assert "3.00 ± 0.07 px" in lens_plot(found._replace(lenses={0: measured}))["described"]
    json.dumps(plot, allow_nan=False)


def test_fields_of_the_light_are_pictures_with_their_ends(found: Results, tmp_path: Path) -> None:
    even = fields.identity((1, 96, 96))
    assert light_plot(found._replace(light=[even]), PageFiles(tmp_path / "a", 1e9))["missing"]
    ramp = np.broadcast_to(np.linspace(0.5, 1.5, 96, dtype=np.float32), (1, 96, 96))
    files = PageFiles(tmp_path / "b", 1e9)
    plot = light_plot(found._replace(light=[even._replace(flat=ramp)]), files)
    (field,) = plot["fields"]
    assert field["name"] == "flat-field" and field["low"] == pytest.approx(0.5, abs=0.02) == 2 - field["high"] + 0.0
    assert files.embedded()[field["file"]].startswith("data:image/jpeg;base64,")
    hardly = light_plot(found._replace(light=[even._replace(flat=1 + (ramp - 1) / 1000)]), files)["fields"][0]
    assert hardly["low"] == pytest.approx(0.95, abs=0.001) and hardly["high"] == pytest.approx(1.05, abs=0.001)


def test_exposure_is_shown_at_the_place_of_each_tile(found: Results) -> None:
    assert "left as it is" in exposure_plot(found)["missing"]
    plot = exposure_plot(found._replace(exposure=found.exposure.assign(gain=np.linspace(0.8, 1.2, 12))))
    assert plot["gain"][0] == 0.8 and "0.800 to 1.200" in plot["described"]
    assert plot["x"][1] - plot["x"][0] == pytest.approx(80, abs=5)


def test_cost_is_what_snakemake_measured(found: Results) -> None:
    assert cost_plot(found)["missing"]
    stages = {
        "tiles": {"seconds": 1.5, "cpu_seconds": None, "peak_memory_mb": 90.0},
        "pairs": {"seconds": None, "cpu_seconds": None, "peak_memory_mb": None},
    }
    plot = cost_plot(found._replace(provenance={"stages": stages}))
    assert plot["steps"] == [{"step": "tiles", "seconds": 1.5, "cpu": None, "memory": 90.0}]
