"""Tables of positions with columns, as people and programs write them."""

from pathlib import Path
from typing import Any

import pytest

from dlir.core.text_tables import TextTableError
from dlir.reading import csv_positions
from dlir.reading.listed_places import Listed
from dlir.reading.settings import Dataset

NAMES = ("a.tif", "b.tif")
MICRO = "\u00b5m"


def read(text: str, **keys: Any) -> Listed:
    settings = Dataset(images="*.tif", positions=Path("p.csv"), **keys)
    return csv_positions.read(Path("p.csv"), text.splitlines(), settings, NAMES.__contains__)


RIGHT = [
    ("filename,x,y\na.tif,5,6\nb.tif,-7,1e2\n", "px", [(6, 5), (100, -7)]),
    ("Label;X [\u00b5m];Y [\u00b5m]\na.tif;5,25;6\nb.tif;7;8,5\n", "um", [(6, 5.25), (8.5, 7)]),
    ("y_mm\tx_mm\tFile Name\n0,001\t0\ta.tif\n0\t1,5\tb.tif\n", "um", [(1, 0), (0, 1500)]),
    ('image,pos_x,pos_y\na.tif,"5,25","6,5"\nb.tif,"7,0","8,125"\n', "px", [(6.5, 5.25), (8.125, 7)]),
    ("# stage\nExported 3 May\n\nname,x,y\n\na.tif,1,2\n,,\nb.tif,3,4\n", "px", [(2, 1), (4, 3)]),
    ("# path,x,y\na.tif,1,2\n# b.tif,the old place,4\nb.tif,3,4\n", "px", [(2, 1), (4, 3)]),
    (f"name,x,y\n,{MICRO},{MICRO}\na.tif,1,2\nb.tif,3,4\n", "um", [(2, 1), (4, 3)]),
    ("name,x,y\na.tif,1,2\nb.tif,3,4\nunit,[nm],[nm]\n", "um", [(0.002, 0.001), (0.004, 0.003)]),
    ("path,y,x,unit\na.tif,1,2,micrometre\nb.tif,3,4,micrometre\n", "um", [(1, 2), (3, 4)]),
    ("path,x,y,z\na.tif,1,2,9\nb.tif,3,4,9.5\n", "px", [(2, 1), (4, 3)]),
    ("tile,path,x,y\n0,a.tif,1,2\n1,b.tif,3,4\n", "px", [(2, 1), (4, 3)]),
    ("tile,row,col,x,y\na.tif,0,0,1,2\nb.tif,0,1,3,4\n", "px", [(2, 1), (4, 3)]),
    ("tile,r,c\na.tif,1,2\nb.tif,1,3\n", "cells", [(1, 2), (1, 3)]),
    ("name,x,x error,y,y error\na.tif,1,0,2,0\nb.tif,3,0,4,0\n", "px", [(2, 1), (4, 3)]),
    ("name,x_um,y\na.tif,1,\u22122\nb.tif,3,4\n", "um", [(-2, 1), (4, 3)]),
]


@pytest.mark.parametrize(("text", "unit", "places"), RIGHT)
def test_a_table_is_read(text: str, unit: str, places: list[tuple[float, float]]) -> None:
    found = read(text)
    assert [row.place for row in found.rows] == [pytest.approx(place) for place in places]
    assert ([row.name for row in found.rows], found.unit, found.problems) == (list(NAMES), unit, [])


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("name;x;y\na.tif;12,5;3\n", (3, 12.5)),
        ("name;x;y\na.tif;0,570;1,234\n", (1.234, 0.57)),  # nobody writes thousands as 0,570
        ("name;x;y\na.tif;1570,250;1,234\n", (1.234, 1570.25)),
        ("name;X [mm];Y [mm]\na.tif;1,570;2,001\n", (2001, 1570)),
    ],
)
def test_decimal_commas_are_read(text: str, place: tuple[float, float]) -> None:
    assert read(text).rows[0].place == pytest.approx(place)


TWICE = "name,x_px,y_px,x_um,y_um\na.tif,0,0,50,60\nb.tif,100,10,{},66.5\n"


def test_places_in_px_and_in_um_are_taken_where_both_say_the_same() -> None:
    found = read(TWICE.format(115), pixel_size=0.65)
    assert (found.unit, [row.place for row in found.rows]) == ("px", [(0, 0), (10, 100)])
    assert "y_px and x_px are read as places in px" in found.notes[-1]
    assert read(TWICE.format(115), unit="um").unit == "um"
    for keys in ({}, {"pixel_size": 0.5}):
        with pytest.raises(TextTableError, match="the places may be y_px and x_px, or y_um and x_um: set unit to the one that"):
            read(TWICE.format(115), **keys)
    with pytest.raises(TextTableError, match="the places may be"):
        read(TWICE.format(120), pixel_size=0.65)


def test_two_columns_of_one_unit_are_asked_about() -> None:
    text = "name,x,y,stage x,stage y\na.tif,0,0,1,1\nb.tif,5,0,{},1\n"
    assert read(text.format(6)).rows[1].place == (0, 5)
    with pytest.raises(TextTableError, match="may be y and x, or stage y and stage x: delete or rename the others"):
        read(text.format(9))


def test_what_was_taken_is_noted() -> None:
    found = read("Plate 7\nlabel,name,x_um,y_um,z\nl1,a.tif,1,2,0\nl2,b.tif,3,4,0\n")
    assert found.notes == [
        "p.csv: line 2 is the header, and what stands above it is left out",
        "p.csv: name names the tiles; y_um and x_um are read as places in micrometres",
        "p.csv: z is left out",
    ]


@pytest.mark.parametrize(
    ("text", "keys", "words"),
    [
        ("", {}, "has no column for the names of the files and for y and for x; it is empty"),
        ("a.tif,0,0\nb.tif,5,0\n", {}, "has no header: line 1 is 'a.tif,0,0', and nothing says which number is x"),
        ("path,y\na.tif,0\n", {}, "has no column for x; its first line is path, y, and a table needs path, y and x"),
        ("x,y\n0,0\n", {}, "has no column for the names of the files; its first line is x, y"),
        ("name,x,y,Y\na.tif,0,0,0\n", {}, "the places may be y and x|columns y, Y, x, and it is not clear"),
        ("name,x_um,y_px\na.tif,0,0\n", {}, "y_px and x_um have two units: correct the header"),
        ("name,x_um,y_um\na.tif,0,0\n", {"unit": "px"}, "gives y_um and x_um in um, and the setting unit is px: delete unit"),
        ("name,x_px,y_px\na.tif,0,0\n", {"unit": "um"}, "in px, and the setting unit is um: delete unit from the settings"),
        ("name,x_um,y_um\n,mm,mm\na.tif,0,0\n", {}, "gives two units for y_um and x_um: leave one"),
        ("name,x,y,unit\na.tif,0,0,um\nb.tif,0,5,inch\n", {}, "the unit 'inch' is not known: write px, um, mm or nm"),
        ("name,row,row,col\na.tif,0,0,0\n", {}, "has two columns of one meaning, row and row"),
        ('name,x,y\na.tif,"1,843","2,000"\n', {}, "line 2: '2,000' may be 2000 or 2.000: write decimals with a point"),
        ("name;x;y\na.tif;0;0\nb.tif;1,570;0\n", {}, "line 3: '1,570' may be 1570 or 1.570: write decimals with a point"),
        ("name;x_um;y_um\na.tif;1,570;570\n", {}, "line 2: '1,570' may be 1570 or 1.570: write decimals with a point"),
        ("name,x,y\na.tif,1,5,2,5\n", {}, "line 2: has 5 cells, and the header has 3: correct it, and write decimals"),
        (f"name,x,y\na.tif,0,{'0' * 200_000}\n", {}, r"line 2: cannot be read as CSV \(field larger than field limit"),
    ],
)
def test_what_is_not_clear_is_asked(text: str, keys: dict[str, Any], words: str) -> None:
    with pytest.raises(TextTableError, match=rf"p\.csv(, |: ).*({words})"):
        read(text, **keys)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,x,y\na.tif,0\nb.tif,1,2\n", "p.csv, line 2: needs a name in name, and two numbers, y and x: correct it"),
        ("top\n\nname,x,y\na.tif,0,nan\n", "p.csv, line 4: needs a name in name, and two numbers"),
        (
            "name;x;y\na.tif;1.843,5;0\n",
            "line 2: needs a name in name, and two numbers, y and x: correct it, with a point before",
        ),
        ("name;x;y\na.tif;1,5;0\nb.tif;2.5;0\n", "line 2: needs"),
        ("name,x,y\n,1,2\n", "line 2: needs a name in name"),
        ("name,row,col\na.tif,0,1.5\n", "line 2: needs a name in name, and two whole numbers, row and col"),
        ("name,x,y,z\na.tif,0,0,1\nb.tif,0,0,2\n", "line 3: lists this place at two z, and dlir stitches one plane"),
    ],
)
def test_a_wrong_line_is_named(text: str, words: str) -> None:
    (problem,) = read(text).problems
    assert words in problem
