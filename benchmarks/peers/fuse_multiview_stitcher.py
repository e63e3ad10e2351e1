"""Fuses the tiles of a folder at the places in placement.csv with multiview-stitcher, in its own environment: FOLDER."""

import json
import resource
import shutil
import sys
import time
from pathlib import Path

import pandas as pd
import tifffile
from multiview_stitcher import fusion
from multiview_stitcher.spatial_image_utils import get_sim_from_array

folder = Path(sys.argv[1])
placed = pd.read_csv(folder / "placement.csv")
output = folder / "multiview-stitcher.zarr"
shutil.rmtree(output, ignore_errors=True)
cpu, wall = time.process_time(), time.perf_counter()
one = {"y": 1.0, "x": 1.0}
images = [
    get_sim_from_array(tifffile.imread(tile.path), dims=["y", "x"], scale=one, translation={"y": tile.y0, "x": tile.x0})
    for tile in placed.itertuples()
]
fusion.fuse(images, transform_key="affine_metadata", output_chunksize=2048, output_zarr_url=str(output))
cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
print(json.dumps({"cpu": cpu, "wall": wall, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}))
