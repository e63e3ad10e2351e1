# What the network and the illumination learn with besides the tiles. The network learns once, and again only where this changes;
# what the step illumination keeps, it decides by itself.

LEARNT = (
    "results" if SETTINGS.train.share else "results/{dataset}"
)  # the folder of the model; that of a specimen for its rounds
LEARNERS = "all datasets" if SETTINGS.train.share else "{wildcards.dataset}"  # whose tiles the network sees
NETWORK, PINNED = SETTINGS.register_.method == "network", SETTINGS.train.model
TRAINED = NETWORK and not PINNED  # whether a rule makes the model
if NETWORK and PINNED and not PINNED.is_file():
    sys.exit(f"error: train.model is {PINNED}, and there is no such file: correct it, or leave it null to train")
MODEL_GIVEN = given(PINNED) if NETWORK and PINNED else ""
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


def learnt(wildcards, file):
    """A file of the network that a dataset is registered with as an input; none where no rule makes it."""
    return [f"{LEARNT}/{file}".format(dataset=ROUNDS.get(wildcards.dataset, wildcards.dataset))] if TRAINED else []


def model(wildcards):
    """The network as an input; see `learnt`."""
    return learnt(wildcards, "model.pt")


def model_file(wildcards):
    """The file of the network, which is trained or given; empty for other methods."""
    return shlex.join(model(wildcards) or ([str(PINNED)] if NETWORK else []))


def model_option(wildcards):
    """The option that names the network; empty for other methods."""
    return f"--model {model_file(wildcards)}" if NETWORK else ""


def taught(step, settings, files=()):
    """A hash of what a step learns with besides the tiles: its code, its settings, and the content of `files`."""
    return hashing.of(steps.code(step), settings, *(hashing.of_file(Path(p)) for p in files if p and os.path.exists(p)))


def taught_by(wildcards):
    """The names of the datasets that a model is trained on: all rounds of a specimen; for one that needs no model, its own."""
    name = wildcards.get("dataset")
    if SETTINGS.train.share and name not in ADOPTED:
        return REGISTERED
    return SPECIMENS.get(ROUNDS.get(name, name), [name])


def seen_by(wildcards):
    """The names of the datasets whose tiles a job looks at."""
    return [wildcards.dataset] if wildcards.get("dataset") in ROUNDS else taught_by(wildcards)


def lessons(wildcards, table):
    """The tables of this name that a model is trained on; a change in them trains it only as long as there is no model.

    The file model.key holds the hash (`taught`) with which the model was trained. While it equals that of now, the tables are
    marked as ancient, so that one more tile does not train the network again. In all other cases they are plain inputs:
    Snakemake would not even obey --forcerun in a job whose inputs are all ancient and were just made again. The demo's tables
    are always plain inputs, since its tiles change only with its settings. A round that was added since is no input either,
    since Snakemake trains again where there are other inputs.
    """
    tables = [f"results/{name}/{table}" for name in taught_by(wildcards)]
    key, trained = (Path(f"{LEARNT}/{name}".format(**wildcards)) for name in ("model.key", "model.pt"))
    kept = (
        not (DEMO or is_forced("train"))
        and key.exists()
        and key.read_text(errors="replace").strip() == taught("train", TRAINING, START)
    )
    if not kept:
        return tables
    lessons_then = [table for table in tables if trained.exists() and table in last_inputs(str(trained))]
    return [ancient(table) for table in lessons_then or tables]


def given_fields(wildcards):
    """The options that name the user's own flat-field and dark-field."""
    dataset = DATASETS[wildcards.dataset]
    given = {"flat": dataset.flat, "dark": dataset.dark}
    return " ".join(f"--{kind} {shlex.quote(working_copy(str(path)))}" for kind, path in given.items() if path)


def again(wildcards, output):
    """The option that makes the illumination learn again where the user forces it; not a setting, so it takes `output`."""
    return "--again" if is_forced("illumination") else ""


def selfcheck_ahead(wildcards, input, output, resources):
    """The step `selfcheck` behind `register`, while the network is loaded; it keeps its table for the rule of that name.

    Its settings are none of `register`, so this takes `output`. In a bucket there is no cache, and the rule does it all.
    """
    if BUCKET:
        return ""
    files = f"--tiles {input.tiles} --illumination {input.illumination} --pairs {input.pairs}"
    model = model_option(wildcards)
    how = f"--method {SETTINGS.register_.method} --settings {shlex.quote(SETTINGS.selfcheck.model_dump_json())}"
    return (
        f"--then selfcheck {files} {model} {how} --device {resources.device} --cache results/{wildcards.dataset}/cache"
    )


def train_rounds_ahead(wildcards, input, output, resources):
    """The step `train_rounds` between `rounds` and `between`, where the network is one that the workflow trains."""
    if not TRAINED:
        return ""
    results, cache = shlex.join(folders_of_rounds(wildcards)), f"--cache results/{wildcards.dataset}/cache"
    files = f"--results {results} --rounds {output.rounds} --model {input.model} --output {output.model[0]}"
    place = shlex.quote(SETTINGS.place.model_dump_json())
    how = f"--settings {shlex.quote(TRAINING)} --place {place} --device {resources.device}"
    return f"--then train_rounds {files} {how} {'' if BUCKET else cache}"
