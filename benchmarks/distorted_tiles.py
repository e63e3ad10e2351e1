r"""Makes grids of tiles that are seen through a known distortion of the camera, with exact truth.

With u = (y, x) an undistorted pixel of a tile, v = (u - middle) / half diagonal, and the six numbers of a tile's affine,

    raw pixel = u + sum over powers (i, j) of coefficient (2,) * v_y**i * v_x**j      mosaic = affine(u)

where the sum has no terms of degree 0 and 1. `truth_lens.csv` has the coefficients, `truth.csv` the affines. Each raw pixel is
the specimen at its true place, by one spline of order 5, with the noise of a camera.
"""

import json
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import tifffile
from numpy.polynomial.polynomial import polyval2d
from numpy.typing import NDArray
from scipy import ndimage, signal

from dlir.core import affine

Array = NDArray[np.float64]
SIDE, STAGE_ERROR, MARGIN = 512, 5.0, 40  # px: of a tile; largest error of the stage; around the grid
PEAK, BACKGROUND, READ = 4000.0, 100.0, 3.0  # photons, photons, electrons
GAIN, OFFSET = 60000 / (1.25 * PEAK + BACKGROUND), 500  # grey values: of an electron, of darkness
OFF, VIGNETTE = 0.2, 0.3  # half diagonals; loss of light at the corners, in mix
TURN, SCALE = 0.5, 0.005  # degrees; of tiles in affine
ORDER = 5  # highest degree of the polynomial
RADIAL = ("barrel", "pincushion", "barrel-off", "pincushion-off")
MIDDLE = np.full(2, (SIDE - 1) / 2)
HALF_DIAGONAL = float(np.linalg.norm(MIDDLE))
CORNERS = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]]) / np.sqrt(2)  # half diagonals
Y, X = np.array([[0.0], [1.0]]), np.array([[0.0, 1.0]])  # the polynomials v_y and v_x


class Kind(NamedTuple):
    """What a grid is."""

    kind: str
    amount: float  # px, the largest displacement at the corners of a tile
    rows: int
    cols: int
    overlap: float
    specimen: str


def make(scratch: Path, name: str, made: Kind, seed: int, cuts: Path) -> Path:
    """The folder of a grid, which is made when it does not exist yet; the truth is what the docstring of the module says."""
    grid = scratch / f"{name.replace('/', '_')}_{seed}"
    if (grid / "truth.csv").exists():
        return grid
    make_tiles = import_module("make_tiles")
    rng = np.random.default_rng(seed)
    step, end = SIDE * (1 - made.overlap), SIDE - 1
    stage = step * np.indices((made.rows, made.cols)).reshape(2, -1).T
    true = np.zeros((len(stage), 2, 3))
    true[:, :, 2] = MARGIN + stage + rng.uniform(-STAGE_ERROR, STAGE_ERROR, stage.shape)
    true[:, :, :2] = [make_tiles.linear(turn * TURN * (made.kind == "affine"), 1 + scale * SCALE * (made.kind == "affine"))
                      for turn, scale in rng.uniform(-1, 1, stage.shape)]  # fmt: skip
    true[:, :, 2] += end / 2 - (true[:, :, :2] @ np.full(2, end / 2))
    need = [int(np.ceil(step * (count - 1))) + SIDE + 2 * MARGIN for count in (made.rows, made.cols)]
    source = str(cuts / made.specimen) if "." in made.specimen else made.specimen
    whole = make_tiles.specimen(source, need, 1000 + seed)[: need[0], : need[1]].astype(np.float64)
    spline = ndimage.spline_filter(whole, 5, output=np.float32, mode="mirror")
    lens = coefficients(made, np.random.default_rng([seed, 1]))
    undistorted = from_raw(lens, np.indices((SIDE, SIDE)).reshape(2, -1).T.astype(float))
    flat = make_tiles.camera_pattern(rng, SIDE, VIGNETTE * (made.kind == "mix"), 0)
    (grid / "tiles").mkdir(parents=True, exist_ok=True)
    paths = [f"tiles/img_Y{row:03d}_X{col:03d}_040.tif" for row in range(made.rows) for col in range(made.cols)]
    strips = []
    for path, matrix in zip(paths, true, strict=True):
        places = apply(matrix, undistorted).T
        clean = ndimage.map_coordinates(spline, places, order=5, prefilter=False, mode="mirror", output=np.float64)
        photons = (clean.reshape(SIDE, SIDE).clip(0) * PEAK + BACKGROUND) * flat
        electrons = rng.poisson(photons) + rng.normal(0, READ, photons.shape)
        pixels = np.rint(electrons * GAIN + OFFSET).clip(0, 65535).astype(np.uint16)
        tifffile.imwrite(grid / path, pixels, photometric="minisblack")
        signal_to_noise = clean.reshape(SIDE, SIDE) * PEAK / np.sqrt(photons.mean() + READ**2)
        strips.append([make_tiles.visible(each) for each in make_tiles.borders(signal_to_noise, round(SIDE * made.overlap))])
    write_truth(grid, made, seed, paths, stage, true, lens, np.array(strips).reshape(made.rows, made.cols, 4))
    return grid


def write_truth(
    grid: Path, made: Kind, seed: int, paths: list[str], stage: Array, true: Array, lens: Array, visible: NDArray[np.bool_]
) -> None:
    """Write the tables beside the tiles; `visible` (rows, cols, 4): whether top, left, bottom and right show anything."""
    index = np.indices((made.rows, made.cols)).reshape(2, -1)
    right, down = np.zeros((2, made.rows, made.cols), int)
    right[:, :-1] = visible[:, :-1, 3] & visible[:, 1:, 1]
    down[:-1] = visible[:-1, :, 2] & visible[1:, :, 0]
    nominal = pd.DataFrame({"path": paths, "row": index[0], "col": index[1], "y": stage[:, 0], "x": stage[:, 1]})
    nominal.to_csv(grid / "nominal.csv", index=False)
    powers = np.argwhere(lens.any(axis=0))
    of_camera = {"camera": 0, "height": SIDE, "width": SIDE, "power_y": powers[:, 0], "power_x": powers[:, 1]}
    of_terms = {"y": lens[0][tuple(powers.T)], "x": lens[1][tuple(powers.T)], "interval_y": 0.0, "interval_x": 0.0}
    pd.DataFrame({**of_camera, **of_terms, "source": "given"}).to_csv(grid / "truth_lens.csv", index=False)
    (grid / "meta.json").write_text(json.dumps(made._asdict() | {"tile": SIDE, "jitter": STAGE_ERROR, "seed": seed}, indent=1))
    truth = nominal[["path", "row", "col"]].assign(right=right.ravel(), down=down.ravel())
    truth[list(affine.COLUMNS)] = true.reshape(-1, 6)
    truth.to_csv(grid / "truth.csv", index=False)


def coefficients(made: Kind, rng: np.random.Generator) -> Array:
    """The true distortion (2, ORDER + 1, ORDER + 1), px: coefficients of powers of v_y and v_x; the seed decides directions."""
    angle, tilt = rng.uniform(0, 2 * np.pi, 2)
    off = OFF * np.array([np.sin(angle), np.cos(angle)])
    if made.kind in RADIAL:
        sign = -1 if made.kind.startswith("barrel") else 1
        return scaled(radial(off if made.kind.endswith("off") else np.zeros(2), 1), sign * made.amount)
    if made.kind == "keystone":
        return keystone(tilt, made.amount)
    if made.kind == "mix":
        parts = radial(off, 1) - 0.4 * radial(np.zeros(2), 2)
        return scaled(parts, made.amount) + keystone(tilt, made.amount / 2)
    return np.zeros((2, ORDER + 1, ORDER + 1))


def radial(centre: Array, power: int) -> Array:
    """The polynomial (v - centre) |v - centre|^(2 power), without its terms of degree 0 and 1, and above ORDER."""
    y, x = np.array([[-centre[0]], [1.0]]), np.array([[-centre[1], 1.0]])
    square = np.zeros((3, 3))
    square[:, :1] += signal.convolve2d(y, y)
    square[:1] += signal.convolve2d(x, x)
    both = [y, x]
    for _ in range(power):
        both = [signal.convolve2d(each, square) for each in both]
    return np.stack([bent(each) for each in both])


def keystone(tilt: float, amount: float) -> Array:
    """The perspective v / (1 + p v), less v, as a series; p points in the direction `tilt`, radians."""
    p = np.array([[0, np.cos(tilt)], [np.sin(tilt), 0]])
    p *= amount / (HALF_DIAGONAL * np.abs(polyval2d(*CORNERS.T, p)).max())
    series, power = np.zeros((1, 1)), np.ones((1, 1))
    for _ in range(ORDER - 1):
        power = -signal.convolve2d(power, p)
        wider = np.zeros(power.shape)
        wider[: len(series), : len(series)] = series
        series = wider + power
    return HALF_DIAGONAL * np.stack([bent(signal.convolve2d(series, each)) for each in (Y, X)])


def bent(polynomial: Array) -> Array:
    """A polynomial's terms of degree 2 to ORDER, (ORDER + 1, ORDER + 1)."""
    shown = np.zeros((ORDER + 1, ORDER + 1))
    height, width = np.minimum(polynomial.shape, ORDER + 1)
    shown[:height, :width] = polynomial[:height, :width]
    degree = np.add.outer(np.arange(ORDER + 1), np.arange(ORDER + 1))
    return np.where((degree >= 2) & (degree <= ORDER), shown, 0)


def scaled(lens: Array, amount: float) -> Array:
    """A distortion whose largest displacement at the corners is `amount`, px."""
    return lens * (amount / np.linalg.norm(values(lens, CORNERS), axis=1).max())


def values(lens: Array, v: Array) -> Array:
    """The displacement (n, 2), px, at points v (n, 2), half diagonals."""
    return np.stack([polyval2d(*v.T, each) for each in lens], axis=1)


def to_raw(lens: Array, points: Array) -> Array:
    """The raw pixels (n, 2) at which undistorted pixels (n, 2) are seen."""
    return points + values(lens, (points - MIDDLE) / HALF_DIAGONAL)


def from_raw(lens: Array, points: Array) -> Array:
    """The undistorted pixels (n, 2) of raw pixels (n, 2)."""
    undistorted = points
    for _ in range(50):
        before, undistorted = undistorted, undistorted + points - to_raw(lens, undistorted)
        if np.abs(undistorted - before).max() < 1e-9:
            return undistorted
    raise SystemExit("a distortion that folds the tile has no inverse: ask for fewer px")


def apply(matrix: Array, points: Array) -> Array:
    """Points (n, 2) through an affine (2, 3)."""
    return points @ matrix[:, :2].T + matrix[:, 2]
