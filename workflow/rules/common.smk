# What the rules share: the settings and the tiles, checked before any job starts, and the command that runs a step.

PACKAGE = Path(dlir.__file__).parent
MAIN = shlex.quote(str(PACKAGE / "__main__.py"))
DEMO = not config.get("datasets")
try:
    for file in config_files():
        check_keys(file)
    SETTINGS = Settings.checked(config)
    DATASETS, MEMBERS = many_datasets.expanded(SETTINGS.datasets, candidates_of, BUCKET)
    ADOPTED = [name for name, dataset in DATASETS.items() if dataset.placement]  # the placement of another run
    REGISTERED = [name for name in DATASETS if name not in ADOPTED]
    TILES = {name: SETTINGS.demo.images if DEMO else tiles_of(dataset) for name, dataset in DATASETS.items()}
except (ValueError, OSError) as error:
    sys.exit(f"error: {error}")
ROUNDS = {name: member.group for name, member in MEMBERS.items() if member.round}  # the specimen of each round
SPECIMENS = {specimen: [name for name in ROUNDS if ROUNDS[name] == specimen] for specimen in ROUNDS.values()}
WHOLE = list(dict.fromkeys(ROUNDS.get(name, name) for name in DATASETS))  # datasets of their own, and specimens
GROUPS = sorted({MEMBERS[name].group for name in WHOLE if name in MEMBERS})  # folders of what one pattern means
PLATES = sorted({MEMBERS[name].group for name in WHOLE if name in MEMBERS and MEMBERS[name].well})
for folder in [
    "results",
    *(f"results/{name}/{part}" for name in [*DATASETS, *SPECIMENS] for part in ("", "cache", "logs", "benchmarks")),
]:
    if os.path.lexists(folder) and not os.path.isdir(folder):
        sys.exit(f"error: {folder.rstrip('/')} is a file, and a folder of results has to go there: move it away")
os.environ |= {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.getenv('PATH')}",  # an environment of --sdm conda comes before it
    "DLIR_PROCESSES": str(SETTINGS.train.processes),  # a profile asks for as many GPUs
}


def check_rounds():
    """Ends the run where the rounds of a specimen cannot be one image, as far as that is known before any job."""
    from dlir.rounds import alike, names  # the headers of files are read with NumPy, which is slow to load

    table = SETTINGS.rounds.names
    try:
        if table and not BUCKET:
            names.read(table, {MEMBERS[name].round for name in ROUNDS})
        for specimen, listed in SPECIMENS.items() if is_main_process() and not BUCKET else ():
            rounds = {MEMBERS[name].round: (DATASETS[name], TILES[name]) for name in listed}
            alike.check(specimen, rounds, table)
        for name, entry in SETTINGS.datasets.items() if is_main_process() and not BUCKET else ():
            files = [path for own in ROUNDS if own.startswith(f"{name}/") for path in TILES[own]]
            others = grid_layout.folders_without_round(entry.images, files) if files else []
            if others := [str(folder) for folder in others if str(folder) != "results"]:
                left_out = filenames.listed_names(others)
                unlike = (
                    f"none of their images matches {entry.images}. List the rounds that differ below the key rounds"
                )
                why = "the key rounds does not list them" if entry.rounds else unlike
                print(f"warning: {name}: {left_out}: left out, since {why}", file=sys.stderr)
    except ValueError as error:
        sys.exit(f"error: {error}")


if SPECIMENS:
    check_rounds()


def only(names):
    """A pattern for the wildcard of a rule that runs for these datasets alone."""
    return "|".join(map(re.escape, names)) or "(?!)"


def unknown_dataset(path):
    """What to say of a file that no rule makes since the settings have no such dataset; empty for other files."""
    folder, _, _ = path.removeprefix("results/").rpartition("/")
    known = any(f"{folder}/".startswith(f"{name}/") for name in [*DATASETS, *SPECIMENS, *GROUPS])
    if known or not folder or not path.startswith("results/"):
        return ""
    return (
        f"{path}: the settings have no dataset {folder}, but {filenames.listed_names(WHOLE)}: correct the name, or"
        " give the file of settings that has it after --configfile"
    )


explain_missing(unknown_dataset)


def of_registration(wildcards, *files):
    """Results of registration as inputs; none for a dataset with the placement of another run."""
    return [] if wildcards.dataset in ADOPTED else [f"results/{wildcards.dataset}/{file}" for file in files]


def members(group):
    """The datasets and specimens of a group, which one pattern means."""
    return [name for name in WHOLE if name in MEMBERS and MEMBERS[name].group == group]


def rounds_of(wildcards, *files):
    """These results of all rounds of a specimen, one round after the other."""
    return [f"results/{name}/{file}" for name in SPECIMENS[wildcards.dataset] for file in files]


def folders_of_rounds(wildcards):
    """Where a step finds the results of the rounds of a specimen, in order."""
    return [working_copy(f"results/{name}") for name in SPECIMENS[wildcards.dataset]]


def overrides_of_rounds(wildcards):
    """The user's tables of overrides of the rounds of a specimen, None for a round without one."""
    return [DATASETS[name].overrides for name in SPECIMENS[wildcards.dataset]]


def given_overrides_of_rounds(wildcards):
    """The option that names them, with none for a round without one."""
    tables = [working_copy(str(table)) if table else "none" for table in overrides_of_rounds(wildcards)]
    return f"--overrides {shlex.join(tables)}" if any(overrides_of_rounds(wildcards)) else ""


def canvas_of(wildcards):
    """The size of the mosaic as an input, where all rounds of a specimen share it."""
    return [f"results/{ROUNDS[wildcards.dataset]}/canvas.csv"] if wildcards.dataset in ROUNDS else []


def field_of(wildcards):
    """How the tissue of a round was stretched, as an input."""
    return [f"results/{wildcards.dataset}/local.csv"] if wildcards.dataset in ROUNDS else []


def shown_on_index(names):
    """What the page of these datasets and specimens is made from."""
    files = ["report.html", "report_files", "verdict.json", "placement.csv"]
    shown = [f"results/{name}/{file}" for file in files for name in names]
    return shown + [f"results/{own}/provenance.json" for name in names for own in SPECIMENS.get(name, [name])]


def wells_of(wildcards):
    """The option that names the wells of a group, in the order of its datasets; empty where it is no plate."""
    wells = [MEMBERS[name].well for name in members(wildcards.group)]
    return f"--wells {' '.join(wells)}" if all(wells) else ""


def dlir_command(wildcards, output):
    """The command that runs a step with the package beside the Snakefile, even if another one is installed.

    The parameter `output` tells Snakemake that this is no setting: another path of the package then reruns nothing.
    """
    return f"python3 -P {MAIN}"


def dlir_together(wildcards, output):
    """The command that runs a step in several processes; see `dlir_command`."""
    return f"python3 -P -m torch.distributed.run --standalone --nproc-per-node {SETTINGS.train.processes} {MAIN}"


def placed(path):
    """A file of the package, relative to the working directory if it lies below: then both can be moved together."""
    return local(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))


def registration_options(wildcards, input):
    """The options of the report on how the tiles were registered, or from where their placement was taken."""
    if wildcards.dataset in ADOPTED:
        return f"--adopted {shlex.quote(str(DATASETS[wildcards.dataset].placement))}"
    files = [*input.registration, *input.known_pairs]
    return " ".join(f"--{Path(path).stem.replace('_', '-')} {path}" for path in files)


def settings_with(names):
    """All settings as JSON, with these datasets alone."""
    chosen = SETTINGS.model_copy(update={"datasets": {name: DATASETS[name] for name in names}})
    return chosen.model_dump_json(by_alias=True)


def own_configs(wildcards, output):
    """The option that names the files of the user's settings, as seen from the working directory where they lie below it.

    The parameter `output` tells Snakemake that this is no setting: other files with the same settings then rerun nothing.
    """
    files = [file for file in config_files() if file.resolve() != (HERE / "config.yaml").resolve()]
    here = Path.cwd()
    names = [str(file.relative_to(here) if file.is_relative_to(here) else file) for file in files]
    return f"--configs {shlex.join(names)}" if names else ""


def judged_options(wildcards, input):
    """The options of the verdict on how the tiles were registered; none where their placement was taken over."""
    files = {Path(path).stem: path for path in [*input.registration, *input.surveyed]}
    return " ".join(f"--{name} {path}" for name, path in files.items() if name != "stage")


def failures():
    """What the steps that failed in this run say, by the names of their datasets."""
    folders = {"all datasets": "results/logs"} | {
        name: f"results/{name}/logs" for name in [*DATASETS, *SPECIMENS, *GROUPS]
    }
    logs = [(name, file) for name, folder in folders.items() for file in sorted(Path(folder).glob("*.log"))]
    recent = [(name, file) for name, file in logs if file.stat().st_mtime >= STARTED]
    said = [(name, file.stem, file.read_text(errors="replace").partition(": error: ")[2]) for name, file in recent]
    return {name: f"the step {step} failed: {words.strip()}" for name, step, words in said if words}
