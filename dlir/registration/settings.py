"""The settings of registration, a section for each of its steps."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from dlir.core.settings import Fraction, Section

Architecture = Literal["correlation", "dlir"]


class Pairs(Section):
    """Which tiles are neighbours and how far their overlap is searched."""

    search: Fraction = 0.5
    min_overlap: Annotated[int, Field(ge=4)] = 8


class Train(Section):
    """How the registration network learns from the tiles; with `model`, a file, it does not, and that one is used."""

    model: Path | None = None
    share: bool = False
    architecture: Architecture = "correlation"
    start: Literal["generic", "random"] = "generic"
    similarity: Literal["global", "local"] = "global"
    steps: Annotated[int, Field(ge=0)] = 200
    batch: Annotated[int, Field(ge=1)] = 8
    learning_rate: Annotated[float, Field(gt=0)] = 0.001
    processes: Annotated[int, Field(ge=1)] = 1
    seed: int = 1


def _known_method(name: str) -> str:
    if name not in ("network", "phase") and not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", name):
        raise ValueError(f"{name} is no method: give network, phase, or a function of your own as package.module:function")
    return name


class Register(Section):
    """How pairs are registered and judged."""

    method: Annotated[str, AfterValidator(_known_method)] = "network"
    accept: Fraction = 0.5
    seed: int = 1


class Selfcheck(Section):
    """How registration is measured on pairs that are known."""

    count: Annotated[int, Field(ge=1)] = 48
    seed: int = 1
