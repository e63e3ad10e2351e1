"""The page: what it says about known tables, and what its scripts are told."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from support.specimens import ONE_PLANE

from dlir.core import affine, hashing, tables
from dlir.fusion.mosaic import mosaic
from dlir.fusion.settings import Mosaic
from dlir.illumination import fields
from dlir.reporting.facts import pair_table, tile_table
from dlir.reporting.page_files import FOLDER
from dlir.reporting.report import report
from dlir.reporting.results import Results, read, residuals
from dlir.reporting.settings import Report
from dlir.reporting.verdict import judge

SIDE, STEP = 128, 100
KNOWN = [
    ("down", "network", 48, 0.123, 1.5, 1 / 48),
    ("down", "phase", 48, 0.9, 77.25, 0.25),
    ("down", "none", 48, 12.5, 20.0, 1.0),
]

STAGE = {
    **dict.fromkeys(tables.STAGE.columns, 0.0), "model": "similarity", "foretold_rotation": 0.72, "foretold_scale": 0.31,
    "foretold_aspect": -0.1, "rotation": 1.25, "rotation_interval": 0.031, "scale": 1.0021, "scale_interval": 0.0004,
    "error_y": 5.5, "error_x": 2.25, "backlash_row_x": -7.5,
}  # fmt: skip


class Run:
    """The inputs of the report for a grid of tiles cut from one image, each moved from where the stage says."""

    def __init__(self, folder: Path, rows: int, columns: int, channels: int = 1, turn: float = 0.0) -> None:
        self.folder = folder
        rng = np.random.default_rng(2)
        source = rng.normal(1000, 100, (channels, 40 + rows * STEP + SIDE, 40 + columns * STEP + SIDE))
        nominal = np.array([[STEP * r, STEP * c] for r in range(rows) for c in range(columns)], float)
        places = nominal + 10 + rng.integers(-6, 7, nominal.shape)
        paths = [str(folder / f"tile{i}.tif") for i in range(len(places))]
        for path, (y, x) in zip(paths, places.astype(int), strict=True):
            tile = source[:, y : y + SIDE, x : x + SIDE].astype(np.uint16)
            tifffile.imwrite(path, tile, photometric="minisblack", metadata={"axes": "CYX"})
        fields.write([fields.identity((channels, SIDE, SIDE))], folder / "light.tif")
        tile, channel = np.indices((len(places), channels)).reshape(2, -1)
        self.exposed = pd.DataFrame(
            {"tile": tile, "channel": channel, "gain": 1.0, "scale": 1.0, "pedestal": 0.0, "clipped": 0}
        )
        tables.write(self.exposed, tables.EXPOSURE, folder / "exposure.csv")
        same = {"tile": range(len(places)), "path": paths}
        table = pd.DataFrame({**same, "y": nominal[:, 0], "x": nominal[:, 1], "row": 0, "col": range(len(places))})
        table = table.assign(height=SIDE, width=SIDE, channels=channels, dtype="uint16", pixel_size=np.nan)
        table = table.assign(sha256=[hashing.of_file(Path(path)) for path in paths], **ONE_PLANE)
        tables.write(table, tables.TILES, folder / "tiles.csv")
        self.affines = self.pairs(places, rows, columns)
        tables.write(self.affines, tables.AFFINES, folder / "affines.csv")
        turned = affine.compose(
            np.array([[np.cos(turn), -np.sin(turn), 60 * turn], [np.sin(turn), np.cos(turn), 0]]),
            affine.translation(places - places.min(0) + [0, SIDE * rows * turn]),
        )
        self.placed = pd.DataFrame({**same, **affine.to_columns(turned), "pairs": 2, "placed_by": "pairs", "deviation": 0.1})
        self.placed["residual"] = np.where(self.placed["tile"] == 0, np.nan, 0.1 * self.placed["tile"])
        self.placed.loc[0, "pairs"] = 0
        self.placed[["group", "slip_y", "slip_x"]] = 0
        self.placed["loop"] = np.where(self.placed["tile"] == 0, 0.7, np.nan)
        tables.write(self.placed, tables.PLACEMENT, folder / "placement.csv")
        tables.write(pd.DataFrame([STAGE]), tables.STAGE, folder / "stage.csv")
        known = pd.DataFrame(KNOWN if len(self.affines) else [], columns=list(tables.SELFCHECK.columns))
        tables.write(known, tables.SELFCHECK, folder / "selfcheck.csv")

    def pairs(self, places: np.ndarray, rows: int, columns: int) -> pd.DataFrame:
        """The true affines of all neighbours; the last is rejected, and wrong by (30, 40) px."""
        ends = [(i, i + 1, "right") for i in range(rows * columns) if (i + 1) % columns]
        ends += [(i, i + columns, "down") for i in range((rows - 1) * columns)]
        offsets = np.array([places[moving] - places[fixed] for fixed, moving, _ in ends]).reshape(-1, 2)
        offsets[-1:] += [30, 40]
        table = pd.DataFrame(ends, columns=["fixed", "moving", "side"])
        table = table.assign(**affine.to_columns(affine.translation(offsets)), pair=range(len(ends)), cov_yx=0, method="phase")
        table["centre_y"] = np.where(table["side"] == "right", SIDE / 2, (SIDE - STEP) / 2)
        table["centre_x"] = np.where(table["side"] == "down", SIDE / 2, (SIDE - STEP) / 2)
        table = table.assign(var_y=0.01, var_x=0.01, score_before=0.1, score_after=0.9, confidence=1.0, bow_y=0.0, bow_x=0.0)
        table = table.assign(**dict.fromkeys(tables.LINEAR_COVARIANCE, 0.0))
        accepted = table["pair"] < len(ends) - 1
        return table.assign(accepted=accepted, overruled=table["pair"] == 0, reason=np.where(accepted, None, "score <too low>"))

    @property
    def tables(self) -> Results:
        """The results as the report reads them."""
        names = ["tiles.csv", "light.tif", "placement.csv", "exposure.csv", "mosaic.ome.zarr"]
        return read("d", *(self.folder / name for name in names), affines=self.folder / "affines.csv")

    def page(self, accuracy: Path | None = None, adopted: str = "", verdict: Path | None = None, embed: float = 9.0) -> str:
        names = ["tiles.csv", "light.tif", "placement.csv", "exposure.csv", "mosaic.ome.zarr"]
        inputs = [self.folder / name for name in names]
        options = Mosaic(interpolation=1, blend="linear", bands=1, chunk=64, shard=256)
        mosaic(inputs[0], inputs[1], inputs[3], inputs[2], inputs[4], settings=options)
        of_pairs = {} if adopted else {name: self.folder / f"{name}.csv" for name in ("affines", "stage", "selfcheck")}
        report(
            *inputs, self.folder / "report.html", **of_pairs, adopted=adopted, settings=Report(embed=embed), accuracy=accuracy,
            verdict=verdict,
        )  # fmt: skip
        return (self.folder / "report.html").read_text()


def facts(page: str) -> dict[str, Any]:
    """What the scripts of a page are told."""
    (text,) = re.findall(r'<script type="application/json" id="facts">(.*?)</script>', page, re.DOTALL)
    return dict(json.loads(text))


def rows(table: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(table["rows"], columns=table["columns"])


def test_the_page_and_the_verdict_count_the_same_tiles_as_placed_by_the_stage(tmp_path: Path) -> None:
    run = Run(tmp_path, 2, 3)
    run.placed["group"], run.placed["pairs"] = [0, 0, 0, 0, 0, 1], 2  # the accepted pairs of the last tile were overruled
    tables.write(run.placed, tables.PLACEMENT, tmp_path / "placement.csv")
    judge(tmp_path / "tiles.csv", tmp_path / "placement.csv", tmp_path / "verdict.json", affines=tmp_path / "affines.csv")
    told = json.loads((tmp_path / "verdict.json").read_text())["tiles"]["stage"]
    assert told == 1 and f"<li><b>{told}</b>of them placed by the stage alone</li>" in run.page()


def test_page_has_the_key_numbers(tmp_path: Path) -> None:
    run = Run(tmp_path, 2, 3)
    errors = run.placed[["tile", "path"]].assign(error=[0.1, 0.2, 0.3, 0.4, 0.5, 4.5])
    tables.write(errors, tables.ACCURACY, tmp_path / "accuracy.csv")
    page = run.page(tmp_path / "accuracy.csv")
    for value, name in [
        ("6", "tiles"), ("0", "of them placed by the stage alone"), ("7", "pairs of neighbours"), ("6", "of them accepted"),
        ("1", "accepted pairs that the placement overrules"),
        ("0.00 · 0.00 · 0.00", "residual of the accepted pairs: median · 95 % · largest, px"),
        ("0.10 · 0.10 · 0.10", "deviation of the place of a tile: median · 95 % · largest, px"),
        ("0.70 · 0.70 · 0.70", "closing error of loops of 2 x 2 tiles: median · 95 % · largest, px"),
        ("0.35 · 3.50 · 4.50", "error against the truth: median · 95 % · largest, px"),
    ]:  # fmt: skip
        assert f"<li><b>{value}</b>{name}</li>" in page
    assert f"<h1>{tmp_path.name}</h1>" in page and f"<title>{tmp_path.name}: mosaic report</title>" in page
    assert "score \\u003ctoo low>" in page and "<too low>" not in page
    pairs = rows(facts(page)["pairs"])
    assert pairs.loc[~pairs["accepted"], "residual"].tolist() == [50.0]  # of the wrong pair, (30, 40) px
    assert not re.search(r'(src|href)="(?!data:|#)', re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL))
    assert not list(tmp_path.glob("*.part"))


def test_page_describes_stage_and_camera(tmp_path: Path) -> None:
    run = Run(tmp_path, 2, 2)
    page = run.page()
    assert "turned by 1.250° against the stage and scaled by 1.00210 (95 % intervals: ± 0.031° and ± 0.040 %)" in page
    assert "5.50 px along y and 2.25 px along x" in page
    assert "The tile model is similarity." in page
    assert "predict 72% of its rotation, 31% of its scale, 0% of its aspect, 0% of its shear" in page
    lines = page.split("<h3>Stage and camera</h3>")[1].split("<h3>")[0]
    assert "every second row is displaced by +0.00 px along y and -7.50 px along x" in lines and "second column" not in lines
    tables.write(pd.DataFrame([{**STAGE, "rotation_interval": 0.0}]), tables.STAGE, tmp_path / "stage.csv")
    assert "1.00210 (as given in the settings)" in run.page()


def test_self_check_is_shown_by_side_and_method(tmp_path: Path) -> None:
    section = Run(tmp_path, 2, 2).page().split("<h3>Self-check</h3>")[1].split("<h2")[0]
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr.*?</tr>", section, re.DOTALL)]
    assert rows == [
        ["side", "method", "pairs", "median, px", "95 %, px", "over 2 px"],
        ["down", "network", "48", "0.12", "1.50", "2%"],
        ["down", "phase correlation", "48", "0.90", "77.25", "25%"],
        ["down", "no registration", "48", "12.50", "20.00", "100%"],
    ]


def test_self_check_of_an_own_method_keeps_its_name(tmp_path: Path) -> None:
    run = Run(tmp_path, 2, 2)
    tables.write(
        pd.DataFrame([("down", "mine.package:orb", 48, 0.5, 1.0, 0.0)], columns=list(tables.SELFCHECK.columns)),
        tables.SELFCHECK,
        tmp_path / "selfcheck.csv",
    )
    assert "<td>down</td><td>mine.package:orb</td><td>48</td>" in run.page()


def test_residual_is_the_distance_in_the_mosaic(tmp_path: Path) -> None:
    run = Run(tmp_path, 2, 2, turn=0.05)
    found = residuals(run.affines, run.placed)
    assert found[:-1] == pytest.approx(np.zeros((3, 2)), abs=1e-9)
    turn = np.array([[np.cos(0.05), -np.sin(0.05)], [np.sin(0.05), np.cos(0.05)]])
    assert found[-1] == pytest.approx(turn @ [30, 40])


def test_one_tile_has_a_page(tmp_path: Path) -> None:
    page = Run(tmp_path, 1, 1).page()
    assert "<li><b>0</b>pairs of neighbours</li>" in page
    assert "<li><b>none</b>residual" in page
    assert "<h3>Self-check</h3>\n<p>Nothing was measured" in page
    assert facts(page)["pairs"]["rows"] == []
    assert not re.search(r"\bnan\b", re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL).lower())


def test_every_pair_and_every_tile_is_in_the_tables(tmp_path: Path) -> None:
    page = Run(tmp_path, 6, 6).page()
    assert len(facts(page)["pairs"]["rows"]) == 60 and len(facts(page)["tiles"]["rows"]) == 36
    assert "<summary>Pairs (60)</summary>" in page and "<summary>Tiles (36)</summary>" in page


def test_page_shows_dark_field_and_gains_where_there_are_any(tmp_path: Path) -> None:
    run = Run(tmp_path, 1, 2)
    plain = run.page()
    assert "no dark-field is taken" in plain and "The brightness of the tiles was not changed." in plain
    found = fields.identity((1, SIDE, SIDE))
    fields.write([found._replace(dark=found.dark + np.linspace(90, 120, SIDE, dtype=np.float32))], tmp_path / "light.tif")
    tables.write(run.exposed.assign(gain=[0.875, 1.125]), tables.EXPOSURE, tmp_path / "exposure.csv")
    page = run.page()
    assert "the dark-field is 90 to 120 grey values" in page
    assert "channel 0: 0.875 (tile 0) to 1.125 (tile 1)" in page


def test_the_page_says_where_an_adopted_placement_comes_from(tmp_path: Path) -> None:
    page = Run(tmp_path, 2, 2).page(adopted="results/dapi/placement.csv")
    assert "The placement was taken from results/dapi/placement.csv, and nothing was registered here." in page
    assert "seams" not in re.findall(r'<section id="(\w+)"', page)
    assert not {"Stage and camera", "Self-check"} & set(re.findall(r"<h3>(.*)</h3>", page))
    assert "pairs of neighbours" not in page and "deviation of the place of a tile" in page


def test_the_places_of_the_stage_show_its_own_error_alone(tmp_path: Path) -> None:
    run = Run(tmp_path, 5, 5)
    listed = tables.read(tmp_path / "tiles.csv", tables.TILES)
    turn = np.array([[np.cos(0.02), -np.sin(0.02)], [np.sin(0.02), np.cos(0.02)]])  # of the stage against the camera
    centres = affine.from_table(run.placed)[:, :, 2] + (SIDE - 1) / 2
    told = centres @ turn.T * 1.01 + [500, -300] - (SIDE - 1) / 2
    told[12] += [30, 0]
    tables.write(listed.assign(y=told[:, 0], x=told[:, 1]), tables.TILES, tmp_path / "tiles.csv")
    found = rows(tile_table(run.tables))
    off = found[["stage_y", "stage_x"]].to_numpy() - found[["y0", "x0"]].to_numpy()
    assert np.hypot(*off[12]) == pytest.approx(30 / 1.01, abs=0.1)
    assert np.abs(np.delete(off, 12, 0)).max() < 0.1


def test_a_tile_is_blank_where_all_its_pairs_lack_contrast(tmp_path: Path) -> None:
    run = Run(tmp_path, 1, 4)
    reason = "too little contrast, and neither tile has a more certain pair"
    pairs = run.affines.assign(accepted=[True, False, False], reason=[None, reason, reason])
    tables.write(pairs, tables.AFFINES, tmp_path / "affines.csv")
    assert rows(tile_table(run.tables))["blank"].tolist() == [False, False, True, True]
    tables.write(pairs.assign(reason=[None, reason, "ambiguous"]), tables.AFFINES, tmp_path / "affines.csv")
    assert rows(tile_table(run.tables))["blank"].tolist() == [False, False, False, False]


def test_the_centre_and_the_residual_of_a_pair_lie_in_the_mosaic(tmp_path: Path) -> None:
    run = Run(tmp_path, 1, 2)
    (pair,) = rows(pair_table(run.tables)).to_dict("records")
    moving = run.placed.iloc[1]
    assert (pair["y"], pair["x"]) == pytest.approx((moving["y0"] + SIDE / 2, moving["x0"] + (SIDE - STEP) / 2), abs=0.01)
    assert (pair["off_y"], pair["off_x"], pair["residual"]) == (30.0, 40.0, 50.0)
    assert pair["reason"] == "score <too low>" and pair["accepted"] is False


def test_names_stay_text(tmp_path: Path) -> None:
    run = Run(tmp_path, 1, 2)
    name = tmp_path / "<!--<script>alert(1)<script>.tif"
    Path(run.placed["path"][0]).rename(name)
    for file, schema in (("tiles.csv", tables.TILES), ("placement.csv", tables.PLACEMENT)):
        table = tables.read(tmp_path / file, schema)
        tables.write(table.assign(path=[str(name), table["path"][1]]), schema, tmp_path / file)
    page = run.page()
    assert "<script>alert" not in page and "<!--" not in page
    assert rows(facts(page)["tiles"])["name"][0] == name.name


def test_the_verdict_is_laid_out_with_links_to_its_places(tmp_path: Path) -> None:
    run = Run(tmp_path, 1, 2)
    finding = {"kind": "overruled", "grade": "look", "sentence": "pair <3> is overruled", "remedy": "look at it", "tiles": [1],
               "pairs": [0]}  # fmt: skip
    verdict = {"grade": "look", "sentence": "Good, but look here: pairs hold 2 tiles.", "findings": [finding], "time": None}
    (tmp_path / "verdict.json").write_text(json.dumps(verdict))
    page = run.page(verdict=tmp_path / "verdict.json")
    assert "</span> Good, but look here</p>\n<p>Pairs hold 2 tiles.</p>" in page
    assert "pair &lt;3&gt; is overruled." in page and "What would help: look at it." in page
    assert 'data-pair="0"' in page and 'data-tile="1"' in page
    assert facts(page)["verdict"] == verdict


def test_pictures_lie_in_the_page_or_in_a_folder_that_is_replaced_as_a_whole(tmp_path: Path) -> None:
    run = Run(tmp_path, 12, 8)
    told = facts(run.page())
    assert told["folder"] == "" and [path.name for path in (tmp_path / FOLDER).iterdir()] == ["thumbnail.jpg"]
    (tmp_path / FOLDER / "of an earlier run.jpg").touch()
    beside = facts(run.page(embed=0))
    assert beside["folder"] == FOLDER and len(beside["files"]) < len(told["files"])
    lie_there = {str(path.relative_to(tmp_path / FOLDER)) for path in (tmp_path / FOLDER).rglob("*.jpg")}
    assert lie_there | set(beside["files"]) == {*told["files"], "thumbnail.jpg"}
    (tmp_path / "affines.csv").write_text("damaged")
    with pytest.raises(ValueError, match=r"affines\.csv"):
        run.page()
    assert {str(path.relative_to(tmp_path / FOLDER)) for path in (tmp_path / FOLDER).rglob("*.jpg")} == lie_there
