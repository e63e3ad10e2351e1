"""What a result follows from, as SHA-256: files, the code of the package, and settings."""

import hashlib
from pathlib import Path


def of_file(path: Path) -> str:
    """The hash of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_code() -> str:
    """The hash of all modules of the package."""
    modules = sorted(Path(__file__).parent.glob("*.py"))
    return of(*(part for path in modules for part in (path.name, of_file(path))))


def of(*parts: object) -> str:
    """The hash of some values, in their order, by what they print as."""
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()
