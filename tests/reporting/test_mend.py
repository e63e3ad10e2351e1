"""Mending by hand: what the solve makes of rows is what a run would make of them, and a table is saved whole or not at all."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support import finished_runs, two_groups

from dlir.core import affine, tables
from dlir.placement.overrides_table import OverridesError
from dlir.placement.place import place_times
from dlir.reporting import finished_run, mend
from dlir.reporting.finished_run import FinishedRun

OFFSET = two_groups.true_places()[2] - two_groups.true_places()[1]
JOINED = {"fixed": 1, "moving": 2, "y": float(OFFSET[0]), "x": float(OFFSET[1])}
IGNORED = {"fixed": 0, "moving": 1, "y": None, "x": None}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working directory of a run."""
    return finished_runs.make(tmp_path_factory.mktemp("finished")).parents[1]


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> FinishedRun:
    return finished_run.read(shutil.copytree(finished, tmp_path / "run") / "results" / "two")


def with_table(folder: Path, text: str) -> FinishedRun:
    """A run whose settings name the table mine.csv."""
    (folder / "mine.csv").write_text(text)
    return finished_run.read(finished_runs.make(folder, overrides="mine.csv"))


def test_without_rows_the_solve_is_the_placement(run: FinishedRun) -> None:
    found = mend.solve(run, [], mend.start(run)["state"])
    placed = tables.read(run.results / "placement.csv", tables.PLACEMENT)
    assert [row[:7] for row in found["tiles"]] == placed[["tile", *affine.COLUMNS]].to_numpy().tolist()
    assert (found["moved"], found["groups"]) == (0, 2)


def test_the_true_offset_puts_the_slipped_group_where_it_is(run: FinishedRun) -> None:
    state = mend.start(run)["state"]
    before, after = mend.solve(run, [], state), mend.solve(run, [JOINED], state)
    assert finished_runs.errors(before["tiles"]).max() > 5
    assert finished_runs.errors(after["tiles"]).max() < 0.1
    assert (after["moved"], after["groups"]) == (4, 1)


def test_most_tiles_stay_where_the_mosaic_shows_them(run: FinishedRun) -> None:
    # tile 0 is put beyond the left end of the mosaic, which will begin there, and all others shift in the new mosaic
    rows = [{"fixed": 1, "moving": 0, "y": 0.0, "x": -150.0}, {"fixed": 0, "moving": 4, "y": None, "x": None}]
    found = mend.solve(run, rows, mend.start(run)["state"])
    placed = affine.from_table(tables.read(run.results / "placement.csv", tables.PLACEMENT))
    new = np.array([[each[3], each[6]] for each in found["tiles"]], float)
    off = np.linalg.norm(new - placed[:, :, 2], axis=1)
    assert (off[[2, 3, 6, 7]] < 0.1).all()
    assert off[0] > 10
    assert new[0] - new[1] == pytest.approx([0, -150], abs=0.1)


def test_a_round_is_solved_in_the_frame_of_all_rounds(run: FinishedRun) -> None:
    before = tables.read(run.results / "placement.csv", tables.PLACEMENT)
    turned = affine.compose(np.array([[0.999, 0.05, 40.0], [-0.05, 0.999, -7.0]]), affine.from_table(before))
    tables.write(before.assign(**affine.to_columns(turned)), tables.PLACEMENT, run.results / "placement.csv")
    (run.results.parent / "rounds.csv").write_text("round\n")
    found = mend.solve(run, [], mend.start(run)["state"])
    assert found["moved"] == 0
    np.testing.assert_allclose(np.array([row[1:7] for row in found["tiles"]], float), turned.reshape(-1, 6), atol=1e-3)


def test_the_page_begins_with_the_offset_of_each_pair(run: FinishedRun) -> None:
    places = two_groups.true_places()
    within = [pair for pair in mend.start(run)["pairs"] if pair[5]]
    assert len(within) == 8
    for _, fixed, moving, y, x, _, time in within:
        assert (y, x) == pytest.approx(tuple(places[moving] - places[fixed]), abs=1e-3)
        assert time is None


def test_the_offset_of_a_turned_pair_is_that_at_its_overlap(run: FinishedRun) -> None:
    pairs = tables.read(run.results / "affines.csv", tables.AFFINES)
    centre = pairs[["centre_y", "centre_x"]].to_numpy()[0]
    turned = affine.moving(centre[None], np.array([[3.0, 120.0]]), np.array([[[1, -0.02], [0.02, 1]]]))
    for name, value in affine.to_columns(turned).items():
        pairs.loc[0, name] = value[0]
    tables.write(pairs, tables.AFFINES, run.results / "affines.csv")
    assert mend.start(run)["pairs"][0][3:5] == pytest.approx([3, 120], abs=1e-3)


def test_a_row_holds_for_every_time_point_and_the_one_that_is_shown_is_solved(run: FinishedRun) -> None:
    pairs = tables.read(run.results / "affines.csv", tables.AFFINES)
    tiles = tables.read(run.results / "tiles.csv", tables.TILES)
    lower = 2.0 * ((pairs["moving"] == 3).astype(int) - (pairs["fixed"] == 3))  # tile 3 lies 2 px further down then
    later = pairs.assign(time=1, y0=pairs["y0"] + lower)
    both = pd.concat([pairs.assign(time=0), later], ignore_index=True)
    tables.write(both, tables.AFFINES, run.results / "affines.csv")
    survey = tables.read(run.results / "survey.csv", tables.SURVEY)
    tables.write(place_times(tiles, both, survey=survey)[0], tables.PLACEMENT, run.results / "placement.csv")
    begun = mend.start(run)
    assert [pair[6] for pair in begun["pairs"]] == [0] * 10 + [1] * 10
    first, second = (mend.solve(run, [JOINED], begun["state"], time)["tiles"] for time in (0, 1))
    assert finished_runs.errors(first).max() < 0.1
    assert second[3][3] - second[2][3] - first[3][3] + first[2][3] == pytest.approx(2, abs=0.1)


def test_rows_that_were_there_stay_as_the_user_wrote_them(tmp_path: Path) -> None:
    run = with_table(tmp_path, "note;moving;fixed;y;x\nseen;0_1.tif;0_0.tif;;\n;1_1.tif;1_0.tif;2;131\n")
    begun = mend.start(run)
    assert begun["rows"] == [IGNORED, {"fixed": 4, "moving": 5, "y": 2.0, "x": 131.0}]
    done = mend.save(run, [IGNORED, JOINED], begun["state"])
    assert (done.kept, done.added, done.dropped, done.settings) == (1, 1, 1, "")
    assert (tmp_path / "mine.csv").read_text() == (
        "note;moving;fixed;y;x\nseen;0_1.tif;0_0.tif;;\n;tiles/0_2.tif;tiles/0_1.tif;9.0;118.0\n"
    )
    assert mend.start(run)["rows"] == [IGNORED, JOINED]
    assert mend.start(run)["state"] == done.state


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({**JOINED, "moving": 99}, "line 2: moving is tile 99, which is no tile of this dataset"),
        ({**JOINED, "fixed": 2}, "line 2: fixed and moving are both tiles/0_2.tif, one tile"),
        ({**JOINED, "y": 1e6}, "line 2: y, x is 1e.06, 118 px, far outside the mosaic"),
        ({**JOINED, "fixed": None, "y": None, "x": None}, "line 2: a tile without a fixed one needs y and x"),
    ],
)  # fmt: skip
def test_a_wrong_row_is_named_and_nothing_is_saved(run: FinishedRun, row: mend.Row, message: str) -> None:
    state = mend.start(run)["state"]
    mend.save(run, [JOINED], state)
    before, state = run.table.read_bytes(), mend.start(run)["state"]
    for act in (mend.solve, mend.save):
        with pytest.raises(OverridesError, match=f"overrides.csv, {message}"):
            act(run, [row], state)
    assert run.table.read_bytes() == before
    assert [path.name for path in run.results.glob("overrides*")] == ["overrides.csv"]


def test_a_page_whose_results_have_changed_cannot_save(run: FinishedRun) -> None:
    state = mend.start(run)["state"]
    mend.save(run, [JOINED], state)
    with pytest.raises(mend.MendError, match="have changed since this page was opened: load it again"):
        mend.save(run, [IGNORED], state)
    assert mend.start(run)["rows"] == [JOINED]


def test_a_placement_of_another_run_is_mended_there(run: FinishedRun) -> None:
    with pytest.raises(mend.MendError, match=r"as in another run, other.csv: mend that one"):
        mend.start(run._replace(adopted=Path("other.csv")))
