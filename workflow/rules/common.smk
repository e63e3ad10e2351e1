# What the rules share: the settings and the tiles, checked before any job starts, and the command that runs a step.

PACKAGE = Path(dlir.__file__).parent
MAIN = shlex.quote(str(PACKAGE / "__main__.py"))
DLIR = f"python3 -P {MAIN}"  # the package beside the Snakefile, whatever is installed
os.environ["PATH"] = (
    f"{Path(sys.executable).parent}{os.pathsep}{os.getenv('PATH', '')}"  # the environment of --sdm conda goes first
)
DEMO = not config.get("datasets")
try:
    SETTINGS = Settings.checked(config)
    DATASETS = SETTINGS.datasets
    TILES = {name: SETTINGS.demo.images if DEMO else tiles_of(dataset) for name, dataset in DATASETS.items()}
except (ValueError, OSError) as error:
    sys.exit(f"error: {error}")
if os.path.exists("results") and not os.path.isdir("results"):
    sys.exit("error: results is a file, and the folder of the results has to go there: move it away")
os.environ["DLIR_PROCESSES"] = str(SETTINGS.train.processes)  # a profile asks for as many GPUs
LEARNT = "results" if SETTINGS.train.share else "results/{dataset}"  # the folder of the model


def placed(path):
    """A file of the package, by its path from the working directory if it lies below: then both can be moved together."""
    return local(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))


def taught(step, settings, files):
    """A hash of all that a step learns with, besides the tiles: its code, its settings, and these files."""
    return hashing.of(steps.code(step), settings, *(hashing.of_file(Path(p)) for p in files if p and os.path.exists(p)))


def learnt_from(tables, step, key, now):
    """The tables that a step learns from, which count no more once it has learnt with what `taught` gives now: `key` says so.

    Otherwise they count, since Snakemake looks for no other reason, not even --forcerun, in a job whose inputs are all ancient
    and just made again. The demo's tiles follow from settings, and count always.
    """
    told = DEMO or is_forced(step)
    kept = not told and os.path.exists(key) and Path(key).read_text().strip() == now
    return [ancient(table) for table in tables] if kept else tables
