"""Reads a table of positions with columns: as CSV, with tabs or semicolons, or as spreadsheets and microscopes export it.

`position_columns.py` says what the headers mean. Above the header there may be lines of text, and the unit may stand in the
headers, in the line below them, in a column of its own, or in the settings. Whatever is not clear is an error.

This module imports nothing heavy, since the Snakefile reads the table before any job starts.
"""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

from dlir.core import text_tables
from dlir.core.text_tables import SEPARATORS, TextTableError
from dlir.reading import place_columns, position_columns
from dlir.reading.listed_places import Listed, ListedPlace, Place
from dlir.reading.place_columns import Line, Sheet
from dlir.reading.position_columns import Column
from dlir.reading.settings import Dataset

MOST_LINES_ABOVE = 100  # the header
NEEDS = "needs path, y and x, or path, row and col"


def read(table: Path, texts: Sequence[str], settings: Dataset, is_tile: Callable[[str], bool]) -> Listed:
    """Returns what the lines of a table say.

    Args:
        settings: `unit` and `pixel_size` decide where the table is not clear.
        is_tile: whether a name means a tile; of several columns with names, the first is taken in which one does.

    Raises:
        TextTableError: when the table is not clear, or has not the columns that it needs.
    """
    above, separator, headers = _header(table, texts)
    found = position_columns.columns(headers)
    lines = _lines(table, texts, above, separator, len(headers))
    name = _names([column for column in found if column.kind == "name"], lines, is_tile)
    pair, unit, sheet = place_columns.chosen(Sheet(table, separator, lines), found, settings)
    places = sheet.places(pair)
    rows, problems = [], []
    for line, place in zip(sheet.lines, places, strict=True):
        if place and line.at(name) and (unit != "cells" or all(each == int(each) for each in place)):
            rows.append(ListedPlace(line.where, line.at(name), place))
        elif not line.cells[0].lstrip().startswith("#"):
            what = f"a name in {name.header}, and two {'whole ' * (unit == 'cells')}numbers, {pair}"
            remedy = "correct it, with a point before decimals and nothing between thousands"
            problems.append(f"{table}, {line.where}: needs {what}: {remedy}")
    meant = {"cells": "as row and column of the grid", "px": "as places in px", "um": "as places in micrometres"}[unit]
    notes = [f"{table}: {name.header} names the tiles; {pair} are read {meant}"]
    if above:
        notes.insert(0, f"{table}: line {above + 1} is the header, and what stands above it is left out")
    if z := next((column for column in found if column.kind == "z"), None):
        problems += _planes(sheet, z, places)
        notes += [f"{table}: {z.header} is left out"]
    return Listed(rows, problems, unit, notes)


def _header(table: Path, texts: Sequence[str]) -> tuple[int, str, list[str]]:
    """Returns the number of lines above the header, the separator of the columns, and the headers."""
    for number, text in enumerate(texts[:MOST_LINES_ABOVE]):
        for separator in SEPARATORS:
            headers = _split(text.lstrip("# "), separator)
            kinds = {column.kind for column in position_columns.columns(headers)}
            if "name" in kinds and ({"y", "x"} <= kinds or {"row", "col"} <= kinds):
                return number, separator, headers
    number, first = next(((number, text) for number, text in enumerate(texts, 1) if text.strip()), (1, ""))
    cells = _split(first, max(SEPARATORS, key=first.count))
    if sum(text_tables.number(cell.replace(",", ".")) is not None for cell in cells) >= 2:
        what = f"has no header: line {number} is {first[:100]!r}, and nothing says which number is x and which is y"
        raise TextTableError(f"{table}: {what}: write a header above it, such as path,x,y")
    kinds = {column.kind for column in position_columns.columns(cells)}
    missing = [
        f"for {what}" for what, kind in (("the names of the files", "name"), ("y", "y"), ("x", "x")) if kind not in kinds
    ]
    what = f"its first line is {', '.join(cells)}"[:300] if first else "it is empty"
    raise TextTableError(f"{table}: has no column {' and '.join(missing)}; {what}, and a table {NEEDS}: correct the header")


def _split(text: str, separator: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([text], delimiter=separator, skipinitialspace=True), [])]
    except csv.Error:
        return []


def _lines(table: Path, texts: Sequence[str], above: int, separator: str, columns: int) -> list[Line]:
    """Returns the lines below the header in which a cell is filled."""
    reader = csv.reader(texts[above + 1 :], delimiter=separator, skipinitialspace=True)
    found = []
    try:
        for cells in reader:
            where = f"line {above + 1 + reader.line_num}"
            if any(cell.strip() for cell in cells[columns:]):
                what = f"has {len(cells)} cells, and the header has {columns}"
                raise TextTableError(f"{table}, {where}: {what}: correct it, and write decimals with a point")
            if any(cell.strip() for cell in cells):
                found.append(Line(where, cells))
    except csv.Error as error:
        what = f"cannot be read as CSV ({error}): look for a quotation mark without its partner"
        raise TextTableError(f"{table}, line {above + 1 + reader.line_num}: {what}") from None
    return found


def _names(columns: list[Column], lines: list[Line], is_tile: Callable[[str], bool]) -> Column:
    """Returns the column that names the tiles."""
    ordered = sorted(columns, key=lambda column: position_columns.NAMES.index(column.words))
    return next((column for column in ordered if any(is_tile(line.at(column)) for line in lines)), ordered[0])


def _planes(sheet: Sheet, z: Column, places: list[Place | None]) -> list[str]:
    """Returns a message where the table lists one place at two z: these are planes, and not where the focus was."""
    heights: dict[Place, str] = {}
    for line, place in zip(sheet.lines, places, strict=True):
        if place and heights.setdefault(place, line.at(z)) != line.at(z):
            what = "lists this place at two z, and dlir stitches one plane"
            return [f"{sheet.table}, {line.where}: {what}: list the tiles of one z only"]
    return []
