"""The tiles that a table of positions names, and their places."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlir.reading import found_tiles, positions_table
from dlir.reading.filenames import Tile
from dlir.reading.grid_layout import TileError
from dlir.reading.positions_table import Positions
from dlir.reading.settings import Dataset

FILES = [Path("in/a 1.tif"), Path("in/a 2.tif")]
Make = Callable[..., Dataset]


def single_file_tiles(*paths: Path) -> list[Tile]:
    """Returns tiles with one file each."""
    return [Tile(path, [path], {}) for path in paths]


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Positions]:
    """Writes a table and reads it."""

    def read(name: str, text: str | bytes, tiles: list[Tile], **keys: Any) -> Positions:
        content = text.encode() if isinstance(text, str) else text
        (tmp_path / name).write_bytes(content)
        return positions_table.positions(Dataset(images="in/*.tif", positions=tmp_path / name, **keys), tiles)

    return read


Read = Callable[..., Positions]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("TileConfiguration.txt", "# comment\ndim = 2\n\na 1.tif; ; (460.5, -3)\nC:\\old\\a 2.tif ;;( 1e2,7.25 )\n"),
        ("stage.csv", "\ufeffpath, x, y, z\nelsewhere/a 2.tif, 100, 7.25, 0\na 1.tif, 460.5, -3, 0\n"),
        ("stage.txt", "name\tx\ty\na 1\t460,5\t-3\na 2\t100\t7,25\n"),
        ("no ending", "name;x;y\na 1.tif;460,5;-3\na 2.tif;100;7,25\n"),
    ],
)
def test_the_form_of_a_table_is_told_by_what_it_holds(read: Read, name: str, text: str) -> None:
    found = read(name, text, single_file_tiles(*FILES))
    assert found.places == {FILES[0]: (-3.0, 460.5), FILES[1]: (7.25, 100.0)} and not found.problems


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("header", ["path,y,x", "Path, Y ,X", "note,X [\u00b5m],Path,y [\u00b5m]"])
def test_positions_may_be_saved_by_any_spreadsheet(read: Read, encoding: str, separator: str, header: str) -> None:
    cells = {"path": "\u00e4 1.tif", "y": "-2.5", "x": "1e2", "note": "\u00b5m"}
    row = ",".join(cells[name.strip().lower().removesuffix(" [\u00b5m]")] for name in header.split(","))
    text = f"{header}\r\n{row}\r\n,,\r\n".replace(",", separator)
    tiles = single_file_tiles(Path("in/\u00e4 1.tif"), FILES[1])
    found = read("p.csv", text.encode(encoding), tiles)
    assert (found.places, found.problems) == ({tiles[0].path: (-2.5, 100.0)}, [])
    assert found.unit == ("um" if "[" in header else "px")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("dim = 2\na 1.tif; ; (0, 0)\nb.tif; ; (9, 0)\n", "line 3: b.tif is not among the files of images: add it"),
        ("dim = 2\na 1.tif; ; (0, 0)\na 1.tif; ; (9, 0)\n", "line 3: a 1.tif is listed twice: delete one"),
        ("path,y,x\na 1.tif,0,0\nb.tif,0,0\n", "line 3: b.tif is not among the files of images"),
        ("# nothing\n", "lists no tile: correct positions"),
        ("path,y,x\n", "lists no tile: correct positions"),
    ],
)
def test_a_wrong_line_of_positions_is_named(read: Read, tmp_path: Path, text: str, words: str) -> None:
    (problem,) = read("p.txt", text, single_file_tiles(*FILES)).problems
    assert problem.startswith(str(tmp_path / "p.txt")) and words in problem


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"path,y,x\na\0 1.tif,0,0\n", "is no text: give a table"),
        (b"PK\x03\x04\0\0", "is a workbook of a spreadsheet: save the sheet as CSV UTF-8"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is a workbook of a spreadsheet"),
        (b"path,y\na 1.tif,0\n", "has no column for x"),
        (b"{}", "is no position list of Micro-Manager"),
    ],
)
def test_a_table_that_cannot_be_read_is_an_error(read: Read, content: bytes, words: str) -> None:
    with pytest.raises(TileError, match=words) as caught:
        read("p.xlsx", content, single_file_tiles(*FILES))
    assert "p.xlsx" in str(caught.value)


def test_positions_name_one_of_two_files_with_the_same_name_by_its_path(read: Read) -> None:
    tiles = single_file_tiles(Path("in/1/a.tif"), Path("in/2/a.tif"))
    found = read("p.csv", "path,y,x\n2/a.tif,0,5\nin/1/a.tif,0,0\n", tiles)
    assert (found.places, found.problems) == ({tiles[0].path: (0, 0), tiles[1].path: (0, 5)}, [])
    (problem,) = read("p.csv", "path,y,x\na.tif,0,0\n", tiles).problems
    assert "line 2: a.tif means in/1/a.tif, in/2/a.tif: give more of the path of one" in problem


def test_positions_name_a_tile_by_any_of_its_files(read: Read) -> None:
    tiles = [Tile(Path(f"in/s{i}_{{channel}}.tif"), [Path(f"in/s{i}_{c}.tif") for c in "ab"], {}) for i in (1, 2)]
    found = read("p.csv", "path,y,x\ns1_a.tif,0,1\ns1_b.tif,0,1\ns2_{channel}.tif,4,5\n", tiles)
    assert found.places == {tiles[0].path: (0, 1), tiles[1].path: (4, 5)} and not found.problems
    (problem,) = read("p.csv", "path,y,x\ns1_a.tif,0,1\ns1_b.tif,0,2\n", tiles).problems
    assert "line 3: s1_b.tif is listed twice" in problem


@pytest.mark.parametrize("name", ["t.01", "t.01.ome", "t.01.ome.tif"])
def test_a_name_may_lack_its_ending(read: Read, name: str) -> None:
    tiles = single_file_tiles(Path("in/t.01.ome.tif"), Path("in/t.02.ome.tif"))
    found = read("p.csv", f"name,y,x\n{name},1,2\n", tiles)
    if name == "t.01.ome":
        assert "is not among the files" in found.problems[0]
    else:
        assert found.places == {tiles[0].path: (1, 2)}


def test_images_in_a_file_are_tiles(read: Read) -> None:
    tiles = single_file_tiles(Path("in/f.czi"), Path("in/g.czi"))
    text = "dim = 2\nmultiseries = true\nf.czi; 0; (0, 0)\nf.czi; 2; (90, 0)\n"
    found = read("t.txt", text, tiles)
    assert found.tiles == [
        tiles[1],
        Tile(Path("in/f.czi#0"), [tiles[0].path], {}),
        Tile(Path("in/f.czi#2"), [tiles[0].path], {}),
    ]
    assert found.places == {Path("in/f.czi#0"): (0, 0), Path("in/f.czi#2"): (0, 90)} and not found.problems
    assert read("t.csv", "path,x,y\nf.czi#0,0,0\nin/f.czi#2,90,0\n", tiles) .places == found.places  # fmt: skip
    several = [Tile(Path("in/f_{channel}.czi"), [Path("in/f_a.czi"), Path("in/f_b.czi")], {})]
    (problem,) = read("t.csv", "path,x,y\nf_a.czi#0,0,0\n", several).problems
    assert "f_a.czi#0 is an image in one of several files of a tile" in problem


def test_the_tiles_of_a_dataset_may_be_images_in_a_file(tmp_path: Path, dataset: Make) -> None:
    (tmp_path / "f.czi").touch()
    (tmp_path / "g.czi").touch()
    (tmp_path / "t.txt").write_text("dim = 2\nmultiseries = true\nf.czi; 0; (0, 0)\nf.czi; 1; (90, 0)\n")
    found = found_tiles.find(dataset(tmp_path / "*.czi", positions=tmp_path / "t.txt"))
    assert [tile.path.name for tile in found.tiles] == ["f.czi#0", "f.czi#1"] and not found.problems
    assert found.left_out == [tmp_path / "g.czi"]


def test_rows_and_columns_in_a_table_are_those_of_the_grid(read: Read) -> None:
    text = "name,row,col\na 1.tif,3,1\na 2.tif,3,2\n"
    found = read("p.csv", text, single_file_tiles(*FILES), start="top-right")
    assert (found.unit, found.places) == ("cells", {FILES[0]: (0, 1), FILES[1]: (0, 0)})
    (problem,) = read("p.csv", text.replace("3,2", "3,1"), single_file_tiles(*FILES)).problems
    assert "have one place in the grid, row 0, column 0" in problem


LABELS = {
    "folders": ["e/Pos1/img_000.tif", "e/Pos10/img_000.tif"],
    "MMStack": ["e/x_MMStack_Pos1.ome.tif", "e/x_MMStack_Pos10.ome.tif"],
    "names": ["e/x_Pos1_c.tif", "e/x_Pos10_c.tif"],
}


def position_list(*labels: str) -> str:
    rows = [
        {"LABEL": label, "DEFAULT_XY_STAGE": "XY", "DEVICES": [{"DEVICE": "XY", "AXES": 2, "X": 10 * i, "Y": -i}]}
        for i, label in enumerate(labels)
    ]
    return json.dumps({"POSITIONS": rows})


@pytest.mark.parametrize("paths", LABELS.values(), ids=list(LABELS))
def test_labels_of_micro_manager_stand_in_folders_or_names(read: Read, paths: list[str]) -> None:
    tiles = single_file_tiles(*map(Path, paths))
    found = read("p.pos", position_list("Pos1", "Pos10"), tiles)
    assert found.places == {tiles[0].path: (0, 0), tiles[1].path: (-1, 10)} and found.unit == "um" and not found.problems


def test_a_label_that_means_no_tile_or_several_is_named(read: Read) -> None:
    tiles = single_file_tiles(Path("e/1-Pos_000_000_a.tif"), Path("e/1-Pos_000_000_b.tif"))
    problems = read("p.pos", position_list("1-Pos_000_000", "Pos7"), tiles).problems
    assert (
        "position 1: the label 1-Pos_000_000 stands in the paths of e/1-Pos_000_000_a.tif, e/1-Pos_000_000_b.tif" in problems[0]
    )
    assert "position 2: the label Pos7 stands in no path of a tile: add its files, or delete the position" in problems[1]
    with pytest.raises(TileError, match="is in micrometres, and the setting unit is px: delete unit"):
        read("p.pos", position_list("1-Pos_000_000"), tiles, unit="px")


def test_a_missing_table_of_positions_is_an_error() -> None:
    with pytest.raises(TileError, match=r"gone\.txt: cannot be read \(No such file.*: correct the path"):
        positions_table.positions(Dataset(images="in/*.tif", positions=Path("gone.txt")), single_file_tiles(*FILES))
