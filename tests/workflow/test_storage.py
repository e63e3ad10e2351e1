"""Tiles in a bucket of a real S3 server, on this machine alone, and the results back into it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from support.cycles import write_round
from support.workflow import PHASE, Workflow, contents, jobs_from, write_tiles

boto3 = pytest.importorskip("boto3", reason="needs the plugin: pip install '.[dev,s3]'")
server = pytest.importorskip("moto.server", reason="needs the server: pip install '.[dev,s3]'")
pytestmark = pytest.mark.slow
GRID = {"images": "raw/*.tif", "positions": "raw/places.csv", "overlap": 0.25}
STORAGE = ["--default-storage-provider", "s3", "--default-storage-prefix", "s3://lab/micro"]
KEYS = {"ACCESS_KEY": "any", "SECRET_KEY": "any"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The address of a running S3 server."""
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    yield "http://{}:{}".format(*running.get_host_and_port())
    running.stop()


@pytest.fixture(scope="module")
def bucket(endpoint: str) -> Any:
    """An empty bucket, called lab."""
    client = boto3.resource(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="any", aws_secret_access_key="any"
    )
    return client.create_bucket(Bucket="lab")


@pytest.fixture(scope="module")
def local(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """The finished run of the same tiles in a folder, with a table of their places."""
    folder = tmp_path_factory.mktemp("local")
    write_tiles(folder)
    (folder / "in" / "grid").rename(folder / "raw")
    rows = [f"{row}_{col}.tif,{48 * row},{48 * col}" for row, col in np.ndindex(2, 2)]
    (folder / "raw" / "places.csv").write_text("\n".join(["path,y,x", *rows]))
    workflow = Workflow(repository, folder, {"datasets": {"grid": GRID}, **PHASE})
    workflow.finish()
    return workflow


@pytest.fixture(scope="module")
def remote(local: Workflow, bucket: Any, endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> "Remote":
    """The finished run of the tiles in the bucket."""
    for path in (local.folder / "raw").iterdir():
        bucket.upload_file(str(path), f"micro/raw/{path.name}")
    workflow = Remote(local, tmp_path_factory.mktemp("remote"), endpoint)
    assert "the results are in s3://lab/micro/results" in workflow.finish()
    return workflow


class Remote(Workflow):
    """Runs in an empty folder, on a bucket."""

    def __init__(self, local: Workflow, folder: Path, endpoint: str) -> None:
        super().__init__(local.repository, folder, local.config)
        self.endpoint = endpoint

    def __call__(self, *options: str, **changes: Any) -> Any:
        with pytest.MonkeyPatch.context() as environment:
            for name, text in KEYS.items():
                environment.setenv(f"SNAKEMAKE_STORAGE_S3_{name}", text)
            return super().__call__(*STORAGE, "--storage-s3-endpoint-url", self.endpoint, *options, **changes)


def test_the_results_in_the_bucket_are_those_of_a_local_run(
    local: Workflow, remote: Remote, bucket: Any, tmp_path: Path
) -> None:
    for item in bucket.objects.filter(Prefix="micro/results/grid/"):
        path = tmp_path / item.key
        path.parent.mkdir(parents=True, exist_ok=True)
        bucket.download_file(item.key, str(path))
    expected = contents(local.folder / "results" / "grid")
    found = contents(tmp_path / "micro" / "results" / "grid")
    assert set(found) == set(expected)
    assert any(name.startswith("mosaic.ome.zarr/0/c/") for name in found)
    with_paths = {"files.csv", "tiles.csv", "placement.csv", "positions.csv"}
    assert {name for name in found if found[name] != expected[name]} == {*with_paths, "provenance.json"}
    copies = b".snakemake/storage/s3/lab/micro/"
    assert all(found[name].replace(copies, b"") == expected[name] for name in with_paths)


def test_nothing_is_left_to_do_and_nothing_left_here(remote: Remote) -> None:
    assert remote.planned() == {}
    assert not (remote.folder / "results").exists()
    assert not list((remote.folder / ".snakemake" / "storage").rglob("*.tif"))


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--default-storage-prefix", "s3://typo/micro", "s3://typo/micro cannot be listed (An error occurred (NoSuchBucket)"),
        ("--default-storage-prefix", "s3://lab", "no tile found: images is raw/*.tif, and nothing in s3://lab matches"),
    ],
)
def test_what_is_wrong_with_the_bucket_is_said(remote: Remote, option: str, value: str, message: str) -> None:
    result = remote("--dry-run", option, value)
    assert result.returncode == 1
    assert f"error: {message}" in result.stderr
    assert "Traceback" not in result.stdout + result.stderr


def test_what_needs_tiles_again_fetches_them_and_replaces_the_old_mosaic(remote: Remote, bucket: Any) -> None:
    bucket.put_object(Key="micro/results/grid/mosaic.ome.zarr/0/c/9/9", Body=b"a shard of a larger mosaic")
    result = remote("--until", "mosaic", illumination={"correct": False}, mosaic={"chunk": 32, "shard": 64})
    assert result.returncode == 0, result.stdout + result.stderr
    shards = [item.key for item in bucket.objects.filter(Prefix="micro/results/grid/mosaic.ome.zarr/0/c/")]
    assert sorted(key[-3:] for key in shards) == ["0/0", "0/1", "1/0", "1/1"]


def test_a_tile_uploaded_anew_reruns_its_dataset(remote: Remote, local: Workflow, bucket: Any, tmp_path: Path) -> None:
    pixels = tifffile.imread(local.folder / "raw" / "1_0.tif")
    pixels[5, 5] += 1
    tifffile.imwrite(tmp_path / "1_0.tif", pixels)
    bucket.upload_file(str(tmp_path / "1_0.tif"), "micro/raw/1_0.tif")
    planned = remote.planned()
    assert planned == {step: 1 for step in jobs_from("tiles") if step not in ("train", "accuracy")}


def test_rounds_in_a_bucket_become_one_mosaic_there(
    local: Workflow, bucket: Any, endpoint: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for number in (1, 2):
        write_round(tmp_path / f"R{number}", number)
        for path in (tmp_path / f"R{number}").iterdir():
            bucket.upload_file(str(path), f"micro/cycles/R{number}/{path.name}")
    workflow = Remote(local, tmp_path_factory.mktemp("cycles"), endpoint)
    slide = {"images": "cycles/{round}/{row}_{col}_{channel}.tif", "overlap": 0.22}
    workflow.config = {"datasets": {"slide": slide}, "selfcheck": {"count": 2}, **PHASE}
    workflow.finish()
    files = {item.key.removeprefix("micro/results/slide/") for item in bucket.objects.filter(Prefix="micro/results/slide/")}
    assert {"report.html", "verdict.json", "placement.csv", "R2/report.html", "mosaic.ome.zarr/0/c/3/0/0"} <= files
    assert workflow.planned() == {}
