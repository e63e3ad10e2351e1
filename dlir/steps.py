"""The steps of the workflow: which function each one runs, and which code its result depends on. Imports nothing heavy.

A step depends on its own module and on all modules of the package that this one imports, directly or through others. Comments,
docstrings and the layout of the lines do not count, and neither do the modules in `WITHOUT_EFFECT`, of which no number depends.

To parse the whole package takes a second. So what is found in a file is kept in the cache folder of the user.
"""

import ast
import atexit
import hashlib
import json
import os
import re
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

PACKAGE = Path(__file__).parent
WITHOUT_EFFECT = {"dlir", "dlir.steps", "dlir.core.progress"}  # the front door, this list, and the lines of progress


class Step(NamedTuple):
    """A step: the module that holds the function of its name, and what it does."""

    module: str
    summary: str


STEPS = {
    "demo": Step("dlir.demo.make", "Make the demo dataset: tiles cut from a real image, and where they lie."),
    "tiles": Step("dlir.reading.inventory", "Find the tiles of a dataset, check them, and write their nominal places."),
    "survey": Step("dlir.survey.survey", "Check the layout against the tiles, and find the steps from tile to tile."),
    "adopt": Step("dlir.placement.adopt", "Take the placement of another run for other images of the same grid."),
    "illumination": Step("dlir.illumination.estimate", "Estimate the flat-field and the dark-field of the camera."),
    "pairs": Step("dlir.registration.pairs.neighbours", "List the neighbours and the windows in which they overlap."),
    "train": Step("dlir.registration.training.train", "Train the registration network on the tiles themselves."),
    "register": Step("dlir.registration.inference.register", "Find the affine of each pair of neighbours."),
    "selfcheck": Step(
        "dlir.registration.confidence.selfcheck", "Measure registration on crops of the tiles under known affines."
    ),
    "place": Step("dlir.placement.place", "Place all tiles from the affines of the pairs."),
    "rounds": Step("dlir.rounds.rounds", "Find how the rounds of a specimen lie to each other."),
    "train_rounds": Step("dlir.rounds.train_rounds", "Train the network on the pairs between rounds."),
    "between": Step("dlir.rounds.between", "Register the tiles of each round to those of other rounds."),
    "place_rounds": Step("dlir.rounds.place_rounds", "Place the tiles of all rounds of a specimen together."),
    "round_place": Step("dlir.rounds.place_rounds", "Write the part of one round of the placement of all rounds."),
    "local": Step("dlir.rounds.local", "Find where the tissue of a round was stretched, which rigid tiles cannot mend."),
    "exposure": Step("dlir.fusion.exposure", "Find how bright each tile was exposed, and the grey levels of the mosaic."),
    "export": Step("dlir.placement.export", "Write the placement as Fiji and stages read it."),
    "band": Step("dlir.fusion.mosaic", "Fuse one band of the mosaic, which several jobs write side by side."),
    "mosaic": Step("dlir.fusion.mosaic", "Fuse the placed tiles into one OME-Zarr image."),
    "ome_tiff": Step("dlir.fusion.ome_tiff", "Write the mosaic as an OME-TIFF, too."),
    "plate": Step("dlir.fusion.plate", "Write the mosaics of the wells of a plate as one OME-Zarr plate."),
    "join_rounds": Step("dlir.rounds.join", "Join the mosaics of all rounds of a specimen into one."),
    "accuracy": Step("dlir.reporting.accuracy", "Compare a placement with one known to be right."),
    "judge": Step("dlir.reporting.verdict", "Write the verdict on a mosaic: good, good but look here, or not to be trusted."),
    "report": Step("dlir.reporting.report", "Write the page with the pictures and the residuals."),
    "report_rounds": Step("dlir.reporting.report_rounds", "Write the verdict and the page on how the rounds agree."),
    "index": Step("dlir.reporting.index", "Write one page for many datasets, such as the wells of a plate."),
    "provenance": Step("dlir.reporting.provenance", "Write what made the results of a dataset, and what each step took."),
    "pretrain": Step("dlir.registration.training.pretrain", "Train the generic weights that come with the package."),
}


def files(step: str) -> list[Path]:
    """All files of the package that the result of a step depends on, sorted: its modules, and the templates beside them."""
    return _files(STEPS[step].module)


def _files(*modules: str) -> list[Path]:
    """All files of the package that some modules depend on, sorted, with their own."""
    found: set[str] = set()
    todo = set(modules)
    while todo:
        found |= todo
        todo = set().union(*map(_imported, todo)) - found - WITHOUT_EFFECT
    programs = [_file(module) for module in found]
    templates = [path.with_suffix(".html.j2") for path in programs]
    return sorted({*programs, *(part for path in templates if path.exists() for part in _template(path))})


def _template(path: Path) -> set[Path]:
    """A template of a page, and the templates, styles and scripts that it names."""
    names = re.findall(r'"([\w.]+\.(?:html\.j2|css|js))"', path.read_text(encoding="utf-8"))
    beside = [path.parent / name for name in names if name.endswith(".j2")]
    static = [path.parent / "static" / name for name in names if not name.endswith(".j2")]
    return {path, *static, *(part for other in beside for part in _template(other))}


@cache
def code(step: str) -> str:
    """The SHA-256 of the code of a step: it changes where an edit of one of its `files` may change its result."""
    return code_of(STEPS[step].module)


@cache
def code_of(*modules: str) -> str:
    """The SHA-256 of the code that some modules of the package depend on, with their own."""
    text = "".join(f"{path.relative_to(PACKAGE).as_posix()} {_facts(path).sha256}\n" for path in _files(*modules))
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def _file(module: str) -> Path:
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _imported(module: str) -> frozenset[str]:
    """The modules of the package that a module names in its imports, with the packages that hold them."""
    parts = [name.split(".") for name in _facts(_file(module)).imports]
    held = {".".join(part[:end]) for part in parts for end in range(1, len(part) + 1)}
    return frozenset(name for name in held if _file(name).exists())


class Facts(NamedTuple):
    """What a file means for the steps."""

    sha256: str  # of its text; of a program without comments and docstrings, in one layout
    imports: list[str]  # of modules of the package, and of what they hold


@cache
def _facts(path: Path) -> Facts:
    content = path.read_bytes()
    if path.suffix != ".py":
        return Facts(hashlib.sha256(content).hexdigest(), [])
    key = hashlib.sha256(content).hexdigest()
    if key not in _kept():
        program = _parsed(content)
        names = [name for node in ast.walk(program) for name in _names(node) if name.split(".")[0] == "dlir"]
        _kept()[key] = _new[key] = [hashlib.sha256(ast.unparse(program).encode()).hexdigest(), sorted({*names})]
    return Facts(*_kept()[key])


def _parsed(content: bytes) -> ast.Module:
    """A program without its docstrings."""
    tree = ast.parse(content)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree


def _names(node: ast.AST) -> list[str]:
    """The modules that a statement imports, and what it imports of them."""
    if isinstance(node, ast.ImportFrom) and node.module:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


MOST_KEPT = 5000  # programs; with more, only those of this run are kept
_new: dict[str, list[Any]] = {}  # what this process found


def _file_of_kept() -> Path:
    folder = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111  # that of Path raises without a home
    return Path(folder, "dlir", f"steps.{sys.implementation.cache_tag}.json")


@cache
def _kept() -> dict[str, list[Any]]:
    """What was found in programs, by the SHA-256 of each; it is kept from run to run."""
    try:
        found: dict[str, list[Any]] = json.loads(_file_of_kept().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@atexit.register
def _keep() -> None:
    """Writes what was found in programs, where that can be done."""
    if _new:
        file = _file_of_kept()
        mine = file.with_suffix(f".{os.getpid()}")
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            mine.write_text(json.dumps(_kept() if len(_kept()) <= MOST_KEPT else _new), encoding="utf-8")
            mine.replace(file)
