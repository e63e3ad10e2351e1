"""The file of a network: it comes back as it was, and a damaged one is refused by name."""

from pathlib import Path
from typing import get_args

import pytest
import torch

from dlir import network
from dlir.settings import Architecture

CPU = torch.device("cpu")


def test_every_architecture_of_the_settings_is_there() -> None:
    assert set(network.ARCHITECTURES) == set(get_args(Architecture))


@pytest.mark.parametrize("name", get_args(Architecture))
def test_a_saved_model_comes_back(name: Architecture, tmp_path: Path) -> None:
    model = network.ARCHITECTURES[name]()
    network.save(model, {"steps": 3}, tmp_path / "model.pt")
    back = network.load(tmp_path / "model.pt", CPU)
    assert type(back) is type(model) and not back.training
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), back.state_dict().values(), strict=True))


@pytest.mark.parametrize("content", [b"", b"no model", None])
def test_a_damaged_model_is_refused_by_name(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "model.pt"
    network.save(network.ARCHITECTURES["correlation"](), {}, path)
    path.write_bytes(path.read_bytes()[:5000] if content is None else content)
    with pytest.raises(network.ModelError, match="train again") as error:
        network.load(path, CPU)
    assert str(path) in str(error.value)
