"""The file of a network: it comes back as it was, and a damaged one is refused by name."""

from pathlib import Path
from typing import get_args

import pytest
import torch

from dlir.registration.model import checkpoint
from dlir.registration.settings import Architecture

CPU = torch.device("cpu")


def test_every_architecture_of_the_settings_is_there() -> None:
    assert set(checkpoint.ARCHITECTURES) == set(get_args(Architecture))


@pytest.mark.parametrize("name", get_args(Architecture))
def test_a_saved_model_comes_back(name: Architecture, tmp_path: Path) -> None:
    model = checkpoint.ARCHITECTURES[name]()
    checkpoint.save(model, {"steps": 3}, tmp_path / "model.pt")
    back = checkpoint.load(tmp_path / "model.pt", CPU)
    assert type(back) is type(model) and not back.training
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), back.state_dict().values(), strict=True))


@pytest.mark.parametrize("content", [b"", b"no model", None])
def test_a_damaged_model_is_refused_by_name(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "model.pt"
    checkpoint.save(checkpoint.ARCHITECTURES["correlation"](), {}, path)
    path.write_bytes(path.read_bytes()[:5000] if content is None else content)
    with pytest.raises(checkpoint.ModelError, match="train again") as error:
        checkpoint.load(path, CPU)
    assert str(path) in str(error.value)
