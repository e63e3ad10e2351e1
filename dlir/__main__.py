"""The command `dlir`: one subcommand a stage, and the function of the same name behind it.

A stage is imported only when it is called, so that `dlir --help` and the stages without a network start at once.
"""

import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

import cyclopts
from cyclopts import App, CycloptsError, Parameter, Token, UnknownCommandError

STAGES = {
    "demo": "Make the demo dataset: tiles cut from a real image, and where they lie.",
    "tiles": "Find the tiles of a dataset, check them, and write their nominal places.",
    "illumination": "Estimate what sits still on the camera: flat-field and dark-field.",
    "pairs": "List the neighbours and the windows in which they overlap.",
    "train": "Train the registration network on the tiles themselves.",
    "register": "Find the affine of each pair of neighbours.",
    "selfcheck": "Measure registration on crops of the tiles under known affines.",
    "place": "Place all tiles from the affines of the pairs.",
    "exposure": "Find how bright each tile was exposed.",
    "export": "Write the placement as Fiji and stages read it.",
    "band": "Fuse a part of the mosaic, one of several jobs that do so.",
    "mosaic": "Fuse the placed tiles into one OME-Zarr image.",
    "ome_tiff": "Write the mosaic as an OME-TIFF, too.",
    "accuracy": "Compare a placement with one known to be right.",
    "report": "Write the page with the pictures and the residuals.",
    "provenance": "Write what made the results of a dataset, and what each stage took.",
    "pretrain": "Train the generic weights that come with the package; no stage of the workflow.",
}


def convert(kind: Any, tokens: Sequence[Token]) -> Any:
    """The value of a parameter; a section of the settings is one JSON text, which pydantic alone reads."""
    return kind.parse(tokens[0].value) if hasattr(kind, "parse") else cyclopts.convert(kind, tokens)


app = App(
    name="dlir",
    help="Register, place and fuse overlapping microscope tiles. Settings are one section of config.yaml, as JSON.",
    default_parameter=Parameter(converter=convert, n_tokens=1, accepts_keys=False, consume_multiple=True, negative=()),
    print_error=False,
    exit_on_error=False,
)
for stage, summary in STAGES.items():
    app.command(f"dlir.{stage}:{stage}", name=stage, help=summary)

log = logging.getLogger(__name__)


def main() -> None:
    """Run one stage; a mistake of the user ends in one message and exit code 1 (2 for a wrong command line)."""
    # before torch and NumPy start: threads that wait for each other burn the cores of whatever else runs, and wait the longer
    # for it, and NumPy's have little to share
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    stage = next((word for word in sys.argv[1:] if word in STAGES), "dlir")
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s {stage}: %(message)s", datefmt="%H:%M:%S")
    try:
        app(sys.argv[1:])
    except UnknownCommandError as error:
        log.error("error: there is no stage %s; dlir --help lists them", (error.unused_tokens or [""])[0])
        sys.exit(2)
    except CycloptsError as error:
        log.error("error: %s (dlir %s --help lists the options)", error, "" if stage == "dlir" else stage)
        sys.exit(2)
    except (ValueError, OSError) as error:
        if isinstance(error, ValueError) and not type(error).__module__.startswith("dlir."):
            raise  # a defect, not a mistake of the user: its traceback is needed
        log.error("error: %s", error)
        sys.exit(1)


if __name__ == "__main__":
    main()
