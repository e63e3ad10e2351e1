# What the rules share: the settings and the tiles, checked before any job starts, and the command that runs a stage.
import ast
import os
import shlex
import sys
from functools import cache
from pathlib import Path

ROOT = Path(workflow.basedir)
sys.path.insert(0, str(ROOT))
os.environ |= {
    "PATH": f"{Path(sys.executable).parent}:{os.getenv('PATH')}",  # the environment of --sdm conda goes first
    "MALLOC_TOP_PAD_": "268435456",  # glibc keeps freed memory, without which a third of the network's time is page faults
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "MALLOC_MMAP_MAX_": "0",
}
from dlir import digest, layout, settings

# The code that runs is the code that `modules` lists, whatever the working directory holds and whatever is installed
CODE = f"PYTHONPATH={shlex.quote(str(ROOT))} PYTHONSAFEPATH=1"
shell.prefix(f'set -euo pipefail; dlir() {{{{ {CODE} python3 -m ${{{{launcher:-}}}} dlir "$@"; }}}}; ')
DEMO = not config.get("datasets")
try:
    SETTINGS = settings.load(config)
    DATASETS = SETTINGS.datasets
    TILES = {name: SETTINGS.demo.images if DEMO else tiles_of(dataset) for name, dataset in DATASETS.items()}
except (ValueError, OSError) as error:
    sys.exit(f"error: {error}")
if os.path.exists("results") and not os.path.isdir("results"):
    sys.exit("error: results is a file, and the folder of the results has to go there: move it away")
os.environ |= {"DLIR_PROCESSES": str(SETTINGS.train.processes)}  # a profile asks for as many GPUs
LEARNT = "results" if SETTINGS.train.share else "results/{dataset}"  # the folder of the model
NETWORK, PINNED = SETTINGS.register_.method == "network", SETTINGS.train.model
MODEL = [] if not NETWORK else local(str(PINNED)) if PINNED else f"{LEARNT}/model.pt"
if NETWORK and PINNED and not PINNED.is_file():
    sys.exit(f"error: train.model is {PINNED}, and there is no such file: correct it, or leave it null to train")


def placed(path):
    """A file of the code, by its path from the working directory if it lies below: then both can be moved together."""
    return local(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))


@cache
def modules(stage):
    """The files that a stage is made of: an edit reruns the stages that import it, and no other."""
    found, todo = set(), {ROOT / "dlir" / f"{stage}.py"}
    while todo:
        found |= todo
        nodes = [node for path in todo for node in ast.walk(ast.parse(path.read_text()))]
        froms = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
        parts = [f"{node.module}.{alias.name}".split(".") for node in froms for alias in node.names]
        todo = {ROOT / "dlir" / f"{part[1]}.py" for part in parts if part[0] == "dlir"} - found
    return sorted(map(placed, found))


def taught_by(wildcards):
    """The datasets that a model learns from."""
    return list(DATASETS) if SETTINGS.train.share else [wildcards.dataset]


def taught(stage, settings, files):
    """A hash of all that a stage learns with, besides the tiles: its code, its settings, and these files."""
    there = [Path(path) for path in [*modules(stage), *files] if path and os.path.exists(path)]
    return digest.of(settings, *map(digest.of_file, there))


def learnt_from(tables, stage, key, now):
    """The tables that a stage learns from, which count no more once it has learnt with what `taught` gives now: `key` says so.

    Otherwise they count, since Snakemake looks for no other reason, not even --forcerun, in a job whose inputs are all ancient
    and just made again. The demo's tiles follow from settings, and count always.
    """
    told = DEMO or stage in workflow.dag_settings.forcerun
    kept = not told and os.path.exists(key) and Path(key).read_text().strip() == now
    return [ancient(table) for table in tables] if kept else tables


def lit(wildcards):
    """What illumination learns with, besides the tiles."""
    dataset = DATASETS[wildcards.dataset]
    return taught("illumination", SETTINGS.illumination.model_dump_json(), [dataset.flat, dataset.dark])


def lessons(wildcards, table):
    """The tables of that name that a model learns from."""
    tables = [f"results/{name}/{table}" for name in taught_by(wildcards)]
    return learnt_from(tables, "train", f"{LEARNT}/model.key".format(**wildcards), taught("train", TRAINING, START))
