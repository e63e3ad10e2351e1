"""What files hold: the SHA-256 of the bytes of each, which counts as long as the file keeps its identity.

The identity is what the file system tells about a file at no cost: its size, its number (inode), and when its bytes and its
entry last changed. A program can set the first of these times, as `cp -p` and `unzip` do, but not the second. So a file whose
identity is the same holds the same bytes, and any other file is read again: a copy of equal bytes is the same content.

A Zarr store is a folder of many files, and counts as one. Its identity is made of those of all files in it and of their
names, and so is its SHA-256: a file more, less or with another byte makes it another one.

This module imports nothing heavy, since the Snakefile calls it when it builds the graph of jobs.
"""

import json
import os
import stat
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from dlir.core import hashing, sealed
from dlir.reading import zarr_store

TILES = Path("cache", "tiles")  # in the folder of a dataset's results: what is known of the tiles
READ = Path("cache", "read")  # there, too: the hash of what the step `tiles` read
MOSAIC = "mosaic"  # in the cache: what is known of the files of the mosaic
SETTLED = 2 * 10**9  # ns; a file that changed later than this before it was read may change again within one tick of its clock
CHANGED = "it changed while it was read"
YOUNG = 60  # s; a file that changed longer ago is not watched
WATCH = 2.0  # s
LONGEST_NUMBER = 32  # digits, of the hexadecimal number of a store
READERS = 4  # files that are read at the same time
Sums = Mapping[str, str]  # the SHA-256 of each file by its path


class Identity(NamedTuple):
    """What tells a file or a Zarr store from another one, and from what it was before; times in ns, of a store the latest."""

    size: int  # bytes
    inode: int  # of a store a number made of the names and identities of its files
    modified: int  # when the bytes changed, as far as programs leave it alone
    changed: int  # when the bytes or the entry of the file changed

    @classmethod
    def of(cls, state: os.stat_result) -> "Identity":
        return cls(state.st_size, state.st_ino, state.st_mtime_ns, state.st_ctime_ns)

    @classmethod
    def of_store(cls, states: Mapping[str, os.stat_result]) -> "Identity":
        """Returns the identity of a Zarr store from the states of its files (`zarr_store.states`)."""
        files = {name: cls.of(state) for name, state in states.items()}
        sizes, _, modified, changed = zip(*files.values(), strict=True)
        number = int(hashing.of(json.dumps(files))[:LONGEST_NUMBER], 16)
        return cls(sum(sizes), number, max(modified), max(changed))

    @classmethod
    def at(cls, path: str) -> "Identity":
        """Returns the identity of the file or the Zarr store at a path; raises OSError where it cannot be told."""
        return cls.of_store(zarr_store.states(path)) if zarr_store.is_store(path) else cls.of(Path(path).stat())


class Contents:
    """The content of files that were read before, by their paths."""

    def __init__(self, known: Mapping[str, tuple[Identity, str]] | None = None) -> None:
        self.known = dict(known or {})
        self._kept = known  # what a file holds already

    @classmethod
    def read(cls, file: Path) -> "Contents":
        """Returns what `write` wrote to a file; nothing where that is missing or damaged."""
        rows = json.loads(sealed.read(file) or "{}")
        return cls({path: (Identity(*numbers), sha256) for path, (sha256, *numbers) in rows.items()})

    def write(self, file: Path) -> None:
        """Writes what is known to a file, for later runs, where anything is new and the folder can be written to."""
        if self.known == self._kept:
            return
        rows = {path: [sha256, *identity] for path, (identity, sha256) in sorted(self.known.items())}
        with suppress(OSError):
            sealed.write(json.dumps(rows).encode(), file)

    def identity(self, path: str) -> Identity | None:
        """Returns the identity that a file had when it was read last; None where it may have changed since without a trace."""
        found = self.known.get(path)
        return found[0] if found else None

    def unknown(self, identities: Mapping[str, Identity]) -> list[str]:
        """Returns those of the files, given with their identities, that were not read before, or may have changed since."""
        return [path for path, identity in identities.items() if self.identity(path) != identity]

    def sha256(self, path: str) -> tuple[str, Identity]:
        """Returns the SHA-256 of a file or a Zarr store, and the identity that it has with it.

        Raises:
            OSError: when the file cannot be read, or is no plain file, or changes while it is read.
        """
        identity = Identity.at(path)
        if path in self.known and self.known[path][0] == identity:
            return self.known[path][1], identity
        now = time.time_ns()
        found, before = _of_store(path) if zarr_store.is_store(path) else _of_file(path)
        self.known.pop(path, None)
        if before.changed < now - SETTLED:
            self.known[path] = before, found
        return found, before

    def sums(self, paths: Iterable[str]) -> Sums:
        """Returns the SHA-256 of files; for one that cannot be read, the reason in its place. Forgets all other files."""

        def found(path: str) -> str:
            try:
                return self.sha256(path)[0]
            except OSError as error:
                return str(error.strerror)

        listed = list(paths)
        with ThreadPoolExecutor(READERS) as pool:
            sums = dict(zip(listed, pool.map(found, listed), strict=True))
        self.known = {path: value for path, value in self.known.items() if path in sums}
        return sums


def of_dataset(sums: Sums, tables: Iterable[Path]) -> str:
    """Returns the hash of what the files of a dataset hold: those of its tiles, and the tables that tell their places."""
    return hashing.of(*sorted(sums.items()), *map(hashing.of_file, tables))


KNOWN = Contents()  # what this process knows of the files that it reads


def of_tile(sums: Sequence[str], mirrored: bool, pages: str = "", image: int | None = None) -> str:
    """Returns the SHA-256 of a tile as it is read, from those of its files.

    Args:
        pages: what the pages of the files are told to be.
        image: the number of the image in the file, where it holds many.
    """
    told = {"mirrored": mirrored, f"pages: {pages}": pages, f"image: {image}": image is not None}
    parts = [*sums, *(text for text, holds in told.items() if holds)]
    return parts[0] if len(parts) == 1 else hashing.of(*parts)


def identities(paths: Iterable[str]) -> dict[str, Identity]:
    """Returns the identities of those of the files and Zarr stores that are there and can be told from others."""
    found = {}
    for path in paths:
        with suppress(OSError):
            found[path] = Identity.at(path)
    return found


def growing(paths: Iterable[str]) -> set[str]:
    """Returns those of the files that another program is writing now; watches those that changed lately for WATCH seconds."""
    states = identities(paths)
    young = {path: state for path, state in states.items() if abs(time.time() - state.modified / 10**9) < YOUNG}
    if young:
        time.sleep(WATCH)
    return {path for path, now in identities(young).items() if now != young[path]}


def _of_file(path: str) -> tuple[str, Identity]:
    """Returns the SHA-256 of a file, and its identity; raises OSError as `Contents.sha256` does."""
    with open(path, "rb", opener=_plain_file) as file:
        before = Identity.of(os.fstat(file.fileno()))
        found = hashing.of_open_file(file)
        if Identity.of(os.fstat(file.fileno())) != before:
            raise OSError(None, CHANGED, path)
    return found, before


def _of_store(path: str) -> tuple[str, Identity]:
    """Returns the SHA-256 of the names and contents of the files of a Zarr store, and its identity."""
    states = zarr_store.states(path)
    sums = {name: _of_file(str(Path(path, name)))[0] for name in states}
    before = Identity.of_store(states)
    if Identity.at(path) != before:
        raise OSError(None, CHANGED, path)
    return hashing.of(json.dumps(sums)), before


def _plain_file(path: str, flags: int) -> int:
    """Opens a plain file; raises OSError for anything else, such as a pipe, which would wait for ever."""
    file = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(None, "it is no plain file", path)
    return file
