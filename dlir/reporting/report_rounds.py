"""The step `report_rounds`: the verdict on a specimen with rounds, and one page that shows how well its rounds agree.

The page has the shell, the viewer and the colours of the page of a single mosaic (`report.py`), and leads to those of the
rounds. It is made from the template `report_rounds.html.j2`.
"""

import json
import logging
from pathlib import Path
from typing import Any

import dlir
from dlir.core import tables
from dlir.core.atomic import atomically
from dlir.placement.settings import Place
from dlir.reporting import picture_tiles, round_results, round_verdict
from dlir.reporting.columns import FILES_OF_ROUNDS, explained
from dlir.reporting.made import flat
from dlir.reporting.page_files import FOLDER, PageFiles
from dlir.reporting.pages import page
from dlir.reporting.round_agreement import Agreement, agreement
from dlir.reporting.round_facts import (
    OF_TILES,
    agreement_table,
    key_numbers,
    patch_table,
    refinement_lines,
    round_table,
    tile_table,
)
from dlir.reporting.round_gallery import gallery
from dlir.reporting.round_local import bent_rounds
from dlir.reporting.round_places import rough_places
from dlir.reporting.round_results import Specimen
from dlir.reporting.settings import Report
from dlir.reporting.shown_channels import shown_of
from dlir.rounds.groups import in_words
from dlir.rounds.names import channel_names
from dlir.rounds.settings import Rounds

log = logging.getLogger(__name__)


def report_rounds(
    results: list[Path],
    output: Path,
    *,
    rounds: Path,
    between: Path,
    placement: Path,
    mosaic: Path,
    verdict: Path,
    training: Path | None = None,
    mended: Path | None = None,
    settings: Rounds = Rounds(),
    place: Place = Place(),
    report: Report = Report(),
) -> None:
    """Write the page `output`, the folder `report_files` beside it, and the verdict. The title is the name of their folder.

    Args:
        results: the folders of the results of the rounds, in order, each with its mosaic, its verdict and its tables.
        rounds, between, placement: the tables ROUNDS, ROUND_PAIRS and ROUND_PLACEMENT.
        mosaic: the store with the channels of all rounds, of which the page tells.
        verdict: the file for the verdict, verdict.json.
        training: how the network was trained on pairs between rounds (tables.HISTORY); None where it was not looked at.
        mended: what the fields of the rounds mend (tables.LOCAL_ROUNDS); None where no stretch is to be mended.
        settings: section `rounds` of config.yaml.
        place: section `place` of config.yaml.
        report: section `report` of config.yaml.

    Raises:
        StoreError: when the mosaics of the rounds differ in size.
        VerdictError: when a round has no verdict.
        NamesError: when the table of the names of channels has a mistake.
    """
    specimen = round_results.read(results, rounds, between, placement, output.absolute().parent.name)
    measured = agreement(specimen)
    judged = round_verdict.verdict(specimen, measured)
    with atomically(output.parent / FOLDER) as folder, atomically(output) as partial, atomically(verdict) as judgement:
        folder.mkdir()
        files = PageFiles(folder, 1e6 * report.embed)
        facts = _facts(specimen, measured, judged, results, settings, place, files)
        content = {
            "dataset": specimen.name,
            "store": mosaic.name,
            "verdict": judged,
            "numbers": key_numbers(specimen, measured),
            "bent": bent_rounds(specimen, mended),
            "agreement": agreement_table(specimen, measured),
            "refinement": refinement_lines(measured),
            "rounds": round_table(specimen),
            "tile_names": _tile_names(specimen),
            "decisions": tables.read(training, tables.HISTORY)["decision"].dropna().tolist() if training else [],
            "facts": facts,
        }
        partial.write_text(page("report_rounds.html.j2").render(content), encoding="utf-8")
        judgement.write_text(json.dumps(judged, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    log.info("verdict: %s", judged["sentence"])
    log.info("wrote %s: %d rounds, %d patches compared", output, len(specimen.rounds), len(measured.patches))


def _tile_names(specimen: Specimen) -> dict[int, str]:
    """The round and the number of each tile, such as R2 5, by its row in placement.csv."""
    columns = (specimen.placed[name].tolist() for name in ("round", "tile"))
    return {row: f"{name} {tile}" for row, (name, tile) in enumerate(zip(*columns, strict=True))}


def _facts(
    specimen: Specimen,
    measured: Agreement,
    judged: dict[str, Any],
    results: list[Path],
    settings: Rounds,
    place: Place,
    files: PageFiles,
) -> dict[str, Any]:
    """All that the scripts of the page know; the pictures go into the files."""
    shown = [shown_of(each.mosaic) for each in specimen.rounds]
    pictures = picture_tiles.pictures_of(shown, [each.plane for each in specimen.rounds], files)
    labels = [[channel.name for channel in each.channels] for each in shown]
    names = channel_names(settings.names, [each.name for each in specimen.rounds], labels)
    of_rounds, first = [], 0
    for each, own in zip(specimen.rounds, names, strict=True):
        for number, name in enumerate(own):
            pictures["channels"][first + number] |= {"name": name, "round": each.name}
        shown_there = [first + number for number in each.shown]
        of_rounds.append({"name": each.name, "shown": shown_there, "against": specimen.compared_with(each).name})
        first += len(own)
    rough = rough_places(specimen, results, place)
    provenance = specimen.rounds[0].provenance
    return {
        "dataset": specimen.name,
        "version": dlir.__version__,
        "pixel_size": specimen.pixel_size if specimen.pixel_size > 0 else None,
        "shape": [pictures["height"], pictures["width"]],
        "time": None,
        "verdict": judged,
        "rounds": of_rounds,
        "groups": list(map(in_words, specimen.groups())),
        "tiles": tile_table(specimen, measured, rough),
        "pairs": {"columns": [], "rows": []},
        "patches": patch_table(specimen, measured),
        "patch_side": measured.side,
        "pictures": pictures,
        "gallery": gallery(specimen, measured, rough, files),
        "settings": [[name, value] for name, value in flat(provenance.get("settings", {}))],
        "versions": list(map(list, provenance.get("versions", {}).items())),
        "columns_explained": {
            "tiles": OF_TILES,
            "files": [{"file": file, **explained(schema)._asdict()} for file, schema in FILES_OF_ROUNDS.items()],
        },
        "provenance": "provenance.json",
        "files": files.embedded(),  # last, when all pictures are there
        "folder": "" if files.is_embedded else FOLDER,
    }
