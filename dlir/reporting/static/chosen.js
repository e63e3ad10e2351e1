// The tile or the pair that was clicked, in the mosaic or anywhere on the page: it is marked, and its numbers are told.
"use strict";

(() => {
  const { side, tile: tileOf, pair: pairOf } = dlir.places;
  const MARK = { colour: "#fff", dash: [], width: 3 };
  let chosen = null; // {pair} or {tile}

  function drawChosen(context, view) {
    if (!chosen) return;
    const marked = chosen.pair === undefined ? [chosen.tile] : [pairOf(chosen.pair).fixed, pairOf(chosen.pair).moving];
    const path = new Path2D();
    for (const tile of marked) dlir.pen.outline(path, view, tileOf(tile).corners);
    dlir.pen.stroke(context, MARK, path);
    if (chosen.pair === undefined) return;
    const { y, x } = pairOf(chosen.pair);
    const ring = new Path2D();
    ring.arc(view.x(x), view.y(y), 16, 0, 2 * Math.PI);
    dlir.pen.stroke(context, MARK, ring);
  }

  dlir.draw(drawChosen);

  dlir.viewer.addHandler("canvas-click", (event) => {
    if (!event.quick) return;
    const { y, x } = dlir.toMosaic(event.position);
    const pairsShown = ["pairs", "residuals", "exact"].some((name) => document.querySelector(`[data-layer=${name}]:checked`));
    const pair = pairsShown && dlir.places.pairAt(event.position);
    const [tile] = dlir.places.tilesAt(y, x);
    if (pair) dlir.emit("pair", { pair: pair.pair, from: "map" });
    else if (tile) dlir.emit("tile", { tile: tile.tile, from: "map" });
  });

  // ---- the chosen tile or pair

  const panel = document.getElementById("chosen");
  const number = (value, digits, unit = "") => (value === null || value === undefined ? "not known" : `${value.toFixed(digits)}${unit}`);
  const inPlace = (length) => (dlir.facts.pixel_size && length !== null ? ` (${(length * dlir.facts.pixel_size).toFixed(2)} µm)` : "");
  const link = (kind, value, text) => {
    const made = dlir.element("a", { href: "#mosaic" }, text);
    made.dataset[kind] = value;
    return made;
  };

  function describe(heading, rows) {
    const terms = rows.flatMap(([term, ...words]) => [dlir.element("dt", {}, term), dlir.element("dd", {}, ...words)]);
    panel.replaceChildren(dlir.element("h3", {}, heading), dlir.element("dl", {}, ...terms));
  }

  function describePair(pair) {
    const [fixed, moving] = [pair.fixed, pair.moving].map((tile) => tileOf(tile));
    const state = !pair.accepted ? "rejected" : pair.overruled ? "overruled by the placement" : "accepted";
    describe(`Pair ${pair.pair}: tiles ${pair.fixed} and ${pair.moving}`, [
      ["state", pair.reason ? `${state}: ${pair.reason}` : state],
      ["probability that it is right", number(pair.confidence, 3)],
      ["residual", `${number(pair.residual, 2, " px")}${inPlace(pair.residual)}: y ${number(pair.off_y, 2)}, x ${number(pair.off_x, 2)} px`],
      ["NCC before and after", `${number(pair.score_before, 3)}, ${number(pair.score_after, 3)}`],
      ["standard deviation", `y ${number(Math.sqrt(pair.var_y), 3)}, x ${number(Math.sqrt(pair.var_x), 3)} px`],
      ["fixed tile", link("tile", pair.fixed, `${pair.fixed} ${fixed.name}`)],
      ["moving tile", link("tile", pair.moving, `${pair.moving} ${moving.name}`)],
    ]);
  }

  function describeTile(tile) {
    const own = dlir.places.pairs().filter((pair) => pair.fixed === tile.tile || pair.moving === tile.tile);
    const links = own.flatMap((pair) => [link("pair", pair.pair, `with ${pair.fixed === tile.tile ? pair.moving : pair.fixed}`), ` (${number(pair.residual, 2)} px, ${pair.kind}) `]);
    const by = tile.placed_by === "placement" ? "another run" : tile.placed_by;
    describe(`Tile ${tile.tile}`, [
      ["file", tile.name],
      ["place of its first pixel", `y ${number(tile.y0, 2)}, x ${number(tile.x0, 2)} px`],
      ["correction of the stage", `y ${number(-tile.off[0], 2)}, x ${number(-tile.off[1], 2)} px`],
      ["placed by", `${by}, with ${tile.pairs} accepted pairs${tile.blank ? "; blank" : ""}`],
      ["residual of its pairs", `${number(tile.residual, 2, " px")}${inPlace(tile.residual)}`],
      ["deviation of its place", `${number(tile.deviation, 2, " px")}${inPlace(tile.deviation)}`],
      ["group", String(tile.group)],
      ...(links.length ? [["pairs", ...links]] : []),
    ]);
  }

  function choose(detail, describeIt, y, x, length) {
    chosen = detail;
    describeIt();
    if (detail.from !== "map") {
      dlir.goTo(y, x, length);
      document.getElementById("viewer").scrollIntoView({ block: "nearest" });
    }
    dlir.redraw();
  }

  dlir.on("pair", ({ pair, from }) => {
    const found = pairOf(pair);
    if (found) choose({ pair, from }, () => describePair(found), found.y, found.x, 0.8 * side);
  });
  dlir.on("tile", ({ tile, from }) => {
    const found = tileOf(tile);
    if (found) choose({ tile, from }, () => describeTile(found), ...found.centre, 2.2 * side);
  });
  dlir.on("time", () => {
    chosen = null;
    panel.replaceChildren();
  });
})();
