"""The steps place_rounds and round_place: their tables, the size of the mosaic, overrides, and what they refuse."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.round_graphs import Rounds, Shape, make_rounds, write_rounds

from dlir.__main__ import app
from dlir.core import affine, tables
from dlir.rounds.place_rounds import RoundsError, place_rounds, round_place

SMALL = Shape(rows=3, cols=3), Shape(rows=3, cols=3, turn=3.0, scale=1.02, shift=(60.0, -80.0), side=400)


def written(folder: Path, made: Rounds | None = None) -> Rounds:
    made = made or make_rounds(*SMALL)
    write_rounds(made, folder)
    return made


def run(folder: Path, **more: list[str]) -> pd.DataFrame:
    """Runs the step on the rounds R1 and R2 of a folder, and returns its table (tables.ROUND_PLACEMENT)."""
    outputs = {"output": folder / "placement.csv", "stage": folder / "stage.csv", "canvas": folder / "canvas.csv"}
    inputs = {"results": [folder / "R1", folder / "R2"], "rounds": folder / "rounds.csv", "between": folder / "between.csv"}
    place_rounds(**inputs, **outputs, **more)
    return tables.read(folder / "placement.csv", tables.ROUND_PLACEMENT)


def test_the_mosaic_begins_at_its_first_tile_and_holds_all_tiles(tmp_path: Path) -> None:
    made = written(tmp_path)
    table = run(tmp_path)
    sizes = np.concatenate([tables.sizes(each.tiles) for each in made.rounds])
    ends = affine.apply(affine.from_table(table), affine.corners(*sizes.T))
    canvas = tables.read(tmp_path / "canvas.csv", tables.CANVAS).iloc[0]
    assert ends.min(axis=(0, 1)) == pytest.approx(0.0, abs=1e-6)
    assert ([canvas["height"], canvas["width"]] == np.ceil(ends.max(axis=(0, 1))) + 1).all()
    assert table["round"].tolist() == 9 * ["R1"] + 9 * ["R2"] and table["tile"].tolist() == 2 * list(range(9))
    assert max(of.max() for of in made.errors(table)) < 0.2
    ends = np.r_[made.between["fixed"], made.rounds[0].affines["fixed"], made.rounds[0].affines["moving"]]
    assert table.loc[4, "pairs"] == (ends == 4).sum()
    assert table.loc[:8, "loop"].notna().sum() == 4 and table["loop"].max() < 0.3


def test_each_round_gets_its_part(tmp_path: Path) -> None:
    written(tmp_path)
    table = run(tmp_path)
    own = {"output": tmp_path / "R2" / "placement.csv", "stage": tmp_path / "R2" / "stage.csv"}
    round_place(placement=tmp_path / "placement.csv", stages=tmp_path / "stage.csv", round="R2", **own)
    part = tables.read(tmp_path / "R2" / "placement.csv", tables.PLACEMENT)
    pd.testing.assert_frame_equal(part, table[9:].drop(columns=["round", "within"]).reset_index(drop=True))
    stage = tables.read(tmp_path / "R2" / "stage.csv", tables.STAGE).iloc[0]
    assert abs(stage["rotation"]) < 0.5 and 1 < stage["error_y"] < 9
    tables.write(table.assign(group=9 * [0] + 4 * [2] + 5 * [1]), tables.ROUND_PLACEMENT, tmp_path / "placement.csv")
    round_place(placement=tmp_path / "placement.csv", stages=tmp_path / "stage.csv", round="R2", **own)
    assert tables.read(tmp_path / "R2" / "placement.csv", tables.PLACEMENT)["group"].tolist() == 4 * [1] + 5 * [0]
    with pytest.raises(RoundsError, match="has no round R9; it has R1, R2"):
        round_place(placement=tmp_path / "placement.csv", stages=tmp_path / "stage.csv", round="R9", **own)


def test_a_round_that_nothing_joins_is_known_within_itself(tmp_path: Path) -> None:
    made = make_rounds(*SMALL, found="stage")
    written(tmp_path, made._replace(between=made.between[:0]))
    table = run(tmp_path)
    assert table["deviation"][:9].max() < 5 and table["deviation"][9:].min() > 100  # the first round gives the frame
    for name in ("R1", "R2"):
        own = {"output": tmp_path / name / "placement.csv", "stage": tmp_path / name / "stage.csv"}
        round_place(placement=tmp_path / "placement.csv", stages=tmp_path / "stage.csv", round=name, **own)
        assert tables.read(own["output"], tables.PLACEMENT)["deviation"].max() < 0.3


def test_the_command_line(tmp_path: Path) -> None:
    written(tmp_path)
    expected = run(tmp_path)
    words = (
        "place_rounds --results R1 R2 --rounds rounds.csv --between between.csv --output other.csv --stage s.csv --canvas c.csv"
    )
    paths = [str(tmp_path / word) if "." in word or word in ("R1", "R2") else word for word in words.split()]
    app([*paths, "--settings", '{"stage_weight": 1.0}', "--overrides", "none", "none"])
    pd.testing.assert_frame_equal(tables.read(tmp_path / "other.csv", tables.ROUND_PLACEMENT), expected)


def test_overrides_of_a_round_hold_in_the_common_frame(tmp_path: Path) -> None:
    """A tile that no pair joins, and that the user places, lies there against the stage of its round."""
    made = written(tmp_path, make_rounds(SMALL[0], SMALL[1]._replace(blank=(8,), stage_error=2.0)))
    before = run(tmp_path)
    place = made.rounds[1].tiles.loc[8, ["y", "x"]].to_numpy(float) + np.array([30.0, 0.0])
    (tmp_path / "mended.csv").write_text(f"fixed,moving,y,x\n,8.tif,{place[0]},{place[1]}\n")
    after = run(tmp_path, overrides=["none", str(tmp_path / "mended.csv")])
    moved = (affine.from_table(after) - affine.from_table(before))[:, :, 2]
    turned = made.truth[1][8][:, :2] @ [30.0, 0.0]
    assert moved[17] - np.median(moved, axis=0) == pytest.approx(turned, abs=2.0)
    assert after.loc[17, "placed_by"] == "user" and np.abs(moved[:17] - np.median(moved, axis=0)).max() < 0.05


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    made = written(tmp_path)
    with pytest.raises(RoundsError, match="names 1 tables for 2 rounds"):
        run(tmp_path, overrides=["none"])
    tables.write(made.between.assign(moving_round="R7"), tables.ROUND_PAIRS, tmp_path / "between.csv")
    with pytest.raises(RoundsError, match=r"between.csv: has pairs of rounds that are not placed .R7.: make it again"):
        run(tmp_path)
    tables.write(made.maps[::-1], tables.ROUNDS, tmp_path / "rounds.csv")
    with pytest.raises(RoundsError, match=r"rounds.csv: has the rounds R2, R1 instead of R1, R2: make it again"):
        run(tmp_path)
