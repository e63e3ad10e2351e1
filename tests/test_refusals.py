"""Whatever a user gets wrong is refused in words: the file or the key is named, with the remedy, and no result is touched.

Most mistakes are made in this process: what the Snakefile checks before any job, and single steps. A few go the whole way.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any, NamedTuple

import numpy as np
import pytest
import tifffile
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from support import ROOT
from support.workflow import Workflow, contents, write_tiles

from dlir import __main__ as cli
from dlir import dataset_files
from dlir.config import Settings
from dlir.core.settings import SettingsError
from dlir.core.text_tables import TextTableError
from dlir.dataset_files import DatasetError
from dlir.placement import overrides_table
from dlir.placement.overrides_table import OverridesError
from dlir.reading import grid_layout, positions_table
from dlir.reading.filenames import Tile
from dlir.reading.grid_layout import TileError
from dlir.reading.settings import Dataset
from dlir.registration.model import checkpoint
from dlir.reporting import truth_table
from dlir.reporting.truth_table import TruthError

pytestmark = pytest.mark.slow

DEFAULTS = yaml.safe_load((ROOT / "config.yaml").read_text())
GRID = {"images": "in/grid/{row}_{col}.tif", "overlap": 0.25}
Tree = dict[str, Any]


# Mistakes in the settings

SECTIONS = [name for name in DEFAULTS if name != "datasets"]
NUMBERS = [
    f"{section}.{key}"
    for section in SECTIONS
    for key, value in DEFAULTS[section].items()
    if isinstance(value, int | float) and not isinstance(value, bool)
] + ["tiles.overlap", "tiles.rows", "tiles.columns", "tiles.first_index", "tiles.pixel_size", "tiles.reference_channel",
     "tiles.reference_z", "place.camera.rotation", "place.camera.scale"]  # fmt: skip
SWITCHES = [f"{section}.{key}" for section in SECTIONS for key, value in DEFAULTS[section].items() if isinstance(value, bool)]
CHOICES = ["tiles.start", "tiles.order", "tiles.unit", "layout.check", "train.architecture", "train.start", "train.similarity",
           "register.method", "place.model", "mosaic.blend", "rounds.shared"]  # fmt: skip
PATHS = ["images", "positions", "truth", "overrides", "flat", "dark"]


def tree(path: str, value: object) -> Tree:
    """The settings in which one key has this value."""
    for name in reversed(path.split(".")):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def message(config: object) -> str:
    """What is said before any job starts."""
    with pytest.raises((SettingsError, TileError, TextTableError, OverridesError, TruthError, DatasetError)) as caught:
        for dataset in Settings.checked(config).datasets.values():
            dataset_files.tile_files(dataset)
    return str(caught.value)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 1e300, -1e300, 2**70, 10**400, [1], {"a": 1}])
@pytest.mark.parametrize("path", NUMBERS)
def test_a_number_out_of_range(path: str, value: object) -> None:
    words = message(tree(path, value))
    assert f"  {path}: is {str(value)[:20]}" in words and ": give " in words


@pytest.mark.parametrize("value", ["perhaps", 7, 0.5, [True], None])
@pytest.mark.parametrize("path", SWITCHES)
def test_a_switch_that_is_no_switch(path: str, value: object) -> None:
    assert f"  {path}: is {'null' if value is None else value}: give true or false" in message(tree(path, value))


@pytest.mark.parametrize("value", ["other", 5, [1], None])
@pytest.mark.parametrize("path", CHOICES)
def test_a_choice_that_there_is_not(path: str, value: object) -> None:
    if (path, value) != ("tiles.unit", None):
        words = message(tree(path, value))
        assert f"  {path}: " in words and "give" in words


@pytest.mark.parametrize("value", [[1], "x", 5, None, True])
@pytest.mark.parametrize("section", [*SECTIONS, "place.camera", "datasets.a"])
def test_a_section_that_has_no_keys(section: str, value: object) -> None:
    if (section, value) != ("place.camera", None):
        words = message(tree(section, value))
        assert section.split(".")[0] in words and ("give keys with values below it" in words or "with keys below it" in words)


@pytest.mark.parametrize("value", [5, [1], {}, "", " ", "a\0b"])
@pytest.mark.parametrize("key", PATHS)
def test_a_path_that_is_none(key: str, value: object) -> None:
    assert f"  datasets.a.{key}: is " in message({"datasets": {"a": {**GRID, key: value}}})


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ([], "config: is no list of sections: give keys"),
        ({1: 2}, "1: is no name: put it in quotation marks"),
        ({"train": {1: 2}}, "train.1: is no name: put it in quotation marks"),
        ({"datasets": {2024: GRID}}, "datasets.2024: is no name: put it in quotation marks"),
        ({"datasets": {"a": {**GRID, 5: 6}}}, "datasets.a.5: is no name"),
        ({"datasets": []}, "datasets: each dataset is a name with keys below it"),
        ({"datasets": "in/*.tif"}, "datasets: each dataset is a name with keys below it"),
        ({"datasets": {"../a": GRID}}, "datasets.../a: is no name for a folder"),
        ({"datasets": {"a": {}}}, "datasets.a.images: is missing"),
        ({"trian": {}}, "trian: unknown key; did you mean train?"),
        ({"train": {"stepps": 5}}, "train.stepps: unknown key; did you mean steps?"),
        ({"demo": {"photons": 5}}, "demo.photons: is no key any more"),
        ({"place": {"camera": {"rotation": 1}}}, "place.camera.scale: is missing"),
        ({"mosaic": {"chunk": 256, "shard": 300}}, "shard (300) must be a multiple of chunk (256)"),
        ({"mosaic": {"chunk": 33}}, "mosaic.chunk: is 33: give a whole number from 16 to 16384, a multiple of 2"),
        ({"train": {"steps": 1.5}}, "train.steps: is 1.5: give a whole number from 0 to 10000000"),
        ({"tiles": {"overlap": [0.1, 0.2, 0.3]}}, "tiles.overlap: is [0.1, 0.2, 0.3]: give auto, or a part of a tile"),
        ({"datasets": {"a": {"images": "in/*.tif"}}}, "images needs {row} and {col}, or {index}"),
        ({"datasets": {"a": {"images": "in/{index}.tif"}}}, "a path with {index} needs columns"),
        ({"datasets": {"a": {**GRID, "rounds": {"R1": {}, "logs": {}}}}}, "datasets.a.rounds.logs: is no name for a round"),
        ({"datasets": {"a": {**GRID, "rounds": {"R/1": {}}}}}, "datasets.a.rounds.R/1: is no name for a folder"),
        ({"datasets": {"a": {"rounds": {"R1": {}}}}}, "datasets.a.rounds.R1.images: is missing"),
        ({"datasets": {"a": {**GRID, "rounds": {"R1": {"overlap": 7}}}}}, "datasets.a.rounds.R1.overlap: is 7: give auto"),
        ({"datasets": {"a": {**GRID, "rounds": 5}}}, "datasets.a.rounds: is 5: give keys with values below it"),
        ({"datasets": {"a": {**GRID, "rounds": {1: {}}}}}, "datasets.a.rounds.1: is no name: put it in quotation marks"),
        ({"datasets": {"a": {**GRID, "placement": "p.csv", "rounds": {"R1": {}}}}}, "placement has no effect on rounds"),
        ({"datasets": {"a": {"images": "{round}/{row}_{col}_{time}.tif"}}}, "rounds have no time points: delete {time}"),
        ({"tiles": {"reference_time": "each"}, "datasets": {"a": {**GRID, "rounds": {"R1": {}}}}}, "rounds have no time"),
        ({"rounds": {"names": 5}}, "rounds.names: is 5: give the path of a file, or null"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense(config: object, words: str) -> None:
    assert words in message(config)


# Mistakes in the tables of the user, which are found before any job starts


class Finished(NamedTuple):
    """A folder with tiles and finished results, the working directory of the test."""

    folder: Path
    run: Callable[..., tuple[int, str]]  # runs a step: its exit code, and what it said


A = "results/a"
TABLES = {name: f"{A}/{name}.csv" for name in ("tiles", "survey", "pairs", "affines", "placement", "stage", "exposure")}
LIGHT = {"illumination": f"{A}/illumination.tif"}
STEPS: dict[str, dict[str, str]] = {  # up to the mosaic, without the network, and their options
    "tiles": {"output": f"{A}/files.csv", "settings": json.dumps(GRID)},
    "survey": {"files": f"{A}/files.csv", "output": TABLES["tiles"], "survey": TABLES["survey"], "layout": json.dumps(GRID)},
    "illumination": {"output": LIGHT["illumination"]},
    "pairs": {"output": TABLES["pairs"]},
    "register": {**LIGHT, "pairs": "", "output": TABLES["affines"], "settings": '{"method": "phase"}', "device": "cpu"},
    "place": {"survey": "", "affines": "", "output": TABLES["placement"], "stage": ""},
    "exposure": {**LIGHT, "pairs": "", "placement": "", "output": TABLES["exposure"]},
    "mosaic": {**LIGHT, "exposure": "", "placement": "", "output": f"{A}/mosaic.ome.zarr"},
    "accuracy": {"placement": "", "output": f"{A}/accuracy.csv"},
}


def command(step: str, **changes: str) -> list[str]:
    """The command line of a step, with these options in place of its own."""
    own = STEPS[step] if step in ("tiles", "survey") else {"tiles": TABLES["tiles"], **STEPS[step]}
    settings = {} if step == "accuracy" else {"settings": "{}"}
    options = {name: text or TABLES[name] for name, text in {**settings, **own, **changes}.items()}
    return ["dlir", step, *(part for name, text in options.items() for part in (f"--{name}", text))]


@pytest.fixture(scope="module")
def stitched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 2 x 2 tiles of 64 px that overlap by 16 px, and the results of all steps up to the mosaic."""
    folder = tmp_path_factory.mktemp("stitched")
    write_tiles(folder)
    rmtree(folder / "in" / "single")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for step in [step for step in STEPS if step != "accuracy"]:
            patch.setattr(sys, "argv", command(step))
            cli.main()
    return folder


@pytest.fixture
def finished(
    stitched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[Finished]:
    """A copy of the folder, whose results must be the same after the test."""

    def run(step: str, **changes: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", command(step, **changes))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert [record.exc_info for record in caplog.records if record.exc_info] == []
        return int(str(ended.value.code)), "\n".join(r.getMessage() for r in caplog.records if r.levelname == "ERROR")

    copytree(stitched, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    before = contents(tmp_path / "work" / A)
    assert {"files.csv", "placement.csv", "mosaic.ome.zarr/zarr.json"} <= set(before)
    yield Finished(tmp_path / "work", run)
    assert contents(tmp_path / "work" / A) == before


def names(row: str, separator: str = "\n") -> str:
    """A row for each of the four tiles; R and C stand for the numbers in its name."""
    return separator.join(row.replace("R", str(r)).replace("C", str(c)) for r in (0, 1) for c in (0, 1))


POSITIONS = [
    ("p.csv", "", "lists no tile: correct positions"),
    ("p.csv", "path,y,x\n", "lists no tile: correct positions"),
    ("p.csv", names("R_C.tif,R,C"), "has no header: line 1 is '0_0.tif,0,0', and nothing says which number is x"),
    ("p.csv", "note,x,y\n" + names("R_C.tif,R,C"), "has no column for the names of the files; its first line is note, x, y"),
    ("p.csv", "path,y,x,x\n" + names("R_C.tif,R,C,C"), "has the columns y, x, x, and it is not clear"),
    ("p.csv", "path,y,x\n" + names("u_R_C.tif,R,C"), "line 2: u_0_0.tif is not among the files of images"),
    ("p.csv", "path,y,x\n" + names("R_C.tif,R,C") + "\n0_0.tif,0,0", "line 6: 0_0.tif is listed twice"),
    ("p.csv", "path,y,x\n" + names("R_C.tif,R,nan"), "line 2: needs a name in path, and two numbers"),
    ("p.csv", "path,y,x\n" + names("R_C.tif,R,inf"), "line 2: needs a name in path, and two numbers"),
    ("p.csv", "path,y,x\n" + names("R_C.tif,R,1e300"), "line 2: needs a name in path, and two numbers"),
    ("p.csv", "path,y,x\n" + names("R_C.tif,R,left"), "line 2: needs a name in path, and two numbers"),
    ("p.csv", "path;y;x\n" + names("R_C.tif;1.000,5;C"), "line 2: needs a name in path, and two numbers, y and x: correct"),
    ("p.csv", "path,y,x\n" + names("R_C.tif,0,5,0,5"), "line 2: has 5 cells, and the header has 3"),
    ("p.csv", "path,y,x\n" + names("R_C.tif,R"), "line 2: needs a name in path, and two numbers"),
    ("p.csv", f"path,y,x\n0_0.tif,0,{'0' * 200_000}", "line 2: cannot be read as CSV (field larger than field limit"),
    ("p.csv", "path,y,x\n0_0.tif,0\0,0", "is no text: give a table"),
    ("p.csv", "path,y,x\n0_0.tif,0,0\0".encode("utf-16-le"), "is no text: give a table"),
    ("p.csv", np.random.default_rng(1).bytes(9999), "is no text: give a table"),
    ("TileConfiguration.txt", "", "lists no tile: correct positions"),
    ("TileConfiguration.txt", "dim = 3\n" + names("R_C.tif; ; (R, C)"), "line 2: '0_0.tif; ; (0, 0)' is not of the form"),
    ("TileConfiguration.txt", "dim = 3\n" + names("R_C.tif; ; (R, C, C)"), "the tiles lie at several z"),
    ("TileConfiguration.txt", "dim = 2\n" + names("R_C.tif; ; (R; C)"), "line 2: '0_0.tif; ; (0; 0)' is not of the form"),
    ("TileConfiguration.txt", "dim = 5\n" + names("R_C.tif; ; (R, C)"), "line 1: 'dim = 5' is not of the form"),
    ("TileConfiguration.txt", "dim = 2\n" + names("R_C.tif,R,C"), "line 2: '0_0.tif,0,0' is not of the form"),
]  # fmt: skip


def write(path: Path, content: str | bytes) -> None:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize(("name", "content", "words"), POSITIONS)
def test_a_wrong_table_of_positions(finished: Finished, name: str, content: str | bytes, words: str) -> None:
    write(Path(name), content)
    said = message({"datasets": {"a": {"images": "in/grid/*.tif", "positions": name}}})
    assert name in said and words in said


OVERRIDES = [
    ("fixed,moving,y\n", "lacks the column x; it has fixed, moving, y"),
    ("fixed,moving,y,x,Y\n", "has two columns y"),
    ("fixed,moving,y,x\n0_0.tif,2_0.tif,,", "line 2: moving is 2_0.tif, which is no tile of this dataset"),
    ("fixed,moving,y,x\n,other/0_0.tif,1,1", "line 2: moving is other/0_0.tif, which is no tile of this dataset"),
    ("fixed,moving,y,x\n0_0.tif,,1,1", "line 2: moving is empty: name a tile"),
    ("fixed,moving,y,x\n0_0.tif,grid/0_0.tif,1,1", "line 2: fixed and moving are both grid/0_0.tif, one tile"),
    ("fixed,moving,y,x\n,0_0.tif,,", "line 2: a tile without a fixed one needs y and x"),
    ("fixed,moving,y,x\n0_1.tif,0_0.tif,1,", "line 2: give both y and x, or neither"),
    ("fixed,moving,y,x\n,0_0.tif,1,inf", "line 2: y and x are 1 and inf: give two numbers"),
    ("fixed,moving,y,x\n,0_0.tif,1e9,1", "line 2: y and x are 1e9 and 1: give two numbers"),
    ("fixed,moving,y,x\n,0_0.tif,1,1\n,0_0.tif,1,2", "line 3: places a tile that line 2 is about, too"),
    ("fixed,moving,y,x\n0_0.tif,0_1.tif,0,48\n0_1.tif,0_0.tif,0,48", "line 3: is about a pair that line 2 is about, too"),
    ("fixed,moving,y,x\n0_0.tif,0_1.tif,0,48\n0_0.tif,0_1.tif,,", "line 3: is about a pair that line 2 is about, too"),
    ("fixed,moving,y,x\n0_0.tif,0_1.tif,0,4,8", "line 2: has 5 cells, and the header has 4"),
    (b"\0\1\2", "is no text: give a table"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "words"), OVERRIDES)
def test_wrong_overrides(finished: Finished, content: str | bytes, words: str) -> None:
    write(Path("o.csv"), content)
    said = message({"datasets": {"a": {**GRID, "overrides": "o.csv"}}})
    assert "o.csv" in said and words in said
    code, later = finished.run("place", overrides="o.csv")
    assert code == 1 and words in later


TRUTH = [
    ("path,yy,yx,y0,xy,xx\n", "lacks the column x0"),
    ("path,yy,yx,y0,xy,xx,x0\n0_0.tif,1,0,0,0,1,0", "there is no row for in/grid/0_1.tif: add its true place"),
    ("path,yy,yx,y0,xy,xx,x0\n" + names("R_C.tif,1,0,nan,0,1,0"), "line 2: needs six numbers"),
    ("path,yy,yx,y0,xy,xx,x0\n" + names("R_C.tif,1,0,0,0,1,0") + "\n0_0.tif,1,0,9,0,1,0", "in/grid/0_0.tif has several places"),
]  # fmt: skip


@pytest.mark.parametrize(("content", "words"), TRUTH)
def test_a_wrong_truth(finished: Finished, content: str, words: str) -> None:
    write(Path("t.csv"), content)
    said = message({"datasets": {"a": {**GRID, "truth": "t.csv"}}})
    assert "t.csv" in said and words in said
    code, later = finished.run("accuracy", truth="t.csv")
    assert code == 1 and words in later


@pytest.mark.parametrize("key", ["positions", "overrides", "truth"])
@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "unreadable", "name too long"])
def test_a_table_that_cannot_be_read(finished: Finished, key: str, kind: str) -> None:
    table = finished.folder / ("t" * 300 if kind == "name too long" else "table.csv")
    if kind == "folder":
        table.mkdir()
    elif kind == "pipe":
        os.mkfifo(table)
    elif kind == "unreadable":
        table.write_text("")
        table.chmod(0)
    config = {"datasets": {"a": {**GRID, key: str(table)}}}
    user = os.geteuid()
    try:
        if kind == "unreadable" and user == 0:  # root may read every file
            for folder in (finished.folder, *finished.folder.parents):
                if folder.owner() == "root" and folder.stat().st_mode & 0o005 != 0o005 and "pytest" in str(folder):
                    folder.chmod(0o755)
            os.seteuid(65534)
        said = message(config)
    finally:
        os.seteuid(user)
    words = "is no file: give the path of a table" if kind in ("folder", "pipe") else "cannot be read ("
    assert str(table) in said and words in said


@pytest.mark.parametrize("key", ["flat", "dark", "distortion"])
def test_a_field_that_is_not_there(finished: Finished, key: str) -> None:
    said = message({"datasets": {"a": {**GRID, key: "field.tif"}}})
    assert said == f"{key} is field.tif, and there is no such file: correct it, or delete the key"


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ("in/grid/{row}_{col}.png", "nothing in in/grid matches; the folder holds 0_0.tif, 0_0_b.tif, 0_1.tif and 2 more"),
        ("no/{row}_{col}.tif", "there is no folder no: correct images"),
        ("in/grid/{row}_*.tif", "images needs {row} and {col}"),
        ("in/grid/{row}*{col}*.tif", "have one place in the grid"),
        ("in/grid/{row}_{col}{z}.tif", "images has {col}{z}, and nothing says where the first ends"),
    ],
)
def test_names_that_do_not_match(finished: Finished, images: str, words: str) -> None:
    Path("in/grid/0_0_b.tif").touch()
    assert words in message({"datasets": {"a": {**GRID, "images": images}}})


# Mistakes that a step finds


def test_numbers_in_names_that_are_places(finished: Finished) -> None:
    for path in Path("in/grid").iterdir():
        row, col = path.stem.split("_")
        path.rename(path.with_name(f"{int(row) * 48}_{int(col) * (4801 if row == '1' else 48)}.tif"))
    code, said = finished.run("tiles")
    assert code == 1
    assert "the mosaic would be 112 x 230512 px, 1576 times the area of all tiles together" in said
    assert "write {x} and {y} in images" in said


@pytest.mark.parametrize("far", ["1e9", "1e12"])
def test_places_that_are_absurd(finished: Finished, far: str) -> None:
    write(Path("p.csv"), f"path,y,x\n0_0.tif,0,0\n0_1.tif,{far},{far}\n")
    code, said = finished.run("tiles", settings='{"images": "in/grid/*.tif", "positions": "p.csv"}')
    assert code == 1 and "correct the numbers in p.csv" in said


def test_tiles_without_any_neighbour(finished: Finished) -> None:
    table = Path(A, "tiles.csv").read_text().splitlines()
    columns = table[0].split(",")
    rows = [line.split(",") for line in table[1:]]
    for row in rows:
        row[columns.index("y")] = str(100 * int(row[columns.index("row")]))
        row[columns.index("x")] = str(100 * int(row[columns.index("col")]))
    Path("apart.csv").write_text("\n".join([table[0], *map(",".join, rows)]))
    code, said = finished.run("pairs", tiles="apart.csv")
    assert code == 1 and "no two of the 4 tiles are neighbours" in said and "correct overlap" in said


@pytest.mark.parametrize("content", ["text", "cut", "empty", "no numbers", "other"])
def test_a_model_that_is_none(finished: Finished, content: str) -> None:
    model = checkpoint.untrained("correlation", seed=0)
    if content == "no numbers":
        model.encoder.stem.weight.data[0] = torch.nan
    checkpoint.save(model, {}, Path("model.pt"))
    whole = Path("model.pt").read_bytes()
    write(Path("model.pt"), {"text": b"model", "cut": whole[:9999], "empty": b""}.get(content, whole))
    if content == "other":
        torch.save({"state": 1}, "model.pt")
    code, said = finished.run("register", settings='{"method": "network"}', model="model.pt")
    assert code == 1 and "model.pt" in said and "train again" in said


@pytest.mark.parametrize("step", ["survey", "pairs", "place", "mosaic"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\0\1", b"tile,path\n1,2,3\n1,2,3,4,5\n", b"tile,path\n0,a.tif\n"])
def test_a_table_between_the_steps_that_is_damaged(finished: Finished, step: str, content: bytes) -> None:
    write(Path("damaged.csv"), content)
    code, said = finished.run(step, **{"files" if step == "survey" else "tiles": "damaged.csv"})
    assert code == 1 and "damaged.csv" in said


@pytest.mark.parametrize("image", ["empty", "text", "cut", "other type", "other size", "no numbers"])
def test_a_tile_that_is_no_image(finished: Finished, image: str) -> None:
    path = Path("in/grid/0_1.tif")
    whole, pixels = path.read_bytes(), tifffile.imread(path)
    if image in ("empty", "text", "cut"):
        path.write_bytes({"empty": b"", "text": b"a,b\n1,2\n", "cut": whole[: len(whole) // 2]}[image])
    elif image == "no numbers":
        tifffile.imwrite(path, np.full((64, 64), np.nan, np.float32))
    else:
        tifffile.imwrite(path, pixels.astype(np.uint8) if image == "other type" else pixels[:32])
    code, said = finished.run("tiles")
    assert code == 1 and str(path) in said


# The same through Snakemake


WHOLE_WAY = [
    ("a section that is a list", {"train": [1]}, {}, "train: is [1]: give keys with values below it"),
    ("an infinite number", {"train": {"steps": np.inf}}, {}, "train.steps: is inf: give a whole number"),
    ("a wrong override", {"datasets": {"a": {**GRID, "overrides": "o.csv"}}}, {"o.csv": "fixed,moving,y,x\n,x.tif,1,1"},
     "o.csv, line 2: moving is x.tif, which is no tile"),
    ("no table of truth", {"datasets": {"a": {**GRID, "truth": "t.csv"}}}, {}, "t.csv: cannot be read (No such file"),
    ("positions of other tiles", {"datasets": {"a": {**GRID, "positions": "p.csv"}}}, {"p.csv": "path,y,x\nx.tif,1,1"},
     "p.csv, line 2: x.tif is not among the files of images"),
    ("a model that is not there", {"train": {"model": "m.pt"}}, {}, "m.pt"),
    ("absurd positions", {"datasets": {"c": {**GRID, "positions": "p.csv"}}},
     {"p.csv": "path,y,x\n0_0.tif,0,0\n0_1.tif,1e9,1e9"}, "correct the numbers in p.csv"),
]  # fmt: skip


@pytest.mark.parametrize(("config", "files", "words"), [pytest.param(*rest, id=name) for name, *rest in WHOLE_WAY])
def test_the_whole_way(finished: Finished, config: Tree, files: dict[str, str], words: str) -> None:
    for name, text in files.items():
        Path(name).write_text(text)
    result = Workflow(ROOT, finished.folder, {"datasets": {"b": GRID}, **config})("--until", "tiles")
    said = result.stdout + result.stderr
    assert result.returncode == 1 and words in said and "Traceback" not in said
    found_by_a_step = words.startswith("correct")
    assert (finished.folder / "results" / "c").exists() == found_by_a_step
    assert not (finished.folder / "results" / "b").exists()


def test_a_key_that_stands_twice(finished: Finished) -> None:
    workflow = Workflow(ROOT, finished.folder, {})
    Path("twice.yaml").write_text("train: {steps: 1}\ntrain: {steps: 2}\n")
    result = workflow("--configfile", "twice.yaml")
    assert result.returncode == 1 and "twice.yaml, line 2: the key train is there twice" in result.stdout + result.stderr


# Any text

WORDS = ["path", "y", "x", "fixed", "moving", "0_0.tif", "in/0_1.tif", "1", "-2.5", "1e999", "nan", "", "\0", '"', "dim = 3"]
CELLS = st.sampled_from(WORDS) | st.text(max_size=5)
TEXTS = st.one_of(
    st.binary(max_size=200),
    st.tuples(st.sampled_from([",", ";", "\t", "; ; ("]), st.lists(st.lists(CELLS, max_size=5), max_size=5)).map(
        lambda table: "\n".join(table[0].join(row) for row in table[1]).encode("utf-8", "ignore")
    ),
)  # fmt: skip
TILES = [Tile(Path(f"in/0_{col}.tif"), [Path(f"in/0_{col}.tif")], {}) for col in (0, 1)]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of a table."""
    return tmp_path_factory.mktemp("any") / "table.csv"


@given(content=TEXTS)
@settings(max_examples=300)
def test_any_text_as_a_table(table: Path, content: bytes) -> None:
    table.write_bytes(content)
    files = [tile.files for tile in TILES]
    readers: list[tuple[Callable[[], object], tuple[type[Exception], ...]]] = [
        (lambda: positions_table.positions(Dataset(images="in/*.tif", positions=table), TILES), (TileError,)),
        (lambda: overrides_table.read(table, files), (OverridesError, TextTableError)),
        (lambda: truth_table.read(table, files), (TruthError, TextTableError)),
    ]
    for read, own in readers:
        try:
            read()
        except own as error:
            assert str(error)


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.dates()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.one_of(st.text(max_size=5), st.integers()), inner)),
    max_leaves=5,
)
KEYS = st.sampled_from(
    [*NUMBERS, *SWITCHES, *CHOICES, *SECTIONS, *(f"datasets.a.{key}" for key in PATHS), "datasets", "no.key"]
)


@given(path=KEYS, value=VALUES)
@settings(max_examples=500)
def test_any_value_of_a_setting(path: str, value: object) -> None:
    try:
        Settings.checked(tree(path, value))
    except SettingsError as error:
        assert path.split(".")[0] in str(error)


@given(images=st.text(max_size=30) | st.sampled_from(["/", "..", "{row}", "*", "~", "a/{row}/{col}/..", "{row}_{col}/"]))
@settings(max_examples=200)
def test_any_text_as_images(images: str) -> None:
    try:
        found = Dataset.checked({"images": images + "{row}_{col}"})
        grid_layout.find(found)
    except (SettingsError, TileError) as error:
        assert str(error)
