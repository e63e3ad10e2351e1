"""Places the tiles of a grid with m2stitch, in its own environment: GRID OUTPUT OPTIONS, keywords of `stitch_images`."""

import csv
import json
import sys
from pathlib import Path

import m2stitch
import numpy as np
import tifffile

grid, output, options = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
with (grid / "nominal.csv").open() as file:
    nominal = list(csv.DictReader(file))
images = np.stack([tifffile.imread(grid / tile["path"]) for tile in nominal])
rows, columns = ([int(tile[name]) for tile in nominal] for name in ("row", "col"))
guess = np.array([[float(tile["y"]), float(tile["x"])] for tile in nominal])
# its default is 0.5, and it raises where no pair of a side reaches the threshold: then the highest of these that works
for threshold in (0.5, 0.1, 0.02, -1.0):
    try:
        placed, _ = m2stitch.stitch_images(
            images,
            rows,
            columns,
            position_initial_guess=guess,
            row_col_transpose=False,
            ncc_threshold=threshold,
            **options,
        )
        break
    except AssertionError:
        pass
with output.open("w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["path", "yy", "yx", "y0", "xy", "xx", "x0"])
    for tile, y, x in zip(nominal, placed["y_pos"], placed["x_pos"], strict=True):
        table.writerow([tile["path"], 1, 0, y, 0, 1, x])
