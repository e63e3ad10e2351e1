"""Fuses small mosaics of tiles that are cut from a known image."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
import zarr

from dlir.core import affine, hashing, tables
from dlir.fusion.mosaic import band, mosaic
from dlir.fusion.settings import Mosaic
from dlir.illumination import fields
from dlir.reading.cameras import camera_numbers
from support.specimens import ONE_PLANE

SIDE = 96  # px of a tile


def specimen(points: np.ndarray) -> np.ndarray:
    """Returns the grey values (...) at points (..., 2), 400 to 1600; they are smooth, so interpolation is nearly exact."""
    y, x = points[..., 0], points[..., 1]
    return 1000 + 300 * np.sin(2 * np.pi * y / 60) + 300 * np.cos(2 * np.pi * (x + 0.5 * y) / 70)


def cut_tile(matrix: np.ndarray, height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """Returns the tile (1, y, x) whose pixels lie in the specimen at the affine `matrix` (2, 3)."""
    grid = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1).reshape(-1, 2)
    return specimen(affine.apply(matrix, grid)).reshape(1, height, width).astype(np.float32)


def grid(fraction: float, rows: int = 3, columns: int = 4, step: int = 80) -> np.ndarray:
    """Returns the affines of a grid of tiles, `step` px apart, each shifted by up to `fraction` px; the first is at (0, 0)."""
    places = np.array([[row * step, column * step] for row in range(rows) for column in range(columns)], float)
    shifts = np.random.default_rng(1).uniform(0, fraction, places.shape)
    shifts[0] = 0
    return affine.translation(places + shifts)


class MosaicInputs:
    """Writes the inputs of the step `mosaic` to a folder, and runs the step."""

    def __init__(self, folder: Path, tiles: list, affines: np.ndarray, flat=None, pixel_size: float = np.nan) -> None:
        self.folder = folder
        channels, sizes = len(tiles[0]), np.array([tile.shape[1:] for tile in tiles])
        self.paths = [str(folder / f"tile{i}.tif") for i in range(len(tiles))]
        for path, tile in zip(self.paths, tiles, strict=True):
            tifffile.imwrite(path, tile, photometric="minisblack", metadata={"axes": "CYX"})
        cameras = camera_numbers([""] * len(tiles), sizes)
        light = [fields.identity((channels, *sizes[cameras.index(camera)])) for camera in range(max(cameras) + 1)]
        fields.write(light if flat is None else [light[0]._replace(flat=flat)], folder / "illumination.tif")
        self.expose(np.ones((len(tiles), channels)))
        same = {"tile": range(len(tiles)), "path": self.paths}
        content = [hashing.of_file(Path(path)) for path in self.paths]
        table = pd.DataFrame({**same, "y": affines[:, 0, 2], "x": affines[:, 1, 2], "sha256": content, **ONE_PLANE})
        table = table.assign(row=0, col=table["tile"], height=sizes[:, 0], width=sizes[:, 1], channels=channels, camera=cameras)
        table = table.assign(dtype=str(tiles[0].dtype), pixel_size=pixel_size)
        tables.write(table, tables.TILES, folder / "tiles.csv")
        placed = pd.DataFrame({**same, **affine.to_columns(affines), "pairs": 1, "residual": 0.1, "deviation": 0.1,
                              "group": 0, "slip_y": 0.0, "slip_x": 0.0, "loop": np.nan, "placed_by": "pairs"})  # fmt: skip
        tables.write(placed, tables.PLACEMENT, folder / "placement.csv")

    def expose(self, gains: np.ndarray, pedestal: float = 0.0) -> None:
        """Writes the gains (n, channels) of the tiles, and the pedestal of the mosaic."""
        tile, channel = np.indices(gains.shape).reshape(2, -1)
        table = pd.DataFrame({"tile": tile, "channel": channel, "gain": gains.ravel(), "scale": 1.0, "pedestal": pedestal})
        table = table.assign(clipped=0)
        tables.write(table, tables.EXPOSURE, self.folder / "exposure.csv")

    def run(
        self,
        name: str = "mosaic.ome.zarr",
        order: int = 1,
        threads: int = 1,
        blend: str = "linear",
        bands: int = 1,
        tolerance: float = 0.0,
        cache: Path | None = None,
        lens: Path | None = None,
        canvas: tuple[int, int] | None = None,
    ) -> zarr.Group:
        """Fuses the tiles, first each band where there are several, and returns the mosaic, on a canvas of this size (y, x)."""
        chosen = Mosaic(interpolation=order, blend=blend, bands=bands, tolerance=tolerance, chunk=32, shard=64)
        files = [self.folder / name for name in ("tiles.csv", "illumination.tif", "exposure.csv", "placement.csv")]
        same = {"cache": cache, "lens": lens, "settings": chosen, "threads": threads}
        if canvas:
            same["canvas"] = self.folder / "canvas.csv"
            size = pd.DataFrame({"height": [canvas[0]], "width": [canvas[1]], "pixel_size": [0.25]})
            tables.write(size, tables.CANVAS, same["canvas"])
        parts = [self.folder / f"{name}.bands" / str(number) for number in range(bands if bands > 1 else 0)]
        for number, part in reversed(list(enumerate(parts))):
            band(*files, part, number=number, last=self.folder / name, **same)
        sums = self.folder / f"{name}.sha256"
        mosaic(*files, self.folder / name, sums=sums, bands=parts, **same)
        return zarr.open_group(self.folder / name, mode="r")

    def digests(self, name: str) -> dict[str, str]:
        """Returns the SHA-256 of each file of a store."""
        files = [path for path in (self.folder / name).rglob("*") if path.is_file()]
        return {str(path.relative_to(self.folder / name)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
