"""What all pairs together say about each pair: on graphs with exact truth, with a method whose mistakes are known."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.pair_graphs import Graph, make_graph

from dlir.core import affine
from dlir.registration.confidence.calibration import FAINT
from dlir.registration.inference.consensus import OVERRULED, consensus
from dlir.registration.pairs import windows
from dlir.registration.pairs.neighbours import with_windows
from dlir.registration.settings import Register

SETTINGS = Register(method="network", accept=0.5, seed=1)


class Candidates:
    """A method that knows where each pair matches, and returns the place within the search that matches best.

    A pair matches where the graph says, and where `add` says. When no such place lies within the search, as in pairs of tiles
    that cannot match, the method returns a random place with a low NCC and a low confidence.
    """

    def __init__(self, graph: Graph, slide: float = 0.0) -> None:
        """The refinement may slide a pair out of the search, by so many px."""
        self.slide = slide
        self.places: dict[tuple[int, int], list[dict[str, Any]]] = {}
        self.add(graph.pairs, 0.8, 0.99)

    def add(self, pairs: pd.DataFrame, ncc: float, confidence: float) -> None:
        """The pairs match at the affines of the table `pairs`, too."""
        for row in pairs.drop(columns="accepted").assign(score_after=ncc, confidence=confidence).to_dict("records"):
            self.places.setdefault((row["fixed"], row["moving"]), []).append(row)

    def __call__(self, pairs: pd.DataFrame, what: str, linear: float, coarsest: int) -> pd.DataFrame:
        rng = np.random.default_rng(len(pairs))
        rows = [self._best(pair, rng) for pair in pairs.to_dict("records")]
        return pd.DataFrame(rows, pairs.index).assign(score_before=0.0)

    def _best(self, pair: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        nominal = np.array([pair["nominal_y"], pair["nominal_x"]])
        places = self.places.get((pair["fixed"], pair["moving"]), [])
        if near := [place for place in places if np.abs(_offset(place) - nominal).max() <= pair["search"] + self.slide]:
            return max(near, key=lambda place: place["score_after"])
        shift = nominal + rng.uniform(-1, 1, 2) * pair["search"]
        chance = {"y0": shift[0], "x0": shift[1], "score_after": rng.uniform(0, 0.2), "confidence": rng.uniform(0, 0.3)}
        identity = {"yy": 1.0, "yx": 0.0, "xy": 0.0, "xx": 1.0}
        some = next(iter(self.places.values()))[0]  # whose covariance it takes
        return some | {name: pair[name] for name in ("pair", "fixed", "moving", "side")} | identity | chance


def _offset(place: dict[str, Any]) -> np.ndarray:
    """How far (2,), px, the moving tile lies from the fixed one at the centre."""
    table = pd.DataFrame([place])
    return affine.offsets(affine.from_table(table), table[["centre_y", "centre_x"]].to_numpy())[0]


def to_register(graph: Graph, search: float) -> pd.DataFrame:
    """The pairs of the graph (tables.PAIRS), with nominal offsets by the stage, searched that far, px."""
    stage = graph.tiles.set_index("tile")[["y", "x"]]
    nominal = stage.loc[graph.pairs["moving"]].to_numpy() - stage.loc[graph.pairs["fixed"]].to_numpy()
    rows = graph.pairs[["pair", "fixed", "moving", "side"]]
    rows = rows.assign(nominal_y=nominal[:, 0], nominal_x=nominal[:, 1], search=search)
    return with_windows(rows, graph.tiles)


def errors(found: pd.DataFrame, graph: Graph) -> np.ndarray:
    """How far (n,), px, each pair lies from the truth at its centre."""
    index = pd.Index(graph.tiles["tile"])
    fixed, moving = (graph.truth[index.get_indexer(found[end])] for end in ("fixed", "moving"))
    at = found[["centre_y", "centre_x"]].to_numpy()
    true = affine.compose(affine.invert(fixed), moving)
    return np.asarray(np.linalg.norm(affine.offsets(affine.from_table(found), at) - affine.offsets(true, at), axis=1))


def test_a_pair_that_matches_better_elsewhere_is_found_where_the_others_predict_it() -> None:
    graph = make_graph(4, 5)
    method, repeats = Candidates(graph), graph.pairs.loc[[5, 12, 20]]
    method.add(repeats.assign(y0=repeats["y0"] + 12.0, x0=repeats["x0"] - 12.0), 0.85, 0.99)  # a specimen that repeats itself
    found = consensus(to_register(graph, 24.0), graph.tiles, method, SETTINGS)
    assert found["accepted"].all() and (found["confidence"] > 0.9).all()
    assert errors(found, graph).max() < 0.6


def test_the_confidence_does_not_depend_on_what_is_accepted() -> None:
    """A pair matches at a wrong place alone, which the others contradict, and every fifth pair is inexact."""
    graph = make_graph(5, 6)
    method, places = Candidates(graph), graph.pairs.copy()
    places.loc[12, "x0"] += 9.0
    places.loc[::5, ["var_y", "var_x"]] = 1.5
    for pair in (12, *range(0, len(places), 5)):
        method.places[places.loc[pair, "fixed"], places.loc[pair, "moving"]].clear()
        method.add(places.loc[[pair]], 0.8, 0.99)
    usual, strict = (
        consensus(to_register(graph, 24.0), graph.tiles, method, SETTINGS.model_copy(update={"accept": accept}))
        for accept in (0.5, 0.9)
    )
    pd.testing.assert_series_equal(usual["confidence"], strict["confidence"])
    for found in (usual, strict):
        assert found.index[found["overruled"]].tolist() == [12] == found.index[found["reason"] == OVERRULED].tolist()
        assert found.loc[12, "confidence"] < 0.2
    assert (strict.loc[::5, "reason"] == FAINT).all()


def test_the_fine_registration_is_given_how_far_tiles_are_turned_and_scaled() -> None:
    """Half of the true deviation would exclude some tiles; ten times as much would hardly help to find them."""
    graph = make_graph(5, 6, noise=0.02, linear=(0.003, 0.002, 0, 0))
    given: list[float] = []

    def refine(found: pd.DataFrame, predicted: np.ndarray, tiles: pd.DataFrame, *, linear: float) -> None:
        given.append(linear)

    consensus(to_register(graph, 24.0), graph.tiles, Candidates(graph), SETTINGS, refine)
    tiles = graph.truth[:, :, :2]
    between = tiles[graph.pairs["moving"] - 10] - tiles[graph.pairs["fixed"] - 10]
    (linear,) = given
    assert 0.5 * between.std() < linear < 10 * between.std()


def test_a_pair_whose_structure_pooling_hides_is_found_with_finer_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "ENOUGH_PIXELS", 1000)  # so that windows of 216 x 80 px are pooled by 2
    graph = make_graph(4, 5)
    hidden = graph.pairs.loc[[3, 11, 12], ["fixed", "moving"]].to_numpy().tolist()

    class Pooled(Candidates):
        def __call__(self, pairs: pd.DataFrame, what: str, linear: float, coarsest: int) -> pd.DataFrame:
            seen = self.places
            if coarsest > 1:
                self.places = {ends: places for ends, places in seen.items() if [*ends] not in hidden}
            found = super().__call__(pairs, what, linear, coarsest)
            self.places = seen
            return found

    found = consensus(to_register(graph, 60.0), graph.tiles, Pooled(graph), SETTINGS)
    assert found["accepted"].all() and errors(found, graph).max() < 0.6


def test_pairs_are_found_where_the_stage_errs_by_more_than_the_search() -> None:
    """In a row of tiles no other pairs predict a pair."""
    graph = make_graph(1, 12, stage_error=9.0)
    found = consensus(to_register(graph, 12.0), graph.tiles, Candidates(graph), SETTINGS)
    assert found["accepted"].all()
    assert errors(found, graph).max() < 0.6


def test_a_pair_that_no_others_predict_is_found_where_the_stage_predicts_it() -> None:
    graph = make_graph(1, 8, stage_error=1.0)
    method, repeat = Candidates(graph), graph.pairs.loc[[3]]
    method.add(repeat.assign(y0=repeat["y0"] + 16.0, x0=repeat["x0"] - 16.0), 0.85, 0.99)
    found = consensus(to_register(graph, 24.0), graph.tiles, method, SETTINGS)
    assert found["accepted"].all()
    assert errors(found, graph).max() < 0.6


def test_a_match_that_could_be_chance_is_accepted_where_the_stage_expects_it() -> None:
    """Two dozen pairs match as poorly as chance: half of them where the truth is, half of them 16 px away."""
    right, wrong = [], []
    for seed in (1, 2, 3):
        graph, rng = make_graph(5, 8, stage_error=1.5, seed=seed), np.random.default_rng(seed)
        method, doubtful = Candidates(graph), rng.permutation(len(graph.pairs))[:24]
        places, angle = graph.pairs.copy(), rng.uniform(0, 2 * np.pi, 12)
        places.loc[doubtful[12:], "y0"] += 16 * np.sin(angle)
        places.loc[doubtful[12:], "x0"] += 16 * np.cos(angle)
        for pair in doubtful:
            method.places[places.loc[pair, "fixed"], places.loc[pair, "moving"]].clear()
            method.add(places.loc[[pair]], rng.uniform(0.08, 0.2), rng.uniform(0.1, 0.3))
        accepted = consensus(to_register(graph, 24.0), graph.tiles, method, SETTINGS)["accepted"]
        right.append(accepted[doubtful[:12]].mean())
        wrong.append(accepted[doubtful[12:]].mean())
    assert np.mean(right) > np.mean(wrong) + 0.35


def slipped(graph: Graph, rows: int, shift: float) -> Graph:
    """The graph where the stage moved the rows from `rows` on by `shift`, px along x, without knowing of it."""
    return graph._replace(tiles=graph.tiles.assign(x=graph.tiles["x"] - shift * (graph.tiles["row"] >= rows)))


def test_what_is_found_beyond_the_windows_counts() -> None:
    """Two rows of ten slipped by a little more than is searched; a dataset of which most pairs did so is searched wider."""
    graph = slipped(make_graph(10, 4, stage_error=1.0), 8, 17.0)
    found = consensus(to_register(graph, 12.0), graph.tiles, Candidates(graph, slide=8.0), SETTINGS)
    assert found["accepted"].all() and errors(found, graph).max() < 0.6
    graph = make_graph(1, 8, stage_error=1.0)
    graph = graph._replace(tiles=graph.tiles.assign(x=graph.tiles["x"] * 1.1))
    found = consensus(to_register(graph, 12.0), graph.tiles, Candidates(graph, slide=10.0), SETTINGS)
    assert found["accepted"].all() and errors(found, graph).max() < 0.6


def test_a_slip_is_found_in_the_whole_tiles() -> None:
    """The search is asked for the pairs across the slip alone, and where it is wrong the pair is not accepted."""
    graph, asked = slipped(make_graph(4, 5, stage_error=1.0), 2, 60.0), []
    true = to_register(graph, 12.0).set_index("pair")[["nominal_y", "nominal_x"]].to_numpy()
    true = true + np.where((graph.pairs["side"] == "down") & graph.pairs["fixed"].between(15, 19), 1, 0)[:, None] * [0, 60]

    def search(pairs: pd.DataFrame) -> tuple[np.ndarray, float]:
        asked.extend(pairs["pair"])
        offset = true[pairs["pair"]]
        offset[0], offset[1] = np.nan, offset[1] + 40
        return offset, 4.0

    found = consensus(to_register(graph, 12.0), graph.tiles, Candidates(graph), SETTINGS, search=search)
    across = graph.pairs.index[(graph.pairs["side"] == "down") & graph.pairs["fixed"].between(15, 19)].tolist()
    assert sorted(asked) == across
    assert found.loc[across[2:], "accepted"].all()
    assert errors(found[found["accepted"]], graph).max() < 0.6


def test_nothing_is_searched_where_all_pairs_are_explained() -> None:
    def search(pairs: pd.DataFrame) -> tuple[np.ndarray, float]:
        raise AssertionError("not needed")

    graph = make_graph(3, 4)
    method, blank = Candidates(graph), graph.pairs.loc[3]
    method.places[blank["fixed"], blank["moving"]].clear()  # nothing to see, but the others say where the tiles lie
    found = consensus(to_register(graph, 24.0), graph.tiles, method, SETTINGS, search=search)
    assert found["accepted"].sum() == len(found) - 1


def test_a_pair_that_matches_far_worse_where_the_others_predict_it_stays() -> None:
    graph = make_graph(4, 5)
    method, pair = Candidates(graph), graph.pairs.loc[[12]]
    method.places[pair["fixed"].item(), pair["moving"].item()].clear()
    method.add(pair, 0.4, 0.9)
    elsewhere = pair.assign(y0=pair["y0"] + 12.0, x0=pair["x0"] - 12.0)
    method.add(elsewhere, 0.95, 0.99)
    found = consensus(to_register(graph, 24.0), graph.tiles, method, SETTINGS)
    assert abs(found.loc[12, "y0"] - elsewhere["y0"].item()) < 0.1 and found.loc[12, "overruled"]
