"""Finds the tiles that a user's table names by their files.

This module imports nothing heavy, since the Snakefile checks such tables with it before any job starts.
"""

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePosixPath


class NamedTiles:
    """The tiles of a dataset, by the paths of their files."""

    def __init__(self, tiles: Iterable[Iterable[Path | str]]) -> None:
        """Takes the paths of each tile: those of its files, and its own, in which placeholders may stand."""
        self.by_name: dict[str, set[tuple[int, str]]] = defaultdict(set)  # file name: numbers and paths of its tiles
        for number, paths in enumerate(tiles):
            for path in map(str, paths):
                self.by_name[PurePosixPath(path).name].add((number, path))

    def at(self, text: str) -> dict[int, str]:
        """Returns the tiles, number and path, that have a file at this path, or at one that ends like it."""
        parts = _parts(text)
        found = self.by_name.get(parts[-1], ()) if parts else ()
        return {tile: path for tile, path in sorted(found) if _parts(str(Path(path).absolute()))[-len(parts) :] == parts}

    def named(self, text: str) -> dict[int, str]:
        """Returns the tiles as `at` does; where there is none, those with a file of this name in any folder."""
        return self.at(text) or dict(sorted(self.by_name.get((_parts(text) or [""])[-1], ())))


def _parts(text: str) -> list[str]:
    """Returns the folders and the name in a path; as seen from the root where it starts there or with .. ."""
    path = os.path.normpath(text.replace("\\", "/"))
    return list(PurePosixPath(os.path.normpath(Path.cwd() / path) if path.startswith("..") else path).parts)
