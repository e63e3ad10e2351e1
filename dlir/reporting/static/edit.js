"use strict";
// Mends the placement by hand where `dlir view` serves the page: tiles are dragged, pairs marked, and the rows that say so saved.
(() => {
  const served = location.protocol === "http:" && /^\/[\w-]{43}\//.test(location.pathname);
  if (!served) return;

  const { element, geometry } = dlir;
  const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  const state = {
    tiles: [], pairs: [], // of the time point that is shown
    places: new Map(), groups: new Map(), // of the tiles as the last solve has them, by their numbers
    held: null, // {tile, movers, shift, pair}: what is being moved
    difference: false, // whether that is shown as the difference to what lies below it
  };
  const edits = []; // {words, rows, saved}, in the order in which the user made them
  let begun = null; // what the server told at first
  let time = dlir.time;
  let unsaved = false;

  // ---- the panel

  const said = element("p", { id: "mend-said", role: "status" });
  const heading = element("h3", { id: "mend-heading" }, "Mend by hand");
  const number = element("input", { type: "number", min: "0", required: true, id: "mend-tile" });
  const byClick = element("input", { type: "checkbox", checked: true });
  const whole = element("input", { type: "checkbox", id: "mend-group" });
  const difference = element("input", { type: "checkbox", id: "mend-difference" });
  const ofHeld = element("div", { className: "mend-held", hidden: true });
  const ofPair = element("div", { className: "mend-pair", hidden: true });
  const list = element("ol", { className: "mend-edits" });
  const outcome = element("p", { id: "mend-outcome", role: "status" });
  const saved = element("div", { id: "mend-saved", role: "status" });
  const undo = button("Undo the last edit", () => drop(edits.at(-1)));
  const store = button("Save", save);

  function button(text, act, label) {
    const made = element("button", { type: "button" }, text);
    if (label) made.setAttribute("aria-label", label);
    made.addEventListener("click", act);
    return made;
  }

  const labelled = (input, text) => element("label", {}, input, " ", text);

  function panel() {
    const take = element("form", { className: "mend-take" }, element("label", { htmlFor: "mend-tile" }, "Tile"), number, button("Take", () => {}));
    take.lastChild.type = "submit";
    take.addEventListener("submit", (event) => {
      event.preventDefault();
      dlir.emit("tile", { tile: Number(number.value) }); // which shows it
      takeTile(Number(number.value));
    });
    const switches = element("div", { className: "mend-switches" }, take, labelled(byClick, "take what I click"), labelled(whole, "with its whole group"), labelled(difference, "show the difference"));
    const help = element(
      "p", {},
      "Click a tile in the mosaic, or give its number, and drag it; the arrow keys move it by 1 px, with Shift by 10 px. Click a pair in ",
      "the mosaic or in a table to mark it. The orange outlines show what the solve makes of your edits. Nothing changes before you save and run the command that is shown then.",
    );
    const made = element(
      "section", { id: "mend", "aria-labelledby": "mend-heading" },
      heading, help, switches, said, ofHeld, ofPair, element("h4", {}, "Edits"), list, element("div", {}, undo, " ", store), outcome, saved,
    );
    document.getElementById("pointer").after(made);
    const links = document.querySelector("header nav ul");
    links?.children[1]?.after(element("li", {}, element("a", { href: "#mend" }, "Mend by hand")));
    difference.addEventListener("change", () => {
      state.difference = difference.checked;
      map.draw();
    });
    whole.addEventListener("change", () => state.held && !state.held.pair && takeTile(state.held.tile));
    showEdits();
  }

  function showEdits() {
    list.replaceChildren(
      ...edits.map((edit, index) => element("li", {}, edit.words, " ", element("span", { className: "mend-rows" }, edit.rows.map(inWords).join("; ")), " ", button("Remove", () => drop(edit), `Remove edit ${index + 1}`))),
    );
    if (!edits.length) list.append(element("li", { className: "none" }, "none yet"));
    undo.disabled = !edits.length;
    store.disabled = !unsaved;
  }

  function inWords({ fixed, moving, y, x }) {
    if (fixed === null) return `tile ${moving} at ${y}, ${x} px (y, x) of the stage`;
    return y === null ? `pair ${fixed}–${moving} ignored` : `tile ${moving} lies ${y}, ${x} px (y, x) from tile ${fixed}`;
  }

  // ---- edits, and what the solve makes of them

  // All rows: of several edits about one pair or tile, the last counts.
  const rows = () => [...new Map(edits.flatMap((edit) => edit.rows).map((row) => [geometry.key(row), row])).values()];

  function add(words, added) {
    edits.push({ words, rows: added });
    changed();
  }

  function drop(edit) {
    edits.splice(edits.indexOf(edit), 1);
    changed();
  }

  function changed() {
    unsaved = true;
    saved.replaceChildren();
    showEdits();
    solve();
  }

  async function post(path, body) {
    const answer = await fetch(path, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ ...body, state: begun.state }),
    });
    const content = await answer.json();
    if (!answer.ok) throw new Error(content.error);
    return content;
  }

  let asked = 0;
  async function solve() {
    const mine = ++asked;
    outcome.textContent = "Solving …";
    try {
      const found = await post("solve", { rows: rows(), time: time ?? null });
      if (mine !== asked) return; // a later edit has asked again
      for (const [tile, yy, yx, y0, xy, xx, x0, , , group] of found.tiles) {
        state.places.set(tile, { yy, yx, y0, xy, xx, x0 });
        state.groups.set(tile, group);
      }
      const moved = found.moved === 1 ? "1 tile moves" : `${found.moved} tiles move`;
      const groups = found.groups === 1 ? "all tiles are joined" : `the tiles form ${found.groups} groups`;
      const largest = found.largest === null ? "" : `; the largest residual of a tile is ${found.largest.toFixed(2)} px`;
      outcome.textContent = `The solve: ${moved} by more than half a px; ${groups}${largest}.`;
    } catch (error) {
      if (mine === asked) outcome.textContent = `The solve failed: ${error.message}`;
    }
    map.draw();
  }

  async function save() {
    try {
      const done = await post("save", { rows: rows() });
      begun.state = done.state;
      unsaved = false;
      showEdits();
      const counts = `${done.added} new, ${done.kept} kept, ${done.dropped} dropped`;
      saved.replaceChildren(element("p", {}, `Saved in ${done.table}: ${counts}.`));
      if (done.settings) saved.append(element("p", {}, "Add these lines to your settings:"), copied(done.settings));
      saved.append(
        element("p", {}, "Then run this, or the command that you ran before. Only the placement and what it moves run again:"),
        copied(done.command),
      );
    } catch (error) {
      saved.replaceChildren(element("p", {}, `Nothing was saved: ${error.message}`));
    }
  }

  function copied(text) {
    const copy = button("Copy", async () => {
      await navigator.clipboard.writeText(text);
      copy.textContent = "Copied";
    });
    return element("div", { className: "mend-copy" }, element("pre", { tabIndex: 0 }, text), copy);
  }

  // ---- what is moved

  function takeTile(tile) {
    if (!state.places.has(tile)) {
      said.textContent = `There is no tile ${tile}.`;
      return;
    }
    number.value = tile;
    const group = state.groups.get(tile);
    const movers = whole.checked ? state.tiles.map((each) => each.tile).filter((each) => state.groups.get(each) === group) : [tile];
    if (movers.length === state.tiles.length && state.tiles.length > 1) {
      said.textContent = "All tiles are in this group: take a tile alone.";
      return;
    }
    hold({ tile, movers: new Set(movers), shift: [0, 0], pair: null });
  }

  function hold(taken) {
    state.held = taken;
    ofHeld.hidden = false;
    ofPair.hidden = true;
    const here = button("Keep here", keep);
    ofHeld.replaceChildren(here, " ", button("Let go", release));
    here.focus({ preventScroll: true });
    sayHeld();
    map.draw();
  }

  function release() {
    state.held = null;
    ofHeld.hidden = true;
    said.textContent = "";
    map.draw();
  }

  function sayHeld() {
    const { tile, movers, pair, shift } = state.held;
    const group = movers.size > 1 ? `the ${movers.size} tiles of the group of tile ${tile}` : "";
    const what = group || (pair ? `tile ${tile} against tile ${pair.fixed}` : `tile ${tile}`);
    const [y, x] = shift;
    said.textContent = `You hold ${what}, moved by ${y.toFixed(1)} px down and ${x.toFixed(1)} px to the right.`;
  }

  function move([dy, dx]) {
    state.held.shift = [state.held.shift[0] + dy, state.held.shift[1] + dx];
    map.shift();
    sayHeld();
  }

  function keep() {
    const { movers, shift, pair, tile } = state.held;
    if (pair) {
      const place = geometry.shifted(state.places.get(tile), shift);
      const sizes = [pair.fixed, tile].map((each) => state.tiles.find((other) => other.tile === each));
      const measured = geometry.offset(state.places.get(pair.fixed), place, sizes);
      release();
      add("Measured here:", [geometry.row(pair.fixed, tile, measured)]);
      return;
    }
    if (!shift[0] && !shift[1]) {
      said.textContent = "You have not moved it: move it, or let it go.";
      return;
    }
    const found = geometry.dragged(state.tiles, state.places, state.pairs, movers, shift);
    if (!found.length) {
      said.textContent = "It overlaps no other tile there: move it onto one.";
      return;
    }
    release();
    add(movers.size === 1 ? `Tile ${tile} moved:` : `Group of tile ${tile} moved:`, found);
  }

  function takePair(wanted) {
    const pair = state.pairs.find((each) => each.pair === wanted);
    if (!pair) return;
    release();
    const { fixed, moving, y, x } = pair;
    const known = dlir.pairs.find((each) => each.pair === wanted && isHere(each)) || {};
    const judged = known.reason || (pair.accepted ? "accepted" : "rejected");
    said.textContent = `Pair ${wanted}: tile ${moving} lies ${y}, ${x} px (y, x) from tile ${fixed}; ${judged}.`;
    const measure = () => hold({ tile: moving, movers: new Set([moving]), shift: [0, 0], pair });
    ofPair.hidden = false;
    ofPair.replaceChildren(
      button("It is right", () => add("Pair marked right:", [geometry.row(fixed, moving, [y, x])])), " ",
      button("It is wrong", () => add("Pair marked wrong:", [geometry.row(fixed, moving, [null, null])])), " ",
      button("Measure it here", measure),
    );
  }

  function pressed(event) {
    if (!state.held || event.target.matches("input, select, textarea")) return;
    const step = STEPS[event.key];
    const isButton = event.target.matches("button, a, summary");
    if (step) move(step.map((px) => px * (event.shiftKey ? 10 : 1)));
    else if (event.key === "Enter" && !isButton) keep();
    else if (event.key === "Escape") release();
    else return;
    event.preventDefault();
    event.stopPropagation(); // else the mosaic moves, too
  }

  const map = dlir.mendMap(state, move);

  // ---- the beginning

  const isHere = (each) => each.time === undefined || each.time === null || each.time === time;

  function atTime() {
    state.tiles = dlir.tiles.filter(isHere);
    state.pairs = begun.pairs.map(([pair, fixed, moving, y, x, accepted, at]) => ({ pair, fixed, moving, y, x, accepted, time: at })).filter(isHere);
    for (const tile of state.tiles) {
      state.places.set(tile.tile, tile);
      state.groups.set(tile.tile, tile.group);
    }
  }

  async function begin() {
    begun = await (await fetch("edit")).json();
    if (begun.error) {
      const words = element("p", { role: "status", id: "mend" }, `The placement cannot be mended here: ${begun.error}`);
      document.getElementById("pointer").after(words);
      return;
    }
    dlir.editing = true;
    atTime();
    for (const row of begun.rows) edits.push({ words: "From your table:", rows: [row] });
    panel();
    map.begin();
    if (edits.length) solve();
    else map.draw();
    dlir.on("pair", ({ pair }) => byClick.checked && takePair(pair));
    dlir.on("tile", ({ tile }) => byClick.checked && takeTile(tile));
    dlir.on("time", (event) => {
      time = event.time;
      release();
      atTime();
      solve();
    });
    document.addEventListener("keydown", pressed, true);
    addEventListener("beforeunload", (event) => { if (unsaved) event.preventDefault(); });
  }

  begin();
})();
