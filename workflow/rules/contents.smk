# What the tiles and the finished mosaics hold, against what the last run found. No date is trusted.

WORKING_DIRECTORY = Path(".snakemake", "dlir-working-directory")  # holds a random name
RESULTS = [
    "files.csv",
    "survey.csv",
    "tiles.csv",
    "illumination.tif",
    "pairs.csv",
    "affines.csv",
    "lens.csv",
    "selfcheck.csv",
    "known_pairs.csv",
    "placement.csv",
    "stage.csv",
    "positions.csv",
    "exposure.csv",
    "mosaic.sha256",
    "verdict.json",
    "report.html",
    "report_files",
    "provenance.json",
]  # of a dataset, whose making Snakemake has to know; files.csv first, from which all others follow
OF_SPECIMEN = [
    "rounds.csv",
    "between.csv",
    "local.csv",
    "local_rounds.csv",
    "placement.csv",
    "stage.csv",
    "canvas.csv",
    "mosaic.sha256",
    "verdict.json",
    "report.html",
    "report_files",
]  # the same of a specimen, beside those of its rounds
FUTURE = 60 * 10**9  # ns that a clock may be ahead

if is_touched():
    sys.exit("error: --touch calls results finished without a look at them; dlir compares contents, so leave it out")


@cache
def sums_of(name):
    """The SHA-256 of each file of the tiles of a dataset. Only files that are not known from the last run are read."""
    file, paths = Path("results", name) / contents.TILES, [str(path) for path in TILES[name]]
    known = contents.Contents.read(file)
    present = contents.identities(paths)
    size = sum(present[path].size for path in known.unknown(present))
    if size > 2**30:
        print(f"{name}: reading {size / 2**30:.0f} GB of new or changed tiles, to know what they hold", file=sys.stderr)
    sums = known.sums(paths)
    if not workflow.dryrun:
        known.write(file)
    ahead = [path for path, identity in present.items() if identity.modified > time.time_ns() + FUTURE]
    if ahead:
        names = filenames.listed_names(ahead)
        print(f"warning: {names}: dated in the future; dlir compares what files hold, not dates", file=sys.stderr)
    return sums


@cache
def held_by(name):
    """The hash of what the tiles of a dataset hold, and the tables that tell their places."""
    return contents.of_dataset(sums_of(name), found_tiles.tables(DATASETS[name], TILES[name]))


def content(wildcards):
    """The option with the hash of what a dataset holds; empty for the demo, and for those in a bucket."""
    if missing_triggers():
        names = ", ".join(missing_triggers())
        print(f"warning: --rerun-triggers lacks {names}: dlir does not see all that changed", file=sys.stderr)
    if DEMO or BUCKET:
        return ""
    return f"--content {held_by(wildcards.dataset)}"


def is_damaged(name):
    """Whether a file of the finished mosaic is missing, or holds something else than when it was written."""
    results = Path("results", name)
    listed, store = results / "mosaic.sha256", results / "mosaic.ome.zarr"
    if not listed.is_file() or not store.is_dir():
        return False
    rows = [line.split("  ", 1) for line in listed.read_text(errors="replace").splitlines()]
    if any(len(row) != 2 for row in rows):
        return True
    written = {path: sha256 for sha256, path in rows}
    present = {str(path.relative_to(results)) for path in store.rglob("*") if path.is_file()}
    if present - {"mosaic.ome.zarr/.snakemake_timestamp"} != set(written):
        return True
    known = contents.Contents.read(results / "cache" / contents.MOSAIC)
    found = known.sums(str(results / path) for path in written)
    known.write(results / "cache" / contents.MOSAIC)
    return list(found.values()) != list(written.values())


def made_elsewhere(name):
    """Whether the results were last written from another working directory, whose settings Snakemake does not know here."""
    writer = Path("results", name, "cache", "working-directory")
    here = WORKING_DIRECTORY.read_bytes() if WORKING_DIRECTORY.is_file() else b""
    return writer.is_file() and writer.read_bytes() != here


def is_doubtful(path):
    """Whether nobody knows what an output was made from, or whether its date lies in the future, which hides every change."""
    return is_unknown(path) or (os.path.exists(path) and os.stat(path).st_mtime_ns > time.time_ns() + FUTURE)


def read_otherwise(name):
    """Whether the tiles hold something else than the step that finds them read; it may have read while one was changed."""
    read = sealed.read(Path("results", name) / contents.READ)
    return read is not None and read.decode() != held_by(name)


def mark_as_made_here():
    """Writes beside the results of each dataset which working directory makes them."""
    if not WORKING_DIRECTORY.is_file():
        WORKING_DIRECTORY.parent.mkdir(exist_ok=True)
        WORKING_DIRECTORY.write_text(secrets.token_hex())
    for name in DATASETS:
        writer = Path("results", name, "cache", "working-directory")
        writer.parent.mkdir(parents=True, exist_ok=True)
        writer.write_bytes(WORKING_DIRECTORY.read_bytes())


def or_stop(function):
    """An input function whose errors stop Snakemake, which would leave out the rule where its output is there."""

    def checked(wildcards):
        try:
            return function(wildcards)
        except Exception as error:
            sys.exit(f"error: results/{wildcards.dataset} cannot be compared with what they were made from: {error!r}")

    return checked


@or_stop
def raw_tiles(wildcards):
    """The tiles as inputs of the step that finds them: those of the demo, which a rule makes, and those in a bucket."""
    name = wildcards.dataset
    run_incomplete_jobs_again()  # each step writes its results whole or not at all
    if not BUCKET and is_main_process():
        made = [f"results/{name}/{result}" for result in RESULTS] + [DEMO_TRUTH] * DEMO
        if made_elsewhere(name):
            print(f"{name}: another working directory wrote results/{name}, so all is made again", file=sys.stderr)
            doubtful = [made[0], *made[len(RESULTS) :]]
        else:
            doubtful = [path for path in made if is_doubtful(path)]
            doubtful += made[:1] if not DEMO and read_otherwise(name) else []
        for path in doubtful:
            force(path)
    return TILES["demo"] if DEMO else fetched([name])


@or_stop
def raw_of_rounds(wildcards):
    """The tiles as inputs of the step that compares the rounds of a specimen."""
    if not BUCKET and is_main_process():
        for path in [f"results/{wildcards.dataset}/{result}" for result in OF_SPECIMEN]:
            if is_doubtful(path):
                force(path)
    return fetched(SPECIMENS[wildcards.dataset])


@or_stop
def raw_of_mosaic(wildcards):
    """The tiles as inputs of the step that fuses them; that step runs again where its mosaic is damaged."""
    write_damaged_again(wildcards.dataset)
    return fetched([wildcards.dataset])


@or_stop
def mosaics_of_rounds(wildcards):
    """The mosaics of all rounds of a specimen as inputs of the step that joins them, which runs again where that is damaged."""
    write_damaged_again(wildcards.dataset)
    return rounds_of(wildcards, "mosaic.ome.zarr")


def write_damaged_again(name):
    """Lets the step that writes a mosaic run again where that is damaged."""
    if not BUCKET and is_main_process() and is_damaged(name):
        print(f"warning: results/{name}/mosaic.ome.zarr is damaged, so it is written again", file=sys.stderr)
        force(f"results/{name}/mosaic.sha256")
