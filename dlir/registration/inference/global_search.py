"""The global search: where two whole tiles match, for pairs that no search window has explained.

A row that slipped, or an overlap that is not what it is said to be, lies far beyond every window. So thumbnails of both tiles
are correlated over all shifts (`survey/correlation.py`). The search gives candidates only: each is then registered in a small
window, and that decides (`consensus.py`).

1. A match that mirrored tiles do not reach by chance, and that no second match equals, is certain. Where the specimen repeats
   itself, no shift can be told from the next one, and whitening leaves hardly more than noise: there no tile is looked at. The
   mean autocorrelation of the tiles shows it, which follows from their mean spectrum (Wiener and Khinchin).
2. What slips, slips together: a match that is too faint to be certain among all shifts may be so among the few by which certain
   matches of the same side depart from their nominal offsets.

Tiles without content are not looked at, nor more than MOST_PAIRS, so that a sparse specimen costs little.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import fft, ndimage

from dlir.core import tables
from dlir.core.affine import Array
from dlir.registration.pairs.planes import TilePlanes
from dlir.survey.correlation import APART, Correlator, Mask, chance, matches
from dlir.survey.thumbnails import COARSE_SIGMA, Images, Thumbnails, factor, shrunk, whitened

MOST_PAIRS = 48  # that are looked at; the tiles with the most content come first
ENOUGH_TILES = 32  # thumbnails show light and spectrum well enough; so many are taken where there are as many tiles
UNRELATED = 24  # pairs with a mirrored tile, which show what chance reaches
LEAST_CONTENT = 0.1  # of the mean power of all thumbnails: below, a tile holds hardly more than noise
REPEATING = 0.5  # autocorrelation, farther than APART from its centre, from which on a specimen repeats itself
AGREEING = 2.5  # px of a thumbnail: how far matches that slipped together depart from each other
CHANCE = 0.02  # probability that a match is as high by chance, below which it agrees with others


def global_search(pairs: pd.DataFrame, planes: TilePlanes, tiles: pd.DataFrame) -> tuple[Array, float]:
    """Returns the offset (n, 2), px, at which whole tiles match, NaN where that is not certain; and how exact it is, px.

    Args:
        pairs: tables.PAIRS.
        planes: gives the pixels of the tiles.
        tiles: all tiles (tables.TILES).
    """
    size, numbers = tables.usual_size(tiles), _chosen_tiles(pairs, tiles)
    by = factor(size.tolist())
    chosen = tiles.set_index("tile").loc[numbers]
    shown = [shrunk(planes.plane(int(tile)), by) for tile in numbers]
    found = np.full((len(pairs), 2), np.nan)
    usual = (chosen[["height", "width"]].to_numpy() == size).all(axis=1)
    if usual.any() and _repeats(np.stack([image for image, of_size in zip(shown, usual, strict=True) if of_size])):
        return found, float(by)
    thumbnails = whitened(shown, chosen["camera"].tolist())
    padded = thumbnails.images[0].size / thumbnails.sizes.prod(axis=1).clip(min=1)
    power = (thumbnails.images**2).mean(axis=(1, 2)) * padded
    ends = np.stack([np.searchsorted(numbers, pairs[end]) for end in ("fixed", "moving")], axis=1)
    content = power[ends].min(axis=1)
    looked = np.argsort(-content, kind="stable")[:MOST_PAIRS]
    looked = np.sort(looked[content[looked] >= LEAST_CONTENT * power.mean()])
    if len(looked):
        nominal = pairs[["nominal_y", "nominal_x"]].to_numpy(float)[looked] / by
        found[looked] = by * _matches(thumbnails, ends[looked], nominal, pairs["side"].to_numpy()[looked], power)
    return found, float(by)


def _chosen_tiles(pairs: pd.DataFrame, tiles: pd.DataFrame) -> NDArray[np.int64]:
    """The numbers of the tiles of the pairs, and where these are few, of others from all over the dataset."""
    wanted = np.union1d(pairs["fixed"], pairs["moving"])
    others = np.setdiff1d(tiles["tile"], wanted)
    more = min(max(ENOUGH_TILES - len(wanted), 0), len(others))
    return np.union1d(wanted, others[np.linspace(0, len(others) - 1, more).astype(int)]).astype(np.int64)


def _repeats(thumbnails: Images) -> bool:
    """Whether the specimen in thumbnails (n, y, x) has a period."""
    band = thumbnails - ndimage.gaussian_filter(thumbnails, (0, COARSE_SIGMA, COARSE_SIGMA))
    power = (np.abs(fft.rfft2(band)) ** 2).mean(axis=0)
    correlation = fft.irfft2(power, thumbnails.shape[1:])
    y, x = (np.minimum(np.arange(side), side - np.arange(side)) for side in correlation.shape)
    far = (y[:, None] > APART) | (x > APART)
    return bool(correlation[far].max() > REPEATING * correlation[0, 0])


def _matches(thumbnails: Thumbnails, ends: NDArray[np.int64], nominal: Array, side: NDArray[np.object_], power: Array) -> Array:
    """The shifts (n, 2), px of thumbnails, at which pairs match, NaN where that is not certain.

    Args:
        thumbnails: of the tiles.
        ends: (n, 2) indices of the two thumbnails of each pair.
        nominal: (n, 2) px of thumbnails, nominal offsets.
        side: (n,) of the pairs.
        power: (tiles,) mean squares of the thumbnails.
    """
    correlator = Correlator(thumbnails)
    fullest = np.argsort(-power, kind="stable")[:UNRELATED].tolist()
    steps = range(1, 1 + -(-UNRELATED // len(fullest)))
    mirrored = [(i, fullest[(at + step) % len(fullest)]) for step in steps for at, i in enumerate(fullest)][:UNRELATED]
    unrelated = [correlator.scores(i, j, mirrored=True) for i, j in mirrored]
    listed = [(int(i), int(j)) for i, j in ends]
    found = matches(correlator, listed, unrelated)
    shift = np.array([match.shift if match.weight > 0 else (np.nan, np.nan) for match in found])
    certain = np.isfinite(shift).all(axis=1)
    if certain.all() or not certain.any():
        return shift
    departed = shift - nominal
    for pair in np.flatnonzero(~certain):
        alike = departed[certain & (side == side[pair])]
        if len(alike):
            where = _near_any(correlator, nominal[pair] + alike)
            height, place = correlator.peak(correlator.scores(*listed[pair]), where)
            if chance([correlator.peak(scores, where)[0] for scores in unrelated])(height) < CHANCE:
                shift[pair] = place
    return shift


def _near_any(correlator: Correlator, shifts: Array) -> Mask:
    """Which shifts lie near one of some shifts (n, 2), px."""
    unique = np.unique(shifts.round(), axis=0)
    return np.asarray(np.any([correlator.near(shift, AGREEING) for shift in unique], axis=0) & correlator.valid)
