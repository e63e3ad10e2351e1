"""The page of many datasets: a row for each with its picture, verdict, numbers and links, and the plate where there is one."""

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest
from support.mosaics import MosaicInputs, cut_tile, grid

from dlir.core import tables
from dlir.reporting.index import index
from dlir.reporting.page_files import FOLDER, THUMBNAIL

VERDICTS = {
    "A01": {"grade": "good", "sentence": "Good: pairs hold all 1 tiles.", "error_px": {"median": 0.1, "worst": 0.25}},
    "B11": {"grade": "bad", "sentence": "Not to be trusted: <script>alert(1)</script>", "error_px": 12.5},
}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """The results of two datasets with one and two tiles; those of the second are joined by no pair."""
    for number, (name, verdict) in enumerate(VERDICTS.items(), 1):
        folder = tmp_path / "results" / "plate" / name
        folder.mkdir(parents=True)
        affines = grid(0, rows=1, columns=number)
        MosaicInputs(folder, [cut_tile(matrix) for matrix in affines], affines).run()
        placed = tables.read(folder / "placement.csv", tables.PLACEMENT)
        tables.write(placed.assign(group=np.arange(number)), tables.PLACEMENT, folder / "placement.csv")
        (folder / FOLDER).mkdir()
        (folder / FOLDER / THUMBNAIL).write_bytes(f"thumbnail of {name}".encode())
        (folder / "verdict.json").write_text(json.dumps(verdict))
        steps = {"tiles": {"seconds": 3725.4 if number == 2 else 30.2}, "pairs": {"seconds": None}, "place": {"seconds": 31}}
        (folder / "provenance.json").write_text(json.dumps({"stages": steps}))
    return tmp_path / "results"


def rows(page: Path) -> list[list[str]]:
    """The text of each cell of the table, row by row."""
    body = re.search("<tbody>(.*)</tbody>", page.read_text(), re.DOTALL)
    assert body
    cells = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL) for row in body[1].split("</tr>")[:-1]]
    return [[" ".join(re.sub("<[^>]+>", " ", cell).split()) for cell in row] for row in cells]


@pytest.mark.parametrize("wells", [None, ["A01", "B11"]])
def test_each_dataset_has_a_row_with_its_verdict_and_numbers(results: Path, wells: list[str] | None) -> None:
    page = results / "plate" / "index.html"
    index([results / "plate" / "A01", results / "plate" / "B11"], page, wells=wells)
    good, bad = rows(page)
    assert good[1:] == ["A01", "good Good: pairs hold all 1 tiles.", "1", "0", "0.25", "0.10", "1 min 1 s"]
    assert bad[1:2] + bad[3:] == ["B11", "2", "0", "12.50", "0.10", "1 h 2 min"]
    text = page.read_text()
    assert "2 mosaics (not to be trusted: 1, good: 1)" in text and "<h1>All mosaics in plate</h1>" in text
    assert set(re.findall(r'href="([^"]*)"', text)) == {"A01/report.html", "B11/report.html"}
    assert re.findall(r"grid-area: ([^\"]*)\"", text) == (["1 / 1", "2 / 11"] if wells else [])


def test_the_page_of_all_datasets_names_them_by_their_folders_and_leads_to_the_page_of_each_plate(results: Path) -> None:
    index([results / "plate" / "A01", results / "plate" / "B11"], results / "index.html")
    assert [row[1] for row in rows(results / "index.html")] == ["plate/A01", "plate/B11"]
    links = set(re.findall(r'href="([^"]*)"', (results / "index.html").read_text()))
    assert links == {"plate/A01/report.html", "plate/B11/report.html", "plate/index.html"}


def test_texts_stay_texts_and_the_page_needs_no_other_file(results: Path) -> None:
    (results / "plate" / "B11").rename(results / "plate" / "<b>B11 & #1")
    index([results / "plate" / "A01", results / "plate" / "<b>B11 & #1"], results / "index.html")
    text = (results / "index.html").read_text()
    assert "<script>alert" not in text and "&lt;script&gt;alert(1)" in text and "<b>B11" not in text
    assert 'href="plate/%3Cb%3EB11%20%26%20%231/report.html"' in text
    assert not re.search(r"(?:src|href)=\"(?!data:image/jpeg;base64,|plate/)", text) and "http" not in text


def test_without_a_verdict_it_says_none(results: Path) -> None:
    for file in ("verdict.json", "provenance.json"):
        (results / "plate" / "A01" / file).unlink()
    index([results / "plate" / "A01"], results / "index.html")
    ((_, name, verdict, *numbers),) = rows(results / "index.html")
    assert (name, verdict, numbers) == ("plate/A01", "none", ["1", "0", "", "0.10", ""])


def test_the_picture_is_that_of_the_report(results: Path) -> None:
    index([results / "plate" / "A01"], results / "index.html")
    found = re.search(r"data:image/jpeg;base64,([^\"]+)", (results / "index.html").read_text())
    assert found and base64.b64decode(found[1]) == b"thumbnail of A01"
