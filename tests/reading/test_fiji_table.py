"""Fiji's tables of tiles in all their forms."""

from pathlib import Path

import pytest

from dlir.reading import fiji_table

HEADING = "# Define the number of dimensions we are working on\ndim = 2\n\n# Define the image coordinates\n"


def read(text: str) -> fiji_table.Listed:
    assert fiji_table.is_fiji(text.splitlines())
    return fiji_table.read(Path("t.txt"), text.splitlines())


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (HEADING + "a 1.tif; ; (460.5, -3)\nC:\\old\\a 2.tif ;;( 1e2,7.25 )\n",
         [("a 1.tif", -3, 460.5), ("C:\\old\\a 2.tif", 7.25, 100)]),
        ("a.tif; ; (1, 2)\n", [("a.tif", 2, 1)]),
        ("DIM=3\na.tif; ; (1, 2, 7.5)\nb.tif; ; (3E-1, 4, 7.5)\n", [("a.tif", 2, 1), ("b.tif", 4, 0.3)]),
        ('dim = 2\n"a 1.tif"; ; (1, 2)\n\'b.tif\'; ; (3, 4);\n', [("a 1.tif", 2, 1), ("b.tif", 4, 3)]),
        ("dim = 3\nmultiseries = true\nf.czi; 0; (1, 2, 0)\nf.czi; 12; (3, 4, 0)\n", [("f.czi#0", 2, 1), ("f.czi#12", 4, 3)]),
        ("dim = 2\nf.czi; 0; (1, 2)\nf.czi; 1; (3, 4)\n", [("f.czi#0", 2, 1), ("f.czi#1", 4, 3)]),
        ("dim = 2\nmultiseries = false\na.tif; 0; (1, 2)\nb.tif; 0; (3, 4)\n", [("a.tif", 2, 1), ("b.tif", 4, 3)]),
    ],
)  # fmt: skip
def test_each_form_is_read(text: str, rows: list[tuple[str, float, float]]) -> None:
    found = read(text)
    assert [(row.name, *row.place) for row in found.rows] == rows
    assert found.problems == [] and found.unit == "px"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a 1.tif; ; (0, 0)\na 2.tif (9, 0)\n", "line 2: 'a 2.tif (9, 0)' is not of the form 'name; ; (x, y)' with dim = 2"),
        ("a 1.tif; ; (0, zero)\n", "line 1: 'a 1.tif; ; (0, zero)' is not of the form"),
        ("dim = 3\na 1.tif; ; (0, 0)\n", "line 2: 'a 1.tif; ; (0, 0)' is not of the form 'name; ; (x, y, z)' with dim = 3"),
        ("dim = 2\na 1.tif; ; (0, 0, 0)\n", "line 2: 'a 1.tif; ; (0, 0, 0)' is not of the form 'name; ; (x, y)' with dim = 2"),
        ("dim = 4\na 1.tif; ; (0, 0)\n", "line 1: 'dim = 4' is not of the form"),
        ("dim = 2\na.tif; ; (1843,2, 0,5)\n", "with dim = 2: correct it, and write decimals with a point"),
        ("dim = 3\na 1.tif; ; (0, 0, 0)\na 2.tif; ; (0, 9, 1)\n", "lie at several z, and dlir stitches one plane"),
        ("dim = 2\na.tif; x; (0, 0)\n", "line 2: 'x' between the semicolons is no number of an image in the file"),
        (
            "dim = 2\na.tif; 0; (0, 0)\nb.tif; 3; (0, 0)\n",
            "line 3: has the number 3 between the semicolons, and the table has no",
        ),
    ],
)
def test_a_wrong_line_is_named(text: str, words: str) -> None:
    (problem,) = read(text).problems
    assert problem.startswith("t.txt") and words in problem


def test_other_tables_are_not_taken_for_one_of_fiji() -> None:
    assert not fiji_table.is_fiji(["name;x (\u00b5m);y (\u00b5m)", "a.tif;1,5;2"])
