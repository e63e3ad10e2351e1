# Tiles and results lie below the working directory, or in a bucket; Snakemake then keeps copies below the working directory.

BUCKET = storage_prefix()
if BUCKET and storage_provider() != "s3":
    sys.exit("error: dlir can list tiles in S3 storage only: give --default-storage-provider s3")


def with_working_copies(dataset):
    """The dataset with the paths at which a job finds its files."""
    table = Path(working_copy(dataset.table)) if dataset.table else dataset.positions
    placed = Path(working_copy(dataset.placement)) if dataset.placement else None
    return dataset.model_copy(update={"images": working_copy(dataset.images), "positions": table, "placement": placed})


def layout_of(dataset):
    """The settings of a dataset that say where its tiles lie."""
    return with_working_copies(dataset).model_dump_json(exclude={"truth", "overrides", "flat", "dark", "distortion"})


def other_rounds(wildcards, output):
    """The option that tells the layouts of the other rounds of a specimen to one that may not show its own overlap.

    The parameter `output` tells Snakemake that this is no setting: a round that is added reruns nothing. Tiles in a bucket are
    not there.
    """
    name = wildcards.dataset
    others = {MEMBERS[each].round: DATASETS[each] for each in SPECIMENS.get(ROUNDS.get(name), []) if each != name}
    if BUCKET or not others or None not in DATASETS[name].told_overlap:
        return ""
    specimen = DATASETS[name].model_copy(
        update={"rounds": {each: with_working_copies(own) for each, own in others.items()}}
    )
    return f"--others {shlex.quote(specimen.model_dump_json(include={'images', 'rounds'}))}"


def fetched(names):
    """The tiles of these datasets as inputs of a rule, where they lie in a bucket: Snakemake fetches them, and compares dates.

    Elsewhere no file of the user is an input. Snakemake would compare dates, and miss a tile that was exchanged for an older
    one; `content` compares what the files hold, and each step checks the files that it reads.
    """
    return [path for name in names for path in TILES[name]] if BUCKET else []


def in_bucket(*paths):
    """Files of the user as inputs of a rule, where they lie in a bucket; see `fetched`."""
    return [path for path in paths if path] if BUCKET else []


def mosaic_folder(path):
    """The folder of a mosaic as an output; in a bucket nothing can be replaced at once."""
    return directory(path) if BUCKET else replaced_at_once(path)


def given_overrides(wildcards):
    """The option that names the user's table of overrides."""
    table = DATASETS[wildcards.dataset].overrides
    return f"--overrides {shlex.quote(working_copy(str(table)))}" if table else ""


def distortion_of(wildcards):
    """The option that says how the lens distorts the tiles of a dataset."""
    dataset = DATASETS[wildcards.dataset]
    known = dataset.known_lens and working_copy(str(dataset.known_lens))
    keys = "" if isinstance(dataset.distortion, str) or known else dataset.distortion.model_dump_json()
    return f"--distortion {shlex.quote(known or keys or dataset.distortion)}"


def given(*paths):
    """Options that name files of the user with what they hold, so that a step stops where one was changed meanwhile."""
    known = [] if BUCKET else [path for path in paths if path]
    return " ".join(f"--given {shlex.quote(str(path))} {hashing.of_file(path)}" for path in known)


def made_placement(dataset):
    """The placement that a dataset takes over, where a dataset of this run makes it; None where it is there already."""
    own = {os.path.abspath(f"results/{name}/placement.csv") for name in DATASETS}
    return dataset.placement if dataset.placement and os.path.abspath(dataset.placement) in own else None


def placed_before(wildcards):
    """The files of another run from which a dataset takes its placement: the table, and tiles.csv and lens.csv beside it."""
    placement = DATASETS[wildcards.dataset].placement
    beside = [placement.parent / name for name in ("tiles.csv", "lens.csv")]
    made = made_placement(DATASETS[wildcards.dataset])
    return [placement, *(path for path in beside if made or path.is_file())]


def made_before(wildcards):
    """Those of them that are inputs of a rule, since this run makes them, or since they lie in a bucket."""
    if made_placement(DATASETS[wildcards.dataset]):
        return [os.path.relpath(path) for path in placed_before(wildcards)]
    return in_bucket(DATASETS[wildcards.dataset].placement)


def given_placement(wildcards):
    """The options that name them with what they hold, where they are no inputs."""
    return "" if made_before(wildcards) else given(*placed_before(wildcards))


def candidates_of(dataset):
    """The files that a dataset may mean by its pattern."""
    if not BUCKET:
        return grid_layout.candidates(dataset)
    folder = "".join(f"{part}/" for part in grid_layout.folder(dataset).parts)
    try:
        return [Path(key) for key in keys_in_storage(folder)]
    except Exception as error:  # boto3 raises many classes without a common base
        sys.exit(f"error: {BUCKET} cannot be listed ({error}): look at the prefix, the endpoint and the keys")


def tiles_of(dataset):
    """The files of the tiles of a dataset; raises ValueError where the user's tables or the names of the files are wrong."""
    if not BUCKET:
        return dataset_files.tile_files(dataset, [made_placement(dataset)])
    paths = grid_layout.meant(candidates_of(dataset), dataset)
    if not paths:
        raise grid_layout.TileError(
            f"no tile found: images is {dataset.images}, and nothing in {BUCKET} matches: correct images"
        )
    return paths
