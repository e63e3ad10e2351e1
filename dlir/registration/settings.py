"""The settings of registration: one section for each of its steps. `config.yaml` says when to change a setting."""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from dlir.core.settings import File, Fraction, Section, Seed, SettingsError

Architecture = Literal["correlation", "dlir"]  # the keys of checkpoint.ARCHITECTURES


class Pairs(Section):
    """Which tiles are neighbours, and how far from the nominal offset they are searched."""

    search: Fraction = 0.5  # of the nominal overlap
    min_overlap: Annotated[int, Field(ge=4, le=100_000)] = 8  # px


class Train(Section):
    """How the registration network is trained on the tiles. With `model`, a file, that model is used as it is instead."""

    model: File | None = None
    when: Literal["auto", "always", "never"] = "auto"  # auto: where the network misses pairs that the pixels tell
    share: bool = False  # one model for all datasets
    architecture: Architecture = "correlation"
    start: Literal["generic", "random"] = "generic"  # weights at the start
    similarity: Literal["global", "local"] = "global"  # a key of ncc.SIMILARITIES
    steps: Annotated[int, Field(ge=0, le=10_000_000)] = 200
    batch: Annotated[int, Field(ge=1, le=10_000)] = 8  # pairs per step
    learning_rate: Annotated[float, Field(ge=1e-6, le=1)] = 0.001
    processes: Annotated[int, Field(ge=1, le=1000)] = 1  # that train together
    seed: Seed = 1


def _known_method(name: str) -> str:
    if name not in ("network", "phase") and not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", name):
        raise ValueError(f"{name} is not a method: give network, phase, or a function of your own as package.module:function")
    return name


def own_method_file(method: str) -> Path | None:
    """Returns the file of a method of one's own, package.module:function; None for the methods that come with dlir.

    Raises:
        SettingsError: when Python finds no such module.
    """
    module, _, function = method.partition(":")
    if not function:
        return None
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        spec = None
    if spec is None or spec.origin is None:
        raise SettingsError(f"register.method is {method}, and Python finds no module {module}: install it, or set PYTHONPATH")
    return Path(spec.origin)


class Register(Section):
    """How pairs are registered, and which are accepted."""

    method: Annotated[str, AfterValidator(_known_method)] = "network"
    accept: Fraction = 0.5  # least probability that a pair is right
    seed: Seed = 1  # of the choice of unrelated pairs


class Selfcheck(Section):
    """How the error of registration is measured on synthetic pairs."""

    count: Annotated[int, Field(ge=1, le=100_000)] = 16  # pairs for each side
    seed: Seed = 1
