"use strict";
// Mends the placement by hand where `dlir view` serves the page: tiles are dragged, pairs marked, and the rows that say so saved.
(() => {
  const served = location.protocol === "http:" && /^\/[\w-]{43}\//.test(location.pathname);
  if (!served) return;

  const { element } = dlir;
  const MOST_PICTURES = 40; // of tiles, at once
  const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  const solved = { places: new Map(), groups: new Map() }; // the tiles as the last solve places them, by their numbers
  const edits = []; // {words, rows, saved}, in the order in which the user made them
  let tiles = [], pairs = [], begun = null, time = dlir.time;
  let held = null; // {movers, shift, pair}: what is being moved
  let unsaved = false;

  // ---- the panel

  const said = element("p", { id: "mend-said", role: "status" });
  const heading = element("h3", { id: "mend-heading" }, "Mend by hand");
  const number = element("input", { type: "number", min: "0", id: "mend-tile" });
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
    difference.addEventListener("change", () => map.draw());
    whole.addEventListener("change", () => held && !held.pair && takeTile(held.tile));
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
        solved.places.set(tile, { yy, yx, y0, xy, xx, x0 });
        solved.groups.set(tile, group);
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
    if (!solved.places.has(tile)) {
      said.textContent = `There is no tile ${tile}.`;
      return;
    }
    number.value = tile;
    const group = solved.groups.get(tile);
    const movers = whole.checked ? tiles.map((each) => each.tile).filter((each) => solved.groups.get(each) === group) : [tile];
    if (movers.length === tiles.length && tiles.length > 1) {
      said.textContent = "All tiles are in this group: take a tile alone.";
      return;
    }
    hold({ tile, movers: new Set(movers), shift: [0, 0], pair: null });
  }

  function hold(taken) {
    held = taken;
    ofHeld.hidden = false;
    ofPair.hidden = true;
    showHeld();
  }

  function release() {
    held = null;
    ofHeld.hidden = true;
    said.textContent = "";
    map.draw();
  }

  function showHeld() {
    const name = tiles.find((each) => each.tile === held.tile).name;
    const what = held.pair ? `tile ${held.tile} against tile ${held.pair.fixed}` : held.movers.size === 1 ? `tile ${held.tile} (${name})` : `the ${held.movers.size} tiles of the group of tile ${held.tile}`;
    const [y, x] = held.shift;
    said.textContent = `You hold ${what}, moved by ${y.toFixed(1)} px down and ${x.toFixed(1)} px to the right.`;
    ofHeld.replaceChildren(button("Keep here", keep), " ", button("Let go", release));
    map.draw();
  }

  function move([dy, dx]) {
    held.shift = [held.shift[0] + dy, held.shift[1] + dx];
    showHeld();
  }

  function keep() {
    const { movers, shift, pair, tile } = held;
    if (pair) {
      const place = geometry.shifted(solved.places.get(tile), shift);
      const sizes = [pair.fixed, tile].map((each) => tiles.find((other) => other.tile === each));
      const measured = geometry.offset(solved.places.get(pair.fixed), place, sizes);
      release();
      add("Measured here:", [geometry.row(pair.fixed, tile, measured)]);
      return;
    }
    const found = geometry.dragged(tiles, solved.places, pairs, movers, shift);
    if (!found.length) {
      said.textContent = "It overlaps no other tile there: move it onto one.";
      return;
    }
    release();
    add(movers.size === 1 ? `Tile ${tile} moved:` : `Group of tile ${tile} moved:`, found);
  }

  function takePair(wanted) {
    const pair = pairs.find((each) => each.pair === wanted);
    if (!pair) return;
    release();
    const { fixed, moving, y, x } = pair;
    const known = dlir.pairs.find((each) => each.pair === wanted) || {};
    const state = known.overruled ? "overruled" : pair.accepted ? "accepted" : "rejected";
    said.textContent = `Pair ${wanted}: tile ${moving} lies ${y}, ${x} px (y, x) from tile ${fixed}; ${state}${known.reason ? ` (${known.reason})` : ""}.`;
    const measure = () => hold({ tile: moving, movers: new Set([moving]), shift: [0, 0], pair });
    ofPair.hidden = false;
    ofPair.replaceChildren(
      button("It is right", () => add("Pair marked right:", [geometry.row(fixed, moving, [y, x])])), " ",
      button("It is wrong", () => add("Pair marked wrong:", [geometry.row(fixed, moving, [null, null])])), " ",
      button("Measure it here", measure),
    );
  }

  function pressed(event) {
    if (!held || event.target.matches("input, select, textarea")) return;
    const step = STEPS[event.key];
    const isButton = event.target.matches("button, a, summary");
    if (step) move(step.map((px) => px * (event.shiftKey ? 10 : 1)));
    else if (event.key === "Enter" && !isButton) keep();
    else if (event.key === "Escape") release();
    else return;
    event.preventDefault();
    event.stopPropagation(); // else the mosaic moves, too
  }

  // ---- the map: outlines as they were and as they are solved, and the pictures of what is moved and of what it is moved onto

  const map = (() => {
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

    function draw() {
      const byNumber = new Map(tiles.map((tile) => [tile.tile, tile]));
      const drawn = [];
      if (held) {
        const touched = new Set(geometry.overlaps(tiles, solved.places, held.movers, held.shift).map(({ still }) => still));
        const under = held.pair ? [held.pair.fixed] : [...touched];
        const over = [...held.movers];
        if (under.length + over.length <= MOST_PICTURES) {
          // the mosaic shows the tiles where they were
          drawn.push(...over.map((tile) => outline(byNumber.get(tile), byNumber.get(tile), "hole")));
          drawn.push(...under.map((tile) => picture(solved.places.get(tile), byNumber.get(tile), "under")));
          const kind = difference.checked ? "over difference" : "over";
          drawn.push(...over.map((tile) => picture(geometry.shifted(solved.places.get(tile), held.shift), byNumber.get(tile), kind)));
        }
        drawn.push(...over.map((tile) => outline(geometry.shifted(solved.places.get(tile), held.shift), byNumber.get(tile), "held")));
      }
      for (const tile of tiles) {
        const place = solved.places.get(tile.tile);
        if (Math.hypot(place.y0 - tile.y0, place.x0 - tile.x0) > 0.5) {
          drawn.push(outline(tile, tile, "before"), outline(place, tile, "after"));
        }
      }
      mosaic.replaceChildren(...drawn);
    }

    let last = null; // where the pointer was
    svg.addEventListener("pointerdown", (event) => {
      if (!held || !event.target.classList.contains("held")) return;
      last = [event.clientY, event.clientX];
      svg.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    svg.addEventListener("pointermove", (event) => {
      if (!last || !held) return;
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

    return { begin, draw };
  })();

  // ---- the beginning

  function atTime() {
    const here = (each) => each.time === undefined || each.time === null || each.time === time;
    tiles = dlir.tiles.filter(here);
    pairs = begun.pairs.map(([pair, fixed, moving, y, x, accepted, at]) => ({ pair, fixed, moving, y, x, accepted, time: at })).filter(here);
    for (const tile of tiles) {
      solved.places.set(tile.tile, tile);
      solved.groups.set(tile.tile, tile.group);
    }
  }

  async function begin() {
    const answer = await fetch("edit");
    begun = await answer.json();
    if (!answer.ok) {
      document.getElementById("mosaic").append(element("p", { role: "status" }, `This placement cannot be mended here: ${begun.error}`));
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
