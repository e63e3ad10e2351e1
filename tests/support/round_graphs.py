"""Makes the tables of rounds of one specimen, with exact truth and without images."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from dlir.core import affine, tables
from dlir.core.affine import BASIS
from dlir.core.lens import NO_LENSES, Lenses
from dlir.core.tables import LINEAR_COVARIANCE
from dlir.placement.place import place_tiles
from dlir.placement.settings import Place
from dlir.rounds.inputs import Round
from support.specimens import ONE_PLANE

SIDE, OVERLAP = 512, 52  # px
FULL = {"bow_y": 0.0, "bow_x": 0.0, "score_before": 0.1, "score_after": 0.9, "overruled": False, "reason": ""}


class Shape(NamedTuple):
    """How a round is taken."""

    turn: float = 0.0  # degrees, against the first round
    scale: float = 1.0  # px of the first round in one px of this one
    shift: tuple[float, float] = (0.0, 0.0)  # px, of the grid
    rows: int = 5
    cols: int = 6
    stage_error: float = 3.0  # px
    side: int = SIDE
    shear: float = 0.0
    aspect: float = 0.0
    blank: tuple[int, ...] = ()  # tiles without pairs


class TableRound(Round):
    """A round whose tables are not written, without a distortion."""

    def own_placement(self, settings: Place) -> pd.DataFrame:
        return place_tiles(self.tiles, self.affines, settings, survey=self.survey)[0]

    def lenses(self) -> Lenses:
        return NO_LENSES


class Rounds(NamedTuple):
    """Rounds, and where their tiles truly lie."""

    rounds: list[Round]
    between: pd.DataFrame  # tables.ROUND_PAIRS
    maps: pd.DataFrame  # tables.ROUNDS
    truth: list[np.ndarray]  # (tiles, 2, 3) of each round, in the frame of the first
    wrong: np.ndarray  # (n,) the pairs of `between` that are wrong

    def errors(self, placed: pd.DataFrame) -> list[np.ndarray]:
        """How far (tiles, 4), px, the corners of the tiles of each round lie from the truth.

        The frame is that in which the first round fits best: a shift and a small turn and scale, which no pair can tell.
        """
        found = [affine.from_table(placed[placed["round"] == each.name]) for each in self.rounds]
        ends = [affine.corners(*tables.sizes(each.tiles).T) for each in self.rounds]
        first = affine.apply(found[0], ends[0]).reshape(-1, 2)
        truth = affine.apply(self.truth[0], ends[0]).reshape(-1, 2)
        common, offset = first.mean(axis=0), truth.mean(axis=0)
        design = np.concatenate(
            [np.einsum("kab,nb->nak", BASIS[:2], first - common), np.tile(np.eye(2), (len(first), 1, 1))], 2
        )
        fit = np.eye(2), np.zeros(2)
        for _ in range(10):  # robustly: blank tiles lie where the stage says
            left = truth - offset - (first - common) @ fit[0].T - fit[1]
            weight = 1 / (0.1**2 + (left**2).sum(axis=1))
            value = np.linalg.solve(np.einsum("nak,n,nal->kl", design, weight, design),
                                    np.einsum("nak,n,na->k", design, weight, truth - offset - (first - common)))  # fmt: skip
            fit = np.eye(2) + np.einsum("k,kab->ab", value[:2], BASIS[:2]), value[2:]
        return [
            np.linalg.norm((affine.apply(f, e) - common) @ fit[0].T + fit[1] + offset - affine.apply(t, e), axis=2)
            for f, e, t in zip(found, ends, self.truth, strict=True)
        ]


def make_rounds(
    *shapes: Shape, noise: float = 0.03, wrong: float = 0.0, coarse: float = 1.0, linear: float = 0.0, seed: int = 0,
    least: float = 100.0, folder: Path = Path("results/S"), found: str = "pixels",
) -> Rounds:  # fmt: skip
    """Makes rounds of these shapes, the first of which gives the frame.

    Args:
        noise: standard deviation of the shift of a pair, px; that of its linear part is noise / 100.
        wrong: share of the pairs that are off by up to 25 px.
        coarse: px, by which the coarse maps err, in the middle of a round and at its edges.
        linear: standard deviation of the turn of single tiles, rad.
        least: px, the shortest side of the overlap of a pair of two rounds.
    """
    rng = np.random.default_rng(seed)
    rounds, truth = [], []
    for number, shape in enumerate(shapes):
        tiles, places = _tiles(shape, f"R{number + 1}", rng, linear)
        right, down = (tiles.index[tiles["col"] < shape.cols - 1], tiles.index[tiles["row"] < shape.rows - 1])
        i, j = np.r_[right, down], np.r_[right + 1, down + shape.cols]
        sides = np.repeat(["right", "down"], [len(right), len(down)])
        kept = ~np.isin(np.c_[i, j], shape.blank).any(axis=1)
        pairs, _ = _pairs(places, places, i[kept], j[kept], sides[kept], shape.side, shape.side, noise, wrong, rng)
        rounds.append(TableRound(f"R{number + 1}", folder / f"R{number + 1}", tiles, pairs, _survey(shape)))
        truth.append(places)
    between, bads = [], []
    for b in range(1, len(shapes)):
        for a in sorted({0, b - 1}):
            i, j = _seen_by_both(truth[a], truth[b], shapes[a].side, shapes[b].side, least)
            kept = ~np.isin(i, shapes[a].blank) & ~np.isin(j, shapes[b].blank)
            sides = np.full(kept.sum(), "round")
            of = truth[a], truth[b], i[kept], j[kept], sides, shapes[a].side, shapes[b].side
            pairs, bad = _pairs(*of, noise, wrong, rng)
            between.append(pairs.assign(fixed_round=rounds[a].name, moving_round=rounds[b].name))
            bads.append(bad)
    table = pd.concat(between, ignore_index=True) if between else pd.DataFrame(columns=list(tables.ROUND_PAIRS.columns))
    table["pair"] = np.arange(len(table))
    maps = coarse_maps(rounds, truth, coarse, found, rng)
    return Rounds(rounds, table, maps, truth, np.concatenate([*bads, np.zeros(0, bool)]).astype(bool))


def _tiles(shape: Shape, name: str, rng: np.random.Generator, linear: float) -> tuple[pd.DataFrame, np.ndarray]:
    """The tiles of a round, and where they truly lie."""
    index = np.arange(shape.rows * shape.cols)
    step = shape.side - OVERLAP
    stage = np.stack(np.divmod(index, shape.cols), 1) * float(step)
    angle = np.radians(shape.turn)
    turned = shape.scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    turned = turned @ (np.eye(2) + shape.aspect * BASIS[2] + shape.shear * BASIS[3])
    middle = np.full(2, (shape.side - 1) / 2)
    extent = np.array([shape.rows - 1, shape.cols - 1]) * step / 2
    places = (stage + rng.normal(0, shape.stage_error, stage.shape) - extent) @ turned.T + 1500 + np.array(shape.shift)
    own = np.eye(2) + rng.normal(0, linear, len(index))[:, None, None] * BASIS[0]
    truth = affine.moving(middle[None], places - middle, own @ turned)
    tiles = pd.DataFrame({"tile": index, "path": [f"{name}/{i}.tif" for i in index], "row": index // shape.cols,
                          "col": index % shape.cols, "y": stage[:, 0], "x": stage[:, 1], "height": shape.side,
                          "width": shape.side, **ONE_PLANE, "channels": 1, "dtype": "uint16", "pixel_size": np.nan,
                          "sha256": "0"})  # fmt: skip
    return tiles, truth


def _pairs(
    truth_i: np.ndarray, truth_j: np.ndarray, i: np.ndarray, j: np.ndarray, sides: np.ndarray, side_i: int, side_j: int,
    noise: float, wrong: float, rng: np.random.Generator,
) -> tuple[pd.DataFrame, np.ndarray]:  # fmt: skip
    """The pairs of tiles i and j, and which are wrong."""
    pair = affine.compose(affine.invert(truth_i[i]), truth_j[j])
    # the middle of the overlap, in the moving tile, to a few px
    grid = np.stack(np.meshgrid(*2 * [np.linspace(0, side_j - 1, 25)], indexing="ij"), -1).reshape(-1, 2)
    seen = affine.apply(pair, grid[None])
    inside = ((seen >= 0) & (seen <= side_i - 1)).all(axis=2)
    at = (inside[:, :, None] * grid).sum(axis=1) / np.maximum(inside.sum(axis=1), 1)[:, None]
    bad = rng.random(len(i)) < wrong
    error = rng.normal(0, noise, (len(i), 2)) + bad[:, None] * rng.uniform(-25, 25, (len(i), 2))
    linear_error = rng.normal(0, noise / 100, (len(i), 2, 2))
    pair = pair + np.concatenate([linear_error, (error - np.einsum("nab,nb->na", linear_error, at))[:, :, None]], 2)
    variance = max(noise, 0.01) ** 2
    table = pd.DataFrame({"pair": np.arange(len(i)), "fixed": i, "moving": j, "side": sides, **affine.to_columns(pair),
                          "centre_y": at[:, 0], "centre_x": at[:, 1], "var_y": variance, "cov_yx": 0.0, "var_x": variance,
                          **FULL, "confidence": 0.99, "accepted": True, "method": "network"})  # fmt: skip
    covariance = dict(zip(LINEAR_COVARIANCE, (np.eye(4) * variance / 100**2).ravel(), strict=True))
    return table.assign(**covariance), bad


def _seen_by_both(truth_i: np.ndarray, truth_j: np.ndarray, side_i: int, side_j: int, least: float) -> tuple[np.ndarray, ...]:
    """The tiles of two rounds that share a part of at least `least` px on both axes."""
    middles = [affine.apply(of, np.full((1, 2), (side - 1) / 2))[:, 0] for of, side in ((truth_i, side_i), (truth_j, side_j))]
    apart = np.abs(middles[0][:, None] - middles[1][None]).max(axis=2)
    return np.nonzero(apart < (side_i + side_j) / 2 - least)


def coarse_maps(
    rounds: list[Round], truth: list[np.ndarray], error: float, found: str, rng: np.random.Generator
) -> pd.DataFrame:
    """The table tables.ROUNDS, with similarities that err by about `error` px in the middle of a round and at its edges."""
    rows, to_truth = [], np.zeros(2)
    for number, each in enumerate(rounds):
        middles = (tables.sizes(each.tiles) - 1)[:, None] / 2
        own = affine.from_table(each.own_placement(Place()))
        source, target = (affine.apply(of, middles)[:, 0] for of in (own, truth[number]))
        linear = np.median(truth[number][:, :, :2], axis=0)
        linear = (linear + np.linalg.inv(linear).T * np.linalg.det(linear)) / 2  # without aspect and shear
        shift, centre = np.median(target - source @ linear.T, axis=0), source.mean(axis=0)[None]
        if number == 0:
            to_truth = shift
        angle, more = rng.normal(0, error / max(np.ptp(source, axis=0).max() / 2, 500.0), 2) if number else (0.0, 0.0)
        off = rng.normal(0, error, (1, 2)) if number else np.zeros((1, 2))
        small = affine.moving(centre, off, (np.eye(2) + angle * BASIS[0] + more * BASIS[1])[None])
        fit = affine.compose(np.c_[linear, shift - to_truth], small[0])
        turn = np.degrees(np.arctan2(fit[0, 1] - fit[1, 0], np.trace(fit[:, :2])))
        row = {name: value[0] for name, value in affine.to_columns(fit[None]).items()}
        rows.append({"round": each.name, **row, "turn": turn, "scale": np.sqrt(np.linalg.det(fit[:, :2])), "shift_y": 0.0,
                     "shift_x": 0.0, "blocks": 20, "agreeing": 18, "spread": max(error, 0.1),
                     "found": found if number else "first",
                     "against": rounds[0].name if number and found == "pixels" else "", "advice": ""})  # fmt: skip
    return pd.DataFrame(rows)


def _survey(shape: Shape) -> pd.DataFrame:
    """The table tables.SURVEY: the steps were told and hold."""
    step = float(shape.side - OVERLAP)
    steps = {"y": [step, 0.0], "x": [0.0, step]}
    columns = {f"{kind}_{axis}": steps[axis] for kind in ("told", "found", "step") for axis in "yx"}
    return pd.DataFrame({"side": ["down", "right"], **columns, "spread_y": 1.0, "spread_x": 1.0, "pairs": 9, "sure": 9,
                         "overlap": OVERLAP / shape.side, "layout": "fits", "advice": ""})  # fmt: skip


def write_rounds(made: Rounds, folder: Path) -> None:
    """Writes the tables of the rounds, as the steps before the placement do: FOLDER/R1/tiles.csv, ..., FOLDER/between.csv."""
    for each in made.rounds:
        place = folder / each.name
        place.mkdir(parents=True)
        for name, table, schema in (("tiles", each.tiles, tables.TILES), ("affines", each.affines, tables.AFFINES),
                                    ("survey", each.survey, tables.SURVEY)):  # fmt: skip
            tables.write(table, schema, place / f"{name}.csv")
        tables.write(pd.DataFrame(columns=list(tables.LENS.columns)), tables.LENS, place / "lens.csv")
    tables.write(made.between, tables.ROUND_PAIRS, folder / "between.csv")
    tables.write(made.maps, tables.ROUNDS, folder / "rounds.csv")
