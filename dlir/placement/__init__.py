"""affines.csv flows in; placement.csv and stage.csv flow out: where each tile lies in the mosaic, and how stage and camera err.
The step `place` (place.py) is the door; `export` writes the placement for other programs."""
