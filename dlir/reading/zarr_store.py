"""Lists the files of a Zarr store: a folder that holds one image in many files, its chunks, with their metadata in JSON.

This module imports nothing heavy, since the Snakefile lists stores with it when it builds the graph of jobs.
"""

import errno
import os
from pathlib import Path

METADATA = ("zarr.json", ".zgroup", ".zarray")  # in each group and array; the first of Zarr 3, the others of Zarr 2


def is_store(path: str | Path) -> bool:
    """Whether a path is a folder with the metadata of Zarr."""
    return any(Path(path, name).is_file() for name in METADATA)


def states(store: str | Path) -> dict[str, os.stat_result]:
    """Returns what the file system tells of each file in a store, by its path below the store, sorted.

    Raises:
        OSError: when a folder cannot be listed, or is a link, since such links may never end; or a file is a link to nothing.
    """
    found: dict[str, os.stat_result] = {}
    for folder, folders, names in os.walk(store, onerror=_raised):
        if links := [name for name in folders if Path(folder, name).is_symlink()]:
            raise OSError(errno.ELOOP, f"its folder {links[0]} is a link; copy the folder itself", str(store))
        for name in names:
            path = Path(folder, name)
            try:
                found[str(path.relative_to(store))] = path.stat()
            except FileNotFoundError:  # a file that another program has just renamed, or a link to nothing
                if path.is_symlink():
                    raise
    if not found:
        raise FileNotFoundError(errno.ENOENT, "it was taken away", str(store))
    return dict(sorted(found.items()))


def _raised(error: OSError) -> None:
    raise error
