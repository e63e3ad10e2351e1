"""Reads the tiles of a table plane by plane, whether a tile is one file or has a file for each channel, z or time point.

Registration sees one plane of a tile, the reference: one time point; one z or the maximum over z; one channel or the mean of
all. The placement that it finds holds for the whole stack. The illumination is the same at every z, so it is corrected once,
after the maximum and before the mean:

    max_z(tile_z / flat) = max_z(tile_z) / flat
"""

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from dlir.core import tables
from dlir.core.schema import Schema
from dlir.reading import contents, filenames, image_files
from dlir.reading.contents import KNOWN, Contents, Identity
from dlir.reading.image_files import Image, ImageError
from dlir.reading.source import Pages

REMEDY = "run again, which begins with the step tiles"  # where a file has changed


def read_table(path: Path, schema: Schema = tables.TILES) -> pd.DataFrame:
    """Returns a table of tiles whose files are to be read, and takes from its folder what these files are known to hold."""
    KNOWN.known |= Contents.read(path.parent / contents.TILES).known
    return tables.read(path, schema)


class TileReader:
    """Reads the tiles of a table (tables.TILES), and only the very files that the table was made from.

    Attributes:
        times, depth, channels: the numbers of time points, z planes and channels of each tile.
        sizes: height and width of each tile by its path, px.
        dtype: type of the pixels, which the files may have as another one (`pixel_types.py`).
        values: the values of the placeholders in the paths.
        channel_names: the names of the channels; empty where there are none.
        channel, z, time: the reference, counted from 0; channel None is the mean of all, z None the maximum over z;
            time is the first one where each time point is registered by itself.
        chosen: the slice of the channels that the reference is made of.
        mirrored: whether the tiles are mirrored left to right when they are read.
        pages: what the pages of the files are, where these do not say so; "" where they do, or have one page.
    """

    def __init__(self, tiles: pd.DataFrame) -> None:
        first = tiles.iloc[0].to_dict()
        self.times, self.depth, self.channels = (int(first[name]) for name in ("times", "depth", "channels"))
        sizes = (tuple(size) for size in tables.sizes(tiles).tolist())
        self.sizes: dict[str, tuple[int, int]] = dict(zip(tiles["path"], sizes, strict=True))
        self.dtype = np.dtype(str(first["dtype"]))
        self.values = filenames.values_of(first)
        self.channel_names = self.values.get("channel", [])
        self.channel, self.z = (None if pd.isna(first[f"reference_{name}"]) else int(first[f"reference_{name}"])
                                for name in ("channel", "z"))  # fmt: skip
        self.pages: Pages | Literal[""] = "" if pd.isna(first["pages"]) else first["pages"]
        self.time = 0 if pd.isna(first["reference_time"]) else int(first["reference_time"])
        self.mirrored = bool(first["mirrored"])
        self.chosen = slice(None) if self.channel is None else slice(self.channel, self.channel + 1)
        self._sha256: dict[str, str] = dict(zip(tiles["path"], tiles["sha256"], strict=True))
        self._checked: dict[str, Identity] = {}  # of the files that hold what the table says

    def read(self, path: str, time: int, z: int, channel: int | None = None) -> Image:
        """Returns the plane (channels, y, x) of the tile with this path; only one channel where it is given.

        The time point, the z and the channel are counted from 0.

        Raises:
            ImageError: when a file cannot be read, or holds something else than when the table was made.
        """
        return self._maximum(path, time, [z], channel)

    def reference(self, path: str) -> Image:
        """Returns the `chosen` channels (channels, y, x) of the reference of a tile; raises ImageError as `read` does."""
        depths = range(self.depth) if self.z is None else [self.z]
        return self._maximum(path, self.time, depths, self.channel)

    def sample(self, path: str) -> Image:
        """Returns the plane (channels, y, x) of a tile from which the illumination is estimated.

        It lies at the z of the reference, or in the middle of the stack where the reference is the maximum over z. The maximum
        would hide the shading: it selects noise, and more of it where there is less light. Raises ImageError as `read` does.
        """
        return self.read(path, self.time, self.depth // 2 if self.z is None else self.z)

    def _maximum(self, path: str, time: int, depths: Iterable[int], channel: int | None) -> Image:
        """Returns the maximum (channels, y, x) over the z planes `depths`."""
        if "{channel}" not in path or "channel" not in self.values:
            return self._maximum_in_files(path, path, time, depths, channel, self.channels if channel is None else 1)
        names = self.channel_names if channel is None else [self.channel_names[channel]]
        filled = [filenames.filled(path, {"channel": name}) for name in names]
        return np.concatenate([self._maximum_in_files(path, part, time, depths, None, 1) for part in filled])

    def _maximum_in_files(
        self, tile: str, path: str, time: int, depths: Iterable[int], channel: int | None, channels: int
    ) -> Image:
        """Returns the maximum (channels, y, x) from files of `tile` that each hold all `channels`; opens each file once."""
        maximum: Image | None = None
        for file, places in groupby((self._find(path, time, z) for z in depths), key=lambda place: place[0]):
            with image_files.opened(file, self.pages or "channel", filenames.image_of(tile)) as stack:
                self._check(tile, file, stack.identity)
                for _, t, z in places:
                    pixels = stack.read(t, z, channel).astype(self.dtype, copy=False)
                    assert pixels.shape == (channels, *self.sizes[tile]), "the step tiles compared the shapes of all files"
                    maximum = pixels if maximum is None else np.maximum(maximum, pixels)
        assert maximum is not None, "a tile has at least one z plane"
        return np.ascontiguousarray(maximum[..., ::-1]) if self.mirrored else maximum

    def _check(self, tile: str, file: str, identity: Identity) -> None:
        """Raises ImageError unless the open file of this identity is the one that the table was made from."""
        if self._checked.get(file) == identity:
            return
        files = filenames.files(tile, self.values)
        before = {each: KNOWN.known[each][1] for each in files if each in KNOWN.known}
        try:
            found = {each: KNOWN.sha256(each) for each in files}
        except OSError as error:
            raise ImageError(f"{error.filename}: cannot be read ({error.strerror}): {REMEDY}") from None
        sums, image = [sha256 for sha256, _ in found.values()], filenames.image_of(tile)
        same = contents.of_tile(sums, self.mirrored, self.pages, image) == self._sha256[tile]
        if not same or found[file][1] != identity:
            changed = [each for each in files if each in before and before[each] != found[each][0]] or files
            what = "was changed, or replaced by another file, since the step tiles read it"
            raise ImageError(f"{filenames.listed_names(changed)}: {what}: {REMEDY}")
        settled = {each: identity for each, (_, identity) in found.items() if KNOWN.identity(each) == identity}
        self._checked |= settled

    def _find(self, path: str, time: int, z: int) -> tuple[str, int, int]:
        """Returns the file that holds a time point and a z, and their indices in this file."""
        place, path = {"time": time, "z": z}, filenames.file_of(path)
        varying = [name for name in place if "{" + name + "}" in path and name in self.values]
        file = filenames.filled(path, {name: self.values[name][place[name]] for name in varying})
        inside = {name: 0 if name in varying else index for name, index in place.items()}
        return file, inside["time"], inside["z"]
