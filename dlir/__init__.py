"""Registers, places and fuses overlapping microscope tiles into one mosaic.

The names below are loaded when they are first used, so that `import dlir` takes no time; `dlir/api.py` documents them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dlir.api import (
        Fields,
        RegisteredPair,
        TileReader,
        adopt_placement,
        estimate_illumination,
        find_pairs,
        fuse,
        make_demo,
        place,
        read_tiles,
        register_pair,
        register_pairs,
        snakefile,
        stitch,
    )

__version__ = "0.1.0"
__all__ = [
    "Fields",
    "RegisteredPair",
    "TileReader",
    "adopt_placement",
    "estimate_illumination",
    "find_pairs",
    "fuse",
    "make_demo",
    "place",
    "read_tiles",
    "register_pair",
    "register_pairs",
    "snakefile",
    "stitch",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("dlir.api"), name)
    raise AttributeError(f"module 'dlir' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
