"""What a user has to set where the tiles do not fit together as the settings say, in the words of the settings."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dlir.core.affine import Array
from dlir.reading import patterns
from dlir.reading.settings import Dataset
from dlir.survey.scans import Scan

CONTRADICTED = "the tiles do not fit together as the settings say. They fit if {}: set it for this dataset"
GO_ON = "; or go on as it is with layout: {check: warn}, and a number for overlap"
UNCLEAR = (
    "many tiles do not fit together as the settings say, and no other layout explains them: check images, rows, columns, "
    "start, order, snake and first_index, or positions"
)
NO_OVERLAP = (
    "the overlap along {axes} is not known: it is set to auto, and too few tiles match to find it. Set overlap to the part of "
    "a tile's side that neighbours share, such as 0.1, or to [y, x]; the software of the microscope shows it. Or the layout is "
    "not as stated: check columns, rows, start, order, snake and first_index"
)
OF_ROUND = (
    "the overlap of {name} along {axes} is not known: it is set to auto, too few of its tiles match to find it, as where a "
    "round is blank, and {why}. Give it for this round, such as rounds: {{{name}: {{overlap: 0.1}}}} with all "
    "other rounds listed there, too, or leave {name} out: list the others alone below the key rounds"
)
OTHERS = "others"  # as the layout in tables.SURVEY: the step is that of other rounds
OF_OTHERS = (
    "the overlap along {axes} is taken from {rounds}: the tiles of {name} do not show it, as where a round is blank. If it was "
    "taken otherwise, give its overlap: rounds: {{{name}: {{overlap: 0.1}}}} with all other rounds listed there, too"
)
MIRROR = np.array([1.0, -1.0])  # what mirrored tiles do to a step (y, x)
SAME_SCALE = 0.3  # a unit that differs by less is an inexact pixel size
KNOWN_SCALE = 0.1  # by which a scale may differ from the pixel size to be told as micrometres
SIGNED = 0.5  # largest distance of a map, less its scale, from one that only exchanges and flips axes


class Advice(NamedTuple):
    """What to set where the tiles contradict the settings."""

    words: str = ""  # empty where nothing is to be set
    settings: Mapping[str, Any] = {}  # the first of the ways that the words name; `exchange`: {row} and {col} change places


class SurveyError(ValueError):
    """The tiles do not fit together as the settings say, or the settings leave open how they do."""

    def __init__(self, words: str, settings: Mapping[str, Any] | None = None) -> None:
        """Takes the message, and the settings with which the tiles fit, where they are known."""
        super().__init__(words)
        self.settings = settings or {}


class OverlapError(SurveyError):
    """The overlap is neither told nor found."""

    def __init__(self, words: str, sides: Sequence[str]) -> None:
        """Takes the message, and the sides, down or right, of which it is not known."""
        super().__init__(words)
        self.sides = sides


def for_scan(steps: Array, scan: Scan, first: int, dataset: Dataset, size: Array) -> Advice:
    """Returns the settings with which numbered tiles fit, those that differ from the stated ones; empty where none does.

    Args:
        steps: (2, 2) px, from a line to the next, and from a place in the line to the next.
        scan: in which they are found.
        first: number of the first place.
        dataset: the stated settings.
        size: (2,) px, of a tile.
    """
    keys = {"snake": scan.snake, **({"first_index": first} if scan.missing else {})}
    return _or_mirrored([{**_scan_settings(each, scan, size), **keys} for each in (steps, steps * MIRROR)], dataset)


def for_steps(down: Array | None, right: Array | None, dataset: Dataset, size: Array) -> Advice:
    """Returns the settings with which tiles of a grid fit, from the steps (2,), px, from each to the one that should lie below
    it or at its right; None where a step is not known. Empty where the stated settings fit, or where no others would."""
    down, right = (np.array(each) if each is not None else np.full(2, np.nan) for each in (down, right))
    known = np.stack([down, right]) / size
    own = np.abs(known[[0, 1], [0, 1]]) >= np.abs(known[[0, 1], [1, 0]])
    known_sides = np.isfinite(known[:, 0])
    if len(set(own[known_sides])) != 1:
        return Advice()  # one step says that rows and columns are exchanged, the other says that they are not
    fits = own[known_sides].all() and (known[[0, 1], [0, 1]][known_sides] > 0).all()
    if fits:
        return Advice()
    exchanged = not own[known_sides].all()
    usual = np.eye(2)[::-1] if exchanged else np.eye(2)
    steps = np.where(known_sides[:, None], known, usual) * size
    raw = steps * np.where([[dataset.start.startswith("bottom")], [dataset.start.endswith("right")]], -1.0, 1.0)
    if "index" in patterns.placeholders(dataset.images):
        lines = raw if dataset.order == "rows" else raw[::-1]
        length = (dataset.columns if dataset.order == "rows" else dataset.rows) or 1
        return for_scan(lines, Scan(length, dataset.snake), 0, dataset, size)
    return _or_mirrored([_grid_settings(each, size) for each in (raw, raw * MIRROR)], dataset)


def for_table(matrix: Array, dataset: Dataset) -> Advice:
    """Returns the settings with which a table of positions fits, from the map (2, 2) of its steps to those of the pixels.

    Empty where the table needs no other axes or unit.
    """
    scale = float(np.sqrt(abs(np.linalg.det(matrix))))
    signed = _signed_permutation(matrix / scale)
    if np.linalg.norm(matrix / scale - signed) > SIGNED:
        return Advice()
    told = _axes_matrix(dataset.swap_yx, dataset.flip_y, dataset.flip_x)
    unit = _unit_settings(scale, dataset)
    ways = [{**_table_settings(flip @ signed @ told), **unit} for flip in (np.eye(2), np.diag(MIRROR))]
    return _or_mirrored(ways, dataset)


def described_map(matrix: Array) -> str:
    """Returns a sentence on a map (2, 2) that the pixels show for a table of positions."""
    scale = float(np.sqrt(np.linalg.det(matrix)))
    turn = float(np.degrees(np.arctan2(matrix[1, 0] - matrix[0, 1], np.trace(matrix))))
    return (
        f"the tiles lie {scale:.3f} times as far apart as the table of positions says, turned by {turn:.1f} degrees: dlir "
        "takes what the tiles show; check pixel_size"
    )


def no_overlap(axes: list[str]) -> str:
    """Returns the message for axes along which the overlap is neither told nor found."""
    return NO_OVERLAP.format(axes=" and ".join(axes))


def no_overlap_of_round(name: str, axes: list[str], why: str) -> str:
    """Returns the message for axes along which the overlap of a round is neither told nor found, nor known by other rounds."""
    return OF_ROUND.format(name=name, axes=" and ".join(axes), why=why)


def of_others(name: str, axes: list[str], rounds: list[str]) -> str:
    """Returns the message for axes along which a round takes the overlap of others."""
    return OF_OTHERS.format(name=name, axes=" and ".join(axes), rounds=" and ".join(rounds))


def _or_mirrored(ways: list[dict[str, Any]], dataset: Dataset) -> Advice:
    """The settings that differ from the stated ones; where they turn the layout over, also those with a mirror instead.

    Args:
        ways: settings, and those with which mirrored tiles fit.
    """
    texts = [_differing(way, dataset) for way in ways]
    settings = {key: value for key, value in ways[0].items() if value != getattr(dataset, key, False)}
    if not texts[0] or _turns_over(ways[0], dataset) == _turns_over({}, dataset):
        return Advice(texts[0], settings)
    mirrored = ", ".join(filter(None, (f"mirrored: {str(not dataset.mirrored).lower()}", texts[1])))
    seen = "as it is" if dataset.mirrored else "in a mirror"
    words = f"{texts[0]}, or, if the camera sees the specimen {seen}, {mirrored} (the pixels cannot tell which)"
    return Advice(words, settings)


def _turns_over(way: dict[str, Any], dataset: Dataset) -> bool:
    """Whether a layout is the mirror image of one by rows from the top left, or of a table as it is."""
    chosen = {**dataset.model_dump(), **way}
    flips = [chosen["swap_yx"], chosen["flip_y"], chosen["flip_x"]]
    if dataset.on_grid:
        numbered = "index" in patterns.placeholders(dataset.images)
        by_columns = chosen.get("exchange", False) or (numbered and chosen["order"] == "columns")
        flips = [by_columns, chosen["start"].startswith("bottom"), chosen["start"].endswith("right")]
    return sum(map(bool, flips)) % 2 == 1


def _differing(way: dict[str, Any], dataset: Dataset) -> str:
    """The settings that differ from the stated ones, as text."""
    parts = []
    for key, value in way.items():
        if key == "exchange":
            parts += ["{row} and {col} are exchanged in images"] if value else []
        elif getattr(dataset, key) != value:
            parts.append(f"{key}: {str(value).lower() if isinstance(value, bool) else value}")
    return ", ".join(parts)


def _scan_settings(steps: Array, scan: Scan, size: Array) -> dict[str, Any]:
    """The settings of a scan with these steps (2, 2), px, from a line to the next, and from a place to the next."""
    line, place = steps / size
    rows = abs(place[1]) >= abs(place[0])
    down, right = (line[0], place[1]) if rows else (place[0], line[1])
    return {"order": "rows" if rows else "columns", "columns" if rows else "rows": scan.length, "start": _corner(down, right)}


def _grid_settings(steps: Array, size: Array) -> dict[str, Any]:
    """The settings of a grid with {row} and {col} in its names, with these steps (2, 2), px, from row to row and col to col."""
    row, col = steps / size
    exchanged = abs(col[0]) > abs(col[1])
    down, right = (col[0], row[1]) if exchanged else (row[0], col[1])
    return {"exchange": exchanged, "start": _corner(down, right)}


def _corner(down: float, right: float) -> str:
    """The corner of the first tile, from the signs of the steps that lead away from it."""
    return f"{'top' if down > 0 else 'bottom'}-{'left' if right > 0 else 'right'}"


def _signed_permutation(matrix: Array) -> Array:
    """The matrix (2, 2) nearest to this one that only exchanges and flips axes."""
    straight = bool(np.abs(matrix[[0, 1], [0, 1]]).sum() >= np.abs(matrix[[0, 1], [1, 0]]).sum())
    return np.asarray(np.sign(matrix) * (np.eye(2) if straight else np.eye(2)[::-1]))


def _axes_matrix(swap: bool, flip_y: bool, flip_x: bool) -> Array:
    """The matrix (2, 2) that exchanges axes and then flips them."""
    return np.asarray(np.diag([-1.0 if flip_y else 1.0, -1.0 if flip_x else 1.0]) @ (np.eye(2)[::-1] if swap else np.eye(2)))


def _table_settings(signed: Array) -> dict[str, Any]:
    """The settings that make this signed permutation (2, 2) of the axes of a table."""
    sums = signed.sum(axis=1)
    return {"swap_yx": bool(signed[0, 0] == 0), "flip_y": bool(sums[0] < 0), "flip_x": bool(sums[1] < 0)}


def _unit_settings(scale: float, dataset: Dataset) -> dict[str, Any]:
    """The settings that scale the steps of a table by this much, where it is another unit."""
    if abs(np.log(scale)) < np.log1p(SAME_SCALE):
        return {}
    if dataset.unit == "um" and dataset.pixel_size:
        return (
            {"unit": "px"}
            if abs(scale / dataset.pixel_size - 1) < KNOWN_SCALE
            else {"pixel_size": round(dataset.pixel_size / scale, 4)}
        )
    known = dataset.pixel_size and abs(scale * dataset.pixel_size - 1) < KNOWN_SCALE
    return {"unit": "um"} if known else {"unit": "um", "pixel_size": round(1 / scale, 4)}


def other_step(side: str, told: Array, step: Array, size: Array) -> str:
    """Returns a sentence on a step (2,), px, that the pixels show in place of the told one; `size` (2,), px, of a tile."""
    axis = int(side == "right")
    shares = [100 * (1 - abs(each[axis]) / size[axis]) for each in (told, step)]
    return (
        f"overlap: the tiles share {shares[1]:.1f} % along {'yx'[axis]}, not {shares[0]:.1f} % as the settings say (the step "
        f"{side} is ({step[0]:.0f}, {step[1]:.0f}) px): dlir takes what the tiles show"
    )


def described_step(row: dict[Any, Any]) -> str:
    """Returns a sentence on a row of tables.SURVEY: the step that is followed, and what the pixels show."""
    share = f"({row['step_y']:.1f}, {row['step_x']:.1f}) px, so that tiles share {100 * row['overlap']:.1f} %"
    if row["layout"] == OTHERS:
        return f"the step {row['side']} is that of other rounds, {share}"
    if not np.isfinite(float(row["found_y"] if row["found_y"] is not None else np.nan)):
        return f"the step {row['side']} is taken as told, {share}: too few tiles match to see it"
    shown = f"the tiles show ({row['found_y']:.1f}, {row['found_x']:.1f}) px, by {row['sure']} of {row['pairs']} pairs"
    return f"the step {row['side']} is {share}; {shown}"
