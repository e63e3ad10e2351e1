"""Reads the tables that people write and other programs export: texts, and CSV files of which some columns are needed.

A CSV file may have commas, semicolons or tabs between its columns, capitals in its header, further columns, and any of the
encodings in which spreadsheets save it. Whatever is not clear is an error. This module imports nothing heavy, since the
Snakefile reads tables with it before any job starts.
"""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

LARGEST = 1e12  # px, micrometres and the like: no place is further away
SEPARATORS = ",;\t"
MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}  # the first bytes of a file: its encoding
WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # the first bytes of .xlsx and .ods, and of .xls


class TextTableError(ValueError):
    """A table cannot be read; the message names the file, the line and the remedy."""


class Row(NamedTuple):
    """A row of a CSV file."""

    line: int  # of the file, from 1
    cells: dict[str, str]  # by the names of the needed columns; an empty text where a cell is empty


def lines(table: Path) -> list[str]:
    """Returns the lines of a text; raises TextTableError when the file is none, or cannot be read."""
    try:
        if table.exists() and not table.is_file():
            raise TextTableError(f"{table}: is no file: give the path of a table")
        content = table.read_bytes()
    except OSError as error:
        remedy = "correct the path, or who may read the file"
        raise TextTableError(f"{table}: cannot be read ({error.strerror}): {remedy}") from None
    if content.startswith(WORKBOOKS):
        raise TextTableError(f"{table}: is a workbook of a spreadsheet: save the sheet as CSV UTF-8, and give that file")
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), _unmarked(content))
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    if "\0" in text:
        raise TextTableError(f"{table}: is no text: give a table, which a spreadsheet saves as CSV UTF-8")
    return text.splitlines()


def _unmarked(content: bytes) -> str:
    """Returns the encoding of a text without a mark: in UTF-16, every second byte of plain letters is 0."""
    halves = {"utf-16-be": content[:2000:2], "utf-16-le": content[1:2000:2]}
    return next((name for name, half in halves.items() if half and half.count(0) > 0.7 * len(half)), "utf-8")


def rows(table: Path, needed: Sequence[str]) -> list[Row]:
    """Returns the rows of a CSV file in which a cell is filled, with the needed columns; raises TextTableError."""
    texts = lines(table)
    separator = max(SEPARATORS, key=(texts or [""])[0].count)
    reader = csv.reader(texts, delimiter=separator, skipinitialspace=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        columns = {name: _column(table, header, name, needed) for name in needed}
        return [
            Row(reader.line_num, {name: row[i].strip() if i < len(row) else "" for name, i in columns.items()})
            for row in reader
            if _is_filled(row, len(header), f"{table}, line {reader.line_num}")
        ]
    except csv.Error as error:
        what = f"cannot be read as CSV ({error}): look for a quotation mark without its partner"
        raise TextTableError(f"{table}, line {reader.line_num}: {what}") from None


def number(cell: str) -> float | None:
    """Returns the number in a cell; None where there is none, or one beyond LARGEST."""
    try:
        found = float(cell) if "_" not in cell else math.nan  # Python reads 1_000 as a number
    except ValueError:
        return None
    return found if abs(found) <= LARGEST else None


def _column(table: Path, header: list[str], name: str, needed: Sequence[str]) -> int:
    """Returns where the column of this name is."""
    if name not in header:
        missing = ", ".join(sorted(set(needed).difference(header)))
        found = f"has {', '.join(header)}"[:200] if any(header) else "has no header"
        raise TextTableError(
            f"{table}: lacks the column {missing}; it {found}, and needs {', '.join(needed)}: name them in its first line"
        )
    if header.count(name) > 1:
        raise TextTableError(f"{table}: has two columns {name}: delete one of them")
    return header.index(name)


def _is_filled(row: list[str], columns: int, where: str) -> bool:
    """Whether a row has a filled cell; more cells than the header has are an error, as with decimal commas."""
    if any(cell.strip() for cell in row[columns:]):
        what = f"has {len(row)} cells, and the header has {columns}"
        raise TextTableError(f"{where}: {what}: correct it, and write decimals with a point")
    return any(cell.strip() for cell in row)
