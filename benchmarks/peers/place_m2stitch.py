"""Places the tiles of a grid with m2stitch; run by benchmarks/placement.py in its environment."""

import csv
import sys
from pathlib import Path

import m2stitch
import numpy as np
import tifffile

grid, output = map(Path, sys.argv[1:])
with (grid / "nominal.csv").open() as file:
    nominal = list(csv.DictReader(file))
images = np.stack([tifffile.imread(grid / tile["path"]) for tile in nominal])
rows, columns = ([int(tile[name]) for tile in nominal] for name in ("row", "col"))
guess = np.array([[float(tile["y"]), float(tile["x"])] for tile in nominal])
for threshold in (0.5, 0.1, 0.02, -1.0):  # the highest that pairs pass; 0.5 is its default, and it raises where none does
    try:
        placed, _ = m2stitch.stitch_images(
            images, rows, columns, position_initial_guess=guess, row_col_transpose=False, ncc_threshold=threshold
        )
        break
    except AssertionError:
        pass
with output.open("w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["path", "yy", "yx", "y0", "xy", "xx", "x0"])
    for tile, y, x in zip(nominal, placed["y_pos"], placed["x_pos"], strict=True):
        table.writerow([tile["path"], 1, 0, y, 0, 1, x])
