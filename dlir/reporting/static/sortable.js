// Tables that a click on a column sorts, with some rows at a time, and with words for each column.
"use strict";

(() => {
  const { element } = dlir;
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

  // A table of rows (objects) at a place. A click on its first column tells of the row's `key`, which is a tile or a pair (`kind`).
  // `words` says what each column means.
  function sortable(place, { kind, key = kind, rows, columns, sorted, caption, words }) {
    let [column, down, count] = [sorted, true, EACH];
    const body = element("tbody");
    const isText = (name) => !rows.some((row) => typeof row[name] === "number");
    const heads = columns.map((name) => {
      const button = element("button", { type: "button", title: words[name] || "" }, name);
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
      link.dataset[kind] = row[key];
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
    const meanings = columns.flatMap((name) => [element("dt", {}, name), element("dd", {}, words[name] || "")]);
    const explained = element("details", {}, element("summary", {}, "What the columns mean"), element("dl", { className: "meanings" }, ...meanings));
    place.append(box, more, explained);
  }

  // A table is made when it is opened, since many pages are never asked for theirs.
  function whenOpened(id, table) {
    const place = document.getElementById(id);
    if (place) place.addEventListener("toggle", () => sortable(place, table), { once: true });
  }

  dlir.tables = { sortable, whenOpened };
})();
