# What illumination and the network learn from: they learn once, and again only where their settings, code or files change.

LEARNT = "results" if SETTINGS.train.share else "results/{dataset}"  # the folder of the model
NETWORK, PINNED = SETTINGS.register_.method == "network", SETTINGS.train.model
MODEL = [] if not NETWORK else local(str(PINNED)) if PINNED else f"{LEARNT}/model.pt"
if NETWORK and PINNED and not PINNED.is_file():
    sys.exit(f"error: train.model is {PINNED}, and there is no such file: correct it, or leave it null to train")
GENERIC = SETTINGS.train.start == "generic" and SETTINGS.train.architecture == "correlation"
START = [placed(PACKAGE / "registration" / "model" / "weights.pt")] if GENERIC else []
try:
    OWN_METHOD = own_method_file(SETTINGS.register_.method)
except ValueError as error:
    sys.exit(f"error: {error}")
METHOD_CODE = (
    hashing.of_file(OWN_METHOD) if OWN_METHOD else ""
)  # an edit of a method of one's own registers all pairs again
TRAINING = SETTINGS.train.model_copy(update={"model": None}).model_dump_json()


def taught(step, settings, files):
    """A hash of what a step learns with besides the tiles: its code, its settings, and the content of `files`."""
    return hashing.of(steps.code(step), settings, *(hashing.of_file(Path(p)) for p in files if p and os.path.exists(p)))


def learnt_from(tables, step, key, now):
    """The tables that a step learns from; a change in them makes it learn again only until it has learnt once.

    The file `key` holds the hash (`taught`) with which the step learnt. While it equals `now`, the tables are marked as ancient,
    so that one more tile does not train the network again. In all other cases they are plain inputs: Snakemake would not
    even obey --forcerun in a job whose inputs are all ancient and were just made again. The demo's tables are always plain
    inputs, since its tiles change only with its settings.
    """
    kept = not (DEMO or is_forced(step)) and os.path.exists(key) and Path(key).read_text().strip() == now
    return [ancient(table) for table in tables] if kept else tables


def lit(wildcards):
    """The hash of what the step illumination learns with, besides the tiles."""
    dataset = DATASETS[wildcards.dataset]
    return taught("illumination", SETTINGS.illumination.model_dump_json(), [dataset.flat, dataset.dark])


def taught_by(wildcards):
    """The names of the datasets that a model is trained on."""
    return list(DATASETS) if SETTINGS.train.share else [wildcards.dataset]


def lessons(wildcards, table):
    """The tables of this name that a model is trained on."""
    tables = [f"results/{name}/{table}" for name in taught_by(wildcards)]
    return learnt_from(tables, "train", f"{LEARNT}/model.key".format(**wildcards), taught("train", TRAINING, START))
