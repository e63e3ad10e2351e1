"""Training: it lowers the error on tiles that it has not seen, never harms, and is repeatable."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Grid

from dlir import network, train
from dlir.settings import Train
from dlir.similarity import corner_error

SETTINGS = Train(share=False, steps=30, batch=4, learning_rate=0.002, seed=1)


def run(grid: Grid, output: Path, **change: object) -> network.CorrelationNetwork:
    settings = SETTINGS.model_copy(update=change)
    train.train([grid.tiles], [grid.illumination], [grid.pairs], output, settings=settings, device="cpu")
    return network.load(output, torch.device("cpu"))


def held_out_error(model: network.CorrelationNetwork, grid: Grid) -> float:
    source = train._source(grid.tiles, grid.illumination, grid.pairs, torch.device("cpu"), seed=5)
    errors = []
    for shape in source.shapes:
        known = train.known_pairs(source.held, shape, 48, torch.Generator().manual_seed(9))
        with torch.no_grad():
            found = model(known.fixed, known.moving, shape.search, shape.centre)
        errors.append(corner_error(found.affine, known.affine, shape.height, shape.width))
    return float(torch.cat(errors).median())


@pytest.mark.slow
def test_training_lowers_the_error(noisy_grid: Grid, tmp_path: Path) -> None:
    before = held_out_error(run(noisy_grid, tmp_path / "none.pt", steps=0), noisy_grid)
    after = held_out_error(run(noisy_grid, tmp_path / "model.pt", steps=80), noisy_grid)
    assert after < 0.9 * before


def test_the_same_seed_gives_the_same_weights(grid: Grid, tmp_path: Path) -> None:
    first, second, other = (
        run(grid, tmp_path / f"{i}.pt", steps=2, batch=2, seed=seed).state_dict() for i, seed in enumerate((1, 1, 2))
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_training_that_does_harm_is_undone(grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(model: torch.nn.Module, *_: object) -> None:
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=3.0)

    monkeypatch.setattr(train, "_fit", spoil)
    untrained = run(grid, tmp_path / "none.pt", steps=0).state_dict()
    kept = run(grid, tmp_path / "model.pt").state_dict()
    assert all(torch.equal(kept[name], untrained[name]) for name in kept if name != "covariance_scale")


def test_the_loss_is_least_at_the_truth() -> None:
    shape = train.Shape(32, 64, 8.0, (0.0, 0.0))
    known = train.Known(torch.zeros(1), torch.zeros(1), torch.tensor([[[1.0, 0, 2.0], [0, 1, -4.0]]]))
    logits = train._target(known.affine, 5, shape.centre).clamp(min=1e-9).log()
    losses = []
    for apart in (0.0, 0.5, 2.0, 20.0):
        steps = (known.affine + torch.tensor([[0, 0, apart], [0, 0, 0]]),) * 3
        found = network.Estimate(steps[-1], torch.eye(6)[None], torch.ones(1), steps, logits)
        losses.append(float(train.known_loss(found, known, shape)))
    assert losses == sorted(losses)
    wrong = network.Estimate(known.affine, torch.eye(6)[None], torch.ones(1), (known.affine,) * 3, torch.zeros_like(logits))
    assert float(train.known_loss(wrong, known, shape)) > losses[0]


def test_one_tile_has_nothing_to_learn_from(one_tile: Grid, tmp_path: Path) -> None:
    model = run(one_tile, tmp_path / "model.pt")
    assert all(np.isfinite(value.numpy()).all() for value in model.state_dict().values())
