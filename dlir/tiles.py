"""Images to `tiles.csv`: which tiles there are, where the stage says they lie, and proof that each can be read.

Every pixel is read once, so that a damaged file is found here and not after an hour of work, and its hash is kept, so that
a tile edited in place is seen. A place in the grid is a nominal place in px, exactly:

    y = row * height * (1 - overlap_y)        x = col * width * (1 - overlap_x)
"""

import hashlib
import logging
import math
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dlir import images, layout, tables
from dlir.affine import Array
from dlir.layout import TileError
from dlir.progress import progress
from dlir.settings import Dataset

log = logging.getLogger(__name__)
THREADS = 4  # files read at once
SHOWN = 10  # problems in a message


@dataclass(frozen=True)
class Look:
    """What reading a file told: its (channels, height, width), type and hash, or what is wrong with it."""

    path: Path
    shape: tuple[int, ...] = ()
    dtype: str = ""
    sha256: str = ""
    problem: str = ""

    def __str__(self) -> str:
        return f"{self.shape[1]} x {self.shape[2]} px, {self.shape[0]} channels, {self.dtype}"


def tiles(output: Path, *, settings: Dataset) -> None:
    """Write the table of the tiles that `settings` name, in reading order.

    Raises:
        TileError: with a line for each file, or row of `positions`, that is wrong, up to ten.
    """
    paths = layout.find(settings)
    places: Mapping[Path, layout.Place]
    if settings.positions is None:
        places, problems = layout.grid(paths, settings)
    else:
        places, problems = layout.positions(settings.positions, paths)
        _warn_left_out([path for path in paths if path not in places], settings.positions)
    with ThreadPoolExecutor(THREADS) as pool:
        looks = list(progress(pool.map(_look, places), "reading tiles", len(places)))
    problems += [look.problem for look in looks if look.problem] + _misfits(looks)
    if problems:
        more = [f"  ... and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise TileError("\n".join(["the tiles cannot be used:", *(f"  {line}" for line in problems[:SHOWN]), *more]))
    table = _table(looks, np.array([places[look.path] for look in looks], float), settings)
    tables.write(table, tables.TILES, output)
    log.info("%d tiles in %d rows and %d columns", len(table), table["row"].max() + 1, table["col"].max() + 1)


def _look(path: Path) -> Look:
    try:
        pixels = images.read(path)
    except images.ImageError as error:
        return Look(path, problem=str(error))
    if pixels.dtype.kind == "f" and (wrong := int(np.count_nonzero(~np.isfinite(pixels)))):
        return Look(path, problem=f"{path}: {wrong} pixels are NaN or infinite: export it again, or set them to a number")
    digest = hashlib.sha256(f"{pixels.shape} {pixels.dtype.name}".encode())
    digest.update(pixels.tobytes())
    return Look(path, pixels.shape, pixels.dtype.name, digest.hexdigest())


def _misfits(looks: list[Look]) -> list[str]:
    """A line for each tile whose shape or type is not that of most."""
    good = [look for look in looks if not look.problem]
    if not good:
        return []
    (usual, _), *others = Counter((look.shape, look.dtype) for look in good).most_common()
    pattern = next(look for look in good if (look.shape, look.dtype) == usual)
    return [
        f"{look.path}: is {look}, but {pattern.path} and most tiles are {pattern}: take it out, or make it another dataset"
        for look in good
        if others and (look.shape, look.dtype) != usual
    ]


def _table(looks: list[Look], places: Array, settings: Dataset) -> pd.DataFrame:
    channels, height, width = looks[0].shape
    overlap = np.broadcast_to(settings.overlap, 2)
    step = np.array([height, width]) * (1 - overlap)
    if settings.positions is None:
        cells, nominal = places, places * step
    else:  # row and col only tell people and the report which tiles lie side by side
        cells, nominal = np.rint((places - places.min(0)) / step), places
    table = pd.DataFrame(
        {
            "path": [str(look.path) for look in looks],
            "row": cells[:, 0].astype(int),
            "col": cells[:, 1].astype(int),
            "y": nominal[:, 0],
            "x": nominal[:, 1],
            "height": height,
            "width": width,
            "channels": channels,
            "dtype": looks[0].dtype,
            "pixel_size": settings.pixel_size or math.nan,
            "sha256": [look.sha256 for look in looks],
        }
    ).sort_values(["row", "col", "path"], ignore_index=True)
    table.insert(0, "tile", table.index)
    return table


def _warn_left_out(paths: list[Path], positions: Path) -> None:
    if paths:
        named = layout.names([path.name for path in paths])
        log.warning("%s does not list %d of the files, which are left out: %s", positions, len(paths), named)
