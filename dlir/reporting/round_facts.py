"""What the page of a specimen with rounds knows and says: its tables, the numbers at its top, and a row for each round."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dlir.core import tables
from dlir.core.affine import COLUMNS, Array
from dlir.reporting.facts import columns_and_rows
from dlir.reporting.round_agreement import Agreement, quantiles
from dlir.reporting.round_places import moved_by
from dlir.reporting.round_results import RoundResults, Specimen, accepted_by_tile, of_others
from dlir.reporting.round_verdict import HELPS, named, stretched_tiles
from dlir.reporting.sentences import Table
from dlir.rounds.groups import in_words

OF_AGREEMENT = ["measured", "unmatched", "empty", "off_y", "off_x", "offset", "median", "largest", "ncc", "bend"]
TILE_COLUMNS = ["tile", "label", "round", "number", "name", *COLUMNS, "height", "width", "pairs", "between", "residual",
                "deviation", "placed_by", "moved", *OF_AGREEMENT]  # fmt: skip
PATCH_COLUMNS = ["round", "tile", "y", "x", "dy", "dx", "length", "deviation", "before", "after", "state", "bend_y", "bend_x"]
OF_TILES = {
    "label": "round and number of the tile in it",
    "round": "name of the round",
    "number": "number of the tile in its round",
    "name": "name of the file",
    "offset": "how far the tile lies from the round that it is compared with, mostly the first, px: length of off_y and off_x",
    "off_y": "median of the shifts of its patches, px: from where that round shows something to where this one does",
    "off_x": "as off_y",
    "median": "median of the lengths of the shifts of its patches, px",
    "largest": "largest of them, px",
    "bend": "by how much the tissue is stretched within the tile, px, root mean square: what no rigid tile can mend",
    "ncc": "median NCC of its patches with that round, as they lie",
    "measured": "number of its patches of which the shift could be measured",
    "unmatched": "number of those that show something in both rounds which does not match",
    "empty": "number of those that show too little to tell",
    "pairs": "number of accepted pairs of the tile, within its round and with others",
    "between": "number of those with tiles of other rounds",
    "residual": "how far its pairs lie from the placement, px, root mean square",
    "deviation": "standard deviation of the place of the tile, px",
    "moved": "how far the tile lies from where the rough map of its round puts it, px",
    "placed_by": "what holds the tile: pairs, user, or stage: the map of its round alone",
}


def tile_table(specimen: Specimen, agreement: Agreement, rough: dict[str, Array] | None) -> dict[str, Any]:
    """Returns the tiles of all rounds for the page, as columns and rows; `tile` is the row of placement.csv."""
    found = []
    for each in specimen.rounds:
        placed = each.placed.assign(number=each.placed["tile"], tile=each.placed.index)
        placed["label"] = [f"{each.name} {number}" for number in placed["number"]]
        placed["name"] = [Path(path).name for path in placed["path"]]
        placed[["height", "width"]] = tables.sizes(each.tiles, placed["number"])
        placed["between"] = placed["number"].map(accepted_by_tile(specimen.pairs, each.name)).fillna(0).astype(int)
        placed["moved"] = np.nan if rough is None else moved_by(each, rough[each.name])
        found.append(placed)
    of_tile = agreement.tiles.rename(columns={"tile": "number"})[["round", "number", *OF_AGREEMENT]]
    table = pd.concat(found, ignore_index=True).merge(of_tile, how="left", on=["round", "number"])
    counts = OF_AGREEMENT[:3]
    table[counts] = table[counts].fillna(0).astype(int)
    return columns_and_rows(table, TILE_COLUMNS)


def patch_table(specimen: Specimen, agreement: Agreement) -> dict[str, Any]:
    """Returns the patches for the page, as columns and rows; `tile` is the row of placement.csv."""
    row = pd.Series(specimen.placed.index, index=pd.MultiIndex.from_frame(specimen.placed[["round", "tile"]]))
    patches = agreement.patches
    tile = row.reindex(pd.MultiIndex.from_frame(patches[["round", "tile"]])).to_numpy()
    return columns_and_rows(patches.assign(tile=tile), PATCH_COLUMNS)


def agreement_table(specimen: Specimen, agreement: Agreement) -> Table:
    """Returns how well each round but the first agrees with the one that it is compared with, as texts."""
    columns = ["round", "compared with", "off: median, px", "95 %, px", "largest, px", "measured ±, px",
               "a rigid tile would mend, px", "stretched, px", "95 %, px", "NCC", "patches measured", "not matching",
               "too little to tell"]  # fmt: skip
    lengths = ["median", "p95", "largest", "deviation", "rigid", "bend", "bend_p95", "ncc"]
    compared = {each.name: specimen.compared_with(each).name for each in specimen.rounds}
    rows = [
        [name, compared[name], *(_px(row[of]) for of in lengths), *(str(row[state]) for state in OF_AGREEMENT[:3])]
        for row in agreement.rounds.to_dict("records")
        for name in [row["round"]]
    ]
    return Table(columns, rows, len(rows))


def refinement_lines(agreement: Agreement) -> list[str]:
    """Returns whether a local, non-rigid refinement would help, and where, in a sentence for each round but the first."""
    lines = []
    for row in agreement.rounds.to_dict("records"):
        name, tiles = row["round"], stretched_tiles(agreement, row["round"])
        if agreement.tiles.loc[agreement.tiles["round"] == name, "bend"].isna().all():
            what = "too few patches of its tiles could be measured to tell whether its tissue is stretched"
        elif row["bend_p95"] > HELPS:
            where = f", most in tiles {named(tiles)}" if len(tiles) else ""
            what = f"a local, non-rigid refinement would help by {row['bend']:.1f} px, and in 5 % of the places by more than "
            what += f"{row['bend_p95']:.1f} px{where}"
        else:
            seen = f"bends by {row['bend']:.2f} px" if row["bend"] else "is not seen to bend"
            what = f"a local refinement would not help: what lies within its tiles {seen}"
        lines.append(f"{name}: {what}")
    return lines


def round_table(specimen: Specimen) -> Table:
    """Returns how each round lies to the first, and what holds its tiles, as texts."""
    columns = ["round", "found by", "against", "turn, °", "scale", "shift y, px", "shift x, px", "blocks that agree", "tiles",
               "by the map alone", "pairs with others", "accepted", "overruled", "their residual, px"]  # fmt: skip
    rows = [_round_row(specimen, each) for each in specimen.rounds]
    return Table(columns, rows, len(rows))


def _round_row(specimen: Specimen, each: RoundResults) -> list[str]:
    pairs, told = of_others(specimen.pairs, each.name), each.found
    accepted, overruled = pairs["accepted"], pairs["accepted"] & pairs["overruled"]
    against = told["against"] if told["found"] == "pixels" else ""
    lies = [against, f"{told['turn']:.3f}", f"{told['scale']:.5f}", f"{told['shift_y']:.1f}", f"{told['shift_x']:.1f}",
            f"{told['agreeing']} of {told['blocks']}"]  # fmt: skip
    by_map = (each.placed["placed_by"] == "stage").sum()
    counts = [len(each.placed), by_map, len(pairs), accepted.sum(), overruled.sum()]
    residual = pairs.loc[accepted & ~overruled, "residual"].median()
    found = ["first", *[""] * len(lies)] if told["found"] == "first" else [str(told["found"]), *lies]
    return [each.name, *found, *map(str, counts), _px(residual)]


def key_numbers(specimen: Specimen, agreement: Agreement) -> dict[str, str]:
    """Returns the numbers at the top of the page, by what they are."""
    measured = agreement.patches[agreement.patches["state"] == "measured"]
    lengths = [*quantiles(measured, 0.5, 0.95), measured["length"].max()]
    told = " · ".join(f"{length:.2f}" for length in lengths) if len(measured) else "none"
    pairs, groups = specimen.pairs, specimen.groups()
    apart = {"groups of them that match each other": "; ".join(map(in_words, groups))} if len(groups) > 1 else {}
    return {
        "rounds": str(len(specimen.rounds)),
        **apart,
        "tiles of all rounds": str(len(specimen.placed)),
        "of them placed by the map of their round alone": str(int((specimen.placed["placed_by"] == "stage").sum())),
        "pairs between rounds": str(len(pairs)),
        "of them accepted": str(int(pairs["accepted"].sum())),
        "how far rounds lie apart: median · 95 % · largest, px": told,
        f"patches of {agreement.side} px that were measured": str(len(measured)),
    }


def _px(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else ""
