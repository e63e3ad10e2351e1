# All that the workflow takes from Snakemake's inside, which an update may change: one function each, and a test for each.
# tests/workflow/test_snakemake_internals.py runs them.


def storage_provider():
    """The name of the default storage, such as s3; empty without one."""
    return workflow.storage_settings.default_storage_provider or ""


def storage_prefix():
    """The address in front of all paths in the default storage; empty without one."""
    return (workflow.storage_settings.default_storage_prefix or "") if storage_provider() else ""


def working_copy(path):
    """Where a job finds the file that lies at `path` in the working directory or in the storage."""
    return str(workflow.inputfile(path))


def keys_in_storage(folder):
    """The paths of all files in a folder (ending in /, or empty) of the S3 storage, as the workflow names them."""
    place = workflow.inputfile("_").storage_object
    prefix = place.key.removesuffix("_")
    return [item.key.removeprefix(prefix) for item in place.s3bucket().objects.filter(Prefix=prefix + folder)]


def is_forced(rule):
    """Whether --forcerun names a rule, by the name that it has in this run."""
    return workflow.modifier.modify_rulename(rule) in workflow.dag_settings.forcerun


def folder_of_snakefile():
    """The folder of the Snakefile that is read now, also where another workflow uses it as a module."""
    return Path(str(workflow.current_basedir))


def without_pauses():
    """Let Snakemake start jobs as soon as they are ready.

    With a limit to the jobs per second, which Snakemake sets by itself, each look at the ready jobs leads to another one a second
    later; after a thousand jobs it does nothing else. A limit that the user gives stays.
    """
    pace = workflow.scheduling_settings.max_jobs_per_timespan
    if pace and (pace.max_jobs, pace.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None
