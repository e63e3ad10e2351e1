// The tables of pairs and of tiles.
"use strict";

(() => {
  const words = dlir.facts.columns_explained;
  const atTime = (row) => [undefined, dlir.facts.time].includes(row.time);
  dlir.tables.whenOpened("table-pairs", {
    kind: "pair", rows: dlir.pairs.filter(atTime), sorted: "residual", caption: "Pairs", words: words.pairs,
    columns: ["pair", "fixed", "moving", "side", "residual", "confidence", "score_before", "score_after", "accepted", "overruled", "reason"],
  });
  dlir.tables.whenOpened("table-tiles", {
    kind: "tile", rows: dlir.tiles.filter(atTime), sorted: "residual", caption: "Tiles", words: words.tiles,
    columns: ["tile", "name", "y0", "x0", "stage_y", "stage_x", "pairs", "residual", "deviation", "group", "placed_by", "blank"],
  });
})();
