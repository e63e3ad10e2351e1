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


def config_files():
    """The files from which the settings come."""
    return [Path(str(file)) for file in workflow.configfiles]


def explain_missing(sentence):
    """Let Snakemake say the sentence that a function has for a file that no rule makes; empty for its own words."""
    from snakemake import dag, exceptions

    class MissingRuleException(exceptions.MissingRuleException):
        def __init__(self, file, *where):
            super().__init__(file, *where)
            self.args = (sentence(str(file)) or str(self),)

    if workflow.modifier.is_main_snakefile():  # a workflow that uses this one as a module has other files
        dag.MissingRuleException = MissingRuleException


def is_forced(rule):
    """Whether --forcerun names a rule, by the name that it has in this run, or --forceall names all."""
    settings = workflow.dag_settings
    return settings.forceall or workflow.modifier.modify_rulename(rule) in settings.forcerun


def force(path):
    """Make the job of an output run, as --forcerun does; to be called while Snakemake finds the jobs, as input functions are."""
    workflow.dag.forcefiles.add(path)


def run_incomplete_jobs_again():
    """Make jobs that were stopped run again, as --rerun-incomplete does; to be called while Snakemake finds the jobs."""
    workflow.dag_settings.force_incomplete = True


def is_unknown(path):
    """Whether an output is there of which Snakemake does not know in this working directory how it was made."""
    return os.path.exists(path) and workflow.persistence.metadata(workflow.inputfile(path)) is None


def last_inputs(path):
    """The inputs from which an output was made; none where Snakemake does not know that in this working directory."""
    return workflow.persistence.input(workflow.inputfile(path)) or []


def is_main_process():
    """Whether this Snakemake plans the jobs; one that runs a single job of another one on a cluster does not."""
    return workflow.is_main_process


def is_touched():
    """Whether the user gave --touch."""
    return not {"--touch", "-t"}.isdisjoint(sys.argv)


def missing_triggers():
    """What --rerun-triggers leaves out of that by which Snakemake sees that a job has to run."""
    given = {trigger.name.lower() for trigger in workflow.rerun_triggers}
    return sorted({"mtime", "params", "input"} - given)


def replaced_at_once(path):
    """A folder as an output that its job replaces at once when it is finished.

    Snakemake deletes an output before its job starts, and again when the job fails. It leaves an `update` in place, but copies
    it first; so the copying is left out, and when the job fails, the folder that is there stays, the old one or the new one,
    with an old date. The job needs another output, an ordinary one: that this is missing then makes the job run again.
    """
    from snakemake.persistence import FileBackupMixin

    copy, copy_back = FileBackupMixin.backup_output, FileBackupMixin.restore_output

    def keep(self, output):  # a workflow that uses this one as a module may have other outputs that it updates
        return None if output.name == Path(path).name else copy(self, output)

    def restore(self, output):
        if output.name != Path(path).name:
            return copy_back(self, output)
        if output.is_dir():
            with suppress(OSError):
                (output / ".snakemake_timestamp").touch()
                os.utime(output / ".snakemake_timestamp", (1, 1))
        return output.exists()

    FileBackupMixin.backup_output, FileBackupMixin.restore_output = keep, restore
    return update(directory(path))


def folder_of_snakefile():
    """The folder of the Snakefile that is read now, also where another workflow uses it as a module."""
    return Path(str(workflow.current_basedir))


def stop_jobs_at_a_signal():
    """Let SIGTERM and Ctrl-C end the running jobs at once; Snakemake would wait until they have finished."""

    signals = signal.SIGTERM, signal.SIGINT, signal.SIGHUP

    def stop(*_):
        for number in signals:
            signal.signal(number, signal.SIG_IGN)
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                process.terminate()
        raise KeyboardInterrupt

    for number in signals:
        signal.signal(number, stop)


def few_files_in_reasons():
    """Let the reason of a job name two files of a list, and count the others; Snakemake would name all, job after job."""
    from snakemake.jobs import Reason

    whole = Reason.__str__
    lists = r"(output files|Updated input files|Input files updated by another job): ([^;]+)"

    def few(found):
        files = sorted(found[2].split(", "))
        return f"{found[1]}: {', '.join(files[:2])}" + (f" and {len(files) - 2} more" if len(files) > 2 else "")

    def short(self):
        return re.sub(lists, few, whole(self))

    Reason.__str__ = short


def without_pauses():
    """Let Snakemake start jobs as soon as they are ready.

    With a limit to the jobs per second, which Snakemake sets by itself, each look at the ready jobs leads to another one a second
    later; after a thousand jobs it does nothing else. A limit that the user gives stays.
    """
    pace = workflow.scheduling_settings.max_jobs_per_timespan
    if pace and (pace.max_jobs, pace.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None
