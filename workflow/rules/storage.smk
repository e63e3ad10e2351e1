# Where tiles and results lie: below the working directory, or in a bucket, of which snakemake keeps copies below it.
import sys
from pathlib import Path

BUCKET = workflow.storage_settings.default_storage_prefix if workflow.storage_settings.default_storage_provider else ""
if BUCKET and workflow.storage_settings.default_storage_provider != "s3":
    sys.exit("error: tiles can be listed in the storage s3 alone: give --default-storage-provider s3")


def kept(path):
    """Where a stage finds a file that lies at `path` in the working directory or in the bucket."""
    return str(workflow.inputfile(path))


def kept_files(dataset):
    """The dataset, with the paths at which a stage finds its files."""
    table = Path(kept(dataset.positions)) if dataset.positions else None
    return dataset.model_copy(update={"images": kept(dataset.images), "positions": table})


def fetched(names):
    """The tiles that a bucket has to send to a stage that learns from those datasets, which learns again when they change."""
    return [path for name in names for path in TILES[name]] if BUCKET else []


def tiles_of(dataset):
    """The paths of the tiles of a dataset; raises TileError without any."""
    if not BUCKET:
        return layout.find(dataset)
    place = workflow.inputfile("_").storage_object  # what lies before the name of this file lies before all
    prefix = place.key.removesuffix("_")
    folder = "".join(f"{part}/" for part in layout.folder(dataset).parts)
    try:
        keys = [item.key for item in place.s3bucket().objects.filter(Prefix=prefix + folder)]
    except Exception as error:  # boto3 has a class of its own for whatever is wrong
        sys.exit(f"error: {BUCKET} cannot be listed ({error}): look at the prefix, the endpoint and the keys")
    paths = layout.meant((Path(key.removeprefix(prefix)) for key in keys), dataset)
    if not paths:
        raise layout.TileError(
            f"no tile found: images is {dataset.images}, and nothing in {BUCKET} matches: correct images"
        )
    return paths
