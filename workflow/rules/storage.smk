# Where tiles and results lie: below the working directory, or in a bucket, of which Snakemake keeps copies below it.

BUCKET = storage_prefix()
if BUCKET and storage_provider() != "s3":
    sys.exit("error: tiles can be listed in the storage s3 alone: give --default-storage-provider s3")


def kept_files(dataset):
    """The dataset, with the paths at which a step finds its files."""
    table = Path(working_copy(dataset.positions)) if dataset.positions else None
    return dataset.model_copy(update={"images": working_copy(dataset.images), "positions": table})


def fetched(names):
    """The tiles that a bucket has to send to a step that learns from those datasets, which learns again when they change."""
    return [path for name in names for path in TILES[name]] if BUCKET else []


def tiles_of(dataset):
    """The paths of the tiles of a dataset; raises TileError without any."""
    if not BUCKET:
        return grid_layout.find(dataset)
    folder = "".join(f"{part}/" for part in grid_layout.folder(dataset).parts)
    try:
        keys = keys_in_storage(folder)
    except Exception as error:  # boto3 has a class of its own for whatever is wrong
        sys.exit(f"error: {BUCKET} cannot be listed ({error}): look at the prefix, the endpoint and the keys")
    paths = grid_layout.meant(map(Path, keys), dataset)
    if not paths:
        raise grid_layout.TileError(
            f"no tile found: images is {dataset.images}, and nothing in {BUCKET} matches: correct images"
        )
    return paths
