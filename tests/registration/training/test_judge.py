"""The judge of training: what counts as missed, how loops close, and in what a trained network may be worse."""

import numpy as np
import pandas as pd
import pytest
import torch
from support.specimens import Specimen

from dlir.registration.model import checkpoint
from dlir.registration.model.estimate import Estimate
from dlir.registration.pairs.synthetic import Shape, SyntheticPairs, stack_tiles, synthetic_pairs
from dlir.registration.training import judge
from dlir.registration.training.judge import OnReal, OnSynthetic

SHAPE = Shape(64, 128, 12.0, (0.0, 0.0))


class Fixed:
    """A network that finds what it is given."""

    def __init__(self, affine: torch.Tensor) -> None:
        self.affine = affine

    def eval(self) -> None:
        pass

    def __call__(self, fixed: torch.Tensor, *_: object) -> Estimate:
        return Estimate(self.affine, torch.zeros(len(fixed), 6, 6), torch.ones(len(fixed)))


def known(noise: float) -> SyntheticPairs:
    plane = Specimen(1, waves=100, shortest=5.0).tile(np.c_[np.eye(2), np.zeros(2)], 300, 300)
    plane = (1 - noise) * plane + noise * np.random.default_rng(2).standard_normal(plane.shape)
    return synthetic_pairs(
        stack_tiles([plane.astype(np.float32)], torch.device("cpu")), SHAPE, 8, torch.Generator().manual_seed(1)
    )


def off(affine: torch.Tensor, px: float) -> torch.Tensor:
    return affine + torch.tensor([[0.0, 0.0, px], [0.0, 0.0, 0.0]])


@pytest.mark.parametrize(("px", "missed"), [(0.0, 0), (1.0, 0), (9.0, 8)])
def test_a_pair_is_missed_where_it_errs_and_matches_better_at_the_truth(px: float, missed: int) -> None:
    pairs = known(noise=0.0)
    found = judge.on_synthetic(Fixed(off(pairs.affine, px)), [(SHAPE, pairs)])  # type: ignore[arg-type]
    assert int(found.missed.sum()) == missed
    assert found.error.tolist() == pytest.approx([px] * 8, abs=1e-3)


def test_what_is_lost_in_noise_is_not_missed() -> None:
    pairs, network = known(noise=1.0), checkpoint.load(checkpoint.GENERIC, torch.device("cpu"))
    found = judge.on_synthetic(network, [(SHAPE, pairs)])
    assert int((found.error > 2).sum()) >= 6 and int(found.missed.sum()) <= 1


def test_the_gap_of_a_loop_is_by_how_much_it_does_not_close() -> None:
    rows = [("right", 0, 1, 0, 90), ("right", 2, 3, 0, 90), ("down", 0, 2, 90, 0), ("down", 1, 3, 93, 4)]
    table = pd.DataFrame(rows, columns=["side", "fixed", "moving", "y0", "x0"]).assign(yy=1.0, yx=0.0, xy=0.0, xx=1.0)
    assert judge._gaps(table).tolist() == [5.0]
    assert judge._gaps(table.iloc[:3]).tolist() == []


def found(errors: list[float], confidence: float) -> OnSynthetic:
    return OnSynthetic(torch.tensor(errors), torch.full((len(errors),), confidence), torch.zeros(len(errors), dtype=torch.bool))


def real(match: float, gap: float) -> OnReal:
    return OnReal(torch.full((6,), match), np.full(4, gap))


@pytest.mark.parametrize(
    ("trained", "trained_real", "fault"),
    [
        (found([0.1, 0.1, 0.1, 9.0], 0.8), real(1.0, 0.1), ""),
        (found([0.1, 0.1, 0.1, 9.0], 0.8), real(1.0, 0.2), "loops"),
        (found([0.1, 0.1, 0.1, 9.0], 0.8), real(0.9, 0.1), "match worse"),
        (found([0.1, 0.1, 0.1, 9.0], 0.95), real(1.0, 0.1), "sure of 1 wrong pairs instead of 0"),
        (found([0.1, 0.1, 0.1, 9.0], 0.4), real(1.0, 0.1), "less true"),
    ],
)
def test_a_trained_network_may_be_worse_in_nothing(trained: OnSynthetic, trained_real: OnReal, fault: str) -> None:
    words = judge.worse(trained, found([0.2, 0.2, 0.2, 9.0], 0.8), trained_real, real(1.0, 0.1))
    assert fault in words and bool(words) == bool(fault)
