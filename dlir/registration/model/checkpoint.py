"""Model files: saving and loading the registration networks, and the device on which they run.

There are two architectures. `correlation` (`network.py`) finds a shift by correlating features over a search window. `dlir`
(`paper_network.py`) is that of the paper which gave this project its name.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from dlir.core.atomic import atomically
from dlir.registration.model.model_settings import add_settings
from dlir.registration.model.network import CorrelationNetwork
from dlir.registration.model.paper_network import PaperNetwork
from dlir.registration.settings import Architecture

Network = CorrelationNetwork | PaperNetwork
ARCHITECTURES: dict[Architecture, type[Network]] = {"correlation": CorrelationNetwork, "dlir": PaperNetwork}
GENERIC = Path(__file__).with_name("weights.pt")  # generic weights of the architecture correlation, from `dlir pretrain`
# Former names of parts of the network, which are in weights.pt and in the model.pt of earlier versions
RENAMED = {
    "evidence": "correlation_weights",
    "prior": "refinement_prior",
    "spread": "deviation_head",
    "sure": "confidence_head",
}


class ModelError(ValueError):
    """A model file is missing, damaged, or not one of dlir. The remedy is to train again."""


def untrained(architecture: Architecture, seed: int) -> Network:
    """Returns a network with random weights, which the seed decides; torch's own random numbers stay as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return ARCHITECTURES[architecture]()


def save(network: Network, settings: dict[str, Any], path: Path) -> None:
    """Writes the weights of a network and the settings that made them, whole or not at all."""
    name = next(name for name, kind in ARCHITECTURES.items() if isinstance(network, kind))
    with atomically(path) as partial:
        torch.save({"architecture": name, "weights": network.state_dict()}, partial)
        add_settings(settings, partial)


def load(path: Path, device: torch.device) -> Network:
    """Returns the network in a file that `save` wrote, in evaluation mode on `device`.

    Raises:
        ModelError: when the file is missing, damaged, or not a model of dlir, or has weights that are no numbers.
    """
    try:
        content = torch.load(path, map_location=device, weights_only=True)
        network = untrained(content["architecture"], seed=0)
        network.load_state_dict({_current_name(name): value for name, value in content["weights"].items()})
    except Exception as error:  # torch raises many classes on a damaged file
        raise ModelError(
            f"{path} is not a model of dlir, or is damaged ({error}): give another file, or delete it and train again"
        ) from None
    wrong = [name for name, values in network.state_dict().items() if not values.isfinite().all()]
    if wrong:
        raise ModelError(f"{path}: the weights {wrong[0]} are NaN or infinite: give another file, or delete it and train again")
    return network.to(device).eval()


def _current_name(name: str) -> str:
    """The current name of a weight that may have a former one: deviation_head.bias for spread.bias."""
    part, dot, rest = name.partition(".")
    return RENAMED.get(part, part) + dot + rest


def choose_device(name: str) -> torch.device:
    """Returns the device cpu, cuda or mps; auto is the fastest one that this machine has."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    return torch.device(name)


@contextmanager
def full_precision() -> Iterator[None]:
    """While it is open, GPUs convolve in 32 bit instead of TensorFloat-32, so that they give the results of a CPU."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
