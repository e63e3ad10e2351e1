"""The page of many datasets: a picture of each, its numbers, a link to its report, and a mark where tiles lie apart."""

import re
from pathlib import Path

import numpy as np
import pytest
from support.mosaics import MosaicInputs, cut_tile, grid

from dlir.core import tables
from dlir.reporting.index import index


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of two datasets with one and two tiles; those of the second are joined by no pair."""
    results = tmp_path_factory.mktemp("results")
    for number, name in ((1, "A01"), (2, "B11")):
        folder = results / "plate" / name
        folder.mkdir(parents=True)
        affines = grid(0, rows=1, columns=number)
        inputs = MosaicInputs(folder, [cut_tile(matrix) for matrix in affines], affines)
        inputs.run()
        placed = tables.read(folder / "placement.csv", tables.PLACEMENT)
        tables.write(placed.assign(group=np.arange(number)), tables.PLACEMENT, folder / "placement.csv")
    return results / "plate"


@pytest.mark.parametrize("wells", [None, ["A01", "B11"]])
def test_the_page_shows_each_dataset(results: Path, wells: list[str] | None) -> None:
    index([results / "A01", results / "B11"], results / "index.html", wells=wells)
    text = (results / "index.html").read_text()
    assert re.findall(r'<a href="([^"]*)"', text) == ["A01/report.html", "B11/report.html"]
    assert text.count("data:image/png") == 2 and "<h1>plate</h1>" in text
    assert (
        re.findall(r'class="doubtful"[^>]*><b>(\w+)', text) == ["B11"] and "1 of them, with an orange frame, has tiles" in text
    )
    assert re.findall(r"<small>(.*?)</small>", text) == [
        "1 tiles",
        "residual 0.10 px",
        "2 tiles",
        "residual 0.10 px",
        "2 groups",
    ]
    assert re.findall(r"grid-area: ([^\"]*)\"", text) == (["1 / 1", "2 / 11"] if wells else [])
