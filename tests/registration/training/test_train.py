"""Training: it lowers the error on tiles it has not seen, never does harm, is repeatable, and resumes after an interruption."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from support.grids import Grid
from support.training import SETTINGS, same_weights

from dlir.core import tables
from dlir.registration.inference.register import register
from dlir.registration.model import checkpoint
from dlir.registration.model.model_settings import settings_of
from dlir.registration.model.warping import corner_error
from dlir.registration.pairs.synthetic import synthetic_pairs
from dlir.registration.settings import Register
from dlir.registration.training import improve, judge, lessons, train
from dlir.registration.training.loop import Loop


def run(grid: Grid, output: Path, **change: object) -> checkpoint.Network:
    settings = SETTINGS.model_copy(update=change)
    train.train([grid.tiles], [grid.illumination], [grid.pairs], output, settings=settings, device="cpu")
    return checkpoint.load(output, torch.device("cpu"))


def unseen_error(model: checkpoint.Network, grid: Grid) -> float:
    """The mean corner error, px, on synthetic pairs of a tile that is held out."""
    files = grid.tiles, grid.illumination, grid.pairs
    settings = SETTINGS.model_copy(update={"seed": 5})
    _, held = lessons.training_data(lessons.read_source(files, settings), torch.device("cpu"), settings)
    errors = []
    for shape in held.shapes:
        known = synthetic_pairs(held.tiles, shape, 48, torch.Generator().manual_seed(9))
        with torch.no_grad():
            found = model(known.fixed, known.moving, shape.search, shape.centre)
        errors.append(corner_error(found.affine, known.affine, shape.height, shape.width))
    return float(torch.cat(errors).clamp(max=3).mean())


@pytest.mark.slow
def test_training_from_random_weights_lowers_the_error(noisy_grid: Grid, tmp_path: Path) -> None:
    before = unseen_error(run(noisy_grid, tmp_path / "none.pt", steps=0), noisy_grid)
    after = unseen_error(run(noisy_grid, tmp_path / "model.pt", steps=100), noisy_grid)
    assert after < 0.9 * before
    history = tables.read(tmp_path / "model.csv", tables.HISTORY)
    assert history["step"].tolist() == [0, 50, 100]
    assert history["mean"].iloc[-1] < history["mean"].iloc[0]


def test_no_steps_give_the_generic_weights(grid: Grid, tmp_path: Path) -> None:
    model = run(grid, tmp_path / "model.pt", start="generic", steps=0)
    assert same_weights(model, checkpoint.load(checkpoint.GENERIC, torch.device("cpu")))


def test_tiles_that_the_network_knows_are_not_trained_on(grid: Grid, tmp_path: Path) -> None:
    model = run(grid, tmp_path / "model.pt", start="generic", when="auto")
    assert same_weights(model, checkpoint.load(checkpoint.GENERIC, torch.device("cpu")))
    history = tables.read(tmp_path / "model.csv", tables.HISTORY)
    assert len(history) == 1 and history["decision"][0].startswith("not trained: the network misses 0 of 32 ")
    assert settings_of(tmp_path / "model.pt")["tiles"] == []


def test_a_network_that_misses_what_the_pixels_tell_is_trained(
    grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "WORTHWHILE", 0.0)
    run(grid, tmp_path / "model.pt", when="auto", steps=2)
    history = tables.read(tmp_path / "model.csv", tables.HISTORY)
    assert history["step"].tolist() == [0, 2] and "kept: " in history["decision"].iloc[-1]


def test_a_network_that_is_worse_on_real_pairs_is_not_kept(grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def damage(loop: Loop) -> float:
        loop.done += 1
        with torch.no_grad():
            loop.model.correlation_weights -= 9.0  # type: ignore[union-attr]
        return 0.0

    monkeypatch.setattr(Loop, "step", damage)
    better = itertools.count(0, -1)
    monkeypatch.setattr(improve, "_errors", lambda *_: torch.full((4,), float(next(better))))
    model = run(grid, tmp_path / "model.pt", start="generic", steps=2)
    assert same_weights(model, checkpoint.load(checkpoint.GENERIC, torch.device("cpu")))
    assert tables.read(tmp_path / "model.csv", tables.HISTORY)["decision"].iloc[-1].startswith("not kept: ")


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights(noisy_grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    better = itertools.count(0, -1)  # each check finds a smaller error, so that the last weights are kept
    monkeypatch.setattr(improve, "_errors", lambda *_: torch.full((4,), float(next(better))))
    first, second, other = (run(noisy_grid, tmp_path / f"{i}.pt", steps=2, batch=2, seed=s) for i, s in enumerate((1, 1, 2)))
    assert same_weights(first, second) and not same_weights(first, other)


def test_training_that_does_harm_is_undone(grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def damage(loop: Loop) -> float:
        loop.done += 1
        generator = torch.Generator().manual_seed(0)
        for parameter in loop.model.parameters():
            torch.nn.init.normal_(parameter, std=3.0, generator=generator)
        return 0.0

    monkeypatch.setattr(Loop, "step", damage)
    assert same_weights(run(grid, tmp_path / "model.pt", steps=2), run(grid, tmp_path / "none.pt", steps=0))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["killed", "damaged"])
def test_an_interrupted_run_ends_with_the_weights_of_an_undisturbed_one(
    kind: str, noisy_grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(improve, "CHECK_EVERY", 2)
    monkeypatch.setattr(improve, "_clearly_better", lambda *_: True)
    monkeypatch.setattr(improve, "_fault", lambda *_: "")
    whole = run(noisy_grid, tmp_path / "whole.pt", steps=5, batch=2)
    step, taken = Loop.step, []

    def fails(loop: Loop) -> float:
        if loop.done == 3:
            raise KeyboardInterrupt
        return step(loop)

    def counts(loop: Loop) -> float:
        taken.append(loop.done)
        return step(loop)

    monkeypatch.setattr(Loop, "step", fails)
    with pytest.raises(KeyboardInterrupt):
        run(noisy_grid, tmp_path / "model.pt", steps=5, batch=2)
    assert not (tmp_path / "model.pt").exists()
    state = tmp_path / "model.state"
    if kind == "damaged":
        state.write_bytes(state.read_bytes()[:1000])
    monkeypatch.setattr(Loop, "step", counts)
    assert same_weights(run(noisy_grid, tmp_path / "model.pt", steps=5, batch=2), whole)
    assert taken == ([2, 3, 4] if kind == "killed" else [0, 1, 2, 3, 4])
    assert not state.exists()


def test_one_tile_leaves_the_network_as_it_is(one_tile: Grid, tmp_path: Path) -> None:
    assert same_weights(run(one_tile, tmp_path / "model.pt"), run(one_tile, tmp_path / "none.pt", steps=0))
    assert all(np.isfinite(value.numpy()).all() for value in run(one_tile, tmp_path / "m.pt").state_dict().values())


@pytest.mark.slow
def test_the_network_of_the_paper_learns_the_pairs_of_a_grid(grid: Grid, tmp_path: Path) -> None:
    model = run(grid, tmp_path / "model.pt", architecture="dlir", start="generic", steps=200, batch=8)
    assert isinstance(model, checkpoint.PaperNetwork)
    history = tables.read(tmp_path / "model.csv", tables.HISTORY)
    assert set(history["measure"]) == {"1 - NCC"}
    assert history["median"].iloc[-1] < 0.5 * history["median"].iloc[0]
    settings = Register(method="network", accept=0.5, seed=1)
    affines, given = tmp_path / "affines.csv", (grid.tiles, grid.illumination, grid.pairs)
    register(*given, affines, model=tmp_path / "model.pt", settings=settings, device="cpu")
    assert np.median(grid.errors(tables.read(affines, tables.AFFINES))) < 1.0


def checked(
    grid: Grid, output: Path, monkeypatch: pytest.MonkeyPatch, errors: list[torch.Tensor]
) -> tuple[checkpoint.Network, list[dict[str, torch.Tensor]]]:
    """The model of a training whose checks find these errors, the first before it, one after each of its 20 steps; and the
    weights after each step that was taken."""
    found, taken = iter(errors), []  # type: ignore[var-annotated]

    def nudge(loop: Loop) -> float:
        loop.done += 1
        with torch.no_grad():
            for parameter in loop.model.parameters():
                parameter += 0.01
        taken.append({name: value.clone() for name, value in loop.model.state_dict().items()})
        return 0.0

    monkeypatch.setattr(Loop, "step", nudge)
    monkeypatch.setattr(improve, "CHECK_EVERY", 1)
    monkeypatch.setattr(improve, "_errors", lambda *_: next(found))
    monkeypatch.setattr(improve, "_fault", lambda *_: "")
    return run(grid, output, steps=20), taken


def test_the_weights_of_the_best_check_are_kept(grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = [torch.full((4,), error) for error in [3.0, 2.0, 1.0, *[1.5] * 18]]
    model, taken = checked(grid, tmp_path / "model.pt", monkeypatch, errors)
    assert all(torch.equal(value, taken[1][name]) for name, value in model.state_dict().items())


def test_a_gain_that_could_be_chance_is_none(grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    after = torch.tensor([1.9, 0.0, 2.0, 0.0])  # less on average than before, but not for each pair
    model, _ = checked(grid, tmp_path / "model.pt", monkeypatch, [torch.ones(4), *[after] * 20])
    assert same_weights(model, run(grid, tmp_path / "none.pt", steps=0))


def test_training_stops_only_when_it_improves_no_more(grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_and_then = [torch.full((4,), 9.0 - step // 3) for step in range(21)]
    _, taken = checked(grid, tmp_path / "model.pt", monkeypatch, now_and_then)
    assert len(taken) == 20
    _, taken = checked(grid, tmp_path / "model.pt", monkeypatch, [*now_and_then[:6], *[torch.full((4,), 9.0)] * 15])
    assert 6 < len(taken) < 15


def test_nothing_is_learnt_from_the_tiles_that_it_is_checked_on(grid: Grid) -> None:
    source = lessons.read_source((grid.tiles, grid.illumination, grid.pairs), SETTINGS)
    learnt, held_out = lessons.training_data(source, torch.device("cpu"), SETTINGS)

    def listed(stack: torch.Tensor) -> set[int]:
        """The tiles that a stack (n, 1, y, x) holds, by their pixels."""
        table = tables.read(grid.tiles, tables.TILES)
        pixels = {row.tile: tifffile.imread(row.path).ravel() for row in table.itertuples()}
        every = [tile.numpy().ravel() for tile in stack]
        return {number for number, tile in pixels.items() if any(np.corrcoef(tile, other)[0, 1] > 0.99 for other in every)}

    held = listed(held_out.tiles.tiles)
    pairs = np.concatenate([batch.rows[["fixed", "moving"]].to_numpy() for batch in learnt.real])
    assert held and not held & listed(learnt.tiles.tiles)
    assert len(pairs) > 6 and not held & set(pairs.ravel().tolist())
