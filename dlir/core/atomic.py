"""Results are written whole or not at all, and by one process at a time."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomically(path: Path) -> Iterator[Path]:
    """A path to make a file or a folder at, which takes the place of `path` when the block ends.

    It lies in a folder beside `path`, which goes when the block ends or fails; what was at `path` then stays. It stays so too
    when the process is killed, and the next run removes what that left.

    Raises:
        BlockingIOError: while another process writes the same result, such as one whose snakemake was killed.
    """
    folder = path.with_name(path.name + ".part")
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / path.name
    with (folder / "lock").open("w") as lock:
        _hold(lock.fileno(), path)
        _remove(partial)
        try:
            yield partial
            if path.is_dir():
                shutil.rmtree(path)  # a folder cannot take the place of one that holds files
            partial.replace(path)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def write_key(result: Path, key: str | None) -> None:
    """Write a text that says what `result` was made with beside it, with the ending .key."""
    if key is not None:
        with atomically(result.with_suffix(".key")) as partial:
            partial.write_text(f"{key}\n")


def link_or_copy(path: Path, target: Path) -> None:
    """Make `target` a further name of a file that nobody writes to any more, or a copy where the disk has no such thing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, target)
    except OSError:
        shutil.copy2(path, target)


def _hold(lock: int, path: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        words = "is being written by another process: wait until it ends, or end it, and run again"
        raise BlockingIOError(error.errno, words, str(path)) from None
    except OSError:  # a file system without locks
        return


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
