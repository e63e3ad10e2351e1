import numpy as np
import pandas as pd
import pytest
from support.pair_graphs import SIDE, STEP, make_graph

from dlir.core import affine
from dlir.core.lens import Lens, grid
from dlir.placement.distortion import stretch
from dlir.placement.place import place_tiles

SIZE = np.array([256.0, 256.0])


def pairs(side: str, bow: tuple[float, float], *, count: int = 12, noise: float = 0.2, seed: int = 1) -> pd.DataFrame:
    """Pairs of a side, 180 px apart, with a bow (y, x) in common."""
    rng = np.random.default_rng(seed)
    offset = np.array([180.0, 0.0] if side == "down" else [0.0, 180.0]) + rng.normal(0, 2, (count, 2))
    bent = np.array(bow) + rng.normal(0, noise, (count, 2))
    columns = affine.to_columns(affine.translation(offset))
    return pd.DataFrame(
        {**columns, "side": side, "centre_y": 100.0, "centre_x": 100.0, "bow_y": bent[:, 0], "bow_x": bent[:, 1]}
    )


def test_a_radial_distortion_stretches_the_places_by_what_the_bow_says() -> None:
    """With a displacement -k r^2 p: the offset of two tiles, averaged over their overlap, is wrong by this much."""
    k, half, length = 1e-6, 90.0, 128.0
    along = np.linspace(-length, length, 1001)
    wrong = -2 * k * half * (half**2 + along**2).mean()
    found = stretch(pairs("right", (0.0, -2 * k * half * length**2), noise=0.01), SIZE)
    assert found[1, 1] * 2 * half == pytest.approx(wrong, rel=0.02)
    assert np.abs(found[:, 0]).max() == 0 and abs(found[0, 1]) < 1e-4


def test_what_noise_explains_is_no_bow() -> None:
    for seed in range(20):
        assert not stretch(pairs("down", (0.0, 0.0), noise=0.5, seed=seed), SIZE).any()


def test_few_pairs_and_pairs_that_were_not_refined_show_no_bow() -> None:
    bent = pairs("down", (-3.0, 0.0))
    assert stretch(bent, SIZE).any()
    assert not stretch(bent[:2], SIZE).any()
    assert not stretch(bent.assign(bow_y=np.nan, bow_x=np.nan), SIZE).any()


def test_places_by_a_lens_that_is_known_badly_err_by_what_the_deviation_says() -> None:
    """Each of 20 lenses errs as its intervals say: all pairs of a side are wrong by the mean over their overlap."""
    size, deviation = (SIDE, SIDE), 0.1
    strip = grid((SIDE, SIDE - int(STEP)))
    graph, errors, stated = make_graph(4, 5, noise=0.02), list[np.ndarray](), list[pd.Series]()
    for seed in range(20):
        wrong = Lens.of(size, np.random.default_rng(seed).normal(0, deviation, (18, 2)))
        wrong_pairs = graph.pairs.assign(bow_y=0.0, bow_x=0.0)
        for side, in_moving, step in (("right", strip, [0.0, STEP]), ("down", strip[:, ::-1], [STEP, 0.0])):
            off = (wrong.displacement(in_moving) - wrong.displacement(in_moving + np.array(step))).mean(axis=0)
            wrong_pairs.loc[wrong_pairs["side"] == side, ["y0", "x0"]] += off
        lens = wrong._replace(interval=np.full((18, 2), 1.96 * deviation))
        placed, _ = place_tiles(graph.tiles, wrong_pairs, lenses={0: lens})
        errors.append(graph.error(affine.from_table(placed)))
        stated.append(placed["deviation"])
    assert 0.7 < np.sqrt(np.mean(np.square(errors)) / np.mean(np.square(stated))) < 1.4
    without, _ = place_tiles(graph.tiles, wrong_pairs)
    assert without["deviation"].max() < 0.3 * np.max(stated)
