"""Real tiles whose camera distorts them a little: the distortion that is found, and the seams with and without it.

    python benchmarks/real_distortion.py --data ../shared/data --scratch /tmp/lscm

There is no truth for these tiles, the laser confocal image of a metal surface. So in each overlap of an accepted pair, as it
lies in the mosaic, both tiles are compared in boxes of BOX px: the shift between them, with a gain and an offset, by least
squares on the pixels (Lucas and Kanade 1981). Boxes whose shift is uncertain by more than CERTAIN px do not count. A perfect
mosaic still has the noise of this measure.
"""

from pathlib import Path

import cyclopts
import grids
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dlir.core import affine, lens, tables
from dlir.illumination import fields
from dlir.registration.pairs.planes import TilePlanes

Array = NDArray[np.float64]
LSCM = {"columns": 4, "snake": True}  # as in tests/datasets/lscm.yaml
BOX, BORDER = 48, 4  # px: side of a box; pixels at the border of a tile that are not used
ROUNDS, CERTAIN = 3, 0.15  # of the least squares; px
SMOOTH = 1.0  # px, sigma that takes noise off the slopes
CHOICES = ("none", "auto")


def main(*, data: Path, scratch: Path) -> None:
    """Print a row without and with the distortion, and the displacements at the corners that were found.

    Args:
        data: folder of the real tiles.
        scratch: folder for the results.
    """
    images = str(data.resolve() / "lscm" / "x100_epr-jerem_10pct_002_A{index}_I.tif")
    print("| distortion | terms | at the corners, px (y, x) | boxes | seams, median / 95 %, px | tile model's turn, scale |")
    print("|---" * 6 + "|", flush=True)
    for choice in CHOICES:
        out = scratch / choice
        grids.run_to_placement(*grids.settings_for(images=images, distortion=choice, **LSCM), out)
        lenses, apart = lens.read(out / "lens.csv"), shifts(out)
        seen = " · ".join(f"{y:+.2f}, {x:+.2f}" for each in lenses.values() for y, x in each.at_corners())
        terms = ", ".join(f"{len(each.powers)}" for each in lenses.values())
        most = np.percentile(np.linalg.norm(apart, axis=1), [50, 95])
        print(
            f"| {choice} | {terms or 'none'} | {seen} | {len(apart)} | {most[0]:.3f} / {most[1]:.3f} | {shape(out)} |",
            flush=True,
        )


def shape(out: Path) -> str:
    """The largest turn, degrees, and the largest departure of the scale from one of the placed tiles, %."""
    placed = affine.from_table(tables.read(out / "placement.csv", tables.PLACEMENT))
    turn = np.rad2deg(np.abs(placed[:, 0, 1] - placed[:, 1, 0]).max() / 2)
    return f"{turn:.3f} deg, {100 * np.abs(np.linalg.norm(placed[:, :, :2], axis=1) - 1).max():.2f} %"


def shifts(out: Path) -> Array:
    """The shifts (n, 2), px, between two tiles in the boxes of all overlaps of the mosaic whose results this folder has."""
    listed = tables.read(out / "tiles.csv", tables.TILES)
    planes, lenses = TilePlanes(listed, fields.read(out / "illumination.tif", listed)), lens.read(out / "lens.csv")
    placed = affine.from_table(tables.read(out / "placement.csv", tables.PLACEMENT))
    pairs = tables.read(out / "affines.csv", tables.AFFINES)
    cameras, found = dict(zip(listed["tile"], listed["camera"], strict=True)), []
    for fixed, moving in pairs.loc[pairs["accepted"], ["fixed", "moving"]].to_numpy():
        both = [(planes.plane(tile).astype(float), placed[tile], lenses.get(cameras[tile])) for tile in (fixed, moving)]
        corners = np.stack([affine.apply(at, affine.corners(*plane.shape)) for plane, at, _ in both])
        first, last = np.ceil(corners.min(axis=1).max(axis=0)), np.floor(corners.max(axis=1).min(axis=0))
        for y in np.arange(first[0], last[0] - BOX, BOX):
            for x in np.arange(first[1], last[1] - BOX, BOX):
                box = np.stack(np.mgrid[y : y + BOX, x : x + BOX], axis=-1).reshape(-1, 2)
                if (shift := shift_in(box, both)) is not None:
                    found.append(shift)
    return np.array(found).reshape(-1, 2)


def shift_in(box: Array, both: list[tuple[Array, Array, lens.Lens | None]]) -> Array | None:
    """The shift (2,), px, of the second tile against the first at points of the mosaic; None where the box does not tell it."""
    shift, error = np.zeros(2), np.inf
    for _ in range(ROUNDS):
        seen = [sampled(each, box + sign * shift / 2) for sign, each in zip((-1, 1), both, strict=True)]
        if any(each is None for each in seen):
            return None
        one, other = (np.asarray(each).reshape(BOX, BOX) for each in seen)
        slopes = [each[2:-2, 2:-2].ravel() for each in np.gradient(ndimage.gaussian_filter((one + other) / 2, SMOOTH))]
        inner = one[2:-2, 2:-2].ravel()
        design = np.stack([*slopes, inner - inner.mean(), np.ones(len(inner))], axis=1)
        difference = (one - other)[2:-2, 2:-2].ravel()
        solution, *_ = np.linalg.lstsq(design, difference, rcond=None)
        residual = difference - design @ solution
        try:
            covariance = np.linalg.inv(design.T @ design) * residual.var()
        except np.linalg.LinAlgError:
            return None
        shift, error = shift + solution[:2], float(np.sqrt(np.trace(covariance[:2, :2])))
    return shift if error < CERTAIN and np.abs(shift).max() < BOX / 4 else None


def sampled(seen: tuple[Array, Array, lens.Lens | None], points: Array) -> Array | None:
    """The values (n,) of a tile at points (n, 2) of the mosaic; None where it does not cover all of them."""
    plane, at, distorted = seen
    inside = affine.apply(affine.invert(at), points)
    raw = distorted.to_raw(inside) if distorted else inside
    if (raw < BORDER).any() or (raw > np.array(plane.shape) - 1 - BORDER).any():
        return None
    return np.asarray(ndimage.map_coordinates(plane, raw.T, order=3))


if __name__ == "__main__":
    cyclopts.run(main)
