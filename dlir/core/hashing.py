"""SHA-256 of files and of values."""

import hashlib
from io import BufferedReader
from pathlib import Path


class ChangedError(ValueError):
    """A file holds something else than when the run began."""


def check(path: Path, sha256: str) -> None:
    """Raises ChangedError unless a file holds what has this SHA-256."""
    if of_file(path) != sha256:
        raise ChangedError(f"{path}: was changed since the run began: run again")


def of_file(path: Path) -> str:
    """Returns the SHA-256 of the content of a file."""
    with path.open("rb") as file:
        return of_open_file(file)


def of_open_file(file: BufferedReader) -> str:
    """Returns the SHA-256 of the content of an open file."""
    return hashlib.file_digest(file, "sha256").hexdigest()


def of(*parts: object) -> str:
    """Returns the SHA-256 of the values in this order, each as `str` prints it."""
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()
