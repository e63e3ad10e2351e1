"""Model files: a network is loaded as it was saved, files of earlier versions still load, and damaged ones are refused."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from support.specimens import crops

from dlir.registration.model import checkpoint
from dlir.registration.model.model_settings import settings_of
from dlir.registration.settings import Architecture

CPU = torch.device("cpu")
FORMER_NAMES = {
    "correlation_weights": "evidence",
    "refinement_prior": "prior",
    "deviation_head": "spread",
    "confidence_head": "sure",
}


def test_every_architecture_of_the_settings_exists() -> None:
    assert set(checkpoint.ARCHITECTURES) == set(get_args(Architecture))


@pytest.mark.parametrize("name", get_args(Architecture))
def test_a_saved_model_is_loaded_as_it_was(name: Architecture, tmp_path: Path) -> None:
    model = checkpoint.ARCHITECTURES[name]()
    checkpoint.save(model, {"steps": 3}, tmp_path / "model.pt")
    back = checkpoint.load(tmp_path / "model.pt", CPU)
    assert type(back) is type(model) and not back.training
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), back.state_dict().values(), strict=True))
    assert settings_of(tmp_path / "model.pt") == {"steps": 3}
    checkpoint.save(model, {"steps": 3}, tmp_path / "again" / "model.pt")
    assert (tmp_path / "again" / "model.pt").read_bytes() == (tmp_path / "model.pt").read_bytes()


def test_an_untrained_network_follows_from_the_seed_and_leaves_torchs_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    first, second, other = (checkpoint.untrained("correlation", seed).encoder.stem.weight for seed in (3, 3, 4))
    assert torch.equal(first, second) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("content", [b"", b"not a model", None])
def test_a_damaged_model_is_an_error_that_names_the_file(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "model.pt"
    checkpoint.save(checkpoint.ARCHITECTURES["correlation"](), {}, path)
    path.write_bytes(path.read_bytes()[:5000] if content is None else content)
    with pytest.raises(checkpoint.ModelError, match="train again") as error:
        checkpoint.load(path, CPU)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_model_with_weights_that_are_no_numbers_is_an_error(tmp_path: Path, value: float) -> None:
    model = checkpoint.untrained("correlation", seed=0)
    model.encoder.stem.weight.data[0] = value
    checkpoint.save(model, {}, tmp_path / "model.pt")
    with pytest.raises(checkpoint.ModelError, match=r"model\.pt: the weights encoder\.stem\.weight are NaN or infinite: give"):
        checkpoint.load(tmp_path / "model.pt", CPU)


def test_a_model_of_an_earlier_version_registers_as_before(tmp_path: Path) -> None:
    torch.manual_seed(5)
    model = checkpoint.ARCHITECTURES["correlation"]().eval()
    for parameter in model.parameters():  # all differ from a new network
        torch.nn.init.normal_(parameter, std=0.05)
    checkpoint.save(model, {}, tmp_path / "model.pt")
    content = torch.load(tmp_path / "model.pt", weights_only=True)
    former = {}
    for name, value in content["weights"].items():
        part, *rest = name.split(".")
        former[".".join([FORMER_NAMES.get(part, part), *rest])] = value
    assert {"evidence", "prior", "spread.weight", "spread.bias", "sure.weight", "sure.bias"} <= set(former)
    torch.save({**content, "weights": former}, tmp_path / "former.pt")
    fixed, moving = crops(np.array([[1.002, 0.006, 3.0], [-0.006, 1.001, -2.0]]), 32, 64)
    with torch.no_grad():
        now, then = (net(fixed, moving, 8.0) for net in (model, checkpoint.load(tmp_path / "former.pt", CPU)))
    for first, second in zip(now[:3], then[:3], strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_full_precision_ends_with_its_block() -> None:
    before = torch.backends.cudnn.allow_tf32
    try:
        for chosen in (True, False):
            torch.backends.cudnn.allow_tf32 = chosen
            checkpoint.choose_device("cpu")
            assert torch.backends.cudnn.allow_tf32 is chosen
            with pytest.raises(KeyboardInterrupt), checkpoint.full_precision():
                assert torch.backends.cudnn.allow_tf32 is False
                raise KeyboardInterrupt
            assert torch.backends.cudnn.allow_tf32 is chosen
    finally:
        torch.backends.cudnn.allow_tf32 = before
