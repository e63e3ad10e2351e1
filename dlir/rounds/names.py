"""The names that the user gives to channels of the mosaic of all rounds: a table with the columns round, channel and name.

A channel is named as its files name it, or by its number from 0. Channels without a row are called ROUND/CHANNEL. This module
imports nothing heavy, since the Snakefile reads the table with it before any job starts.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from dlir.core import text_tables
from dlir.reading.filenames import listed_names

COLUMNS = ("round", "channel", "name")


class NamesError(ValueError):
    """The table of names has a mistake; the message names the file, the line and the remedy."""


class ChannelName(NamedTuple):
    """A row of the table."""

    line: int
    round: str
    channel: str  # its name, or its number from 0
    name: str


def read(table: Path, rounds: Collection[str]) -> list[ChannelName]:
    """Returns the rows of the table.

    Args:
        rounds: the names of all rounds, of all specimens.

    Raises:
        NamesError: when a row has an empty cell or no such round, or two rows name one channel, or give one name twice.
        TextTableError: when the table cannot be read.
    """
    found: list[ChannelName] = []
    for line, cells in text_tables.rows(table, COLUMNS):
        row, where = ChannelName(line, *(cells[column] for column in COLUMNS)), f"{table}, line {line}"
        if empty := next((column for column in COLUMNS if not cells[column]), ""):
            raise NamesError(f"{where}: the cell of {empty} is empty: fill it, or delete the row")
        if row.round not in rounds:
            known = listed_names(sorted(rounds))
            raise NamesError(f"{where}: there is no round {row.round}, but {known}: correct it, or delete the row")
        for other in found:
            if other.name == row.name or other[1:3] == row[1:3]:
                what = f"the name {row.name}" if other.name == row.name else f"the channel {row.channel} of {row.round}"
                raise NamesError(f"{where}: {what} is in line {other.line}, too: delete one row, or change it")
        found.append(row)
    return found


def channel_names(table: Path | None, rounds: Sequence[str], channels: Sequence[Sequence[str]]) -> list[list[str]]:
    """Returns the names, in the mosaic of all rounds, of the channels of each round of a specimen.

    Args:
        table: the names that the user gives, of the rounds of any specimen; None for none.
        rounds: the names of the rounds of this specimen.
        channels: the names of the channels of each round, empty texts where they have none.

    Raises:
        NamesError: when a row of one of these rounds names no channel, or two channels have one name.
        TextTableError: when the table cannot be read.
    """
    names = [_own_names(name, own) for name, own in zip(rounds, channels, strict=True)]
    for row in read(table, {*rounds, *_rounds_in(table)}) if table else []:
        if row.round in rounds:
            own = channels[rounds.index(row.round)]
            names[rounds.index(row.round)][_number(row, own, table)] = row.name
    listed = [name for own in names for name in own]
    if twice := next((name for name in listed if listed.count(name) > 1), ""):
        raise NamesError(f"{table}: the mosaic would have two channels {twice}: give one of them another name")
    return names


def left_out(
    table: Path | None, rounds: Sequence[str], channels: Sequence[Sequence[str]], kept: Sequence[Collection[int]]
) -> list[str]:
    """Returns a sentence for each row of the table that names a channel which the mosaic of all rounds has not.

    Args:
        table, rounds, channels: as `channel_names` takes them.
        kept: the numbers of the channels of each round that the mosaic has.
    """
    found = []
    for row in read(table, {*rounds, *_rounds_in(table)}) if table else []:
        number = rounds.index(row.round) if row.round in rounds else None
        if number is not None and _number(row, channels[number], table) not in kept[number]:
            what = f"the mosaic has no channel {row.name}, since shared: once takes {row.channel} from {rounds[0]} alone"
            found.append(f"{table}, line {row.line}: {what}: delete the row, or set rounds: {{shared: each}}")
    return found


def _rounds_in(table: Path) -> set[str]:
    return {row.cells["round"] for row in text_tables.rows(table, COLUMNS)}


def _own_names(name: str, channels: Sequence[str]) -> list[str]:
    """Returns ROUND/CHANNEL for each channel; its number stands for a name that it has not, or not alone."""
    if list(channels) == [""]:
        return [name]
    numbers = ["" if own and channels.count(own) == 1 else str(number) for number, own in enumerate(channels)]
    return [f"{name}/{f'{own} {number}'.strip()}" for own, number in zip(channels, numbers, strict=True)]


def _number(row: ChannelName, channels: Sequence[str], table: Path | None) -> int:
    """Returns the number of the channel that a row names."""
    if row.channel in channels:
        return list(channels).index(row.channel)
    if row.channel.isdecimal() and int(row.channel) < len(channels):
        return int(row.channel)
    called = f", called {', '.join(channels)}" if any(channels) else ""
    what = f"{row.round} has no channel {row.channel}, but {len(channels)}{called}"
    raise NamesError(f"{table}, line {row.line}: {what}: give the name of one, or its number from 0")
