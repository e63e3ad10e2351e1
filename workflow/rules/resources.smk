# The memory (MB) and the time (minutes) that a job asks for, from the number and the size of its tiles.

MEASURED = ["tiles", "survey", "illumination", "pairs", "register", "selfcheck", "place", "adopt", "exposure", "mosaic"]
REGISTRATION = ["survey", "pairs", "register", "selfcheck", "place"]  # what `adopt` and `exposure` replace


def extent(wildcards):
    """The tiles of a job: their number, columns, height (px), and MB each as float32; a guess before tiles.csv exists."""
    names = taught_by(wildcards)
    tables = [Path(working_copy(f"results/{name}/tiles.csv")) for name in names]
    rows = [row for table in tables for row in rows_of(table)]
    if not rows:
        paths = [path for name in names for path in TILES[name]]
        size = max(map(bytes_of, paths[:1]), default=2**22)
        return SimpleNamespace(
            count=len(paths), columns=ceil(len(paths) ** 0.5), height=512, megabytes=4 * size / 2**20
        )
    height, width, channels = (max(int(row[key]) for row in rows) for key in ("height", "width", "channels"))
    columns = 1 + max(int(row["col"]) for row in rows)
    return SimpleNamespace(
        count=len(rows), columns=columns, height=height, megabytes=height * width * channels * 4 / 2**20
    )


@cache
def bytes_of(path):
    """The size of the file or the Zarr store of a tile; a guess where it is not there."""
    return next((identity.size for identity in contents.identities([path]).values()), 2**22)


def rows_of(table):
    """The rows of a tiles.csv; none where it is missing or damaged, since the step that reads it says so."""
    rows = list(csv.DictReader(table.read_text(errors="replace").splitlines())) if table.is_file() else []
    numbers = [row.get(key) or "" for row in rows for key in ("height", "width", "channels", "col")]
    return rows if all(number.isdecimal() for number in numbers) else []


def memory(base, held):
    """MB of a job that needs `base` MB and holds `held(extent)` tiles; each retry asks for as much again."""

    def mem_mb(wildcards, attempt):
        tiles = extent(wildcards)
        return ceil(attempt * (base + held(tiles) * tiles.megabytes))

    return mem_mb


def blocks(tiles):
    """The memory of fusion in tiles: those that it keeps, and the blocks that its threads work on."""
    return 32 + 30 * (SETTINGS.mosaic.shard / tiles.height) ** 2


def minutes(base, each):
    """Minutes of a job that needs `base` minutes and `each` minutes for a tile; each retry asks for as much again."""
    return lambda wildcards, attempt: ceil(attempt * (base + each * extent(wildcards).count))


def measured(wildcards):
    """The steps that run once for each dataset; Snakemake measures their time and memory."""
    others = REGISTRATION if wildcards.dataset in ADOPTED else ["adopt", "exposure"]
    steps_run = [step for step in MEASURED if step not in others]
    return ["demo"] * DEMO + steps_run + ["accuracy"] * bool(DATASETS[wildcards.dataset].truth)
