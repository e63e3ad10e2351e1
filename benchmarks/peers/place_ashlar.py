"""Places the tiles of a grid with ashlar, in its own environment: GRID OUTPUT OPTIONS, keyword arguments of EdgeAligner."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import tifffile
from ashlar import reg

grid, output, options = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
with (grid / "nominal.csv").open() as file:
    nominal = list(csv.DictReader(file))


class Metadata(reg.Metadata):
    """Number, size and nominal places of the tiles, px; a pixel is 1 um."""

    _num_images, num_channels, pixel_size, pixel_dtype = len(nominal), 1, 1.0, np.dtype("uint16")

    def tile_position(self, i: int) -> np.ndarray:
        return np.array([float(nominal[i]["y"]), float(nominal[i]["x"])])

    def tile_size(self, i: int) -> np.ndarray:
        return np.array(tifffile.imread(grid / nominal[0]["path"]).shape)


class Reader(reg.Reader):
    """Reads the tiles."""

    metadata, path = Metadata(), str(grid)

    def read(self, series: int, c: int) -> np.ndarray:
        return np.asarray(tifffile.imread(grid / nominal[series]["path"]))


aligner = reg.EdgeAligner(Reader(), do_make_thumbnail=False, **options)
aligner.run()
with output.open("w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["path", "yy", "yx", "y0", "xy", "xx", "x0"])
    for tile, (y, x) in zip(nominal, aligner.positions, strict=True):
        table.writerow([tile["path"], 1, 0, y, 0, 1, x])
