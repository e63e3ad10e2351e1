"""The tiles of a table as stacks, read plane by plane: whether a tile is one file or a file for each channel, z or time.

Registration sees one plane of a tile, its reference: at one time and one z, or the maximum over z, of one channel, or the
mean of all. What it finds holds for the whole stack. What sits still on the camera is the same at every z, and taken out once,
after the maximum and before the mean:

    max_z(tile_z / pattern) = max_z(tile_z) / pattern
"""

from collections.abc import Iterable
from itertools import groupby

import numpy as np
import pandas as pd

from dlir.reading import filenames, image_files
from dlir.reading.image_files import Image, ImageError


class TileReader:
    """The tiles of a table (tables.TILES)."""

    def __init__(self, tiles: pd.DataFrame) -> None:
        first = tiles.iloc[0].to_dict()
        self.times, self.depth, self.channels = (int(first[name]) for name in ("times", "depth", "channels"))
        self.size = int(first["height"]), int(first["width"])
        self.values = filenames.values_of(first)
        self.channel_names = self.values.get("channel", [])  # none where nothing tells them
        self.channel, self.z = (None if pd.isna(first[f"reference_{name}"]) else int(first[f"reference_{name}"])
                                for name in ("channel", "z"))  # fmt: skip
        self.time = int(first["reference_time"])
        self.chosen = slice(None) if self.channel is None else slice(self.channel, self.channel + 1)

    def read(self, path: str, time: int, z: int, channel: int | None = None) -> Image:
        """The plane (channels, y, x) of the tile with this path, all counted from 0; of one channel where that is given.

        Raises:
            ImageError: when a file cannot be read, or is not as it was when the table was made.
        """
        return self._brightest(path, time, [z], channel)

    def reference(self, path: str) -> Image:
        """The reference of a tile, in the channels that are `chosen` (channels, y, x); raises ImageError as `read` does."""
        depths = range(self.depth) if self.z is None else [self.z]
        return self._brightest(path, self.time, depths, self.channel)

    def sample(self, path: str) -> Image:
        """The plane (channels, y, x) of a tile that shows the camera's pattern: at the reference, or else in the middle.

        The maximum over z would not do: it picks the noise, by more where there is less light, and hides the shading.
        """
        return self.read(path, self.time, self.depth // 2 if self.z is None else self.z)

    def _brightest(self, path: str, time: int, depths: Iterable[int], channel: int | None) -> Image:
        """The maximum (channels, y, x) over the depths."""
        if "{channel}" not in path or "channel" not in self.values:
            return self._of_files(path, time, depths, channel, self.channels if channel is None else 1)
        chosen = self.channel_names if channel is None else [self.channel_names[channel]]
        return np.concatenate(
            [self._of_files(filenames.filled(path, {"channel": name}), time, depths, None, 1) for name in chosen]
        )

    def _of_files(self, path: str, time: int, depths: Iterable[int], channel: int | None, channels: int) -> Image:
        """The same of files that hold all channels, or one; each is opened once."""
        brightest: Image | None = None
        for file, places in groupby((self._find(path, time, z) for z in depths), key=lambda place: place[0]):
            with image_files.opened(file) as stack:
                for _, t, z in places:
                    if t >= stack.sizes.times or z >= stack.sizes.depth:
                        raise ImageError(f"{file}: holds fewer planes than before: run from the stage tiles again")
                    pixels, expected = stack.read(t, z, channel), (channels, *self.size)
                    if pixels.shape != expected:
                        what = f"has the shape {pixels.shape}, not {expected} as before"
                        raise ImageError(f"{file}: {what}: run from the stage tiles again")
                    brightest = pixels if brightest is None else np.maximum(brightest, pixels)
        assert brightest is not None, "a tile has at least one z plane"
        return brightest

    def _find(self, path: str, time: int, z: int) -> tuple[str, int, int]:
        """The file that holds a time and a z, and their places in it."""
        place = {"time": time, "z": z}
        spread = [name for name in place if "{" + name + "}" in path and name in self.values]
        file = filenames.filled(path, {name: self.values[name][place[name]] for name in spread})
        inside = {name: 0 if name in spread else count for name, count in place.items()}
        return file, inside["time"], inside["z"]
