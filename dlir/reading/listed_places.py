"""What a table of positions says, in whatever form; `csv_positions.py`, `fiji_table.py`, `micro_manager_list.py` return it."""

from typing import Literal, NamedTuple

Place = tuple[float, float]  # (y, x) in px or um, or (row, col)
Unit = Literal["px", "um", "cells"]  # cells: rows and columns of the grid


class ListedPlace(NamedTuple):
    """One tile in a table."""

    where: str  # its line, for a message
    name: str  # of its file, with the folders that the table gives; # and a number after it mean one of many images in the file
    place: Place


class Listed(NamedTuple):
    """A table of positions."""

    rows: list[ListedPlace]
    problems: list[str]  # a message for each line that cannot be used
    unit: Unit
    notes: list[str]  # what was taken, for the log
    by_label: bool = False  # the names are labels, which stand somewhere in the paths of the files
