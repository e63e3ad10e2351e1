"""Places the tiles of rounds with ashlar, in its own environment: FOLDER OUTPUT OPTIONS.

The tiles of the first round are placed by EdgeAligner, those of the others by LayerAligner, by the first channel, which the
rounds share. OPTIONS are keyword arguments of both, as JSON.
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import tifffile
from ashlar import reg

folder, output, options = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])


class Metadata(reg.Metadata):
    """Number, size and nominal places of the tiles of a round, px; a pixel is 1 um."""

    _num_images, num_channels, pixel_size, pixel_dtype = 0, 1, 1.0, np.dtype("uint16")

    def __init__(self, folder: Path) -> None:
        with (folder / "nominal.csv").open() as file:
            self.tiles = list(csv.DictReader(file))
        self._num_images = len(self.tiles)
        self.side = tifffile.TiffFile(folder / self.tiles[0]["path"]).pages[0].shape

    def tile_position(self, i: int) -> np.ndarray:
        return np.array([float(self.tiles[i]["y"]), float(self.tiles[i]["x"])])

    def tile_size(self, i: int) -> np.ndarray:
        return np.array(self.side)


class Reader(reg.Reader):
    """Reads the tiles of a round."""

    def __init__(self, folder: Path) -> None:
        self.metadata, self.path = Metadata(folder), folder

    def read(self, series: int, c: int) -> np.ndarray:
        return np.asarray(tifffile.imread(self.path / self.metadata.tiles[series]["path"], key=c))


names = list(json.loads((folder / "rounds.json").read_text())["rounds"])
readers = [Reader(folder / name) for name in names]
first = reg.EdgeAligner(readers[0], **options)
first.run()
aligners = [first, *(reg.LayerAligner(reader, first, **options) for reader in readers[1:])]
for aligner in aligners[1:]:
    aligner.run()
with output.open("w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["round", "path", "yy", "yx", "y0", "xy", "xx", "x0"])
    for name, reader, aligner in zip(names, readers, aligners, strict=True):
        for tile, (y, x) in zip(reader.metadata.tiles, aligner.positions, strict=True):
            table.writerow([name, tile["path"], 1, 0, y, 0, 1, x])
