"""Training with two processes, which torchrun starts on the CPU: single steps, and whole trainings."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from support.grids import Grid
from support.training import SETTINGS, same_weights

from dlir.core import tables
from dlir.registration.model import checkpoint
from dlir.registration.model.model_settings import settings_of
from dlir.registration.training import distributed, lessons, train
from dlir.registration.training.loop import Loop

pytestmark = pytest.mark.slow

TOGETHER = SETTINGS.model_copy(update={"processes": 2, "steps": 5, "batch": 2})
PATCHED = (  # makes training check often and keep its last weights
    "from dlir.registration.training import improve, train; improve.CHECK_EVERY = 2; improve._clearly_better = lambda *_: True"
)
# What each process runs; with `die` it ends before the fourth step, without an error message.
PROGRAM = """
import os, sys, torch
from pathlib import Path
from dlir.registration.settings import Train
from dlir.registration.training import distributed
from dlir.registration.training.loop import Loop
{patched}
folder, die = Path(sys.argv[1]), sys.argv[2] == "die"
step = Loop.step
def watched(loop):
    number = distributed.rank()
    if die and loop.done == 3:
        os._exit(1)
    drawn = loop.generator.get_state()
    loss = step(loop)
    after = {{"weights": loop.model.state_dict(), "drawn": drawn}}
    torch.save(after, folder / f"{{number}}-{{loop.done}}.pt")
    return loss
Loop.step = watched
files = [[Path(text)] for text in sys.argv[3:6]]
chosen = Train.parse(sys.argv[6])
train.train(*files, folder / "model.pt", settings=chosen, device="cpu")
"""


def torchrun(grid: Grid, folder: Path, *, die: bool = False) -> subprocess.CompletedProcess[str]:
    """Trains with two processes; each writes its weights to the folder after each step."""
    folder.mkdir(exist_ok=True)
    (folder / "program.py").write_text(PROGRAM.format(patched=PATCHED))
    files = [str(path) for path in (grid.tiles, grid.illumination, grid.pairs)]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(folder / "program.py"), str(folder), "die" if die else "live", *files, TOGETHER.model_dump_json()]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.fixture(scope="module")
def trained(noisy_grid: Grid, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that was not interrupted."""
    folder = tmp_path_factory.mktemp("trained")
    result = torchrun(noisy_grid, folder)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Uses one thread of torch, as each process does.

    Sums in another order differ in their last bits, and the first step of Adam makes a full step even of a tiny gradient.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def after(folder: Path, rank: int, step: int) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = torch.load(folder / f"{rank}-{step}.pt", weights_only=True)["weights"]
    return weights


def test_processes_draw_different_pairs_and_end_with_the_same_weights(trained: Path) -> None:
    first, second = (torch.load(trained / f"{rank}-1.pt", weights_only=True)["drawn"] for rank in (0, 1))
    assert not torch.equal(first, second)
    for step in (1, 5):
        one, other = after(trained, 0, step), after(trained, 1, step)
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert not all(torch.equal(after(trained, 0, 1)[name], after(trained, 0, 5)[name]) for name in after(trained, 0, 1))


def test_only_rank_zero_writes_a_model_and_a_history(trained: Path) -> None:
    assert {path.name for path in trained.glob("model*")} == {"model.pt", "model.csv"}
    assert tables.read(trained / "model.csv", tables.HISTORY)["step"].tolist() == [0, 2, 4, 5]
    assert settings_of(trained / "model.pt")["processes"] == 2


@pytest.mark.usefixtures("one_thread")
def test_two_processes_take_the_step_of_their_mean_gradient(
    trained: Path, noisy_grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loop(rank: int) -> Loop:
        model = train._initial_network(TOGETHER, torch.device("cpu"))
        files = (noisy_grid.tiles, noisy_grid.illumination, noisy_grid.pairs)
        source, _ = lessons.training_data(lessons.read_source(files, TOGETHER), torch.device("cpu"), TOGETHER)
        generator = torch.Generator()
        generator.set_state(torch.load(trained / f"{rank}-1.pt", weights_only=True)["drawn"])
        return Loop(
            model, [source], generator, steps=TOGETHER.steps, batch=TOGETHER.batch, learning_rate=TOGETHER.learning_rate
        )

    found: list[list[torch.Tensor]] = []
    monkeypatch.setattr(distributed, "average", lambda gradients: found.append([gradient.clone() for gradient in gradients]))
    loop(0).step()
    loop(1).step()

    def put_mean(gradients: list[torch.Tensor]) -> None:
        for gradient, one, other in zip(gradients, *found, strict=True):
            gradient.copy_((one + other) / 2)

    monkeypatch.setattr(distributed, "average", put_mean)
    together = loop(0)
    together.step()
    expected, alone = together.model.state_dict(), loop(0).model.state_dict()
    weights = after(trained, 0, 1)
    assert all(torch.allclose(weights[name], expected[name], rtol=0, atol=1e-6) for name in expected)
    assert not all(torch.allclose(weights[name], alone[name], rtol=0, atol=1e-6) for name in expected)


def test_an_interrupted_training_resumes(trained: Path, noisy_grid: Grid, tmp_path: Path) -> None:
    assert torchrun(noisy_grid, tmp_path, die=True).returncode != 0
    assert not (tmp_path / "model.pt").exists()
    for path in tmp_path.glob("*-*.pt"):
        path.unlink()
    assert torchrun(noisy_grid, tmp_path).returncode == 0
    assert sorted(path.name for path in tmp_path.glob("*-*.pt")) == [
        f"{rank}-{step}.pt" for rank in (0, 1) for step in (3, 4, 5)
    ]
    models = [checkpoint.load(folder / "model.pt", torch.device("cpu")) for folder in (tmp_path, trained)]
    assert same_weights(*models)


def test_a_single_process_instead_of_several_is_an_error_with_the_right_command(grid: Grid, tmp_path: Path) -> None:
    with pytest.raises(distributed.RankError, match=r"processes is 2, but 1 .*: start them with torchrun .* 2 -m dlir train"):
        train.train([grid.tiles], [grid.illumination], [grid.pairs], tmp_path / "m.pt", settings=TOGETHER, device="cpu")
    assert not list(tmp_path.iterdir())
