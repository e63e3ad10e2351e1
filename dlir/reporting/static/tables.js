// The tables of pairs and of tiles: sorted by a click on a column, with some rows at a time, and with words for each column.
"use strict";

(() => {
  const { element } = dlir;
  const words = dlir.facts.columns_explained;
  const EACH = 50; // rows that are shown at first, and more at each click

  const shown = (value) => {
    if (value === null) return "";
    if (typeof value === "boolean") return value ? "yes" : "no";
    return String(value);
  };

  // Empty cells come last, however the table is sorted.
  const compare = (column, down) => (one, other) => {
    const [a, b] = [one[column], other[column]];
    if (a === null || b === null) return (a === null) - (b === null);
    return (a < b ? -1 : a > b ? 1 : 0) * (down ? -1 : 1);
  };

  function sortable(place, { kind, rows, columns, sorted, caption }) {
    let [column, down, count] = [sorted, true, EACH];
    const body = element("tbody");
    const isText = (name) => !rows.some((row) => typeof row[name] === "number");
    const heads = columns.map((name) => {
      const button = element("button", { type: "button", title: words[`${kind}s`][name] || "" }, name);
      const head = element("th", { scope: "col", className: isText(name) ? "text" : "" }, button);
      button.addEventListener("click", () => {
        [down, column, count] = [column === name ? !down : false, name, EACH];
        fill();
      });
      return head;
    });
    const more = element("button", { type: "button" });
    more.addEventListener("click", () => {
      count += 4 * EACH;
      fill();
    });
    const cell = (row, name, first) => {
      if (!first) return element("td", { className: isText(name) ? "text" : "" }, shown(row[name]));
      const link = element("a", { href: "#mosaic" }, shown(row[name]));
      link.dataset[kind] = row[name];
      return element("th", { scope: "row" }, link);
    };

    function fill() {
      const sortedRows = [...rows].sort(compare(column, down)).slice(0, count);
      body.replaceChildren(...sortedRows.map((row) => element("tr", {}, ...columns.map((name, i) => cell(row, name, i === 0)))));
      heads.forEach((head, i) => head.setAttribute("aria-sort", columns[i] !== column ? "none" : down ? "descending" : "ascending"));
      more.textContent = `Show more of the ${rows.length} rows`;
      more.hidden = count >= rows.length;
    }

    fill();
    const table = element("table", {}, element("caption", {}, caption), element("thead", {}, element("tr", {}, ...heads)), body);
    const box = element("div", { className: "table sortable", tabIndex: 0, role: "region" }, table);
    box.setAttribute("aria-label", caption);
    const meanings = columns.flatMap((name) => [element("dt", {}, name), element("dd", {}, words[`${kind}s`][name] || "")]);
    const explained = element("details", {}, element("summary", {}, "What the columns mean"), element("dl", { className: "meanings" }, ...meanings));
    place.append(box, more, explained);
  }

  // A table is made when it is opened, since many pages are never asked for theirs.
  function whenOpened(id, table) {
    const place = document.getElementById(id);
    if (!place) return;
    place.addEventListener("toggle", () => sortable(place, table), { once: true });
  }

  const atTime = (row) => [undefined, dlir.facts.time].includes(row.time);
  whenOpened("table-pairs", {
    kind: "pair", rows: dlir.pairs.filter(atTime), sorted: "residual", caption: "Pairs",
    columns: ["pair", "fixed", "moving", "side", "residual", "confidence", "score_before", "score_after", "accepted", "overruled", "reason"],
  });
  whenOpened("table-tiles", {
    kind: "tile", rows: dlir.tiles.filter(atTime), sorted: "residual", caption: "Tiles",
    columns: ["tile", "name", "y0", "x0", "stage_y", "stage_x", "pairs", "residual", "deviation", "group", "placed_by", "blank"],
  });
})();
