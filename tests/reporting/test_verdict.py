"""The verdict against truth: good where all tiles lie right, never good where one is off, and what it says of each fault."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.pair_graphs import SIDE, STEP, Graph, make_graph

from dlir.core import affine, tables
from dlir.core.lens import NO_LENSES, Lens, Lenses
from dlir.placement.place import place_tiles, place_times
from dlir.registration.inference.consensus import doubt_contradicted, tell_overruled
from dlir.reporting.findings import SEAM, Finding
from dlir.reporting.verdict import Verdict, judge, verdict

SURVEY = {
    "side": "down", "told_y": STEP, "told_x": 0.0, "found_y": STEP, "found_x": 0.0, "spread_y": 1.0, "spread_x": 1.0,
    "pairs": 12, "sure": 12, "step_y": STEP, "step_x": 0.0, "overlap": 0.09, "layout": "fits", "advice": None,
}  # fmt: skip


def grid(**changes: float) -> Graph:
    """A grid of 4 x 5 tiles numbered from 10, whose pairs are measured to 0.05 px, while the stage errs by 4 px."""
    return prepared(make_graph(4, 5, **{"noise": 0.05, "seed": 3, **changes}))  # type: ignore[arg-type]


def prepared(graph: Graph) -> Graph:
    """The graph with all columns of its tables."""
    count = len(graph.tiles)
    tiles = graph.tiles.assign(channels=1, dtype="uint16", pixel_size=0.5, sha256=[f"{i}" for i in range(count)])
    pairs = graph.pairs.assign(bow_y=0.0, bow_x=0.0, score_before=0.3, score_after=0.95, overruled=False, reason="")
    return graph._replace(tiles=tiles, pairs=pairs.assign(confidence=0.9999))


def changed(graph: Graph, which: pd.Series, **values: object) -> Graph:
    """The same graph, in which these pairs have other values."""
    pairs = graph.pairs.copy()
    for name, value in values.items():
        pairs.loc[which, name] = value
    return graph._replace(pairs=pairs)


def of(graph: Graph, *tiles: int) -> pd.Series:
    """Which pairs are those of these tiles."""
    found: pd.Series = graph.pairs[["fixed", "moving"]].isin(tiles).any(axis=1)
    return found


def judged(graph: Graph, survey: pd.DataFrame | None = None, lenses: Lenses = NO_LENSES) -> tuple[Verdict, np.ndarray]:
    """The verdict on a graph after the step `place`, and the true errors (n,), px, of its tiles."""
    pairs = tell_overruled(graph.pairs, graph.tiles)
    pairs["confidence"] = doubt_contradicted(graph.pairs, graph.tiles)
    placed, _ = place_tiles(graph.tiles, pairs, lenses=lenses)
    error = graph.error(affine.from_table(placed))
    checked = tables.check(pairs, tables.AFFINES, Path("affines.csv"))
    return verdict(graph.tiles, placed, checked, lenses=lenses, survey=survey), error


def finding(found: Verdict, kind: str) -> Finding:
    """The finding of this kind."""
    return next(each for each in found.findings if each.kind == kind)


def kinds(found: Verdict) -> list[str]:
    return [each.kind for each in found.findings]


def test_a_mosaic_that_is_right_is_good_and_its_error_is_that_of_the_truth() -> None:
    found, error = judged(grid())
    assert (found.grade, found.findings) == ("good", [])
    assert found.error_px.median is not None and found.error_px.worst is not None
    assert 0.4 < found.error_px.median / np.median(error) < 2.5
    assert error.max() < 3 * found.error_px.worst
    assert found.error_um.median == pytest.approx(found.error_px.median / 2, rel=0.02)
    assert found.tiles == {"total": 20, "pairs": 20, "user": 0, "placement": 0, "stage": 0, "unsure": 0}
    assert [(group.group, group.tiles) for group in found.groups] == [(0, 20)]
    assert found.sentence.startswith("Good: pairs hold all 20 tiles. Places are known to ")


def test_a_stage_that_errs_by_far_does_not_make_sure_tiles_unsure() -> None:
    graph = grid(stage_error=40.0)
    found, error = judged(changed(graph, of(graph, 10), confidence=0.99))
    assert error.max() < 0.5
    assert found.grade == "good"
    assert found.error_px.worst is not None and found.error_px.worst < 0.5


def test_a_tile_without_a_pair_is_to_be_looked_at() -> None:
    graph = grid()
    found, error = judged(changed(graph, of(graph, 17), accepted=False, confidence=0.0))
    assert (found.grade, found.tiles["stage"], found.tiles["pairs"]) == ("look", 1, 19)
    alone = finding(found, "alone")
    assert list(alone.tiles) == [17] and "17 (7.tif)" in alone.sentence
    assert found.error_px.worst is not None and error[7] < 3 * found.error_px.worst
    assert "the stage alone places 1 of 20 tiles" in found.sentence


def test_groups_that_nothing_joins_are_told() -> None:
    graph = grid()
    between = (graph.pairs["side"] == "down") & graph.pairs["fixed"].between(15, 19)
    found, _ = judged(changed(graph, between, accepted=False, confidence=0.0))
    assert found.grade == "look" and kinds(found) == ["groups"]
    assert [group.tiles for group in found.groups] == [10, 10]
    assert "2 groups (of 10, 10 tiles)" in found.sentence
    assert len(finding(found, "groups").tiles) == 10


def test_a_tile_that_hangs_on_one_pair_in_doubt_is_told_with_the_pair() -> None:
    graph = grid()
    corner = changed(graph, of(graph, 10), accepted=False, confidence=0.0)
    only = (graph.pairs["fixed"] == 10) & (graph.pairs["moving"] == 11)
    found, _ = judged(changed(corner, only, accepted=True, confidence=0.6))
    assert found.grade == "look"
    weak = finding(found, "weak")
    assert list(weak.tiles) == [10] and list(weak.pairs) == graph.pairs.loc[only, "pair"].tolist()
    assert "pair 10-11 (NCC 0.950, 60 % sure)" in weak.sentence


@pytest.mark.parametrize(("ncc", "grade"), [(0.97, "look"), (0.4, "good")])
def test_an_overruled_pair_is_to_be_looked_at_if_it_matches_as_well_as_the_others(ncc: float, grade: str) -> None:
    graph = grid()
    pair = (graph.pairs["fixed"] == 16) & (graph.pairs["moving"] == 17)
    found, error = judged(changed(graph, pair, x0=graph.pairs.loc[pair, "x0"] + 5, score_after=ncc))
    assert error.max() < 0.5
    overruled = finding(found, "overruled")
    assert (found.grade, overruled.grade) == (grade, grade)
    assert list(overruled.pairs) == graph.pairs.loc[pair, "pair"].tolist() and list(overruled.tiles) == [16, 17]
    assert f"pair 16-17 (NCC {ncc:.3f}) matches at least 4.9 px from where the tiles lie" in overruled.sentence


def test_faint_pairs_that_others_hold_are_good_but_told() -> None:
    graph = grid()
    faint = graph.pairs["pair"].isin([5, 20])
    found, error = judged(changed(graph, faint, score_after=0.1, confidence=0.3, var_y=0.5, var_x=0.5))
    assert error.max() < SEAM
    assert found.grade == "good" and "2 of 31 pairs that count are faint" in found.sentence
    assert set(finding(found, "faint").pairs) == {5, 20}


def test_a_camera_that_distorts_all_tiles_is_not_good_though_all_fits() -> None:
    graph = grid()
    bent = changed(graph, graph.pairs["side"] == "down", bow_y=-2.7)
    found, _ = judged(changed(bent, graph.pairs["side"] == "right", bow_x=-2.7))
    distorted = finding(found, "distorted")
    assert found.grade == "look" and found.error_px.worst is not None
    assert found.error_px.worst > 4 and f"{found.error_px.worst:.1f} px" in distorted.sentence
    assert "weak" not in kinds(found)


def test_a_lens_that_is_known_badly_makes_the_expected_errors_larger() -> None:
    graph = grid()
    lens = Lens.of((SIDE, SIDE), np.ones((4, 2)), [(3, 0), (1, 2), (0, 3), (2, 1)], source="found")
    without, _ = judged(graph)
    exact, _ = judged(graph, lenses={0: lens})
    assert exact == without
    known, _ = judged(graph, lenses={0: lens._replace(interval=np.full((4, 2), 0.1))})
    assert known.grade == "good" and known.error_px.median is not None and without.error_px.median is not None
    assert known.error_px.median > 1.5 * without.error_px.median
    unknown, _ = judged(graph, lenses={0: lens._replace(interval=np.full((4, 2), 3.0))})
    assert unknown.grade == "look" and kinds(unknown) == ["distorted"]
    assert "too little of how the lens distorts" in finding(unknown, "distorted").sentence


def test_turned_tiles_whose_errors_add_up_along_a_strip_are_told() -> None:
    strip = make_graph(2, 30, noise=0.1, linear=(0.005, 0, 0, 0), seed=1)
    found, error = judged(prepared(strip))
    assert found.error_px.worst is not None and error.max() < 3 * found.error_px.worst
    assert found.grade == "look" and kinds(found) == ["inexact"]


def test_a_mosaic_that_no_pair_holds_is_not_to_be_trusted() -> None:
    graph = grid()
    found, _ = judged(changed(graph, graph.pairs["pair"] >= 0, accepted=False, confidence=0.0))
    assert found.grade == "bad" and found.tiles["stage"] == 20
    assert found.sentence.startswith("Not to be trusted: the stage alone places all 20 tiles")


def test_a_mosaic_of_pairs_in_doubt_is_not_to_be_trusted() -> None:
    graph = grid()
    graph.pairs[["y0", "x0"]] += np.random.default_rng(0).uniform(-12, 12, (len(graph.pairs), 2))
    found, error = judged(changed(graph, graph.pairs["pair"] >= 0, confidence=0.3))
    assert np.median(error) > SEAM
    assert found.grade == "bad" and kinds(found)[0] == "unsure"


def test_a_specimen_that_repeats_itself_is_told() -> None:
    graph = grid()
    ambiguous = "ambiguous: the specimen repeats itself, and the stage is not surely better than half of a period"
    found, _ = judged(changed(graph, of(graph, 29), accepted=False, confidence=0.0, reason=ambiguous))
    repeated = finding(found, "repeated")
    assert found.grade == repeated.grade == "look" and len(repeated.pairs) == 2


def test_copies_of_a_tile_are_to_be_looked_at() -> None:
    graph = grid()
    tiles = graph.tiles.assign(sha256=graph.tiles["sha256"].replace("7", "3"))
    found, _ = judged(graph._replace(tiles=tiles))
    assert found.grade == "look" and list(finding(found, "copies").tiles) == [13, 17]


@pytest.mark.parametrize(
    ("survey", "grade", "kind", "remedy"),
    [
        ({"layout": "other", "advice": "columns: 6"}, "look", "layout", "the tiles fit if columns: 6: set it for this dataset"),
        ({"layout": "unclear"}, "look", "layout", "check images"),
        ({"layout": "others"}, "look", "layout", "give overlap for this round, or leave it out"),
        ({"told_y": STEP + 20, "step_y": STEP}, "good", "overlap", "correct overlap"),
    ],
)
def test_what_the_survey_found_is_told(survey: dict[str, object], grade: str, kind: str, remedy: str) -> None:
    found, _ = judged(grid(), pd.DataFrame([{**SURVEY, **survey}]))
    assert found.grade == grade and kinds(found) == [kind]
    assert finding(found, kind).remedy.startswith(remedy)


def test_a_placement_of_another_run_is_good_if_that_told_how_exact_it_is() -> None:
    graph = grid()
    placed, _ = place_tiles(graph.tiles, graph.pairs)
    placed = placed.assign(placed_by="placement")
    found = verdict(graph.tiles, placed)
    assert found.grade == "good" and found.tiles["placement"] == 20 and "another run placed all 20 tiles" in found.sentence
    unknown = verdict(graph.tiles, placed.assign(deviation=np.nan))
    assert unknown.grade == "look" and kinds(unknown) == ["adopted"]
    assert unknown.error_px == (None, None)


def test_the_worst_place_is_told_only_where_it_differs() -> None:
    graph = grid()
    alone = graph.pairs.assign(accepted=False, confidence=0.0)
    placed, _ = place_tiles(graph.tiles, alone)
    sentence = verdict(graph.tiles, placed.assign(deviation=6.45), alone).sentence
    assert "Places are known to about 6.5 px (3.2 µm). " in sentence


def test_one_tile_alone_is_good() -> None:
    graph = make_graph(1, 1)
    tiles = graph.tiles.assign(channels=1, dtype="uint16", pixel_size=np.nan, sha256="0")
    placed, _ = place_tiles(tiles, tables.check(pd.DataFrame(columns=list(tables.AFFINES.columns)), tables.AFFINES, Path()))
    found = verdict(tiles, placed)
    assert found.grade == "good" and found.error_um == (None, None) and "one tile" in found.sentence


def test_the_worst_time_point_counts() -> None:
    graph = grid()
    torn = changed(graph, of(graph, 17), accepted=False, confidence=0.0).pairs
    pairs = pd.concat([graph.pairs.assign(time=0), torn.assign(time=1), graph.pairs.assign(time=2)], ignore_index=True)
    placed, _ = place_times(graph.tiles, pairs)
    found = verdict(graph.tiles, placed, pairs)
    assert (found.time, found.grade, found.tiles["stage"]) == (1, "look", 1)
    assert found.sentence.startswith("Good, but look here: at the worst time point, 1, ")


@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(6, 12))])
def test_no_tile_that_is_off_is_called_good(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = grid(seed=seed)
    count = len(graph.pairs)
    wrong = rng.random(count) < rng.uniform(0, 0.5)
    graph.pairs[["y0", "x0"]] += wrong[:, None] * rng.uniform(-25, 25, (count, 2))
    confidence = np.where(wrong, rng.uniform(0, 0.9, count), rng.uniform(0.5, 1, count))
    lost = rng.random(count) < 0.1
    found, error = judged(graph._replace(pairs=graph.pairs.assign(confidence=confidence, accepted=~lost)))
    assert found.grade != "good" or error.max() < SEAM


def test_verdict_json_has_what_the_page_needs(tmp_path: Path) -> None:
    graph = grid()
    tiles = graph.tiles.assign(path=[f"<script>{i}.tif" for i in range(20)])
    pairs = changed(graph, of(graph, 17), accepted=False, confidence=0.0).pairs
    placed, _ = place_tiles(tiles, pairs)
    files = [tmp_path / f"{name}.csv" for name in ("tiles", "placement", "affines")]
    for file, table, schema in zip(
        files, (tiles, placed, pairs), (tables.TILES, tables.PLACEMENT, tables.AFFINES), strict=True
    ):
        tables.write(table, schema, file)
    judge(files[0], files[1], tmp_path / "verdict.json", affines=files[2])
    written = json.loads((tmp_path / "verdict.json").read_text(), parse_constant=pytest.fail)
    assert written == json.loads(json.dumps(verdict(tiles, placed, pairs).as_json()))
    assert set(written) == {"grade", "sentence", "tiles", "groups", "error_px", "error_um", "findings", "time"}
    assert set(written["findings"][0]) == {"kind", "grade", "sentence", "remedy", "tiles", "pairs"}
    assert "17 (<script>7.tif)" in written["sentence"]


def test_a_pair_that_the_user_calls_wrong_is_no_longer_told(tmp_path: Path) -> None:
    graph = grid()
    pair = (graph.pairs["fixed"] == 16) & (graph.pairs["moving"] == 17)
    pairs = changed(graph, pair, x0=graph.pairs.loc[pair, "x0"] + 5, overruled=True).pairs
    placed, _ = place_tiles(graph.tiles, pairs)
    (tmp_path / "overrides.csv").write_text("fixed,moving,y,x\n6.tif,7.tif,,\n")
    files = [tmp_path / f"{name}.csv" for name in ("tiles", "placement", "affines")]
    for file, table, schema in zip(
        files, (graph.tiles, placed, pairs), (tables.TILES, tables.PLACEMENT, tables.AFFINES), strict=True
    ):
        tables.write(table, schema, file)
    for overrides, expected in ((None, ["overruled"]), (tmp_path / "overrides.csv", [])):
        judge(files[0], files[1], tmp_path / "verdict.json", affines=files[2], overrides=overrides)
        written = json.loads((tmp_path / "verdict.json").read_text())
        assert [each["kind"] for each in written["findings"]] == expected


@pytest.mark.parametrize(("off", "expected"), [(0.0, []), (5.0, ["inexact", "misfit"])])
def test_an_offset_of_the_user_is_not_faint_and_is_told_where_the_placement_is_elsewhere(
    tmp_path: Path, off: float, expected: list[str]
) -> None:
    graph = grid()
    measured = graph.pairs[(graph.pairs["fixed"] == 16) & (graph.pairs["moving"] == 17)].iloc[0]
    placed, _ = place_tiles(graph.tiles, graph.pairs)
    (tmp_path / "overrides.csv").write_text(f"fixed,moving,y,x\n6.tif,7.tif,{measured['y0']},{measured['x0'] + off}\n")
    for name, table in (("tiles", graph.tiles), ("placement", placed), ("affines", graph.pairs)):
        tables.write(table, getattr(tables, name.upper()), tmp_path / f"{name}.csv")
    tiles, places, pairs, written = (tmp_path / f for f in ("tiles.csv", "placement.csv", "affines.csv", "verdict.json"))
    judge(tiles, places, written, affines=pairs, overrides=tmp_path / "overrides.csv")
    findings = json.loads(written.read_text())["findings"]
    assert [each["kind"] for each in findings] == expected
    for misfit in findings[1:]:
        assert (misfit["tiles"], misfit["pairs"]) == ([16, 17], [])  # the page has no number of that pair
        assert misfit["sentence"].startswith("your offset of tiles 16-17 lies at least 5.0 px from where the tiles lie")
