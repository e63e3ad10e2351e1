"""The verdict on a specimen: never better than that on a round, and it says what is wrong."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.rounds import ROUGH, MadeSpecimen

from dlir.placement.settings import Place
from dlir.reporting import round_results
from dlir.reporting.round_agreement import Agreement, agreement, by_round, by_tile
from dlir.reporting.round_bend import with_bend
from dlir.reporting.round_places import rough_places
from dlir.reporting.round_results import Specimen
from dlir.reporting.round_verdict import verdict
from dlir.rounds.orientation import remedy

ROUNDS = ["R2", "R3"]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Specimen:
    made = MadeSpecimen(tmp_path_factory.mktemp("specimen") / "S", wrong=False, stretched=False)
    return round_results.read(*made.inputs, "S")


def agreeing(shift: dict[tuple[str, int], float] | None = None, **states: str) -> Agreement:
    """Nine patches in each of six tiles; those of a (round, tile) are off by `shift` px, and those of a round have a state."""
    rows = [
        {"round": name, "tile": tile, "y": y, "x": x, "dy": (shift or {}).get((name, tile), 0.05), "dx": 0.0,
         "deviation": 0.02, "before": 0.9, "after": 0.95, "state": states.get(name, "measured")}
        for name in ROUNDS for tile in range(6) for y in (0, 50, 100) for x in (0, 50, 100)
    ]  # fmt: skip
    patches = pd.DataFrame(rows)
    patches = with_bend(patches.assign(length=patches["dy"].abs()))
    return Agreement(64, patches, by_round(patches, ROUNDS), by_tile(patches))


def with_round(specimen: Specimen, place: int, **found: Any) -> Specimen:
    """The specimen, one of whose rounds has other entries in rounds.csv, or another verdict."""
    rounds = list(specimen.rounds)
    each = rounds[place]
    own = found.pop("verdict", each.verdict)
    rounds[place] = each._replace(found={**each.found, **found}, verdict=own)
    return specimen._replace(rounds=rounds)


def kinds(judged: dict[str, Any]) -> list[str]:
    return [finding["kind"] for finding in judged["findings"]]


def test_rounds_that_agree_are_good(good: Specimen) -> None:
    judged = verdict(good, agreement(good))
    assert judged["grade"] == "good" and kinds(judged) == []
    assert judged["sentence"].startswith("Good: all 3 rounds are found. They agree to better than 0.05 px")
    assert judged["between_px"]["median"] < 0.05 and judged["error_px"]["worst"] < 0.2
    assert [each["round"] for each in judged["rounds"]] == ["R1", "R2", "R3"]


def test_one_round_has_nothing_to_be_compared_with(good: Specimen) -> None:
    judged = verdict(good._replace(rounds=good.rounds[:1]), agreeing())
    assert judged["sentence"].startswith("Good: there is one round, and nothing to compare it with. Within a round")


def test_a_round_that_is_not_found_is_not_to_be_trusted_unless_its_pixels_agree(good: Specimen) -> None:
    lost = with_round(good, 2, found="stage", against="", advice="look at `images`")
    judged = verdict(lost, agreeing(R3="empty"))
    assert judged["grade"] == "bad"
    assert judged["sentence"].startswith(
        "Not to be trusted: 2 of 3 rounds match each other, and only the stage says how R3 lies"
    )
    first = judged["findings"][0]
    assert first["sentence"].startswith("R3 was not found: its pixels") and first["remedy"] == "look at `images`"
    judged = verdict(lost, agreeing())
    assert judged["grade"] == "look" and "agree with R1 all the same" in judged["sentence"]
    assert "2 of 3 rounds are found. They agree" in judged["sentence"]


def test_which_rounds_match_each_other_and_which_lie_only_where_the_stage_says_is_told(good: Specimen) -> None:
    lost = with_round(with_round(good, 1, found="stage", against=""), 2, against="R2")
    judged = verdict(lost, agreeing(R2="empty"))
    sentence = (
        "Not to be trusted: 2 of 3 rounds match each other, and only the stage says how R1 lies to them. Those that match agree"
    )
    assert judged["grade"] == "bad" and judged["sentence"].startswith(sentence)
    assert judged["findings"][0]["sentence"].startswith(
        "R2 and R3 match each other, but only the stage says how they lie to R1"
    )
    assert [each["compared_with"] for each in judged["rounds"]] == [None, "R1", "R2"]
    assert ". Within each of these, places are known to" in judged["sentence"]
    alone = with_round(with_round(good, 1, found="stage", against=""), 2, found="stage", against="")
    sentence = verdict(alone, agreeing(R2="empty", R3="empty"))["sentence"]
    assert sentence.startswith("Not to be trusted: no round matches another one, and only the stage says how they lie")


def test_a_round_that_is_turned_is_said_to_be_that_and_nothing_else(good: Specimen) -> None:
    turned = with_round(good, 1, found="stage", against="", advice=remedy("R2", True, "R1", "turned by 180 degrees"))
    alone = turned._replace(pairs=good.pairs.assign(accepted=good.pairs["moving_round"] != "R2"))
    (finding,) = verdict(alone, agreeing(R2="empty"))["findings"]
    assert finding["sentence"] == "R2 matches R1 only if seen turned by 180 degrees" and finding["grade"] == "bad"
    assert finding["remedy"].endswith("Turn its images and the grid alike")


@pytest.mark.slow
def test_a_round_is_compared_with_the_one_against_which_it_was_found(tmp_path: Path) -> None:
    made = MadeSpecimen(tmp_path / "S", wrong=False, stretched=False, blank=("R1",))
    whole = round_results.read(*made.inputs, "S")
    lost = with_round(with_round(whole, 1, found="stage", against=""), 2, against="R2")
    rounds = agreement(lost).rounds.set_index("round")
    assert rounds.loc["R2", "measured"] < 5 < 50 < rounds.loc["R3", "measured"] and rounds.loc["R3", "median"] < 0.05
    by_first, by_second = (rough_places(each, made.results, Place())["R3"][:, :, 2] for each in (whole, lost))
    np.testing.assert_allclose(np.median(by_first - by_second, axis=0), ROUGH, atol=1.0)  # the map of R2 is off by that


@pytest.mark.parametrize("grade", ["look", "bad"])
def test_it_is_never_better_than_a_round(good: Specimen, grade: str) -> None:
    own = {"grade": grade, "sentence": "x", "error_px": {"median": 0.3, "worst": 7.0},
           "findings": [{"grade": grade, "sentence": "tile 5 is odd"}]}  # fmt: skip
    judged = verdict(with_round(good, 1, verdict=own), agreeing())
    assert judged["grade"] == grade and "R2 itself" in judged["sentence"] and "tile 5 is odd" in judged["sentence"]
    assert judged["error_px"]["worst"] == 7.0


def test_a_tile_that_lies_off_is_named_by_its_round(good: Specimen) -> None:
    judged = verdict(good, agreeing({("R3", 4): 3.0}))
    (finding,) = judged["findings"]
    assert judged["grade"] == "look" and finding["sentence"] == "tile 4 of R3 lies 3.0 px from R1"
    assert finding["tiles"] == [16]  # the row of placement.csv
    assert judged["between_px"]["largest"] == 3.0


def test_a_round_whose_pixels_lie_elsewhere_is_bad(good: Specimen) -> None:
    judged = verdict(good, agreeing({("R2", tile): 4.0 for tile in range(6)}))
    assert (
        judged["grade"] == "bad" and judged["findings"][0]["sentence"] == "R2 lies 4.0 px from R1, in the median of its pixels"
    )


def test_rounds_that_cannot_be_compared_are_told(good: Specimen) -> None:
    assert "nobody knows how well they agree" in verdict(good, agreeing(R2="empty"))["sentence"]
    assert "only 0 of 54" not in verdict(good, agreeing(R2="unmatched"))["sentence"]
    assert verdict(good, agreeing(R2="unmatched"))["grade"] == "look"


def test_a_tile_that_shows_something_else_is_told_unless_a_pair_holds_it(good: Specimen) -> None:
    measured = agreeing()
    other = (measured.patches["round"] == "R2") & (measured.patches["tile"] == 3)
    patches = measured.patches.assign(state=measured.patches["state"].mask(other, "unmatched"))
    measured = Agreement(64, patches, by_round(patches, ROUNDS), by_tile(patches))
    assert verdict(good, measured)["grade"] == "good"
    alone = good.pairs.assign(accepted=(good.pairs["moving_round"] != "R2") | (good.pairs["moving"] != 3))
    (finding,) = verdict(good._replace(pairs=alone), measured)["findings"]
    assert finding["sentence"] == "1 tile of R2 shows something else than R1 at the same place: 3" and finding["tiles"] == [9]


def test_a_round_without_a_pair_to_another_is_bad_unless_its_pixels_agree(good: Specimen) -> None:
    alone = good._replace(pairs=good.pairs.assign(accepted=good.pairs["moving_round"] != "R2"))
    assert verdict(alone, agreeing())["grade"] == "look"
    assert verdict(alone, agreeing(R2="empty"))["grade"] == "bad"


@pytest.mark.slow
def test_stretched_tissue_is_told_with_its_tiles(tmp_path: Path) -> None:
    made = MadeSpecimen(tmp_path / "S", wrong=False)
    specimen = round_results.read(*made.inputs, "S")
    judged = verdict(specimen, agreement(specimen))
    (stretched,) = [finding for finding in judged["findings"] if finding["kind"] == "stretched"]
    assert stretched["sentence"].startswith("the tissue of R3 is stretched against R1 by") and stretched["tiles"]
    assert set(stretched["tiles"]) <= set(range(12, 18)) and judged["grade"] == "look"
