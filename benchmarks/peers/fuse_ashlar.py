"""Fuses the tiles of a folder at the places in placement.csv with ashlar, in its own environment: FOLDER."""

import csv
import json
import resource
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import tifffile
from ashlar import reg

folder = Path(sys.argv[1])
with (folder / "placement.csv").open() as table:
    placed = list(csv.DictReader(table))
size = tifffile.imread(placed[0]["path"]).shape
places = np.array([[float(tile["y0"]), float(tile["x0"])] for tile in placed])
metadata = SimpleNamespace(
    size=np.array(size), pixel_dtype=np.dtype("uint16"), pixel_size=1.0, positions=places, num_channels=1
)
reader = SimpleNamespace(metadata=metadata, path=str(folder), read=lambda series, c: tifffile.imread(placed[series]["path"]))
aligner = SimpleNamespace(reader=reader, metadata=metadata, positions=places, max_shift_pixels=0)
shape = tuple(int(n) for n in np.ceil(places.max(axis=0) + size))
cpu, wall = time.process_time(), time.perf_counter()
mosaic = reg.Mosaic(aligner, shape, channels=[0])
reg.PyramidWriter([mosaic], str(folder / "ashlar.ome.tif"), tile_size=1024).run()
cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
print(json.dumps({"cpu": cpu, "wall": wall, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}))
