"""What the columns of the tables mean: the words for the page.

The words stand once, as comments beside the schemas in dlir/core/tables.py, in one form: a sentence on the rows, and a line
`# - column, column: words` for one column or more. They are read from there. What the page alone has, it explains here.
"""

import re
from importlib import resources
from typing import Any, NamedTuple

from dlir.core import tables
from dlir.core.schema import Schema

AS_IN = "as in "  # words that lead to another file
MODULE = r" \([\w/]+\.py\)"  # that the comments name for programmers
FILES = {
    "placement.csv": "PLACEMENT", "affines.csv": "AFFINES", "lens.csv": "LENS", "stage.csv": "STAGE", "tiles.csv": "TILES",
    "pairs.csv": "PAIRS", "survey.csv": "SURVEY", "exposure.csv": "EXPOSURE", "model.csv": "HISTORY",
    "selfcheck.csv": "SELFCHECK", "known_pairs.csv": "KNOWN_PAIRS", "accuracy.csv": "ACCURACY",
}  # fmt: skip  # the tables beside the page, in the order in which they are explained
FILES_OF_ROUNDS = {
    "rounds.csv": "ROUNDS",
    "between.csv": "ROUND_PAIRS",
    "placement.csv": "ROUND_PLACEMENT",
    "stage.csv": "ROUND_STAGE",
    "canvas.csv": "CANVAS",
    "local.csv": "ROUND_LOCAL",
    "local_rounds.csv": "LOCAL_ROUNDS",
}  # beside the page of a specimen with rounds
OF_TILES = {  # columns of the page's table of tiles that placement.csv lacks, or that mean something else
    "name": "name of the file",
    "height": "size of the tile, px",
    "width": "size of the tile, px",
    "stage_y": "where the stage puts the tile, in px of the mosaic: shifted, turned and scaled to it as most tiles are",
    "stage_x": "as stage_y",
    "blank": "whether no pair of the tile was accepted, since its overlaps show too little contrast",
}
OF_PAIRS = {  # the same of the pairs, against affines.csv
    "y": "centre of the overlap in the mosaic, px",
    "x": "as y",
    "off_y": "from where the placement puts the centre of the overlap to where the pair would have it, px",
    "off_x": "as off_y",
    "residual": "length of off_y and off_x: how far the pair lies from the placement, px",
}


class Explained(NamedTuple):
    """A table in words."""

    rows: str  # what a row is
    columns: list[tuple[str, str]]  # the names of one column or more, as they are written, and what they mean
    more: str  # what else there is to say; mostly nothing


def columns_explained() -> dict[str, Any]:
    """Returns the words for the page: of each file, and of each column of its tables of tiles and of pairs."""
    files = {file: explained(schema) for file, schema in FILES.items()}
    return {
        "tiles": {**by_column("placement.csv", files), **OF_TILES},
        "pairs": {**by_column("affines.csv", files), **OF_PAIRS},
        "files": [{"file": file, **words._asdict()} for file, words in files.items()],
    }


def explained(schema: str) -> Explained:
    """Returns the words beside a schema of dlir.core.tables; raises ValueError where there are none."""
    source = (resources.files("dlir.core") / "tables.py").read_text(encoding="utf-8")
    blocks = re.findall(r"^((?:#.*\n)+)((?:(?!#).*\n)*)", source, re.MULTILINE)
    for comment, code in blocks:
        if re.search(rf"^{schema} = Schema\(", code, re.MULTILINE):
            return _parsed(comment)
    raise ValueError(f"dlir/core/tables.py: {schema} has no comment in front of it")


def by_column(file: str, files: dict[str, Explained]) -> dict[str, str]:
    """Returns what each column of a file means, by its name; where it is as in another file, the words from there."""
    schema: Schema = getattr(tables, FILES[file])
    found: dict[str, str] = {}
    for names, words in files[file].columns:
        other = words.removeprefix(AS_IN)
        there = by_column(other, files) if other in files else {}
        found |= {name: there.get(name, words) for name in named(names, list(schema.columns))}
    return found


def named(names: str, columns: list[str]) -> list[str]:
    """Returns the columns that names mean.

    "y, x" means both; "yy, ..., x0" all from yy to x0; "cov_yy_yy, ..." all from there on that begin with cov.
    """
    first, *rest = [name.strip() for name in names.split(",")]
    if rest[-1:] == ["..."]:
        start = first.split("_")[0]
        return [name for name in columns[columns.index(first) :] if name.split("_")[0] == start]
    if rest[:1] == ["..."]:
        return columns[columns.index(first) : columns.index(rest[-1]) + 1]
    return [first, *rest]


def _parsed(comment: str) -> Explained:
    """The words of a comment: those before the first item, the items, and those behind the last one."""
    before: list[str] = []
    items: list[list[str]] = []
    after: list[str] = []
    for line in re.sub(MODULE, "", comment).splitlines():
        text = line.removeprefix("#").removeprefix(" ")
        if text.startswith("- "):
            items.append([text[2:]])
        elif items and text.startswith("  "):
            items[-1].append(text.strip())
        else:
            (after if items else before).append(text)
    columns = [tuple(" ".join(item).split(": ", 1)) for item in items]
    return Explained(" ".join(before), [(names, words) for names, words in columns], " ".join(after))
