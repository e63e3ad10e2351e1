"""What files hold: the SHA-256 of the bytes of each, which counts as long as the file keeps its identity.

The identity is what the file system tells about a file at no cost: its size, its number (inode), and when its bytes and its
entry last changed. A program can set the first of these times, as `cp -p` and `unzip` do, but not the second. So a file whose
identity is the same holds the same bytes, and any other file is read again: a copy of equal bytes is the same content.

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

TILES = Path("cache", "tiles")  # in the folder of a dataset's results: what is known of the tiles
READ = Path("cache", "read")  # there, too: the hash of what the step `tiles` read
MOSAIC = "mosaic"  # in the cache: what is known of the files of the mosaic
SETTLED = 2 * 10**9  # ns; a file that changed later than this before it was read may change again within one tick of its clock
YOUNG = 60  # s; a file that changed longer ago is not watched
WATCH = 2.0  # s
READERS = 4  # files that are read at the same time
Sums = Mapping[str, str]  # the SHA-256 of each file by its path


class Identity(NamedTuple):
    """What tells a file from another one, and from what it was before; times in ns."""

    size: int  # bytes
    inode: int
    modified: int  # when the bytes changed, as far as programs leave it alone
    changed: int  # when the bytes or the entry of the file changed

    @classmethod
    def of(cls, state: os.stat_result) -> "Identity":
        return cls(state.st_size, state.st_ino, state.st_mtime_ns, state.st_ctime_ns)


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

    def unknown(self, paths: Iterable[str]) -> list[str]:
        """Returns those of the files that were not read before, or may have changed since."""
        states = {path: Path(path).stat() for path in paths if Path(path).is_file()}
        return [path for path, state in states.items() if self.identity(path) != Identity.of(state)]

    def sha256(self, path: str) -> tuple[str, Identity]:
        """Returns the SHA-256 of a file, and the identity that the file has with it.

        Raises:
            OSError: when the file cannot be read, or is no plain file, or changes while it is read.
        """
        identity = Identity.of(Path(path).stat())
        if path in self.known and self.known[path][0] == identity:
            return self.known[path][1], identity
        with open(path, "rb", opener=_plain_file) as file:
            now, before = time.time_ns(), Identity.of(os.fstat(file.fileno()))
            found = hashing.of_open_file(file)
            if Identity.of(os.fstat(file.fileno())) != before:
                raise OSError(None, "it changed while it was read", path)
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


def of_dataset(sums: Sums, positions: Path | None) -> str:
    """Returns the hash of what the files of a dataset hold: those of its tiles, and its table of positions."""
    return hashing.of(*sorted(sums.items()), hashing.of_file(positions) if positions else "")


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


def growing(paths: Iterable[str]) -> set[str]:
    """Returns those of the files that another program is writing now; watches those that changed lately for WATCH seconds."""
    states = {path: Path(path).stat() for path in paths if Path(path).exists()}
    young = {path: Identity.of(state) for path, state in states.items() if abs(time.time() - state.st_mtime) < YOUNG}
    if young:
        time.sleep(WATCH)
    return {path for path, before in young.items() if Path(path).exists() and Identity.of(Path(path).stat()) != before}


def _plain_file(path: str, flags: int) -> int:
    """Opens a plain file; raises OSError for anything else, such as a pipe, which would wait for ever."""
    file = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(None, "it is no plain file", path)
    return file
