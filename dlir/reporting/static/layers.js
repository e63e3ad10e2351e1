// What can be drawn over the mosaic: tiles, pairs, where the stage says, and how well all this is known.
//
// Nothing is told by colour alone: lines differ in dashes and width too, and marks have their words in the legend.
"use strict";

(() => {
  const FULL = 60; // px of the page: with smaller tiles, lines are thinner
  const NEAR = 9; // px of the page: a click so close to a pair chooses it
  const LINES = {
    pairs: { colour: "#39c5ff", dash: [], width: 1.5, words: "tile placed by its pairs" },
    stage: { colour: "#ffb000", dash: [6, 4], width: 2, words: "tile placed by the stage alone" },
    user: { colour: "#ff7bd5", dash: [12, 4, 2, 4], width: 2, words: "tile placed by the user" },
    placement: { colour: "#39c5ff", dash: [], width: 1.5, words: "tile placed as in another run" },
  };
  const SURE = 0.9, LIKELY = 0.5;
  const KINDS = {
    sure: { colour: "#4fd0ff", dash: [], width: 2, words: `pair accepted, probability ${SURE} or more` },
    likely: { colour: "#ffe14d", dash: [10, 4], width: 2.5, words: `pair accepted, ${LIKELY} to ${SURE}` },
    faint: { colour: "#ff9a3c", dash: [3, 3], width: 3.5, words: `pair accepted, below ${LIKELY}` },
    overruled: { colour: "#ff6ad5", dash: [10, 3, 2, 3], width: 3, words: "pair overruled by the placement", cross: true },
    rejected: { colour: "#ff6b5e", dash: [2, 5], width: 1.5, words: "pair rejected", cross: true },
  };
  const STAGE = { colour: "#ffffff", dash: [2, 4], width: 1.5 };
  const MOVED = { colour: "#7dff8a", dash: [], width: 2 };
  const RESIDUAL = { colour: "#ffffff", dash: [], width: 2 };
  const KNOWN = { colour: "#ffd83b", dash: [], width: 1.5 };
  const EXACT = { colour: "#c9a6ff", dash: [], width: 1.5 };
  const HUES = [205, 40, 330, 120, 275, 15, 170, 70];

  const { tiles, pairs } = dlir;
  const [height, width] = dlir.facts.shape;
  const atTime = (row) => row.time === undefined || row.time === dlir.time;
  const apply = (tile, y, x) => [tile.yy * y + tile.yx * x + tile.y0, tile.xy * y + tile.xx * x + tile.x0];
  let now, ofTile, ofPair, chosen = null;

  for (const tile of tiles) {
    const [bottom, right] = [tile.height - 0.5, tile.width - 0.5];
    tile.corners = [[-0.5, -0.5], [-0.5, right], [bottom, right], [bottom, -0.5]].map(([y, x]) => apply(tile, y, x));
    tile.centre = apply(tile, (tile.height - 1) / 2, (tile.width - 1) / 2);
    tile.off = [tile.stage_y - tile.y0, tile.stage_x - tile.x0]; // from the solved place to that of the stage
    tile.radius = Math.hypot(tile.height, tile.width) / 2;
  }
  for (const pair of pairs) {
    if (!pair.accepted) pair.kind = "rejected";
    else if (pair.overruled) pair.kind = "overruled";
    else pair.kind = pair.confidence >= SURE ? "sure" : pair.confidence >= LIKELY ? "likely" : "faint";
  }

  function takeTime() {
    now = { tiles: tiles.filter(atTime), pairs: pairs.filter(atTime) };
    ofTile = new Map(now.tiles.map((tile) => [tile.tile, tile]));
    ofPair = new Map(now.pairs.map((pair) => [pair.pair, pair]));
  }
  takeTime();
  dlir.on("time", takeTime);

  const side = tiles.length ? Math.min(...tiles.map((tile) => Math.min(tile.height, tile.width))) : 100;

  // By how much lengths are exaggerated, so that most of them show: 1, 2, 5, 10, ...
  function exaggeration(lengths, shown) {
    const known = lengths.filter((length) => length > 0).sort((a, b) => a - b);
    if (!known.length) return 1;
    const wanted = shown / known[Math.floor(0.95 * (known.length - 1))];
    const power = 10 ** Math.floor(Math.log10(Math.max(1, wanted)));
    return Math.max(1, [5, 2, 1].map((step) => step * power).find((step) => step <= wanted) || 1);
  }

  const times = (factor) => (factor === 1 ? "at their true length" : `${factor} times as long as they are`);
  const factors = {
    moved: exaggeration(tiles.map((tile) => Math.hypot(...tile.off)), 0.3 * side),
    residual: exaggeration(pairs.filter((pair) => pair.accepted).map((pair) => pair.residual), 0.2 * side),
    known: exaggeration(tiles.map((tile) => tile.deviation), 0.25 * side),
    exact: exaggeration(pairs.filter((pair) => pair.accepted).map((pair) => Math.sqrt(pair.var_y + pair.var_x)), 0.12 * side),
  };

  // ---- drawing

  // A line with a dark rim, for bright pictures. Where tiles are small on the screen, lines are thin and without a rim, since they
  // would cover the mosaic.
  function stroke(context, style, path, tileOnScreen = Infinity) {
    const part = Math.min(1, Math.max(0.35, tileOnScreen / FULL));
    context.lineCap = style.dash.length ? "butt" : "round";
    context.lineJoin = "round";
    if (part === 1) {
      context.setLineDash([]);
      context.strokeStyle = "#000a";
      context.lineWidth = style.width + 2;
      context.stroke(path);
    }
    context.globalAlpha = Math.sqrt(part);
    context.setLineDash(style.dash.map((length) => length * part));
    context.strokeStyle = style.colour;
    context.lineWidth = style.width * part;
    context.stroke(path);
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  function outline(path, view, corners, by = [0, 0]) {
    corners.forEach(([y, x], at) => path[at ? "lineTo" : "moveTo"](view.x(x + by[1]), view.y(y + by[0])));
    path.closePath();
  }

  function arrow(path, view, from, by) {
    const [y, x] = [view.y(from[0]), view.x(from[1])];
    const [dy, dx] = by.map((length) => length * view.scale);
    const length = Math.hypot(dy, dx);
    if (length < 1) return;
    const [toY, toX] = [y + dy, x + dx];
    const head = Math.min(8, length / 2) / length;
    path.moveTo(x, y);
    path.lineTo(toX, toY);
    for (const turn of [0.5, -0.5]) {
      path.moveTo(toX, toY);
      path.lineTo(toX - head * (dx + turn * dy), toY - head * (dy - turn * dx));
    }
  }

  function write(context, text, x, y, pixels = 13) {
    context.font = `600 ${pixels}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineWidth = 3;
    context.strokeStyle = "#000c";
    context.strokeText(text, x, y);
    context.fillStyle = "#fff";
    context.fillText(text, x, y);
  }

  const seen = (view, list = now.tiles) => list.filter((tile) => view.sees(...tile.centre, tile.radius * view.scale));
  const seenPairs = (view) => now.pairs.filter((pair) => view.sees(pair.y, pair.x, side * view.scale));

  function fill(context, view, tile, paint) {
    const path = new Path2D();
    outline(path, view, tile.corners);
    context.fillStyle = paint;
    context.fill(path);
  }

  const hatches = new Map();
  function hatch(context, colour, rising) {
    const name = `${colour} ${rising}`;
    if (!hatches.has(name)) {
      const made = dlir.element("canvas", { width: 10, height: 10 });
      const inside = made.getContext("2d");
      inside.strokeStyle = colour;
      inside.lineWidth = 1.5;
      for (const at of [-10, 0, 10]) {
        inside.moveTo(at, rising ? 10 : 0);
        inside.lineTo(at + 10, rising ? 0 : 10);
      }
      inside.stroke();
      hatches.set(name, context.createPattern(made, "repeat"));
    }
    return hatches.get(name);
  }

  function drawPairs(context, view) {
    const paths = Object.fromEntries(Object.keys(KINDS).map((kind) => [kind, new Path2D()]));
    for (const pair of seenPairs(view)) {
      const ends = [pair.fixed, pair.moving].map((tile) => ofTile.get(tile).centre);
      const path = paths[pair.kind];
      path.moveTo(view.x(ends[0][1]), view.y(ends[0][0]));
      path.lineTo(view.x(ends[1][1]), view.y(ends[1][0]));
    }
    for (const [kind, path] of Object.entries(paths)) stroke(context, KINDS[kind], path, side * view.scale);
    for (const pair of seenPairs(view)) {
      if (!KINDS[pair.kind].cross || side * view.scale < 12) continue;
      const cross = new Path2D();
      const [x, y] = [view.x(pair.x), view.y(pair.y)];
      cross.moveTo(x - 5, y - 5);
      cross.lineTo(x + 5, y + 5);
      cross.moveTo(x - 5, y + 5);
      cross.lineTo(x + 5, y - 5);
      stroke(context, { ...KINDS[pair.kind], dash: [], width: 2 }, cross);
    }
    if (side * view.scale < 120) return;
    for (const pair of seenPairs(view)) write(context, pair.confidence.toFixed(2), view.x(pair.x), view.y(pair.y) + 14, 12);
  }

  function drawResiduals(context, view) {
    const path = new Path2D();
    const accepted = seenPairs(view).filter((pair) => pair.accepted);
    for (const pair of accepted) arrow(path, view, [pair.y, pair.x], [pair.off_y * factors.residual, pair.off_x * factors.residual]);
    stroke(context, RESIDUAL, path, side * view.scale);
    if (side * view.scale < 120) return;
    for (const pair of accepted) write(context, `${pair.residual.toFixed(2)} px`, view.x(pair.x), view.y(pair.y) - 12, 12);
  }

  function drawEllipses(context, view) {
    const path = new Path2D();
    for (const pair of seenPairs(view).filter((pair) => pair.accepted)) {
      const { var_y: a, cov_yx: b, var_x: d } = pair;
      const [mean, half] = [(a + d) / 2, Math.hypot((a - d) / 2, b)];
      const radii = [mean + half, mean - half].map((variance) => Math.sqrt(Math.max(0, variance)) * factors.exact * view.scale);
      if (!(radii[0] > 1 && radii[0] < 10 * (view.across + view.down))) continue; // too small, or far too large to be seen
      const angle = Math.atan2(2 * b, d - a) / 2; // of the longer axis, from x towards y
      path.moveTo(view.x(pair.x) + radii[0] * Math.cos(angle), view.y(pair.y) + radii[0] * Math.sin(angle));
      path.ellipse(view.x(pair.x), view.y(pair.y), radii[0], radii[1], angle, 0, 2 * Math.PI);
    }
    stroke(context, EXACT, path, side * view.scale);
  }

  const group = (number) => `hsl(${HUES[(number - 1) % HUES.length]} 90% 65% / 0.55)`;
  const inGroups = tiles.filter((tile) => tile.group > 0);
  const kindsOfPairs = [...new Set(pairs.map((pair) => pair.kind))];

  // In the order in which they are drawn. `any` says whether there is something to draw.
  const LAYERS = [
    {
      name: "groups", label: "groups of tiles", any: inGroups.length > 0,
      note: "Tiles that accepted pairs join are a group; the largest one is not marked.",
      draw(context, view) {
        for (const tile of seen(view, now.tiles.filter((tile) => tile.group > 0))) {
          fill(context, view, tile, hatch(context, group(tile.group), tile.group % 2 === 1));
          if (side * view.scale > 50) write(context, `group ${tile.group}`, view.x(tile.centre[1]), view.y(tile.centre[0]) + 18);
        }
      },
    },
    {
      name: "blank", label: "blank tiles", any: tiles.some((tile) => tile.blank),
      note: "Blank: all pairs of the tile are rejected, since their overlaps show too little contrast.",
      draw(context, view) {
        for (const tile of seen(view, now.tiles.filter((tile) => tile.blank))) {
          fill(context, view, tile, hatch(context, "#fffa", true));
          fill(context, view, tile, hatch(context, "#fffa", false));
          if (side * view.scale > 50) write(context, "blank", view.x(tile.centre[1]), view.y(tile.centre[0]) - 18);
        }
      },
    },
    {
      name: "stage", label: "places of the stage", any: true, key: STAGE,
      note: "The stage's places are shifted, turned and scaled to the mosaic as most tiles have it; what is left is the stage's own error.",
      draw(context, view) {
        const path = new Path2D();
        for (const tile of seen(view)) outline(path, view, tile.corners, tile.off);
        stroke(context, STAGE, path, side * view.scale);
      },
    },
    {
      name: "outlines", label: "outlines of the tiles", any: true, on: true, key: LINES.pairs,
      kinds: [...new Set(tiles.map((tile) => tile.placed_by))].map((kind) => LINES[kind] || LINES.pairs),
      draw(context, view) {
        for (const [kind, style] of Object.entries(LINES)) {
          const path = new Path2D();
          for (const tile of seen(view)) if (tile.placed_by === kind) outline(path, view, tile.corners);
          stroke(context, style, path, side * view.scale);
        }
      },
    },
    {
      name: "pairs", label: "pairs, by probability", any: pairs.length > 0, key: KINDS.sure,
      kinds: Object.keys(KINDS).filter((kind) => kindsOfPairs.includes(kind)).map((kind) => KINDS[kind]),
      note: "A line joins the middles of two tiles. Click one for its numbers and its seam.",
      draw: drawPairs,
    },
    {
      name: "moved", label: "corrections of the stage", any: true, key: MOVED,
      note: `Corrections lead from where the stage says to where the tile was placed, ${times(factors.moved)}.`,
      draw(context, view) {
        const path = new Path2D();
        for (const { centre, off } of seen(view)) {
          const by = off.map((length) => -length * factors.moved);
          arrow(path, view, [centre[0] - by[0], centre[1] - by[1]], by);
        }
        stroke(context, MOVED, path, side * view.scale);
      },
    },
    {
      name: "residuals", label: "residuals of the pairs", any: pairs.some((pair) => pair.accepted), key: RESIDUAL,
      note: `Residuals lead from where the moving tile lies to where the pair would have it, ${times(factors.residual)}.`,
      draw: drawResiduals,
    },
    {
      name: "exact", label: "how exact the pairs are", any: pairs.some((pair) => pair.accepted), key: EXACT,
      note: `Ellipses are the standard deviation of a pair, ${times(factors.exact).replace("long", "large").replace("length", "size")}.`,
      draw: drawEllipses,
    },
    {
      name: "known", label: "how well places are known", any: tiles.some((tile) => tile.deviation > 0), key: KNOWN,
      note: `Circles are the standard deviation of the place of a tile, ${times(factors.known).replace("long", "large").replace("length", "size")}.`,
      draw(context, view) {
        const path = new Path2D();
        for (const { centre, deviation } of seen(view)) {
          if (!(deviation > 0)) continue;
          const radius = Math.min(deviation * factors.known * view.scale, 20000);
          if (radius < 1) continue;
          path.moveTo(view.x(centre[1]) + radius, view.y(centre[0]));
          path.arc(view.x(centre[1]), view.y(centre[0]), radius, 0, 2 * Math.PI);
        }
        stroke(context, KNOWN, path, side * view.scale);
      },
    },
    {
      name: "names", label: "numbers and names", any: true, on: true,
      draw(context, view) {
        const across = side * view.scale;
        if (across < 30) return;
        for (const tile of seen(view)) {
          const [x, y] = [view.x(tile.centre[1]), view.y(tile.centre[0])];
          write(context, String(tile.tile), x, y, across > 80 ? 14 : 11);
          if (across > 9 * tile.name.length) write(context, tile.name, x, y + 34, 12);
        }
      },
    },
  ];

  function drawChosen(context, view) {
    if (!chosen) return;
    const marked = chosen.pair === undefined ? [chosen.tile] : [ofPair.get(chosen.pair).fixed, ofPair.get(chosen.pair).moving];
    const path = new Path2D();
    for (const tile of marked) outline(path, view, ofTile.get(tile).corners);
    stroke(context, { colour: "#fff", dash: [], width: 3 }, path);
    if (chosen.pair === undefined) return;
    const { y, x } = ofPair.get(chosen.pair);
    const ring = new Path2D();
    ring.arc(view.x(x), view.y(y), 16, 0, 2 * Math.PI);
    stroke(context, { colour: "#fff", dash: [], width: 3 }, ring);
  }

  dlir.draw((context, view) => {
    for (const layer of LAYERS) if (layer.on) layer.draw(context, view);
    drawChosen(context, view);
  });

  // ---- the switches and their legend

  function key(style) {
    const made = dlir.element("canvas", { className: "key", width: 77, height: 35 });
    const context = made.getContext("2d");
    context.scale(2, 2);
    stroke(context, style, new Path2D("M3 9H35"));
    if (style.cross) stroke(context, { ...style, dash: [], width: 2 }, new Path2D("M15 5l8 8M15 13l8-8"));
    made.setAttribute("aria-hidden", "true");
    return made;
  }

  const box = document.getElementById("layers");
  const list = dlir.element("div", { className: "list" });
  const legend = dlir.element("ul", { className: "legend" });
  const notes = dlir.element("div", {});
  box.append(list, legend, notes);
  // the switches stand in the order of their use, not of drawing
  const ORDER = ["outlines", "names", "pairs", "residuals", "moved", "stage", "known", "exact", "groups", "blank"];
  for (const layer of ORDER.map((name) => LAYERS.find((each) => each.name === name)).filter((each) => each.any || ["groups", "blank"].includes(each.name))) {
    layer.on = Boolean(layer.on && layer.any);
    const input = dlir.element("input", { type: "checkbox", checked: layer.on, disabled: !layer.any });
    input.dataset.layer = layer.name;
    input.addEventListener("change", () => {
      layer.on = input.checked;
      tell();
      dlir.emit("layers");
      dlir.redraw();
    });
    const label = dlir.element("label", layer.any ? {} : { className: "none" }, input, layer.any ? layer.label : `${layer.label}: none`);
    if (layer.key) label.append(key(layer.key));
    list.append(label);
  }

  function tell() {
    const on = LAYERS.filter((layer) => layer.on);
    const kinds = on.flatMap((layer) => layer.kinds || []);
    legend.replaceChildren(...kinds.map((style) => dlir.element("li", {}, key(style), style.words)));
    notes.replaceChildren(...on.filter((layer) => layer.note).map((layer) => dlir.element("p", {}, layer.note)));
  }
  tell();

  // ---- what lies where

  function holds(tile, y, x) {
    const det = tile.yy * tile.xx - tile.yx * tile.xy;
    const [dy, dx] = [y - tile.y0, x - tile.x0];
    const [inY, inX] = [(tile.xx * dy - tile.yx * dx) / det, (tile.yy * dx - tile.xy * dy) / det];
    return inY >= -0.5 && inX >= -0.5 && inY <= tile.height - 0.5 && inX <= tile.width - 0.5;
  }

  // The tiles that show a place of the mosaic, the one whose middle is nearest first.
  dlir.tilesAt = (y, x) => {
    const far = (tile) => Math.hypot(tile.centre[0] - y, tile.centre[1] - x);
    return now.tiles.filter((tile) => holds(tile, y, x)).sort((a, b) => far(a) - far(b));
  };

  // The pair whose line or middle lies at a point of the screen; undefined where there is none.
  dlir.pairAt = (point) => {
    let [best, nearest] = [undefined, NEAR];
    for (const pair of now.pairs) {
      const [a, b] = [pair.fixed, pair.moving].map((tile) => dlir.toScreen(...ofTile.get(tile).centre));
      const [dx, dy] = [b.x - a.x, b.y - a.y];
      const along = Math.min(1, Math.max(0, ((point.x - a.x) * dx + (point.y - a.y) * dy) / (dx * dx + dy * dy || 1)));
      const middle = dlir.toScreen(pair.y, pair.x);
      const far = Math.min(
        Math.hypot(a.x + along * dx - point.x, a.y + along * dy - point.y),
        Math.hypot(middle.x - point.x, middle.y - point.y),
      );
      if (far < nearest) [best, nearest] = [pair, far];
    }
    return best;
  };

  dlir.viewer.addHandler("canvas-click", (event) => {
    if (!event.quick) return;
    const { y, x } = dlir.toMosaic(event.position);
    const pairsShown = LAYERS.some((layer) => layer.on && ["pairs", "residuals", "exact"].includes(layer.name));
    const pair = pairsShown && dlir.pairAt(event.position);
    const [tile] = dlir.tilesAt(y, x);
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
    const [fixed, moving] = [pair.fixed, pair.moving].map((tile) => ofTile.get(tile));
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
    const own = now.pairs.filter((pair) => pair.fixed === tile.tile || pair.moving === tile.tile);
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
    const found = ofPair.get(pair);
    if (found) choose({ pair, from }, () => describePair(found), found.y, found.x, 0.8 * side);
  });
  dlir.on("tile", ({ tile, from }) => {
    const found = ofTile.get(tile);
    if (found) choose({ tile, from }, () => describeTile(found), ...found.centre, 2.2 * side);
  });
  dlir.on("time", () => {
    chosen = null;
    panel.replaceChildren();
  });
})();
