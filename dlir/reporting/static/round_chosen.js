// The tile or the patch of a specimen that was clicked, in the mosaic or anywhere on the page: it is marked, and its numbers are told.
"use strict";

(() => {
  const { element } = dlir;
  const { tile: tileOf, side } = dlir.places;
  const MARK = { colour: "#fff", dash: [], width: 3 };
  const panel = document.getElementById("chosen");
  const first = dlir.facts.rounds[0].name;
  const against = (name) => dlir.facts.rounds.find((round) => round.name === name).against;
  let chosen = null; // {tile} or {patch}

  dlir.draw((context, view) => {
    if (!chosen) return;
    const path = new Path2D();
    if (chosen.patch) {
      const half = dlir.facts.patch_side / 2;
      path.rect(view.x(chosen.patch.x - half), view.y(chosen.patch.y - half), 2 * half * view.scale, 2 * half * view.scale);
    } else dlir.pen.outline(path, view, chosen.tile.corners);
    dlir.pen.stroke(context, MARK, path);
  });

  dlir.viewer.addHandler("canvas-click", (event) => {
    if (!event.quick) return;
    const { y, x } = dlir.toMosaic(event.position);
    const patch = document.querySelector("[data-layer=states]:checked, [data-layer=left]:checked") && dlir.patchAt(y, x);
    const tile = dlir.places.tilesAt(y, x).find((each) => each.round === dlir.compared.rounds()[1]);
    if (patch) dlir.emit("patch", { patch: patch.number, from: "map" });
    else if (tile) dlir.emit("tile", { tile: tile.tile, from: "map" });
  });

  const number = (value, digits, unit = "") => (value === null || value === undefined ? "not known" : `${value.toFixed(digits)}${unit}`);
  const micrometres = (length) => (dlir.facts.pixel_size && length !== null ? ` (${(length * dlir.facts.pixel_size).toFixed(3)} µm)` : "");

  function describe(heading, rows) {
    const terms = rows.flatMap(([term, ...words]) => [element("dt", {}, term), element("dd", {}, ...words)]);
    panel.replaceChildren(element("h3", {}, heading), element("dl", {}, ...terms));
  }

  function describeTile(tile) {
    const known = tile.measured > 0;
    describe(`Round ${tile.round}, tile ${tile.number}`, [
      ["file", tile.name],
      ["placed by", `${tile.placed_by === "stage" ? "the map of the round alone" : tile.placed_by}, with ${tile.pairs} accepted pairs, ${tile.between} of them with other rounds`],
      ["patches", tile.round === first ? "none: it is the first round, which is not compared with another one" : `${tile.measured} measured, ${tile.unmatched} that do not match, ${tile.empty} that show too little to tell`],
      ...(known ? [
        ["the tile as a whole is off by", `${number(tile.offset, 2, " px")}${micrometres(tile.offset)}: y ${number(tile.off_y, 2)}, x ${number(tile.off_x, 2)} px`],
        ["its patches are off by", `${number(tile.median, 2, " px")} in the median, ${number(tile.largest, 2, " px")} at most`],
        ["stretched by", number(tile.bend, 2, " px")],
        [`NCC with ${against(tile.round)}`, number(tile.ncc, 3)],
      ] : []),
      ["moved by the registration", tile.moved === null ? "not known" : `${number(tile.moved, 2, " px")} from where the rough map puts it`],
    ]);
  }

  function describePatch(patch) {
    const states = { measured: "measured", unmatched: "both rounds show something here, and it does not match", empty: "too little is seen to tell" };
    describe(`Patch of round ${patch.round}, at y ${patch.y}, x ${patch.x}`, [
      ["state", states[patch.state]],
      ...(patch.state === "measured" ? [["off by", `${number(patch.length, 2, " px")}${micrometres(patch.length)}: y ${number(patch.dy, 2)}, x ${number(patch.dx, 2)} px, ± ${number(patch.deviation, 2, " px")}`]] : []),
      ["NCC as it lies, and at its best", `${number(patch.before, 3)}, ${number(patch.after, 3)}`],
      ["tile", ...(() => {
        const link = element("a", { href: "#mosaic" }, `${patch.round}, tile ${tileOf(patch.tile).number}`);
        link.dataset.tile = patch.tile;
        return [link];
      })()],
    ]);
  }

  function choose(detail, from, round, y, x, length) {
    chosen = detail;
    if (round !== first) dlir.compared.show(round);
    if (from !== "map") {
      dlir.goTo(y, x, length);
      document.getElementById("viewer").scrollIntoView({ block: "nearest" });
    }
    dlir.redraw();
  }

  dlir.on("tile", ({ tile, from }) => {
    const found = tileOf(tile);
    if (!found) return;
    describeTile(found);
    choose({ tile: found }, from, found.round, ...found.centre, 1.6 * side);
  });
  dlir.on("patch", ({ patch, from }) => {
    const found = dlir.patches[patch];
    if (!found) return;
    describePatch(found);
    choose({ patch: found }, from, found.round, found.y, found.x, 4 * dlir.facts.patch_side);
  });
})();
