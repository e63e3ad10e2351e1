"""The seams of the report: which ones are shown, and that their pictures and numbers agree with the tiles."""

from pathlib import Path

import imagecodecs
import numpy as np
import pandas as pd
import pytest
from support.mosaics import specimen
from support.results import results_of_grid

from dlir.reporting import seams
from dlir.reporting.page_files import PageFiles
from dlir.reporting.seam_pictures import NAMES


def pictures(found: dict, folder: Path) -> dict[str, np.ndarray]:
    return {name: imagecodecs.jpeg8_decode((folder / found[name]).read_bytes()).astype(float) for name in NAMES}


def table(count: int, **columns: object) -> pd.DataFrame:
    return pd.DataFrame({"residual": 0.1, "confidence": 1.0, "accepted": True, **columns}, index=range(count))


def test_the_misplaced_tile_comes_first_and_no_pair_twice(tmp_path: Path) -> None:
    results = results_of_grid(tmp_path, wrong=6.0)
    found = seams.seams(results, PageFiles(tmp_path / "files", 0))
    assert results.pairs is not None
    pairs = results.pairs.set_index("pair")
    assert len({seam["pair"] for seam in found}) == len(found) == len(pairs)
    worst = pairs.loc[[seam["pair"] for seam in found[:5]]]
    at_fault = (worst[["fixed", "moving"]] == 5).any(axis=1)
    assert at_fault.sum() == 4 and not worst["accepted"][~at_fault].any()  # the rejected pair has the largest residual of all


def test_pictures_show_the_specimen_at_their_place(tmp_path: Path) -> None:
    results = results_of_grid(tmp_path)
    found = seams.seams(results, PageFiles(tmp_path / "files", 0))
    for seam in found:
        at = np.stack(np.meshgrid(np.arange(seam["height"]), np.arange(seam["width"]), indexing="ij"), -1)
        true = specimen(at + np.array([seam["top"], seam["left"]]))
        shown = pictures(seam, tmp_path / "files")
        for name in ("fixed", "moving"):
            (left, top), (right, bottom) = (np.array(seam["outlines"][name])[[0, 2]] / 100).tolist()
            rows = slice(max(0, int(top * seam["height"]) + 3), int(bottom * seam["height"]) - 3)
            columns = slice(max(0, int(left * seam["width"]) + 3), int(right * seam["width"]) - 3)
            part = shown[name][rows, columns]
            assert part.shape == true[rows, columns].shape and part.size > 300
            assert np.corrcoef(part.ravel(), true[rows, columns].ravel())[0, 1] > 0.995


def test_registration_lowers_the_difference_and_moves_the_tile_by_the_error_of_the_stage(tmp_path: Path) -> None:
    results = results_of_grid(tmp_path)
    found = seams.seams(results, PageFiles(tmp_path / "files", 0))
    error = results.placed.set_index("tile")[["y0", "x0"]].to_numpy() - results.listed[["y", "x"]].to_numpy()
    assert results.pairs is not None
    for seam in found:
        pair = results.pairs.set_index("pair").loc[seam["pair"]]
        assert seam["moved"] == pytest.approx(error[pair["moving"]] - error[pair["fixed"]], abs=0.006)
        assert seam["difference_after"] < 0.02
        if np.linalg.norm(seam["moved"]) > 1:
            assert seam["difference_before"] > 3 * seam["difference_after"]


def test_a_misplaced_tile_differs_from_its_neighbours(tmp_path: Path) -> None:
    results = results_of_grid(tmp_path, wrong=6.0)
    assert results.pairs is not None
    pairs = results.pairs.set_index("pair")
    found = seams.seams(results, PageFiles(tmp_path / "files", 0))
    of_tile = [5 in pairs.loc[seam["pair"], ["fixed", "moving"]].tolist() for seam in found]
    difference = np.array([seam["difference_after"] for seam in found])
    assert difference[of_tile].min() > 5 * difference[~np.array(of_tile)].max()


def test_the_groups_take_turns_of_what_may_be_wrong() -> None:
    residual, confidence = np.full(200, 0.1), np.ones(200)
    residual[[7, 8]], confidence[[111, 112]] = (3.0, 9.0), (0.2, 0.1)
    accepted = np.ones(200, bool)
    accepted[[8, 112]] = False
    pairs = table(200, residual=residual, confidence=confidence, accepted=accepted)
    doubt = pd.Series(np.where(np.arange(200) == 120, 5.0, 0.1))
    difference = pd.Series(np.where(np.arange(200) == 30, 0.5, 0.01))
    groups = seams.chosen(pairs, doubt, difference)
    assert groups["worst"][:3] == [7, 30, 8]
    assert groups["uncertain"][:3] == [111, 112, 120]
    assert [len(rows) for rows in groups.values()] == [20, 20, 20]
    assert len({row for rows in groups.values() for row in rows}) == 60
    assert seams.chosen(pairs, doubt, difference) == groups
    few = seams.chosen(pairs.head(7), doubt.head(7), difference.head(7))
    assert [len(rows) for rows in few.values()] == [3, 3, 1]


def test_of_a_large_mosaic_only_some_pairs_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = results_of_grid(tmp_path, wrong=6.0)
    monkeypatch.setattr(seams, "MOST_COMPARED", 8)
    monkeypatch.setattr(seams, "EACH", 2)
    found = seams.seams(results, PageFiles(tmp_path / "files", 0))
    assert 4 <= len(found) <= 6
    assert results.pairs is not None
    assert results.pairs["pair"].iloc[0] in [seam["pair"] for seam in found]


def test_of_deep_stacks_only_the_pairs_that_are_shown_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = results_of_grid(tmp_path)
    monkeypatch.setattr(seams, "MOST_READ", 2 * 96 * 96 * 100)
    assert seams._most_compared(results) == 100
    assert seams._most_compared(results._replace(listed=results.listed.assign(depth=50, reference_z=None))) == 60
    assert seams._most_compared(results._replace(listed=results.listed.assign(depth=50, reference_z=3))) == 100


def test_turned_tiles_and_blind_pixels(tmp_path: Path) -> None:
    """The outline of a turned tile is turned as well, and what a camera does not see is filled."""
    results = results_of_grid(tmp_path)
    blind = np.zeros(results.light[0].size, bool)
    blind[:4] = True
    found = seams.seams(results._replace(light=[results.light[0]._replace(blind=blind)]), PageFiles(tmp_path / "files", 0))
    assert all(seam["difference_after"] < 0.03 for seam in found)
    turned = results.placed.assign(yx=0.1, xy=-0.1)
    corner = np.array(seams.seams(results._replace(placed=turned), PageFiles(tmp_path / "more", 0))[0]["outlines"]["fixed"])
    down, right = corner[3] - corner[0], corner[1] - corner[0]
    assert down[0] != 0 and right[1] != 0


def test_without_pairs_there_is_no_seam(tmp_path: Path) -> None:
    results = results_of_grid(tmp_path)
    files = PageFiles(tmp_path / "files", 1e9)
    assert results.pairs is not None
    assert seams.seams(results._replace(pairs=None), files) == []
    assert seams.seams(results._replace(pairs=results.pairs.iloc[:0]), files) == []
    assert files.embedded() == {}
