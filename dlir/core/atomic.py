"""Writes results whole or not at all, and by one process at a time."""

import ctypes
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OLD = "old"  # in the folder <name>.part: the old result for the moment in which it is moved away


@contextmanager
def atomically(path: Path) -> Iterator[Path]:
    """Yields a path for a new file or folder, and moves what was written there to `path` when the block ends.

    The new path lies in a folder `<name>.part` beside `path`. When the block fails, this folder is removed and the old result
    at `path` stays. When the process is killed, the old result stays too, and the next run removes the folder. An old folder
    changes places with the new one at once; where the file system cannot do that, it is moved away for a moment, and the next
    run moves it back if the process is killed in that moment.

    Raises:
        BlockingIOError: when another process is writing the same result, such as a job whose Snakemake was killed.
    """
    folder = path.with_name(path.name + ".part")
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / path.name
    with (folder / "lock").open("w") as lock:
        _lock(lock.fileno(), path)
        _move_back(folder / OLD, path)
        _remove(partial)
        try:
            yield partial
            if not path.is_dir():
                partial.replace(path)
            elif not exchange(partial, path):
                path.replace(folder / OLD)
                partial.replace(path)
        finally:
            _move_back(folder / OLD, path)
            shutil.rmtree(folder, ignore_errors=True)


def exchange(first: Path, second: Path) -> bool:
    """Lets two files or folders change places at once; returns whether the system can do that (Linux: renameat2)."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError, TypeError):
        return False
    here, exchange_flag = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of the Linux headers
    return bool(renameat2(here, os.fsencode(first), here, os.fsencode(second), exchange_flag) == 0)


def write_key(result: Path, key: str | None) -> None:
    """Writes `key`, a hash of the inputs of `result`, beside it, with the ending .key; writes nothing without a key."""
    if key is not None:
        with atomically(result.with_suffix(".key")) as partial:
            partial.write_text(f"{key}\n")


def link_or_copy(path: Path, target: Path) -> None:
    """Makes `target` a hard link to `path`, or a copy where the file system has no hard links.

    Nothing may write to `path` afterwards, since the change would show in `target`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, target)
    except OSError:
        shutil.copy2(path, target)


def _move_back(old: Path, path: Path) -> None:
    """Moves an old result that was moved away back to its path, unless a new one is there."""
    if old.exists() and not path.exists():
        old.replace(path)


def _lock(file: int, path: Path) -> None:
    """Locks the open file with the descriptor `file` until it is closed."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        words = "is being written by another process: wait until that process ends, or stop it, and run again"
        raise BlockingIOError(error.errno, words, str(path)) from None
    except OSError:  # the file system has no locks
        return


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
