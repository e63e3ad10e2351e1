"""The network of the paper: untrained it gives the expected shift, it keeps to its limits, and learns its own pairs."""

import numpy as np
import pytest
import torch
from support.specimens import crops

from dlir.registration.model.paper_network import PaperNetwork
from dlir.registration.model.priors import PAPER_LIMITS
from dlir.registration.model.warping import corner_error
from dlir.registration.pairs.synthetic import TileStack
from dlir.registration.pairs.windows import WindowBatch
from dlir.registration.training.loop import Loop, TrainingData

CENTRE = (-24.0, 3.0)


@pytest.mark.parametrize("shape", [(64, 256), (256, 64), (24, 40)])
def test_an_untrained_network_gives_the_expected_shift(shape: tuple[int, int]) -> None:
    fixed, moving = crops(np.eye(2, 3), *shape)
    found = PaperNetwork().eval()(fixed, moving, 12.0, (3.0, -7.0))
    expected = torch.tensor([[1.0, 0, 3], [0, 1, -7]]).expand(4, 2, 3)
    torch.testing.assert_close(found.affine, expected)
    assert all(torch.isfinite(part).all() for part in (found.covariance, found.confidence))


@torch.no_grad()
def test_the_parameters_are_bounded() -> None:
    model = PaperNetwork().eval()
    torch.nn.init.normal_(model.out.weight, std=1e3)
    fixed, moving = crops(np.eye(2, 3), 64, 256)
    linear = model(fixed, moving, 12.0, (0.0, 0.0)).affine - torch.eye(2, 3)
    assert (linear[:, :, 2].abs() <= 12.0).all()
    assert (linear[:, :, :2].abs() <= max(PAPER_LIMITS) + PAPER_LIMITS[-1]).all()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_it_learns_its_own_pairs_without_labels(seed: int) -> None:
    """There are six pairs, each with its own affine; their overlap lies at one side of the windows, as in real pairs."""
    random = np.random.default_rng(seed)
    drawn = [np.array([[1, 0.003, y + CENTRE[0]], [-0.003, 1, x + CENTRE[1]]]) for y, x in random.uniform(-6, 6, (6, 2))]
    pairs = [crops(true, 64, 160, range(i, i + 1)) for i, true in enumerate(drawn)]
    fixed, moving = (torch.cat(part) for part in zip(*pairs, strict=True))
    true = torch.tensor(np.stack(drawn)).float()
    torch.manual_seed(seed)
    model, batch = PaperNetwork(), WindowBatch(None, fixed, moving, 12.0, CENTRE)  # type: ignore[arg-type]
    nothing = TileStack(torch.zeros(0), torch.zeros(0))
    generator = torch.Generator().manual_seed(seed)
    loop = Loop(model, [TrainingData(nothing, [], [batch])], generator, steps=150, batch=6, learning_rate=0.002)
    before = corner_error(model(fixed, moving, 12.0, CENTRE).affine, true, 64, 160)
    for _ in range(150):
        loop.step()
    after = corner_error(model.eval()(fixed, moving, 12.0, CENTRE).affine, true, 64, 160)
    assert after.median() < 0.25 * before.median()
