"""SHA-256 of files and of values."""

import hashlib
from pathlib import Path


def of_file(path: Path) -> str:
    """The hash of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of(*parts: object) -> str:
    """The hash of some values, in their order, by what they print as."""
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()
