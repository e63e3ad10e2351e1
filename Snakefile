"""Stitches the tiles of every dataset into a mosaic and reports on it: snakemake --cores N [--configfile mine.yaml]."""

import csv
from statistics import median

from snakemake.utils import min_version

min_version("9.27")


configfile: f"{workflow.basedir}/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/storage.smk"
include: "workflow/rules/common.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/register.smk"
include: "workflow/rules/stitch.smk"
include: "workflow/rules/quality.smk"


WITH_TRUTH = [name for name, dataset in DATASETS.items() if dataset.truth]


rule all:
    default_target: True
    input:
        expand(
            "results/{dataset}/{result}",
            dataset=DATASETS,
            result=["mosaic.ome.zarr", "report.html", "positions.csv", "provenance.json"],
        ),
        expand("results/{dataset}/accuracy.csv", dataset=WITH_TRUTH),


onstart:
    # With a limit to the jobs a second, which Snakemake has unasked, each look at those that are ready leads to another look a
    # second later: after a thousand jobs it does nothing else
    pace = workflow.scheduling_settings.max_jobs_per_timespan
    if pace and (pace.max_jobs, pace.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


onsuccess:
    if BUCKET:
        print(f"the results are in {BUCKET.rstrip('/')}/results")
    here = {} if BUCKET else DATASETS
    finished = [name for name in here if Path(f"results/{name}/report.html").exists()]  # not so with --until
    for name in finished:
        print(f"{name}: mosaic results/{name}/mosaic.ome.zarr, report results/{name}/report.html")
    for name in [name for name in finished if name in WITH_TRUTH]:
        with open(f"results/{name}/accuracy.csv") as table:
            errors = [float(row["error"]) for row in csv.DictReader(table)]
        print(f"{name}: median placement error {median(errors):.3f} px, worst tile {max(errors):.3f} px")
