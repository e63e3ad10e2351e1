// What all scripts of the page share: the facts, events between its parts, and where the pictures are.
"use strict";

const dlir = (() => {
  const facts = JSON.parse(document.getElementById("facts").textContent);
  const listeners = new Map();

  return {
    facts,
    time: facts.time, // of the tiles and pairs that are drawn; null where one placement holds for all times
    viewer: null, // of the first channel; viewer.js sets it
    editing: false, // edit.js sets it where `dlir view` serves the page

    // Calls f(detail) at each event of this name.
    on(name, f) {
      listeners.set(name, [...(listeners.get(name) || []), f]);
    },

    emit(name, detail = {}) {
      for (const f of listeners.get(name) || []) f(detail);
    },

    // The address of a picture by its name: in the page itself, or in the folder beside it.
    url: (name) => facts.files[name] || `${facts.folder}/${name}`,

    // The rows of a table {columns, rows} as objects.
    objects: ({ columns, rows }) => rows.map((row) => Object.fromEntries(columns.map((name, i) => [name, row[i]]))),

    // A new element with these properties, and children that are elements or texts.
    element(tag, properties = {}, ...children) {
      const made = document.createElement(tag);
      for (const [name, value] of Object.entries(properties)) {
        if (name in made) made[name] = value;
        else made.setAttribute(name, value);
      }
      made.append(...children);
      return made;
    },
  };
})();

dlir.tiles = dlir.objects(dlir.facts.tiles);
dlir.pairs = dlir.objects(dlir.facts.pairs);

// A link <a data-pair="3"> or <a data-tile="5"> anywhere on the page leads to its place in the mosaic.
document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-pair], [data-tile]");
  if (!link) return;
  event.preventDefault();
  const { pair, tile } = link.dataset;
  if (pair !== undefined) dlir.emit("pair", { pair: Number(pair), from: "link" });
  else dlir.emit("tile", { tile: Number(tile), from: "link" });
});
