"""The placement in the words of other programs: Fiji's tile configuration, and the stage's own units."""

from pathlib import Path

import numpy as np

from dlir.core import affine, tables
from dlir.core.atomic import atomically
from dlir.reading import filenames


def export(tiles: Path, placement: Path, output: Path, *, fiji: Path) -> None:
    """Write where the tiles lie as a CSV to `output`, and to `fiji` as its TileConfiguration.registered.txt.

    Fiji's file has the places of the tiles' first pixels, (x, y) px, without turn or scale; a tile of several files is named
    by the first of them. The CSV has, for each tile, the place of its middle in micrometres where the pixel size is known, else
    in px, in the frame of the stage.
    """
    listed, placed = tables.read(tiles, tables.TILES), tables.read(placement, tables.PLACEMENT)
    affines, size = affine.from_table(placed), listed[["height", "width"]].to_numpy(float)
    middle = affine.apply(affines, ((size - 1) / 2)[:, None])[:, 0]
    first = middle - (size - 1) / 2
    values = filenames.values_of(listed.iloc[0].to_dict())
    names = [Path(filenames.files(path, values)[0]).name for path in placed["path"]]
    lines = [f"{name}; ; ({x:.4f}, {y:.4f})" for name, (y, x) in zip(names, first, strict=True)]
    heading = "# Define the number of dimensions we are working on\ndim = 2\n\n# Define the image coordinates\n"
    with atomically(fiji) as partial:
        partial.write_text(heading + "\n".join(lines) + "\n")
    unit = listed["pixel_size"].to_numpy(float)
    known = np.isfinite(unit).all()
    stage = _in_stage(middle, listed[["y", "x"]].to_numpy() + (size - 1) / 2) * (unit[:, None] if known else 1.0)
    table = placed[["path"]].assign(y=stage[:, 0], x=stage[:, 1], unit="micrometre" if known else "pixel")
    with atomically(output) as partial:
        table.to_csv(partial, index=False, float_format="%.4f")


def _in_stage(places: np.ndarray, nominal: np.ndarray) -> np.ndarray:
    """Places (n, 2) in the frame in which the nominal ones are given: moved, turned and scaled by least squares.

    Source: the similarity of Umeyama 1991, without reflection.
    """
    here, there = places - places.mean(axis=0), nominal - nominal.mean(axis=0)
    if not here.any():
        return nominal
    left, values, right = np.linalg.svd(there.T @ here)
    sign = np.diag([1.0, np.linalg.det(left @ right)])
    scale = (values * np.diag(sign)).sum() / (here**2).sum()
    return np.asarray(scale * here @ (left @ sign @ right).T + nominal.mean(axis=0))
