"""Chooses the method of registration by its name, the setting `register.method`. All have one interface (`estimate.Method`).

- `network`: the network in a model file, of either architecture (`checkpoint.py`);
- `phase`: phase correlation (`phase_correlation.py`);
- `module:function`: a function of your own that Python can import. `docs/your-own-method.md` has an example.
"""

from importlib import import_module
from pathlib import Path
from typing import cast

import torch

from dlir.registration.model.checkpoint import ModelError, load
from dlir.registration.model.estimate import Method
from dlir.registration.model.phase_correlation import phase


class MethodError(ValueError):
    """The setting `register.method` names a function that cannot be imported."""


def load_method(name: str, model: Path | None, device: torch.device) -> Method:
    """Returns the method of this name, ready to register on `device`.

    Args:
        name: network, phase, or module:function.
        model: the model file, which only the network needs.

    Raises:
        ModelError: when the method is the network and the model file is missing or cannot be read.
        MethodError: when `name` names a function that cannot be imported.
    """
    if name == "network":
        if model is None:
            raise ModelError("register.method is network, which needs a model: give --model, or choose method phase")
        return load(model, device)
    return phase if name == "phase" else _imported(name)


def _imported(name: str) -> Method:
    module, _, function = name.partition(":")
    try:
        found = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise MethodError(f"register.method is {name}, which cannot be imported ({error}): correct it, or install it") from None
    if not callable(found):
        raise MethodError(f"register.method is {name}, which is not a function: give one as package.module:function")
    return cast(Method, found)
