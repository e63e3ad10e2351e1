// What can be drawn over the mosaic of a specimen: the tiles of the two rounds that are compared, and how far places lie apart.
"use strict";

(() => {
  const { stroke, outline, arrow, write, exaggeration, times } = dlir.pen;
  const { side: tileSide } = dlir.places;
  const FIRST = { colour: "#ffffff", dash: [6, 4], width: 1.5 };
  const SECOND = { colour: "#39c5ff", dash: [], width: 1.5 };
  const LEFT = { colour: "#ffe14d", dash: [], width: 2 };
  const BEND = { colour: "#7dff8a", dash: [], width: 2 };
  const STATES = {
    near: { colour: "#4fd0ff", dash: [], width: 1, words: "agrees to 0.5 px" },
    off: { colour: "#ffe14d", dash: [8, 3], width: 2, words: "off by 0.5 to 1 px" },
    far: { colour: "#ff7b6e", dash: [], width: 3.5, words: "off by more than 1 px" },
    unmatched: { colour: "#ff6ad5", dash: [2, 4], width: 2.5, words: "both rounds show something, and it does not match", cross: true },
    empty: { colour: "#aaa", dash: [1, 5], width: 1, words: "too little is seen to tell" },
  };
  const NEAR = 0.5, FAR = 1.0; // px

  const first = dlir.facts.rounds[0].name;
  const others = new Set(dlir.facts.rounds.slice(1).map((round) => round.against)); // with which rounds are compared
  const compared = others.size > 1 ? "the round against which this one was found" : [...others].join("");
  const patches = dlir.objects(dlir.facts.patches).map((patch, number) => ({ ...patch, number }));
  const measured = patches.filter((patch) => patch.state === "measured");
  const side = dlir.facts.patch_side;
  const stateOf = (patch) => (patch.state !== "measured" ? patch.state : patch.length > FAR ? "far" : patch.length > NEAR ? "off" : "near");
  const factors = {
    left: exaggeration(measured.map((patch) => Math.max(NEAR, patch.length)), 0.6 * side), // so that noise stays small
    bend: exaggeration(measured.map((patch) => Math.max(NEAR, Math.hypot(patch.bend_y, patch.bend_x))), 0.6 * side),
  };

  // The round whose places are drawn: the second of the two, or the first of them where the second one is the first round.
  const drawnRound = () => [...dlir.compared.rounds()].reverse().find((name) => name !== first);
  const seen = (view, list) => list.filter((patch) => patch.round === drawnRound() && view.sees(patch.y, patch.x, side * view.scale));

  function outlines(which, style) {
    return (context, view) => {
      const path = new Path2D();
      const name = dlir.compared.rounds()[which];
      for (const tile of dlir.places.tiles()) if (tile.round === name && view.sees(...tile.centre, tile.radius * view.scale)) outline(path, view, tile.corners);
      stroke(context, style, path, tileSide * view.scale);
    };
  }

  function drawStates(context, view) {
    const half = 0.42 * side;
    for (const [state, style] of Object.entries(STATES)) {
      const path = new Path2D();
      for (const { y, x } of seen(view, patches).filter((patch) => stateOf(patch) === state)) {
        path.rect(view.x(x - half), view.y(y - half), 2 * half * view.scale, 2 * half * view.scale);
        if (!style.cross) continue;
        path.moveTo(view.x(x) - 5, view.y(y) - 5);
        path.lineTo(view.x(x) + 5, view.y(y) + 5);
        path.moveTo(view.x(x) - 5, view.y(y) + 5);
        path.lineTo(view.x(x) + 5, view.y(y) - 5);
      }
      stroke(context, style, path, state === "empty" ? 0 : 4 * side * view.scale); // thin, and without a rim, where nothing is known
    }
  }

  function drawLeft(context, view) {
    const path = new Path2D();
    for (const { y, x, dy, dx } of seen(view, measured)) arrow(path, view, [y, x], [dy * factors.left, dx * factors.left]);
    stroke(context, LEFT, path, 4 * side * view.scale);
    if (side * view.scale < 70) return;
    for (const patch of seen(view, measured)) write(context, `${patch.length.toFixed(2)} px`, view.x(patch.x), view.y(patch.y + 0.3 * side), 12);
  }

  function drawBend(context, view) {
    const path = new Path2D();
    for (const { y, x, bend_y, bend_x } of seen(view, measured)) if (bend_y !== null) arrow(path, view, [y, x], [bend_y * factors.bend, bend_x * factors.bend]);
    stroke(context, BEND, path, 4 * side * view.scale);
  }

  function drawNumbers(context, view) {
    const across = tileSide * view.scale;
    if (across < 30) return;
    const name = dlir.compared.rounds()[1];
    for (const tile of dlir.places.tiles()) if (tile.round === name) write(context, String(tile.number), view.x(tile.centre[1]), view.y(tile.centre[0]), across > 80 ? 14 : 11);
  }

  const present = new Set(patches.map(stateOf));
  const LAYERS = [
    { name: "first", label: "tiles of the first of the two", any: true, key: FIRST, draw: outlines(0, FIRST) },
    { name: "second", label: "tiles of the second", any: true, on: true, key: SECOND, draw: outlines(1, SECOND) },
    {
      name: "states", label: "where they agree", any: patches.length > 0, on: true, key: STATES.far, draw: drawStates,
      kinds: Object.keys(STATES).filter((state) => present.has(state)).map((state) => STATES[state]),
      note: `A square is a patch of ${side} px, of which the pixels were compared with ${compared}.`,
    },
    {
      name: "left", label: "what is left", any: measured.length > 0, on: true, key: LEFT, draw: drawLeft,
      note: `Arrows lead from where ${compared} shows something to where this round does, ${times(factors.left)}.`,
    },
    {
      name: "bend", label: "stretched tissue", any: measured.some((patch) => patch.bend_y !== null), key: BEND, draw: drawBend,
      note: `Arrows are what bends within tiles, which no rigid tile can mend, ${times(factors.bend)}. Where they all point one way, a local refinement would help.`,
    },
    { name: "names", label: "numbers of the tiles", any: true, on: true, draw: drawNumbers },
  ];
  dlir.layers(LAYERS, LAYERS.map((_, at) => LAYERS[(at + 2) % LAYERS.length]));

  dlir.patches = patches;
  // The patch of the round that is drawn whose middle is nearest to a place; undefined where none is near.
  dlir.patchAt = (y, x) => {
    const far = (patch) => Math.max(Math.abs(patch.y - y), Math.abs(patch.x - x));
    return patches.filter((patch) => patch.round === drawnRound() && far(patch) < side / 2).sort((a, b) => far(a) - far(b))[0];
  };
})();
