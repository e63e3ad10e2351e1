"""The best score that any estimator of offsets could reach on average for a grid of `make_tiles.py`.

The overlap of two tiles carries this information on their offset (Cramer-Rao; the sum is over its pixels):

    J = sum g g^T / (2 s^2)

where g is the gradient of the specimen without noise, and s^2 the variance of the noise of either tile. This holds for a
specimen that is known except for its place. For an unknown specimen, noise hides fine structure in both tiles; then g is the
gradient of the specimen filtered by sqrt(S / (S + s^2 / 2)), where S is its power spectrum, averaged over directions (Knapp and
Carter 1976). The information of all overlaps, with the error of the stage as a prior, gives the covariance of all places.
Illumination and camera are taken as known.
"""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

DRAWS = 300  # of all places from their covariance
OVER = 2.0  # px; errors above are counted
LEAST_SIDE = 3  # px; a narrower overlap has no gradients


def expected(grid: Path, make_tiles: Any, score: Any) -> tuple[float, float, float]:
    """The mean over draws of the median and 95 % error, px, and of the % of tiles more than 2 px off.

    Args:
        grid: folder of `make_tiles.py`.
        make_tiles: the module of that name.
        score: the module of that name.
    """
    meta = json.loads((grid / "meta.json").read_text())
    with (grid / "truth.csv").open() as file:
        truth = list(csv.DictReader(file))
    information = np.eye(2 * len(truth)) * 3 / meta["jitter"] ** 2
    affines = np.array([score.affine(row) for row in truth])
    clean, noise = clean_tiles(meta, affines, make_tiles)
    places = affines[:, :, 2]
    for i, row in enumerate(truth):
        for flag, j in (("right", i + 1), ("down", i + meta["cols"])):
            if row[flag] == "1":
                ends = np.r_[2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
                offset_information = np.kron([[1, -1], [-1, 1]], pair_information(clean[i], noise[i], places[j] - places[i]))
                information[np.ix_(ends, ends)] += offset_information
    joined = score.largest_group(truth, meta["cols"])
    root = np.linalg.cholesky(information).T
    rng, drawn = np.random.default_rng(0), []
    for _ in range(DRAWS):
        found = (places + np.linalg.solve(root, rng.standard_normal(len(root))).reshape(-1, 2))[joined]
        fixed = score.apply(score.gauge(found, places[joined], meta["cam_rotation"] != 0), found)
        error = np.linalg.norm(fixed - places[joined], axis=1)
        drawn.append((np.median(error), np.percentile(np.repeat(error, 4), 95), 100 * np.mean(error > OVER)))
    median, most, off = np.mean(drawn, axis=0)
    return float(median), float(most), float(off)


def clean_tiles(meta: dict[str, Any], affines: np.ndarray, make_tiles: Any) -> tuple[np.ndarray, np.ndarray]:
    """The tiles (n, y, x) without noise and under even illumination, and the variance of their noise, in electrons."""
    size, jitter = meta["tile"], meta["jitter"]
    margin = jitter + 8 + 0.02 * size + 1.1 * np.deg2rad(abs(meta["cam_rotation"])) * max(meta["rows"], meta["cols"]) * size
    step = size * (1 - meta["overlap"])
    need = tuple(int(np.ceil(step * (n - 1) + size + 2 * margin)) + 2 for n in (meta["rows"], meta["cols"]))
    source = make_tiles.specimen(meta["source"], need, 1000 + meta["seed"])[: need[0], : need[1]]
    flat = make_tiles.camera_pattern(np.random.default_rng(meta["seed"]), size, meta["vignette"], meta["dirt"])
    tiles = [ndimage.affine_transform(source, a[:, :2], a[:, 2], (size, size), order=3, mode="mirror") for a in affines]
    clean = meta["peak"] * np.array(tiles).clip(0)
    return clean, ((clean + meta["background"]) * flat + meta["read"] ** 2) / flat**2


def pair_information(clean: np.ndarray, noise: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """The information (2, 2) on the offset of a pair, 1 / px^2, from the part of a tile that the other one covers."""
    start, end = np.maximum(np.ceil(offset), 0).astype(int), clean.shape + np.minimum(np.floor(offset), 0).astype(int)
    part = np.s_[start[0] : end[0], start[1] : end[1]]
    image, variance = clean[part], noise[part]
    if min(image.shape) < LEAST_SIDE:
        return np.zeros((2, 2))
    gradient = np.stack(np.gradient(visible_part(image, float(variance.mean()))))
    return np.asarray(np.einsum("iyx,jyx->ij", gradient / (2 * variance), gradient))


def visible_part(image: np.ndarray, noise: float) -> np.ndarray:
    """The image (y, x) filtered to what is visible in two images of it with noise of this variance."""
    waves = np.fft.rfft2(image - image.mean())
    frequency = np.hypot(np.fft.fftfreq(image.shape[0])[:, None], np.fft.rfftfreq(image.shape[1]))
    ring = (frequency * min(image.shape)).round().astype(int)
    power = ndimage.mean(np.abs(waves) ** 2, ring, np.arange(ring.max() + 1))[ring] / image.size
    return np.asarray(np.fft.irfft2(waves * np.sqrt(power / (power + noise / 2)), s=image.shape))
