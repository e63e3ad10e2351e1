"""What a table may hold: the type of each column, and what is unique.

A check returns the table with these types, or all that is wrong in it. It is a small part of what the library pandera does,
which takes longer to load than most steps need for their work.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import pandas as pd

WHOLE = ("int64", "Int64")
MOST_CASES = 5  # of one column that a message tells


class Column(NamedTuple):
    """A column of a table."""

    dtype: Literal["str", "bool", "int64", "Int64", "float64"]  # Int64: whole numbers that may be missing
    nullable: bool = False  # whether cells may be empty
    required: bool = True  # whether the table must have the column
    above: float | None = None  # the numbers must be larger


class Case(NamedTuple):
    """A value that a schema does not allow."""

    column: str
    row: object  # the index of the row; empty where the column as a whole is wrong
    why: str


class SchemaError(ValueError):
    """A table does not fit its schema."""

    def __init__(self, cases: Sequence[Case]) -> None:
        super().__init__(str(cases))
        self.cases = cases


class Schema(NamedTuple):
    """The columns of a table."""

    columns: Mapping[str, Column]
    unique: Sequence[str] = ()  # columns that no two rows have alike; those that are not required may be missing
    strict: bool = True  # whether there may be no others

    def validate(self, table: pd.DataFrame) -> pd.DataFrame:
        """Returns the table with the types of its columns; raises SchemaError with all that is wrong."""
        missing = [name for name, column in self.columns.items() if column.required and name not in table]
        cases = [Case(name, "", "the column is missing") for name in missing]
        if self.strict:
            cases += [Case(str(name), "", "there is no such column") for name in table if name not in self.columns]
        converted = {}
        for name, column in self.columns.items():
            if name in table and not _fits(table[name], column):
                values, wrong = _converted(table[name], column)
                cases += [Case(name, row, why) for row, why in wrong[:MOST_CASES]]
                converted[name] = values
        if self.unique and not cases:
            twice = table.index[table.duplicated([name for name in self.unique if name in table])]
            cases += [Case(", ".join(self.unique), row, "is there twice") for row in twice[:MOST_CASES]]
        if cases:
            raise SchemaError(cases)
        return table.assign(**converted)


def _fits(values: "pd.Series", column: Column) -> bool:
    """Whether the values have the type of the column already: most tables do, and to look at each value takes long."""
    if str(values.dtype) != column.dtype or (values.hasnans and not column.nullable):
        return False
    return column.above is None or bool((values > column.above).all())


def _converted(values: "pd.Series", column: Column) -> tuple["pd.Series", list[tuple[object, str]]]:
    """Returns the values of a column in its type, and the rows whose values cannot be, with the reason."""
    empty = values.isna()
    if empty.any() and not column.nullable:
        return values, [(row, "is empty") for row in values.index[empty]]
    if column.dtype == "str":
        return values.astype("str") if not empty.any() else values.where(empty, values.astype("str")), []
    if column.dtype == "bool":
        texts = values.astype("str")
        wrong = ~texts.isin(["True", "False"])
        return texts == "True", [(row, f"is {values[row]}, and not True or False") for row in values.index[wrong]]
    numbers = pd.to_numeric(values, errors="coerce")
    numbers = numbers.astype("float64") if empty.any() or column.dtype == "float64" else numbers
    wrong = numbers.isna() & ~empty
    if column.dtype in WHOLE:
        wrong |= ~empty & ~wrong & (numbers % 1 != 0)
        kind = "whole number"
    else:
        kind = "number"
    found = [(row, f"is {values[row]}, and no {kind}") for row in values.index[wrong]]
    if not found and column.above is not None:
        low = ~empty & ~(numbers > column.above)
        found = [(row, f"is {values[row]}, and not above {column.above:g}") for row in values.index[low]]
    return (values, found) if found else (numbers.astype(column.dtype), [])
