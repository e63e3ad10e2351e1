"""Finds the tiles that a user's table names by their files.

This module imports nothing heavy, since the Snakefile checks such tables with it before any job starts.
"""

import os.path
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

Parts = tuple[str, ...]  # the folders and the name in a path
Found = dict[int, str]  # numbers of tiles, and the path of each that was meant


class NamedTiles:
    """The tiles of a dataset, by the paths of their files."""

    def __init__(self, tiles: Iterable[Iterable[Path | str]]) -> None:
        """Takes the paths of each tile: those of its files, and its own, in which placeholders may stand."""
        here = f"{Path.cwd()}/"
        self.paths = [
            (number, path, _parts(path if path.startswith("/") else here + path))
            for number, paths in enumerate(tiles)
            for path in map(str, paths)
        ]
        self.by_end: dict[int, dict[Parts, Found]] = {}  # number of parts: the tiles by so many parts at the end of a path

    def at(self, text: str) -> Found:
        """Returns the tiles that have a file at this path, or at one that ends like it."""
        parts = _parts(text.replace("\\", "/"))
        if len(parts) not in self.by_end:
            ends = self.by_end[len(parts)] = defaultdict(dict)
            for number, path, own in self.paths:
                ends[own[-len(parts) :]].setdefault(number, path)
        return self.by_end[len(parts)].get(parts, {})

    def named(self, text: str) -> Found:
        """Returns the tiles as `at` does; where there is none, those with a file of this name in any folder."""
        return self.at(text) or self.at(_parts(text.replace("\\", "/"))[-1])


def _parts(path: str) -> Parts:
    """Returns the parts of a path; as seen from the root where it starts there or with .. ."""
    parts = tuple(os.path.normpath(path).split("/"))
    return _parts(f"{Path.cwd()}/{path}") if parts[0] == ".." else parts
