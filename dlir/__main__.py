"""The command `dlir`: one subcommand for each step, which calls the function of the same name.

A step is imported only when it is called, so that `dlir --help` and the steps without a network start at once. The rules of
the workflow run this file by its path, so that the package beside the Snakefile is the one that runs, whatever is installed.

Steps that take less time than Python needs to start share a process: `dlir place ... --then export ... --then exposure ...`.
"""

import argparse
import atexit
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

HERE = Path(__file__).resolve().parent
if not __package__:
    sys.path[:] = [str(HERE.parent), *(entry for entry in sys.path if Path(entry).resolve() != HERE)]

import cyclopts  # noqa: E402
from cyclopts import App, CycloptsError, Parameter, Token, UnknownCommandError  # noqa: E402

from dlir.core import hashing  # noqa: E402
from dlir.steps import STEPS  # noqa: E402

DEFECT = "dlir has a defect: please report it with this message"
STOPPED = 130  # exit code of a step that a signal ended
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # by which people and machines stop a step
PATIENCE = 5.0  # s that such a step has to remove what is half written
THEN = "--then"  # between the command lines of steps that one process runs, one after the other
COLLECTED_AFTER = 10_000  # new objects, between two looks of Python's garbage collector; by default 700
NETWORK_STEPS = ("train", "register", "selfcheck", "train_rounds", "between", "pretrain")


def convert(kind: Any, tokens: Sequence[Token]) -> Any:
    """The value of a parameter; a section of the settings is one JSON text, which pydantic alone reads."""
    return kind.parse(tokens[0].value) if hasattr(kind, "parse") else cyclopts.convert(kind, tokens)


app = App(
    name="dlir",
    help="Register, place and fuse overlapping microscope tiles. The settings of a step are a section of config.yaml, as JSON. "
    "Each step takes --log-file FILE, which gets its messages too, and --dataset NAME, which its messages start with; "
    "--then STEP ... runs another step after it, in the same process.",
    default_parameter=Parameter(converter=convert, n_tokens=1, accepts_keys=False, consume_multiple=True, negative=()),
    print_error=False,
    exit_on_error=False,
    result_action="return_value",  # by default the process would end with the step
)
for name, step in STEPS.items():
    app.command(f"{step.module}:{name}", name=name, help=step.summary)
log = logging.getLogger(__name__)


@app.command
def init(folder: Path, *, output: Path | None = None) -> None:
    """Look at a folder of tiles, and write settings for it: pattern, places, layout, and what is left out and why.

    What is not clear is asked; without a terminal the question is written into the file, and the exit code is 2.

    Args:
        folder: the folder of the tiles.
        output: the file for the settings; by default NAME.yaml in the working directory, after the folder.
    """
    from dlir.proposal import commands

    commands.init(folder, output)


@app.command
def preview(config: Path, *, output: Path | None = None) -> None:
    """Show the grid as the settings say it, as text and as a picture of small tiles with their names; nothing is registered.

    Args:
        config: the file of the settings, as `dlir init` writes it.
        output: the PNG, or the folder where there are several datasets; by default beside the settings.
    """
    from dlir.proposal import commands

    commands.preview_all(config, output)


@app.command
def stitch(
    images: str,
    *,
    overlap: str | None = None,
    name: str = "mosaic",
    positions: str | None = None,
    cores: int | None = None,
    set: Annotated[list[str] | None, Parameter(consume_multiple=False)] = None,
    dry_run: bool = False,
) -> None:
    """Stitch a folder of tiles: write the settings to results/NAME/config.yaml and run all steps that changed.

    Args:
        images: the folder of the tiles, which is looked at as `dlir init` does; or a file of settings that `dlir init` wrote;
            or the path of the tiles in quotation marks, such as "tiles/Y{row}_X{col}.tif".
        overlap: part of a tile that neighbours share, such as 0.1, or 0.1,0.2 if it differs in y and x; found by default.
        name: name of the dataset; the results go to results/NAME.
        positions: table of the nominal places, when the names of the files do not tell them.
        cores: processor cores to use; all by default.
        set: another setting as section.key=value, such as train.steps=0 or tiles.columns=9; may be given several times, but not
            with a file of settings.
        dry_run: only list the jobs that would run.
    """
    from dlir import run_workflow

    if images.lower().endswith((".yaml", ".yml")):
        if overlap or positions or set or name != "mosaic":
            raise run_workflow.StitchError(f"{images} has all settings: change them there, and give no others beside it")
        run_workflow.run(Path(images), cores=cores, dry_run=dry_run)
        return
    settings = run_workflow.parsed(set or [])
    share = None if overlap is None else run_workflow.parsed_overlap(overlap)
    run_workflow.stitch(images, share, name=name, positions=positions, cores=cores, settings=settings, dry_run=dry_run)


@app.command
def plan(config: Path, *, cores: int | None = None) -> None:
    """Tell how long a run will take on this machine, and how much memory and disk, from the number and the size of the tiles.

    Args:
        config: the file of the settings, as `dlir init` writes it.
        cores: processor cores of the run; all by default.
    """
    from dlir import plan as planning

    planning.plan(config, cores)


@app.command
def view(results: Path, *, port: int = 0) -> None:
    """Show the report of a folder of results in a browser, and mend by hand where its tiles lie; Ctrl-C ends it.

    Args:
        results: the folder results/NAME of a run that is finished.
        port: of 127.0.0.1, at which the page is served to this user alone; a free one by default.
    """
    from dlir.reporting import view as viewing

    viewing.view(results, port)


@app.command
def transform(
    points: Path, *, results: Path, output: Path | None = None, to_tiles: bool = False, time: int | None = None
) -> None:
    """Take points of tiles to the mosaic, or back to the tiles that show them, the distortion of the lens included.

    Args:
        points: a CSV file with the columns tile or path, y and x, px of the tile; with --to-tiles y and x, px of the mosaic.
        results: the folder of a finished run, such as results/section1.
        output: the table that is written; by default beside the points, with _mosaic or _tiles added to its name.
        to_tiles: from the mosaic to the tiles; each tile that shows a point has a row.
        time: the time point, where each is placed by itself.
    """
    from dlir.placement import transform as transforming

    end = "tiles" if to_tiles else "mosaic"
    found = output or points.with_name(f"{points.stem}_{end}.csv")
    transforming.transform(points, results, found, to_tiles=to_tiles, time=time)


@app.command
def snakefile() -> None:
    """Print the path of the Snakefile, for snakemake -s "$(dlir snakefile)" and for modules of other workflows."""
    from dlir import run_workflow

    sys.stdout.write(f"{run_workflow.snakefile()}\n")


@app.command
def verdict(results: Path, *, strict: bool = False) -> None:
    """Print whether a mosaic is good, what to look at first, and what would mend it.

    Args:
        results: the folder of the results of a dataset, such as results/section1.
        strict: end with exit code 10 where the verdict is "good, but look here", and 11 where it is "not to be trusted"; 0 if
            the mosaic is good.
    """
    from dlir.reporting import verdict_file

    content = verdict_file.read(results)
    sys.stdout.write(f"{verdict_file.described(content, results)}\n")
    if strict:
        sys.exit(verdict_file.EXIT_CODES[content["grade"]])


class Messages(logging.Formatter):
    """Messages with the time, the dataset and the step; warnings and errors say that they are."""

    def format(self, record: logging.LogRecord) -> str:
        record.level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        return super().format(record)


def _set_up_messages(source: str, file: Path | None, mode: str = "w") -> None:
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        first = os.getenv("RANK", "0") == "0"  # of the processes that train together
        handlers.append(logging.FileHandler(file, mode=mode if first else "a", encoding="utf-8"))
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    for handler in [handler for handler in root.handlers if isinstance(handler.formatter, Messages)]:
        root.removeHandler(handler)
    for handler in handlers:
        handler.setFormatter(Messages(f"%(asctime)s {source}: %(level)s%(message)s", datefmt="%H:%M:%S"))
        root.addHandler(handler)
    logging.captureWarnings(True)


def _keep_freed_memory() -> None:
    """Let glibc keep freed memory, in one arena for all threads; otherwise page faults take a third of the network's time."""
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # no glibc
        return
    # M_TOP_PAD, M_TRIM_THRESHOLD, M_MMAP_THRESHOLD and M_ARENA_MAX of malloc.h. Blocks of 32 MB and more, such as very large
    # tiles, are few, and go back to the system, since they would leave gaps that nothing fills
    top_pad, trim_threshold, mmap_threshold, arena_max = -2, -1, -3, -8
    for option, value in ((top_pad, 2**26), (trim_threshold, 2**31 - 1), (mmap_threshold, 2**25), (arena_max, 1)):
        mallopt(option, value)


def _collect_less_garbage() -> None:
    """Let Python look for garbage less often, and not once more at the end.

    Imports make many objects, none of which is garbage. To look at them again and again took a third of the time that a step
    needs to start and to end.
    """
    gc.set_threshold(COLLECTED_AFTER)
    atexit.register(gc.freeze)


def _end_at_a_signal() -> None:
    """Let Ctrl-C and SIGTERM end the step within seconds, whatever its threads do; further signals change nothing."""

    def stop(*_: object) -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        timer = threading.Timer(PATIENCE, os._exit, [STOPPED])
        timer.daemon = True
        timer.start()
        raise KeyboardInterrupt

    for number in SIGNALS:
        signal.signal(number, stop)


def main() -> None:
    """Run the steps; a mistake of the user ends in one message and exit code 1 (2 for a wrong command line, 3 for a defect)."""
    _end_at_a_signal()
    _collect_less_garbage()
    # before torch and NumPy start: waiting threads would keep the cores busy, and NumPy has little to share among threads
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    common.add_argument("--log-file", type=Path)
    common.add_argument("--dataset")
    common.add_argument("--given", nargs=2, action="append", default=[])  # files of the user, each with its SHA-256
    given, rest = common.parse_known_args(sys.argv[1:])
    mode = "w"
    for arguments in _command_lines(rest):
        _run(arguments, given, mode)
        mode = "a"


def _command_lines(arguments: list[str]) -> list[list[str]]:
    """Returns the command line of each step, of those with THEN between them."""
    lines: list[list[str]] = [[]]
    for argument in arguments:
        if argument == THEN:
            lines.append([])
        else:
            lines[-1].append(argument)
    return lines


def _run(arguments: list[str], given: argparse.Namespace, mode: str) -> None:
    """Run one step; the log is begun with the mode w, and continued with a."""
    step = arguments[0] if arguments and arguments[0] in STEPS else ""
    source = " ".join(filter(None, (given.dataset, step or "dlir")))
    _set_up_messages(source, None)
    try:
        _set_up_messages(source, given.log_file, mode)
        if step in NETWORK_STEPS:
            _keep_freed_memory()
        for path, sha256 in given.given:
            hashing.check(Path(path), sha256)
        app(arguments)
        for path, sha256 in given.given:
            hashing.check(Path(path), sha256)
    except KeyboardInterrupt:
        log.error("stopped; the next run begins this step again")
        logging.shutdown()
        os._exit(STOPPED)  # threads may still be at work, for which an ordinary exit waits
    except UnknownCommandError as error:
        log.error("there is no step %s; dlir --help lists them", (error.unused_tokens or [""])[0])
        sys.exit(2)
    except CycloptsError as error:
        log.error("%s (%s --help lists the options)", error, f"dlir {step}".strip())
        sys.exit(2)
    except (ValueError, OSError) as error:
        if type(error).__module__.startswith("dlir.") or isinstance(error, OSError):
            log.error("%s", error)
            sys.exit(getattr(error, "exit_code", 1))
        log.exception(DEFECT)
        sys.exit(3)
    except Exception:
        log.exception(DEFECT)
        sys.exit(3)


if __name__ == "__main__":
    main()
