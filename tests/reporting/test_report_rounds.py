"""The page of a specimen with rounds: what its scripts are told, and that its verdict is one that `dlir verdict` reads."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.rounds import ROUGH, ROUNDS, MadeSpecimen, write_page

from dlir import steps
from dlir.core import tables
from dlir.reporting import round_results, verdict_file
from dlir.reporting.index import index
from dlir.reporting.report_rounds import report_rounds
from dlir.reporting.round_gallery import chosen
from dlir.reporting.round_results import StoreError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeSpecimen:
    found = MadeSpecimen(tmp_path_factory.mktemp("specimen") / "S")
    write_page(found)
    return found


@pytest.fixture(scope="module")
def text(made: MadeSpecimen) -> str:
    return (made.folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def facts(text: str) -> dict[str, Any]:
    (found,) = re.findall(r'<script type="application/json" id="facts">(.*?)</script>', text, re.DOTALL)
    return dict(json.loads(found))


def rows(table: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(table["rows"], columns=table["columns"])


def test_channels_are_those_of_all_rounds_by_their_round(facts: dict[str, Any]) -> None:
    names = [(channel["round"], channel["name"]) for channel in facts["pictures"]["channels"]]
    assert names[:3] == [("R1", "R1/DAPI"), ("R1", "R1/<b>GFP"), ("R2", "R2/DAPI")] and len(names) == 6
    assert [each["shown"] for each in facts["rounds"]] == [[0], [2], [4]]
    assert {name.split("/")[-1].split("_")[0] for name in facts["files"] if name.startswith("mosaic/")} == set("012345")


def test_tiles_have_what_was_measured_and_how_far_they_were_moved(facts: dict[str, Any]) -> None:
    tiles = rows(facts["tiles"])
    assert tiles["tile"].tolist() == list(range(18)) and tiles["label"][10] == "R2 4"
    assert abs(tiles.set_index("label").loc["R2 4", "offset"] - np.hypot(3, 1)) < 0.15
    assert (tiles["between"] == [2] * 5 + [1] + [1] * 11 + [0]).all()
    others = tiles[(tiles["round"] == "R2") & (tiles["number"] != 4)]
    assert np.abs(others["moved"] - np.hypot(*ROUGH)).max() < 0.5
    assert tiles.loc[tiles["round"] == "R1", "measured"].eq(0).all()


def test_patches_name_their_tiles_and_some_have_pictures(facts: dict[str, Any]) -> None:
    patches, tiles = rows(facts["patches"]), rows(facts["tiles"]).set_index("tile")
    assert (tiles.loc[patches["tile"], "round"].to_numpy() == patches["round"].to_numpy()).all()
    gallery = facts["gallery"]
    assert {each["group"] for each in gallery} == {"worst", "uncertain", "random"}
    assert len({each["patch"] for each in gallery}) == len(gallery)
    worst = patches.loc[[each["patch"] for each in gallery if each["group"] == "worst"]]
    assert set(worst["round"]) == set(ROUNDS[1:])  # rounds take turns
    assert all(each[name] in facts["files"] for each in gallery for name in ("fixed", "moving", "before"))


def test_no_name_is_code(text: str) -> None:
    assert "<b>GFP" not in text and "\\u003cb>GFP" in text


def test_the_verdict_is_read_by_the_command(made: MadeSpecimen) -> None:
    assert verdict_file.read(made.folder)["grade"] == "look"
    command = [sys.executable, str(steps.PACKAGE / "__main__.py"), "verdict", str(made.folder), "--strict"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 10 and "tile 4 of R2 lies 3." in done.stdout


def test_a_specimen_has_a_row_on_the_page_of_all_datasets(made: MadeSpecimen) -> None:
    index([made.folder], made.folder.parent / "index.html")
    page = (made.folder.parent / "index.html").read_text(encoding="utf-8")
    assert "1 mosaics (look here: 1)" in page and 'href="S/report.html"' in page and "all 3 rounds are found" in page


def test_each_round_has_its_numbers_and_a_link(text: str) -> None:
    for name in ROUNDS:
        assert f'<a href="{name}/report.html">{name}</a>' in text
    assert text.count("✓ Good") == 3


def test_it_says_where_a_local_refinement_would_help_and_where_not(text: str) -> None:
    assert re.search(r"<li>R2: a local refinement would not help", text)
    assert re.search(r"<li>R3: a local, non-rigid refinement would help by \d\.\d px.*, most in tiles \d", text)


def test_mosaics_of_unlike_sizes_are_refused(made: MadeSpecimen, tmp_path: Path) -> None:
    other = MadeSpecimen(tmp_path / "S", canvas=(530, 760))
    results = [made.results[0], other.results[1]]
    with pytest.raises(StoreError, match=r"R2.*is not as large as"):
        round_results.read(results, *made.inputs[1:], "S")


def test_rounds_of_one_kind_alone_are_shown(tmp_path: Path) -> None:
    made = MadeSpecimen(tmp_path / "S", blank=ROUNDS)
    write_page(made)
    judged = verdict_file.read(made.folder)
    assert judged["grade"] == "look" and "How well they agree could not be measured" in judged["sentence"]


def test_patches_of_all_rounds_take_turns() -> None:
    patches = pd.DataFrame({"round": ["R2"] * 9 + ["R3"] * 3, "length": np.arange(12.0), "deviation": np.arange(12.0),
                            "after": 0.9, "state": "measured"})  # fmt: skip
    found = chosen(patches)
    assert found["worst"] == [8, 11, 7, 10] and sum(map(len, found.values())) == 12


def test_the_step_reads_its_tables(made: MadeSpecimen, tmp_path: Path) -> None:
    _, rounds, between, placement = made.inputs
    (tmp_path / "rounds.csv").write_text(rounds.read_text().replace("agreeing", "agreed"))
    with pytest.raises(tables.TableError, match="agreeing"):
        report_rounds(made.results, tmp_path / "report.html", rounds=tmp_path / "rounds.csv", between=between,
                      placement=placement, mosaic=made.folder / "mosaic.ome.zarr", verdict=tmp_path / "v.json")  # fmt: skip
