// The table of the tiles of all rounds.
"use strict";

dlir.tables.whenOpened("table-tiles", {
  kind: "tile", key: "tile", rows: dlir.tiles, sorted: "offset", caption: "Tiles of all rounds", words: dlir.facts.columns_explained.tiles,
  columns: ["label", "round", "number", "name", "offset", "off_y", "off_x", "median", "largest", "bend", "ncc", "measured", "unmatched", "empty",
    "pairs", "between", "residual", "deviation", "moved", "placed_by"],
});
