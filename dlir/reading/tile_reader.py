"""Reads the tiles of a table plane by plane, whether a tile is one file or has a file for each channel, z or time point.

Registration sees one plane of a tile, the reference: one time point; one z or the maximum over z; one channel or the mean of
all. The placement that it finds holds for the whole stack. The illumination is the same at every z, so it is corrected once,
after the maximum and before the mean:

    max_z(tile_z / flat) = max_z(tile_z) / flat
"""

from collections.abc import Iterable
from itertools import groupby

import numpy as np
import pandas as pd

from dlir.reading import filenames, image_files
from dlir.reading.image_files import Image, ImageError

REMEDY = "run snakemake --forcerun tiles, which reads all tiles again"  # where a file has changed


class TileReader:
    """Reads the tiles of a table (tables.TILES).

    Attributes:
        times, depth, channels: the numbers of time points, z planes and channels of each tile.
        size: height and width, px.
        values: the values of the placeholders in the paths.
        channel_names: the names of the channels; empty where there are none.
        channel, z, time: the reference, counted from 0; channel None is the mean of all, z None the maximum over z.
        chosen: the slice of the channels that the reference is made of.
        mirrored: whether the tiles are mirrored left to right when they are read.
    """

    def __init__(self, tiles: pd.DataFrame) -> None:
        first = tiles.iloc[0].to_dict()
        self.times, self.depth, self.channels = (int(first[name]) for name in ("times", "depth", "channels"))
        self.size = int(first["height"]), int(first["width"])
        self.values = filenames.values_of(first)
        self.channel_names = self.values.get("channel", [])
        self.channel, self.z = (None if pd.isna(first[f"reference_{name}"]) else int(first[f"reference_{name}"])
                                for name in ("channel", "z"))  # fmt: skip
        self.time, self.mirrored = int(first["reference_time"]), bool(first["mirrored"])
        self.chosen = slice(None) if self.channel is None else slice(self.channel, self.channel + 1)

    def read(self, path: str, time: int, z: int, channel: int | None = None) -> Image:
        """Returns the plane (channels, y, x) of the tile with this path; only one channel where it is given.

        The time point, the z and the channel are counted from 0.

        Raises:
            ImageError: when a file cannot be read, or its shape has changed since the table was made.
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
            return self._maximum_in_files(path, time, depths, channel, self.channels if channel is None else 1)
        names = self.channel_names if channel is None else [self.channel_names[channel]]
        return np.concatenate(
            [self._maximum_in_files(filenames.filled(path, {"channel": name}), time, depths, None, 1) for name in names]
        )

    def _maximum_in_files(self, path: str, time: int, depths: Iterable[int], channel: int | None, channels: int) -> Image:
        """Returns the maximum (channels, y, x) from files that each hold all `channels`; opens each file once."""
        maximum: Image | None = None
        for file, places in groupby((self._find(path, time, z) for z in depths), key=lambda place: place[0]):
            with image_files.opened(file) as stack:
                for _, t, z in places:
                    if t >= stack.sizes.times or z >= stack.sizes.depth:
                        raise ImageError(f"{file}: holds fewer planes than before: {REMEDY}")
                    pixels, expected = stack.read(t, z, channel), (channels, *self.size)
                    if pixels.shape != expected:
                        raise ImageError(f"{file}: has the shape {pixels.shape}, not {expected} as before: {REMEDY}")
                    maximum = pixels if maximum is None else np.maximum(maximum, pixels)
        assert maximum is not None, "a tile has at least one z plane"
        return np.ascontiguousarray(maximum[..., ::-1]) if self.mirrored else maximum

    def _find(self, path: str, time: int, z: int) -> tuple[str, int, int]:
        """Returns the file that holds a time point and a z, and their indices in this file."""
        place = {"time": time, "z": z}
        varying = [name for name in place if "{" + name + "}" in path and name in self.values]
        file = filenames.filled(path, {name: self.values[name][place[name]] for name in varying})
        inside = {name: 0 if name in varying else index for name, index in place.items()}
        return file, inside["time"], inside["z"]
