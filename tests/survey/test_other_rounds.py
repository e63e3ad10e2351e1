"""A round that shows nothing of its overlap takes that of the other rounds, or says why it cannot."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.surveys import cut_grid, write

from dlir.__main__ import app
from dlir.core import tables
from dlir.reading.inventory import tiles
from dlir.reading.settings import Dataset
from dlir.survey.advice import OverlapError, SurveyError
from dlir.survey.survey import survey

DOWN, RIGHT = (104.0, 6.0), (-6.0, 100.0)


def written(folder: Path, name: str, shape: tuple[int, int] = (2, 3), right: float = 100.0, **keys: Any) -> Dataset:
    """Writes the tiles of a round, as `cut_grid` makes them."""
    grid = cut_grid(*shape, DOWN, (RIGHT[0], right), **keys)
    write(folder / name, {f"r{row}_c{col}.tif": pixels for (row, col), pixels in grid.items()})
    return Dataset.checked({"images": str(folder / name / "r{row}_c{col}.tif")})


def run(folder: Path, blank: Dataset, **others: Dataset) -> tuple[Any, Any]:
    """The tables of the step for the round R1."""
    results = folder / "results" / "R1"
    results.mkdir(parents=True)
    tiles(results / "files.csv", settings=blank)
    rounds = {name: own.model_dump() for name, own in others.items()}
    specimen = Dataset.checked({"images": blank.images, "rounds": rounds}) if others else None
    survey(results / "files.csv", results / "tiles.csv", survey=results / "survey.csv", layout=blank, others=specimen)
    return tables.read(results / "tiles.csv", tables.TILES), tables.read(results / "survey.csv", tables.SURVEY)


def test_a_blank_round_takes_the_steps_of_another_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blank, good = written(tmp_path, "R1", blank=1), written(tmp_path, "R2")
    listed, found = run(tmp_path, blank, R2=good, R3=written(tmp_path, "R3", blank=1), R4=written(tmp_path, "R4", seed=4))
    np.testing.assert_allclose(found[["step_y", "step_x"]].to_numpy(), [DOWN, RIGHT], atol=3)
    assert found["told_y"].isna().all() and found["found_y"].isna().all() and (found["layout"] == "others").all()
    corner = listed.set_index(["row", "col"]).loc[(1, 2), ["y", "x"]].to_numpy(float)
    np.testing.assert_allclose(corner, found.loc[0, ["step_y", "step_x"]] + 2 * found.loc[1, ["step_y", "step_x"]])
    assert "the overlap along y and x is taken from R2 and R4: the tiles of R1 do not show it" in caplog.text


@pytest.mark.parametrize(
    ("shape", "right", "why"),
    [((3, 3), 100.0, "no other round with the same grid, tiles and pixels shows it"),
     ((2, 3), 70.0, "other rounds differ: the tiles of R3 and R2 share ")],
)  # fmt: skip
def test_a_blank_round_is_refused_where_others_do_not_tell(
    shape: tuple[int, int], right: float, why: str, tmp_path: Path
) -> None:
    others = {"R2": written(tmp_path, "R2", shape, right)}
    if shape == (2, 3):
        others = {"R3": written(tmp_path, "R3", seed=3), **others}
    with pytest.raises(SurveyError) as caught:
        run(tmp_path, written(tmp_path, "R1", blank=1), **others)
    assert "the overlap of R1 along" in str(caught.value) and why in str(caught.value)
    assert "rounds: {R1: {overlap: 0.1}} with all other rounds listed there, too, or leave R1 out" in str(caught.value)


def test_a_dataset_without_other_rounds_asks_for_its_overlap(tmp_path: Path) -> None:
    with pytest.raises(OverlapError, match="Set overlap to the part of a tile's side"):
        run(tmp_path, written(tmp_path, "R1", blank=1))


def test_the_command_line(tmp_path: Path) -> None:
    blank, good = written(tmp_path, "R1", blank=1), written(tmp_path, "R2")
    tiles(tmp_path / "files.csv", settings=blank)
    others = Dataset.checked({"images": blank.images, "rounds": {"R2": good.model_dump()}}).model_dump_json()
    paths = [str(tmp_path / name) for name in ("files.csv", "tiles.csv", "survey.csv")]
    app(["survey", "--files", paths[0], "--output", paths[1], "--survey", paths[2], "--layout", blank.model_dump_json(),
         "--others", others])  # fmt: skip
    assert len(tables.read(Path(paths[1]), tables.TILES)) == 6
