"""The registration networks, all behind one interface, and their files.

`correlation` finds a shift by comparing features over a window (`correlation_network.py`); `dlir` is the architecture of
the paper that gave this project its name (`pooling_network.py`).
"""

from pathlib import Path
from typing import Any

import torch

from dlir.core.atomic import atomically
from dlir.registration.model.network import CorrelationNetwork
from dlir.registration.model.paper_network import PaperNetwork
from dlir.registration.settings import Architecture

Network = CorrelationNetwork | PaperNetwork
ARCHITECTURES: dict[Architecture, type[Network]] = {"correlation": CorrelationNetwork, "dlir": PaperNetwork}
GENERIC = Path(__file__).with_name("weights.pt")  # of the architecture correlation; `dlir pretrain` made them


class ModelError(ValueError):
    """A model file is missing, damaged or not of dlir; the remedy is to train again."""


def save(network: Network, settings: dict[str, Any], path: Path) -> None:
    """Write the weights and the settings that made them, whole or not at all."""
    name = next(name for name, kind in ARCHITECTURES.items() if isinstance(network, kind))
    with atomically(path) as partial:
        torch.save({"architecture": name, "weights": network.state_dict(), "settings": settings}, partial)


def load(path: Path, device: torch.device) -> Network:
    """The network that `save` wrote, ready to register.

    Raises:
        ModelError: where the file is no model of dlir or cut short.
    """
    try:
        content = torch.load(path, map_location=device, weights_only=True)
        network = ARCHITECTURES[content["architecture"]]()
        network.load_state_dict(content["weights"])
    except Exception as error:  # torch raises many classes on a damaged file
        raise ModelError(f"{path}: is no model of dlir ({error}): give another, or delete it and train again") from None
    return network.to(device).eval()


def settings_of(path: Path) -> dict[str, Any]:
    """What `save` wrote beside the weights, of a file that `load` can read."""
    return dict(torch.load(path, map_location="cpu", weights_only=True)["settings"])


def choose_device(name: str) -> torch.device:
    """`cpu`, `cuda`, `mps`, or with `auto` the fastest that is there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    torch.backends.cudnn.allow_tf32 = False  # so that a GPU gives the answers of the CPU
    return torch.device(name)
