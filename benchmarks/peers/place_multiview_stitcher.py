"""Places the tiles of a grid with multiview-stitcher, in its own environment: GRID OUTPUT OPTIONS, keywords of `register`."""

import csv
import json
import sys
from pathlib import Path

import dask
import pandas as pd
import tifffile
from multiview_stitcher import msi_utils, registration, spatial_image_utils

grid, output, options = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
nominal = pd.read_csv(grid / "nominal.csv")
one = {"y": 1.0, "x": 1.0}
images = [
    msi_utils.get_msim_from_sim(
        spatial_image_utils.get_sim_from_array(
            tifffile.imread(grid / tile.path), dims=["y", "x"], scale=one, translation={"y": tile.y, "x": tile.x}
        ),
        scale_factors=[],
    )
    for tile in nominal.itertuples()
]
with dask.config.set(scheduler="threads"):  # otherwise it starts processes, and each of them would run this file again
    registration.register(
        images, transform_key="affine_metadata", new_transform_key="registered", reg_channel_index=0, **options
    )
with output.open("w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["path", "yy", "yx", "y0", "xy", "xx", "x0"])
    for image, tile in zip(images, nominal.itertuples(), strict=True):
        found = msi_utils.get_transform_from_msim(image, "registered").to_numpy().squeeze()
        (yy, yx, y), (xy, xx, x) = found[:2]
        table.writerow([tile.path, yy, yx, yy * tile.y + yx * tile.x + y, xy, xx, xy * tile.y + xx * tile.x + x])
