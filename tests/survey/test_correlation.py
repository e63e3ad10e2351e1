import numpy as np
import pytest
from scipy import ndimage

from dlir.survey.correlation import Correlator, Match, matches
from dlir.survey.thumbnails import factor, shrunk, whitened

SIZE = 96


def specimen(seed: int, side: int = 400) -> np.ndarray:
    return ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(side, side)), 1.2).astype(np.float32)


def cut(image: np.ndarray, places: list[tuple[int, int]]) -> np.ndarray:
    return np.stack([image[y : y + SIZE, x : x + SIZE] for y, x in places])


PLACES = [(0, 0), (5, 80), (84, -2 + 2), (200, 200), (120, 290), (290, 30)]
UNRELATED = [(i, j) for i in range(6) for j in range(6) if i != j][:24]


@pytest.mark.parametrize(("size", "expected"), [((512, 512), 4), ((2048, 2000), 16), ((100, 90), 1)])
def test_thumbnails_have_about_128_px(size: tuple[int, int], expected: int) -> None:
    assert factor(size) == expected
    assert shrunk(np.zeros(size), expected).shape == (size[0] // expected, size[1] // expected)


def test_a_block_mean_leaves_out_what_fills_no_block() -> None:
    np.testing.assert_allclose(shrunk(np.arange(15.0).reshape(3, 5), 2), [[3, 5]])


def matched(tiles: np.ndarray, pairs: list[tuple[int, int]], mirrored: list[tuple[int, int]] = UNRELATED) -> list[Match]:
    """The matches of pairs of tiles, against those of other pairs whose second tile is mirrored."""
    correlator = Correlator(whitened(list(tiles), [0] * len(tiles)))
    return matches(correlator, pairs, [correlator.scores(i, j, mirrored=True) for i, j in mirrored])


def test_matches_lie_where_the_second_tile_lies_in_the_first() -> None:
    found = matched(cut(specimen(1), PLACES), [(0, 1), (1, 0), (0, 2), (0, 3), (3, 5)])
    assert [match.weight > 0 for match in found] == [True, True, True, False, False]
    for match, true in zip(found[:3], ((5, 80), (-5, -80), (84, 0)), strict=True):
        np.testing.assert_allclose(match.shift, true, atol=0.3)


def test_tiles_of_unequal_size_and_light_match_where_they_overlap() -> None:
    sizes = [(SIZE, SIZE), (SIZE, 70), (60, SIZE), (SIZE, SIZE), (50, 64), (SIZE, SIZE)]
    tiles = [tile[:height, :width] for tile, (height, width) in zip(cut(specimen(1), PLACES), sizes, strict=True)]
    tiles[1], tiles[2] = 500 + 20 * tiles[1], 7 + 0.1 * tiles[2]
    thumbnails = whitened(tiles, [0, 1, 2, 0, 3, 0])
    assert all((image[height:] == 0).all() for image, (height, _) in zip(thumbnails.images, sizes, strict=True))
    correlator = Correlator(thumbnails)
    found = matches(correlator, [(0, 1), (2, 0)], [correlator.scores(i, j, mirrored=True) for i, j in UNRELATED])
    assert all(match.weight > 0 for match in found)
    for match, true in zip(found, ((5, 80), (-84, 0)), strict=True):
        np.testing.assert_allclose(match.shift, true, atol=0.5)


def test_tiles_that_show_nothing_but_noise_do_not_match() -> None:
    noise = np.random.default_rng(2).normal(size=(30, SIZE, SIZE)).astype(np.float32)
    pairs = [(i, i + 1) for i in range(29)]
    assert sum(match.weight > 0 for match in matched(noise, pairs, pairs[:24])) == 0


def test_light_and_dirt_that_all_tiles_share_are_no_match() -> None:
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE - 0.5
    shared = (1 - y**2 - x**2) * (1 + 0.3 * specimen(4, SIZE))
    tiles = (100 + 20 * np.stack([specimen(seed, SIZE) for seed in range(10, 22)])) * shared + rng.normal(size=(12, SIZE, SIZE))
    pairs = [(i, i + 1) for i in range(11)]
    assert sum(match.weight > 0 for match in matched(tiles.astype(np.float32), pairs, pairs)) == 0


def test_what_repeats_itself_is_no_certain_match() -> None:
    y, x = np.mgrid[:400, :400]
    tiles = cut(((y % 12) < 6) & ((x % 12) < 6), PLACES) + np.random.default_rng(5).normal(0, 0.05, (6, SIZE, SIZE))
    pairs = [(0, 1), (0, 2)]
    found = matched(tiles.astype(np.float32), pairs)
    assert [match.weight for match in found] == [0, 0]
