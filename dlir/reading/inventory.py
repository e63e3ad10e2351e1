"""Images to `tiles.csv`: which tiles there are, where the stage says they lie, and proof that each can be read.

Every pixel is read once, so that a damaged file is found here and not after an hour of work, and its hash is kept, so that
a tile edited in place is seen. All tiles hold the same channels, z planes and time points, in one file or in several. A place
in the grid is a nominal place in px, exactly:

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
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dlir.core import tables
from dlir.core.affine import Array
from dlir.core.progress import progress
from dlir.reading import filenames, grid_layout, image_files
from dlir.reading.filenames import SEPARATOR, Tile
from dlir.reading.grid_layout import Place, TileError
from dlir.reading.settings import Dataset
from dlir.reading.tiff import Sizes

log = logging.getLogger(__name__)
THREADS = 4  # files read at once
SHOWN = 10  # problems in a message
UNREAD = Sizes(0, 0, 0, 0, 0)


class Found(NamedTuple):
    """The tiles that lie somewhere, and what the placeholders in their names stand for."""

    tiles: list[Tile]
    values: Mapping[str, list[str]]
    places: Mapping[Path, Place]
    problems: list[str]


@dataclass(frozen=True)
class Look:
    """What reading a file told: its sizes, type, channels' names and hash, or what is wrong with it."""

    path: Path
    sizes: Sizes = UNREAD
    dtype: str = ""
    names: tuple[str, ...] = ()
    sha256: str = ""
    problem: str = ""

    def __str__(self) -> str:
        times, depth, channels, height, width = self.sizes
        return f"{height} x {width} px, {channels} channels, {depth} z planes, {times} time points, {self.dtype}"


def tiles(output: Path, *, settings: Dataset) -> None:
    """Write the table of the tiles that `settings` name, in reading order (tables.TILES).

    Raises:
        TileError: with a line for each file, or row of `positions`, that is wrong, up to ten.
    """
    tables.write(find_tiles(settings), tables.TILES, output)


def find_tiles(settings: Dataset) -> pd.DataFrame:
    """The tiles that `settings` name, in reading order (tables.TILES); each file is read once.

    Raises:
        TileError: as `tiles` does.
    """
    found = _find(settings)
    files = [file for tile in found.tiles for file in tile.files]
    with ThreadPoolExecutor(THREADS) as pool:
        looks = list(progress(pool.map(_look, files), "reading tiles", len(files)))
    _stop([*found.problems, *(look.problem for look in looks if look.problem), *_misfits(looks)])
    _stop(_axes_twice(looks[0], found.values))
    stack = _stack(looks, found.values, settings)
    table = _table(found, {look.path: look for look in looks}, settings).assign(**stack)
    log.info("found %d tiles in %d rows and %d columns", len(table), table["row"].max() + 1, table["col"].max() + 1)
    log.info("each tile has %(channels)d channels, %(depth)d z planes and %(times)d time points", stack)
    return table


def _find(settings: Dataset) -> Found:
    paths = grid_layout.find(settings)
    listed, values, missing = filenames.group(paths, settings.images)
    if settings.positions is None:
        cells, problems = grid_layout.grid(listed, settings)
        return Found(listed, values, cells, problems + missing)
    places, problems = grid_layout.positions(settings.positions, listed)
    if left_out := [file for tile in listed if tile.path not in places for file in tile.files]:
        _warn_left_out(left_out, settings.positions)
        listed, values, missing = filenames.group([path for path in paths if path not in left_out], settings.images)
        places, problems = grid_layout.positions(settings.positions, listed)
    return Found(listed, values, places, problems + missing)


def _look(path: Path) -> Look:
    try:
        with image_files.opened(path) as stack:
            digest, wrong = hashlib.sha256(f"{tuple(stack.sizes)} {stack.dtype}".encode()), 0
            for time in range(stack.sizes.times):
                for z in range(stack.sizes.depth):
                    pixels = stack.read(time, z)
                    digest.update(pixels.tobytes())
                    wrong += pixels.size - int(np.count_nonzero(np.isfinite(pixels))) if pixels.dtype.kind == "f" else 0
    except image_files.ImageError as error:
        return Look(path, problem=str(error))
    if wrong:
        return Look(path, problem=f"{path}: {wrong} pixels are NaN or infinite: export it again, or set them to a number")
    return Look(path, stack.sizes, stack.dtype, stack.names, digest.hexdigest())


def _misfits(looks: list[Look]) -> list[str]:
    """A line for each file whose sizes or type are not those of most."""
    good = [look for look in looks if not look.problem]
    if not good:
        return []
    (usual, _), *others = Counter((look.sizes, look.dtype) for look in good).most_common()
    pattern = next(look for look in good if (look.sizes, look.dtype) == usual)
    return [
        f"{look.path}: is {look}, but {pattern.path} and most tiles are {pattern}: take it out, or make it another dataset"
        for look in good
        if others and (look.sizes, look.dtype) != usual
    ]


def _axes_twice(look: Look, values: Mapping[str, list[str]]) -> list[str]:
    """A line for each axis along which both the names and the files count."""
    inside = {"time": look.sizes.times, "z": look.sizes.depth, "channel": look.sizes.channels}
    return [
        f"{{{name}}} stands for {len(values[name])} values, and {look.path} itself holds {inside[name]} of that axis: "
        f"export one of a kind to each file, or narrow images to one {name}"
        for name in inside
        if len(values[name]) > 1 and inside[name] > 1
    ]


def _stop(problems: list[str]) -> None:
    if problems:
        more = [f"  ... and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise TileError("\n".join(["the tiles cannot be used:", *(f"  {line}" for line in problems[:SHOWN]), *more]))


def _stack(looks: list[Look], values: Mapping[str, list[str]], settings: Dataset) -> dict[str, Any]:
    """The columns that say what each tile holds, and what of it is the reference; raises TileError."""
    times, depth, channels, height, width = looks[0].sizes
    lengths = [inside * max(len(values[name]), 1) for name, inside in (("time", times), ("z", depth), ("channel", channels))]
    times, depth, channels = lengths
    names = values["channel"] if len(values["channel"]) == channels else _own_names(looks)
    wanted = settings.reference_channel
    z = None if settings.reference_z == "max" else settings.reference_z
    number = names.index(str(wanted)) if str(wanted) in names else wanted
    called = f", called {', '.join(names)}" if names else ""
    problems = []
    if isinstance(number, str) or (number is not None and number >= channels):
        problems.append(
            f"reference_channel is {wanted}, and there are {channels} channels{called}: give a name, or a number from 0"
        )
    if z is not None and z >= depth:
        problems.append(f"reference_z is {z}, and there are {depth} z planes: give max, or a number from 0 to {depth - 1}")
    if settings.reference_time >= times:
        given = settings.reference_time
        problems.append(f"reference_time is {given}, and there are {times} time points: give a number from 0 to {times - 1}")
    _stop(problems)
    return {
        "times": times, "depth": depth, "channels": channels, "height": height, "width": width, "dtype": looks[0].dtype,
        "time_names": SEPARATOR.join(values["time"]), "z_names": SEPARATOR.join(values["z"]),
        "channel_names": SEPARATOR.join(names),
        "reference_channel": number, "reference_z": z, "reference_time": settings.reference_time,
    }  # fmt: skip


def _own_names(looks: list[Look]) -> list[str]:
    """The names of the channels that all files give."""
    agreed = {look.names for look in looks}
    return [name.replace(SEPARATOR, "/") for name in looks[0].names] if len(agreed) == 1 else []


def _table(found: Found, looks: Mapping[Path, Look], settings: Dataset) -> pd.DataFrame:
    """The columns that differ from tile to tile."""
    places: Array = np.array([found.places[tile.path] for tile in found.tiles], float)
    *_, height, width = looks[found.tiles[0].files[0]].sizes
    step = np.array([height, width]) * (1 - np.broadcast_to(settings.overlap, 2))
    if settings.positions is None:
        cells, nominal = places, places * step
    else:  # row and col only tell people and the report which tiles lie side by side
        cells, nominal = np.rint((places - places.min(0)) / step), places
    table = pd.DataFrame(
        {
            "path": [str(tile.path) for tile in found.tiles],
            "row": cells[:, 0].astype(int),
            "col": cells[:, 1].astype(int),
            "y": nominal[:, 0],
            "x": nominal[:, 1],
            "pixel_size": settings.pixel_size or math.nan,
            "sha256": [_hash([looks[file].sha256 for file in tile.files]) for tile in found.tiles],
        }
    ).sort_values(["row", "col", "path"], ignore_index=True)
    table.insert(0, "tile", table.index)
    return table


def _hash(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else hashlib.sha256("".join(parts).encode()).hexdigest()


def _warn_left_out(paths: list[Path], positions: Path) -> None:
    if paths:
        named = filenames.listed_names([path.name for path in paths])
        log.warning("%s does not list %d of the files, which are left out: %s", positions, len(paths), named)
