// What can be drawn over the mosaic: tiles, pairs, where the stage says, and how well all this is known.
//
// Nothing is told by colour alone: lines differ in dashes and width too, and marks have their words in the legend.
"use strict";

(() => {
  const { tiles, pairs } = dlir;
  const { stroke, outline, arrow, write, exaggeration, times } = dlir.pen;
  const { SURE, LIKELY, side, tiles: nowTiles, pairs: nowPairs, tile: tileOf } = dlir.places;

  const LINES = {
    pairs: { colour: "#39c5ff", dash: [], width: 1.5, words: "tile placed by its pairs" },
    stage: { colour: "#ffb000", dash: [6, 4], width: 2, words: "tile placed by the stage alone" },
    user: { colour: "#ff7bd5", dash: [12, 4, 2, 4], width: 2, words: "tile placed by the user" },
    placement: { colour: "#39c5ff", dash: [], width: 1.5, words: "tile placed as in another run" },
  };
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

  const factors = {
    moved: exaggeration(tiles.map((tile) => Math.hypot(...tile.off)), 0.3 * side),
    residual: exaggeration(pairs.filter((pair) => pair.accepted).map((pair) => pair.residual), 0.2 * side),
    known: exaggeration(tiles.map((tile) => tile.deviation), 0.25 * side),
    exact: exaggeration(pairs.filter((pair) => pair.accepted).map((pair) => Math.sqrt(pair.var_y + pair.var_x)), 0.12 * side),
  };

  const seen = (view, list = nowTiles()) => list.filter((tile) => view.sees(...tile.centre, tile.radius * view.scale));
  const seenPairs = (view) => nowPairs().filter((pair) => view.sees(pair.y, pair.x, side * view.scale));

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
      const ends = [pair.fixed, pair.moving].map((tile) => tileOf(tile).centre);
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
        for (const tile of seen(view, nowTiles().filter((tile) => tile.group > 0))) {
          fill(context, view, tile, hatch(context, group(tile.group), tile.group % 2 === 1));
          if (side * view.scale > 50) write(context, `group ${tile.group}`, view.x(tile.centre[1]), view.y(tile.centre[0]) + 18);
        }
      },
    },
    {
      name: "blank", label: "blank tiles", any: tiles.some((tile) => tile.blank),
      note: "Blank: all pairs of the tile are rejected, since their overlaps show too little contrast.",
      draw(context, view) {
        for (const tile of seen(view, nowTiles().filter((tile) => tile.blank))) {
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

  // the switches stand in the order of their use, not of drawing
  const ORDER = ["outlines", "names", "pairs", "residuals", "moved", "stage", "known", "exact", "groups", "blank"];
  dlir.layers(LAYERS, ORDER.map((name) => LAYERS.find((each) => each.name === name)).filter((each) => each.any || ["groups", "blank"].includes(each.name)));
})();
