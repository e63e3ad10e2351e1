"""Chooses the columns of a table that hold the places, their unit, and how their numbers are written.

A table may give its places twice, in px and in micrometres. Then the setting `unit` chooses, or both say the same by the size
of a pixel; else it is asked.

This module imports nothing heavy, since the Snakefile reads the table before any job starts.
"""

import re
from pathlib import Path
from typing import NamedTuple

from dlir.core import text_tables
from dlir.core.text_tables import TextTableError
from dlir.reading import position_columns
from dlir.reading.listed_places import Place, Unit
from dlir.reading.position_columns import Column
from dlir.reading.settings import Dataset

SAME_PLACE = 0.5  # px: two columns of places that differ by less agree


class Line(NamedTuple):
    """A line below the header."""

    where: str
    cells: list[str]

    def at(self, column: Column) -> str:
        return self.cells[column.number].strip() if column.number < len(self.cells) else ""


class Pair(NamedTuple):
    """Two columns that may hold the places, and the unit that they have by their headers; empty where these do not say."""

    y: Column
    x: Column
    unit: str

    def __str__(self) -> str:
        return f"{self.y.header} and {self.x.header}"


class Sheet(NamedTuple):
    """A table below its header."""

    table: Path
    separator: str  # between the columns
    lines: list[Line]

    def places(self, pair: Pair) -> list[Place | None]:
        """Returns the place in each line, in the unit of the columns; None where a line has no two numbers.

        Raises:
            TextTableError: when commas may stand before decimals or between thousands.
        """
        texts = [[line.at(column).replace("\u2212", "-") for column in (pair.y, pair.x)] for line in self.lines]
        cells = [cell for both in texts for cell in both]
        commas = [(line, cell) for line, both in zip(self.lines, texts, strict=True) for cell in both if "," in cell]
        unclear = self.separator == "," or pair.y.factor <= 1  # what is in mm may well have three decimals
        if commas and unclear and all(re.fullmatch(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}", cell) for _, cell in commas):
            line, cell = commas[0]
            what = f"{cell!r} may be {cell.replace(',', '')} or {cell.replace(',', '.')}"
            remedy = "write decimals with a point, and nothing between thousands"
            raise TextTableError(f"{self.table}, {line.where}: {what}: {remedy}")
        decimal = bool(commas) and not any("." in cell for cell in cells)
        places: list[Place | None] = []
        for both in texts:
            y, x = (text_tables.number(cell.replace(",", ".") if decimal else cell) for cell in both)
            places.append(None if y is None or x is None else (y * pair.y.factor, x * pair.x.factor))
        return places


def chosen(sheet: Sheet, columns: list[Column], settings: Dataset) -> tuple[Pair, Unit, Sheet]:
    """Returns the columns that hold the places, in this unit; and the sheet without a line that gives units.

    Raises:
        TextTableError: when the table leaves open which columns these are, or contradicts itself or the settings.
    """
    pairs = _pairs(sheet.table, columns)
    if not pairs:
        row, col = (_only(sheet.table, [column for column in columns if column.kind == kind]) for kind in ("row", "col"))
        return Pair(row, col, ""), "cells", sheet
    sheet, units = _without_units(sheet, pairs)
    if len(pairs) > 1 and settings.unit:
        pairs = [pair for pair in pairs if (pair.unit or "px") == settings.unit] or pairs
    pair = pairs[0] if len(pairs) == 1 else _agreeing(sheet, pairs, settings)
    units |= _units_in_column(sheet, [column for column in columns if column.kind == "unit"])
    units |= {(pair.x.unit, pair.x.factor)} if pair.unit else set()
    if len(units) > 1:
        raise TextTableError(f"{sheet.table}: gives two units for {pair}: leave one")
    unit, factor = next(iter(units), (settings.unit or "px", 1.0))
    if settings.unit and unit != settings.unit:
        remedy = "delete unit from the settings, or correct the table"
        raise TextTableError(f"{sheet.table}: gives {pair} in {unit}, and the setting unit is {settings.unit}: {remedy}")
    y, x = (column._replace(unit=unit, factor=factor) for column in (pair.y, pair.x))
    return Pair(y, x, unit), "um" if unit == "um" else "px", sheet


def _pairs(table: Path, columns: list[Column]) -> list[Pair]:
    """Returns each pair of columns that may hold the places."""
    y, x = ([column for column in columns if column.kind == axis] for axis in "yx")
    if len(y) == len(x) == 1:
        units = {(column.unit, column.factor) for column in (*y, *x) if column.unit}
        if len(units) > 1:
            raise TextTableError(f"{table}: {y[0].header} and {x[0].header} have two units: correct the header")
        unit, factor = next(iter(units), ("", 1.0))
        return [Pair(y[0]._replace(unit=unit, factor=factor), x[0]._replace(unit=unit, factor=factor), unit)]
    pairs = [Pair(one, other, one.unit) for one in y for other in x if one[3:] == other[3:]]  # words, unit and factor
    if any(sum(column in pair for pair in pairs) != 1 for column in (*y, *x)):
        what = f"has the columns {', '.join(column.header for column in (*y, *x))}, and it is not clear which belong together"
        raise TextTableError(f"{table}: {what}: leave one column for x and one for y")
    return pairs


def _without_units(sheet: Sheet, pairs: list[Pair]) -> tuple[Sheet, set[tuple[str, float]]]:
    """Returns the sheet without a line that gives the units, the first or the last; and the units in it."""
    for line in (sheet.lines[:1] + sheet.lines[-1:]) if len(pairs) == 1 else []:
        units = [position_columns.unit(line.at(column)) for column in (pairs[0].y, pairs[0].x)]
        if all(units):
            lines = [other for other in sheet.lines if other is not line]
            return sheet._replace(lines=lines), {unit for unit in units if unit}
    return sheet, set()


def _units_in_column(sheet: Sheet, columns: list[Column]) -> set[tuple[str, float]]:
    """Returns the units in a column of units, where there is one."""
    column = _only(sheet.table, columns) if columns else None
    cells = sorted({line.at(column) for line in sheet.lines} if column else set())
    if wrong := [cell for cell in cells if not position_columns.unit(cell)]:
        raise TextTableError(f"{sheet.table}: the unit {wrong[0]!r} is not known: write px, um, mm or nm, or delete the column")
    return {unit for cell in cells if (unit := position_columns.unit(cell))}


def _agreeing(sheet: Sheet, pairs: list[Pair], settings: Dataset) -> Pair:
    """Returns that of several pairs which is in px, where all say the same by the size of a pixel; else asks."""
    if all(_agree(sheet, pairs[0], pair, settings) for pair in pairs):
        return next((pair for pair in pairs if pair.unit == "px"), pairs[0])
    units = {pair.unit or "px" for pair in pairs}
    remedy = "set unit to the one that counts" if len(units) == len(pairs) else "delete or rename the others"
    raise TextTableError(f"{sheet.table}: the places may be {', or '.join(map(str, pairs))}: {remedy}")


def _agree(sheet: Sheet, one: Pair, other: Pair, settings: Dataset) -> bool:
    """Whether two pairs of columns say the same of how the tiles lie to each other."""
    sizes = [settings.pixel_size if pair.unit == "um" else 1.0 for pair in (one, other)]
    found = [[place for place in sheet.places(pair) if place] for pair in (one, other)]
    if None in sizes or {len(places) for places in found} != {len(sheet.lines)}:
        return False
    from_first = [
        [(each - first) / (size or 1.0) for place in places for each, first in zip(place, places[0], strict=True)]
        for places, size in zip(found, sizes, strict=True)
    ]
    return all(abs(a - b) < SAME_PLACE for a, b in zip(*from_first, strict=True))


def _only(table: Path, columns: list[Column]) -> Column:
    """Returns the one column of a kind."""
    if len(columns) > 1:
        names = " and ".join(column.header for column in columns)
        raise TextTableError(f"{table}: has two columns of one meaning, {names}: delete or rename one of them")
    return columns[0]
