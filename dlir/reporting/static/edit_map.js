"use strict";
// What edit.js draws over the mosaic: outlines of the tiles as they were and as they are solved, and pictures of what is moved and of
// what lies below it. `state` is that of edit.js; `move([dy, dx])` is called when something is dragged, px of the mosaic.
dlir.mendMap = (state, move) => {
  const { geometry } = dlir;
  const MOST_PICTURES = 40; // of tiles, at once
  const CHANGED = 0.5; // px: a tile that the solve moves further gets outlines
  const SVG = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(SVG, "svg");
  const mosaic = svg.appendChild(document.createElementNS(SVG, "g"));
  let scale = 1; // px of the page in one of the mosaic
  svg.setAttribute("class", "mend-map");
  svg.setAttribute("aria-hidden", "true");

  const shape = (name, attributes) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const outline = (place, tile, kind) =>
    shape("polygon", { class: kind, points: geometry.corners(place, tile).map(([y, x]) => `${x},${y}`).join(" ") });
  const picture = (place, tile, kind) =>
    shape("image", {
      class: kind, href: `tile/${tile.tile}.jpg`, x: -0.5, y: -0.5, width: tile.width, height: tile.height, preserveAspectRatio: "none",
      transform: `matrix(${place.xx} ${place.yx} ${place.xy} ${place.yy} ${place.x0} ${place.y0})`,
    });

  const byNumber = (tile) => state.tiles.find((each) => each.tile === tile);
  let below = ""; // what was touched when the pictures were drawn
  let moved = []; // what moves with it

  // The tiles whose pictures lie below what is moved.
  function touched() {
    const { movers, shift, pair } = state.held;
    if (pair) return [pair.fixed];
    return [...new Set(geometry.overlaps(state.tiles, state.places, movers, shift).map(({ still }) => still))];
  }

  function draw() {
    const changes = state.tiles.filter((tile) => {
      const place = state.places.get(tile.tile);
      return Math.hypot(place.y0 - tile.y0, place.x0 - tile.x0) > CHANGED;
    });
    const outlines = changes.flatMap((tile) => [outline(tile, tile, "before"), outline(state.places.get(tile.tile), tile, "after")]);
    mosaic.replaceChildren(...(state.held ? pictures() : []), ...outlines, ...(state.held ? [movers("held", outline)] : []));
    shift();
  }

  // What is moved and what lies below it, of which the mosaic itself shows where it was.
  function pictures() {
    moved = [];
    const under = touched();
    below = under.join();
    if (under.length + state.held.movers.size > MOST_PICTURES) return [];
    const holes = [...state.held.movers].map(byNumber).map((tile) => outline(tile, tile, "hole"));
    const fixed = under.map((tile) => picture(state.places.get(tile), byNumber(tile), "under"));
    return state.difference
      ? [...holes, ...fixed, movers("difference", picture)]
      : [...holes, movers("whole", picture), ...fixed, movers("half", picture)];
  }

  function movers(kind, draws) {
    const group = shape("g", { class: kind });
    group.append(...[...state.held.movers].map((tile) => draws(state.places.get(tile), byNumber(tile), "mover")));
    moved.push(group);
    return group;
  }

  // Puts what is moved where it is now.
  function shift() {
    if (!state.held) return;
    for (const group of moved) group.setAttribute("transform", `translate(${state.held.shift[1]} ${state.held.shift[0]})`);
    if (touched().join() !== below) draw();
  }

  let last = null; // where the pointer was
  svg.addEventListener("pointerdown", (event) => {
    if (!state.held || !event.target.closest(".held")) return;
    last = [event.clientY, event.clientX];
    svg.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  svg.addEventListener("pointermove", (event) => {
    if (!last || !state.held) return;
    const now = [event.clientY, event.clientX];
    move([0, 1].map((axis) => (now[axis] - last[axis]) / scale));
    last = now;
  });
  for (const name of ["pointerup", "pointercancel"]) svg.addEventListener(name, () => (last = null));

  function begin() {
    document.getElementById("pictures").append(svg);
    dlir.draw((_, view) => {
      scale = view.scale;
      mosaic.setAttribute("transform", `matrix(${scale} 0 0 ${scale} ${view.x(0)} ${view.y(0)})`);
    });
  }

  return { begin, draw, shift };
};
