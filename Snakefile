"""Stitches the tiles of every dataset into a mosaic and reports on it: snakemake --cores N [--configfile mine.yaml]."""

import csv
import os
import re
import secrets
import shlex
import signal
import sys
import time
from contextlib import suppress
from functools import cache
from math import ceil
from pathlib import Path
from statistics import median
from types import SimpleNamespace

import psutil
from snakemake.utils import min_version

min_version("9.27")


include: "workflow/rules/snakemake_internals.smk"


HERE = folder_of_snakefile()
few_files_in_reasons()


configfile: f"{HERE}/config.yaml"


if (HERE / "dlir").is_dir():  # in a checkout, the package beside this file; else the one that brought it along
    sys.path.insert(0, str(HERE))

import dlir
from dlir import dataset_files, needs, steps
from dlir.config import Settings, check_keys
from dlir.core import hashing, sealed
from dlir.demo.settings import DEMO_TRUTH
from dlir.reading import contents, filenames, found_tiles, grid_layout, many_datasets
from dlir.registration.settings import own_method_file
from dlir.reporting import verdict_file


report: "workflow/report/workflow.rst"


include: "workflow/rules/storage.smk"
include: "workflow/rules/common.smk"


wildcard_constraints:
    dataset="|".join(map(re.escape, DATASETS)),
    group="|".join(map(re.escape, GROUPS)) or "-",


include: "workflow/rules/contents.smk"
include: "workflow/rules/learning.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/reading.smk"
include: "workflow/rules/illumination.smk"
include: "workflow/rules/registration.smk"
include: "workflow/rules/placement.smk"
include: "workflow/rules/fusion.smk"
include: "workflow/rules/rounds.smk"
include: "workflow/rules/reporting.smk"


WITH_TRUTH = [name for name, dataset in DATASETS.items() if dataset.truth]


rule all:
    default_target: True
    input:
        expand(
            "results/{dataset}/{result}",
            dataset=DATASETS,
            result=[
                "mosaic.ome.zarr",
                "mosaic.sha256",
                "report.html",
                "report_files",
                "verdict.json",
                "positions.csv",
                "TileConfiguration.registered.txt",
                "provenance.json",
            ],
        ),
        expand(
            "results/{specimen}/{result}",
            specimen=SPECIMENS,
            result=[
                "mosaic.ome.zarr",
                "mosaic.sha256",
                "placement.csv",
                "report.html",
                "report_files",
                "verdict.json",
                "provenance.json",
            ],
        ),
        expand("results/{dataset}/accuracy.csv", dataset=WITH_TRUTH),
        expand("results/{group}/index.html", group=GROUPS),
        ["results/index.html"] if len(WHOLE) > 1 else [],
        expand("results/{group}/plate.ome.zarr", group=PLATES),
        [
            path
            for name in [*DATASETS, *SPECIMENS]
            for path in [f"results/{name}/mosaic.ome.tif"]
            if os.path.exists(path)
        ],
    message:
        "all results are there"


STARTED = time.time()


onstart:
    without_pauses()
    stop_jobs_at_a_signal()
    if not BUCKET:
        mark_as_made_here()


onsuccess:
    if BUCKET:
        print(f"the results are in {BUCKET.rstrip('/')}/results")
    here = [] if BUCKET else [*DATASETS, *SPECIMENS]
    finished = [name for name in here if Path(f"results/{name}/report.html").exists()]  # not so with --until
    for name in [name for name in finished if name in WHOLE]:
        print(f"{name}: mosaic results/{name}/mosaic.ome.zarr, report results/{name}/report.html")
    for name in [name for name in finished if name in WITH_TRUTH]:
        with open(f"results/{name}/accuracy.csv") as table:
            errors = [float(row["error"]) for row in csv.DictReader(table)]
        print(f"{name}: median placement error {median(errors):.3f} px, worst tile {max(errors):.3f} px")
    for name in [name for name in finished if Path(f"results/{name}/{verdict_file.FILE}").exists()]:
        print(f"{name}: {verdict_file.read(Path('results', name))['sentence']}")


onerror:
    failed = failures()
    for name, words in failed.items():
        print(f"{name}: {words}")
    for group in [group for group in GROUPS if failed.keys() & members(group)]:
        print(f"{group}: the page and the plate of all its datasets wait for a run without an error")
    if failed and len(WHOLE) > 1:
        print("results/index.html, the page of all datasets, waits for a run without an error")
