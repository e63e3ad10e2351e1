# The memory (MB) and the time (minutes) that a job asks for, from the number and the size of its tiles.

MEASURED = [
    *("tiles", "survey", "illumination", "pairs", "register", "selfcheck", "place", "round_place", "adopt", "exposure"),
    "mosaic",
]
REGISTRATION = ["survey", "pairs", "register", "selfcheck", "place"]  # what `adopt` and `exposure` replace
LEAST_MB, MARGIN_MB = 500, 1.5
LEAST_MINUTES, MARGIN_MINUTES = 10, 5


def extent(wildcards):
    """How many tiles a job has, and how large they are; a guess by the first file before tiles.csv exists."""
    names = seen_by(wildcards)
    tables = [Path(working_copy(f"results/{name}/tiles.csv")) for name in names]
    rows = [row for table in tables for row in rows_of(table)]
    if not rows:
        paths = [path for name in names for path in TILES[name]]
        pixels = max(map(bytes_of, paths[:1]), default=2**22)  # of one byte
        return needs.Extent(len(paths), ceil(len(paths) ** 0.5), ceil(pixels**0.5), ceil(pixels**0.5), 1, 1, 1)
    height, width, channels, columns, times, depth = (
        max(int(row[key]) for row in rows) for key in ("height", "width", "channels", "col", "times", "depth")
    )
    return needs.Extent(len(rows), 1 + columns, height, width, channels, times * depth, 4)


@cache
def bytes_of(path):
    """The size of the file or the Zarr store of a tile; a guess where it is not there."""
    return next((identity.size for identity in contents.identities([path]).values()), 2**22)


def rows_of(table):
    """The rows of a tiles.csv; none where it is missing or damaged, since the step that reads it says so."""
    rows = list(csv.DictReader(table.read_text(errors="replace").splitlines())) if table.is_file() else []
    keys = ("height", "width", "channels", "col", "times", "depth")
    return rows if all((row.get(key) or "").isdecimal() for row in rows for key in keys) else []


def need(step, wildcards):
    """What a step needs for its tiles."""
    training = 0 if SETTINGS.train.when == "never" else SETTINGS.train.steps
    return needs.needs(step, extent(wildcards), training=training, shard=SETTINGS.mosaic.shard)


def memory(step):
    """MB that a job asks for, half as much again as it needs; each retry asks for as much more."""
    return lambda wildcards, attempt: ceil(attempt * (LEAST_MB + MARGIN_MB * need(step, wildcards).memory))


def minutes(step):
    """Minutes that a job asks for: enough for one core of a slow machine; each retry asks for as much more."""
    return lambda wildcards, attempt: ceil(
        attempt * (LEAST_MINUTES + MARGIN_MINUTES * need(step, wildcards).wall(1) / 60)
    )


def measured(wildcards):
    """The steps that run once for each dataset; Snakemake measures their time and memory."""
    placed = "place" if wildcards.dataset in ROUNDS else "round_place"
    others = [*REGISTRATION, "round_place"] if wildcards.dataset in ADOPTED else ["adopt", "exposure", placed]
    steps_run = [step for step in MEASURED if step not in others]
    return ["demo"] * DEMO + steps_run + ["accuracy"] * bool(DATASETS[wildcards.dataset].truth)
