"""How the rounds of a specimen were bent, where the setting `rounds.local` mends stretched tissue: numbers and arrows."""

from pathlib import Path
from typing import Any

import numpy as np

from dlir.core import affine, local_field, tables
from dlir.reporting.round_results import RoundResults, Specimen

ARROWS = 24  # along the longer side of the mosaic, at most
LONGEST = 0.9  # of the distance between two arrows, that the longest one takes


def bent_rounds(specimen: Specimen, mended: Path | None) -> list[dict[str, Any]]:
    """Returns what the page shows of each round but the first: its name, a sentence, and arrows where it was bent.

    An arrow has the numbers x, y, and to_x, to_y, px of the mosaic; they are strongly enlarged. `width` and `height`, px, are
    those of the mosaic, and `unit`, px, is a length that suits the picture, such as that of a head.

    Args:
        mended: the table LOCAL_ROUNDS; None where no stretch was to be mended, and then there is nothing to show.

    Raises:
        TableError: when a table is damaged.
    """
    if mended is None:
        return []
    told = {row["round"]: row for row in tables.read(mended, tables.LOCAL_ROUNDS).to_dict("records")}
    return [_bent(each, told[each.name], specimen) for each in specimen.rounds[1:] if each.name in told]


def _bent(each: RoundResults, told: dict[Any, Any], specimen: Specimen) -> dict[str, Any]:
    height, width = specimen.shape
    field, first = local_field.read(each.folder / "local.csv"), specimen.rounds[0].name
    if field is None or not told["patches"]:
        why = f"{each.name} is not bent: a smooth field predicts its {told['patches']} patches not clearly better than none"
        return {"name": each.name, "words": f"{why}.", "arrows": []}
    words = (
        f"{each.name} is bent to {first} by up to {told['largest']:.1f} px. In {told['patches']} patches it lay "
        f"{told['before']:.2f} px off (median; 95 % below {told['before_95']:.2f} px), and {told['after']:.2f} px "
        f"({told['after_95']:.2f} px) are left where the field was fitted to other patches."
    )
    spacing = max(height, width) / ARROWS
    grid = [np.arange(spacing / 2, side, spacing) for side in (height, width)]
    points = np.stack(np.meshgrid(*grid, indexing="ij"), -1).reshape(-1, 2)
    shown = [affine.apply(affine.invert(matrix), points) for matrix in affine.from_table(each.placed)]
    inside = [((at >= 0) & (at < size)).all(axis=1) for at, size in zip(shown, tables.sizes(each.tiles), strict=True)]
    points = points[np.any(inside, axis=0)]
    shift = field.at(points)
    ends = points + shift * LONGEST * spacing / max(float(np.linalg.norm(shift, axis=1).max(initial=0)), 1e-6)
    arrows = [{"y": y, "x": x, "to_y": to_y, "to_x": to_x} for y, x, to_y, to_x in np.c_[points, ends].round(1).tolist()]
    picture = {"arrows": arrows, "width": width, "height": height, "unit": round(spacing / 5, 1)}
    return {"name": each.name, "words": words, **picture}
