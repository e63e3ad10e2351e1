"""The network is trained on the pairs between rounds: on what both rounds show, only where it misses pairs, and once."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import ndimage
from support.acquisitions import acquired, true_map
from support.training import same_weights

from dlir.core import affine, tables
from dlir.core.affine import Array
from dlir.registration.model import checkpoint
from dlir.registration.model.checkpoint import GENERIC
from dlir.registration.settings import Train
from dlir.registration.training import improve, judge
from dlir.registration.training.loop import Loop
from dlir.rounds import train_rounds
from dlir.rounds.inputs import PlacedRound

CPU = torch.device("cpu")
MAPS = true_map(), true_map(3.0, 1.02, (30.0, -20.0)), true_map(-2.0)


@pytest.fixture(scope="module")
def placed(tmp_path_factory: pytest.TempPathFactory) -> list[PlacedRound]:
    folder = tmp_path_factory.mktemp("specimen")
    return [
        acquired(folder / f"R{number}", each, light=0.5 if number > 1 else 1.0, seed=number)
        for number, each in enumerate(MAPS, start=1)
    ]


def listed(*found: str) -> pd.DataFrame:
    """How the rounds lie, by their true maps (tables.ROUNDS)."""
    count = len(found)
    table = pd.DataFrame(
        {"round": [f"R{number}" for number in range(1, count + 1)], **affine.to_columns(np.stack(MAPS[:count]))}
    )
    return table.assign(
        turn=0.0,
        scale=1.0,
        shift_y=0.0,
        shift_x=0.0,
        blocks=4,
        agreeing=4,
        spread=1.0,
        found=found,
        against=["R1" if each == "pixels" else "" for each in found],
        advice="",
    )


def at_truth(pixels: Array, place: Array, height: int, width: int) -> Array:
    """A part of an image whose first px lies at `place` (y, x)."""
    points = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij")) + place[:, None, None]
    return np.asarray(ndimage.map_coordinates(pixels, points, order=1))


def test_a_lesson_holds_pairs_of_what_both_rounds_show(placed: list[PlacedRound]) -> None:
    (taught,) = train_rounds.lessons(placed, listed("first", "pixels", "stage"), Train())
    assert len(taught.pairs) >= 6 and taught.shapes and set(taught.tiles) <= set(taught.pairs["moving"])
    alike = []
    for fixed, moving, y, x in taught.pairs[["fixed", "moving", "nominal_y", "nominal_x"]].itertuples(index=False):
        piece = taught.planes.plane(moving)
        there = at_truth(taught.planes.plane(fixed).astype(float), np.array([y, x]), *piece.shape)
        alike.append(np.corrcoef(piece.ravel(), there.ravel())[0, 1])
    assert np.median(alike) > 0.8


def test_rounds_that_the_pixels_do_not_show_teach_nothing(placed: list[PlacedRound]) -> None:
    assert train_rounds.lessons(placed, listed("first", "stage", "stage"), Train()) == []


def trained(
    placed: list[PlacedRound], folder: Path, monkeypatch: pytest.MonkeyPatch, model: Path = GENERIC, **changes: object
) -> tuple[Path, pd.DataFrame]:
    """The network of the step, and its history."""
    monkeypatch.setattr(train_rounds, "read_placed", lambda *_: placed)
    monkeypatch.setattr(improve, "LOOK_BATCHES", 1)
    folder.mkdir(exist_ok=True)
    found = ("first", "pixels", "pixels")[: len(placed)]
    tables.write(listed(*found), tables.ROUNDS, folder / "rounds.csv")
    train_rounds.train_rounds([], folder / "rounds.csv", folder / "round_model.pt", model=model, device="cpu",
                              settings=Train.model_validate(changes), cache=folder / "cache")  # fmt: skip
    return folder / "round_model.pt", tables.read(folder / "round_model.csv", tables.HISTORY)


def test_rounds_whose_pairs_the_network_finds_are_not_trained_on(
    placed: list[PlacedRound], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, history = trained(placed, tmp_path, monkeypatch)
    assert same_weights(checkpoint.load(model, CPU), checkpoint.load(GENERIC, CPU))
    assert len(history) == 1 and history["decision"][0].startswith("not trained: the network misses 0 of ")


@pytest.mark.slow
def test_a_network_that_was_trained_is_kept_when_a_round_is_added(
    placed: list[PlacedRound], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "WORTHWHILE", 0.0)
    monkeypatch.setattr(improve, "CHECK_BATCHES", 1)
    better, steps, step = itertools.count(0, -1), itertools.count(), Loop.step
    monkeypatch.setattr(improve, "_errors", lambda *_: torch.full((4,), float(next(better))))
    monkeypatch.setattr(improve, "_fault", lambda *_: "")
    monkeypatch.setattr(Loop, "step", lambda loop: (next(steps), step(loop))[1])
    model, history = trained(placed[:2], tmp_path, monkeypatch, steps=1, batch=2)
    learnt = checkpoint.load(model, CPU)
    assert history["decision"].iloc[-1].startswith("kept: ")
    assert not same_weights(learnt, checkpoint.load(GENERIC, CPU))
    model, again = trained(placed, tmp_path, monkeypatch, steps=1, batch=2)
    assert next(steps) == 1 and same_weights(checkpoint.load(model, CPU), learnt)
    pd.testing.assert_frame_equal(again, history)
    trained(placed[:2], tmp_path, monkeypatch, steps=1, batch=3)
    assert next(steps) == 3  # other settings train again
