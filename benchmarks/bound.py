"""How exactly the places of a grid from `make_tiles.py` can be known: what the best of all estimators would score on average.

The overlap of two tiles tells their offset with the information (Cramer-Rao; sum over its px)

    J = sum g g^T / (2 s^2)

g being the slope of the specimen without noise, s^2 the variance of the noise of either tile. So if the specimen were known but
for its place. Of one that is not, noise drowns finer structure in both tiles, and g is that of the specimen filtered by
sqrt(S / (S + s^2 / 2)), S being its power spectrum, by frequency in any direction (Knapp and Carter 1976). With the stage's
error as a prior the offsets give the covariance of all places. Fields and camera are taken as known.
"""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

DRAWS = 300
OVER = 2.0  # px
LEAST_SIDE = 3  # px of an overlap, that has slopes


def expected(grid: Path, make_tiles: Any, score: Any) -> tuple[float, float, float]:
    """The mean median and 95 % error, px, and % of tiles more than 2 px off, with the modules of the bench."""
    meta = json.loads((grid / "meta.json").read_text())
    with (grid / "truth.csv").open() as file:
        truth = list(csv.DictReader(file))
    information = np.eye(2 * len(truth)) * 3 / meta["jitter"] ** 2
    affines = np.array([score.affine(row) for row in truth])
    clean, noise = specimen(meta, affines, make_tiles)
    places = affines[:, :, 2]
    for i, row in enumerate(truth):
        for flag, j in (("right", i + 1), ("down", i + meta["cols"])):
            if row[flag] == "1":
                ends = np.r_[2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
                told = np.kron([[1, -1], [-1, 1]], of_pair(clean[i], noise[i], places[j] - places[i]))
                information[np.ix_(ends, ends)] += told
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


def specimen(meta: dict[str, Any], affines: np.ndarray, make_tiles: Any) -> tuple[np.ndarray, np.ndarray]:
    """What the tiles show (n, y, x) without noise and in even light, and the variance of their noise there, in electrons."""
    size, jitter = meta["tile"], meta["jitter"]
    margin = jitter + 8 + 0.02 * size + 1.1 * np.deg2rad(abs(meta["cam_rotation"])) * max(meta["rows"], meta["cols"]) * size
    step = size * (1 - meta["overlap"])
    need = tuple(int(np.ceil(step * (n - 1) + size + 2 * margin)) + 2 for n in (meta["rows"], meta["cols"]))
    source = make_tiles.specimen(meta["source"], need, 1000 + meta["seed"])[: need[0], : need[1]]
    flat = make_tiles.camera_pattern(np.random.default_rng(meta["seed"]), size, meta["vignette"], meta["dirt"])
    tiles = [ndimage.affine_transform(source, a[:, :2], a[:, 2], (size, size), order=3, mode="mirror") for a in affines]
    clean = meta["peak"] * np.array(tiles).clip(0)
    return clean, ((clean + meta["background"]) * flat + meta["read"] ** 2) / flat**2


def of_pair(clean: np.ndarray, noise: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """The information (2, 2) on an offset, 1 / px^2, from the part of a tile that the other one covers."""
    start, end = np.maximum(np.ceil(offset), 0).astype(int), clean.shape + np.minimum(np.floor(offset), 0).astype(int)
    part = np.s_[start[0] : end[0], start[1] : end[1]]
    image, variance = clean[part], noise[part]
    if min(image.shape) < LEAST_SIDE:
        return np.zeros((2, 2))
    slopes = np.stack(np.gradient(filtered(image, float(variance.mean()))))
    return np.asarray(np.einsum("iyx,jyx->ij", slopes / (2 * variance), slopes))


def filtered(image: np.ndarray, noise: float) -> np.ndarray:
    """The image (y, x) as far as one noisy view of it foretells another."""
    waves = np.fft.rfft2(image - image.mean())
    frequency = np.hypot(np.fft.fftfreq(image.shape[0])[:, None], np.fft.rfftfreq(image.shape[1]))
    ring = (frequency * min(image.shape)).round().astype(int)
    power = ndimage.mean(np.abs(waves) ** 2, ring, np.arange(ring.max() + 1))[ring] / image.size
    return np.asarray(np.fft.irfft2(waves * np.sqrt(power / (power + noise / 2)), s=image.shape))
