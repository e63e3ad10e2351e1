// Draws the plots of the page with Observable Plot, when they come into view. What each shows is in `facts.plots` (plots.py).
"use strict";

(() => {
  const gallery = document.getElementById("plot-gallery");
  if (!gallery) return;
  const { element } = dlir;
  const HEIGHT = 260;
  // Blue and orange of Okabe and Ito, which colour-blind people tell apart; the symbols differ as well.
  const COLOURS = ["#0072b2", "#d55e00"];
  const rows = (columns, ...names) => columns[names[0]].map((_, i) => Object.fromEntries(names.map((name) => [name, columns[name][i]])));

  function bars(plot, width) {
    const data = plot.counts.map((count, i) => ({ count, from: plot.edges[i], to: plot.edges[i + 1] }));
    const words = (bar) => `${bar.count} ${plot.unit}, ${bar.from.toFixed(2)} to ${bar.to.toFixed(2)} px`;
    return Plot.plot({
      width, height: HEIGHT, x: { label: plot.label }, y: { label: plot.unit, grid: true },
      marks: [Plot.rectY(data, { x1: "from", x2: "to", y: "count", fill: COLOURS[0], insetLeft: 1, title: words, tip: true }), Plot.ruleY([0])],
    });
  }

  function calibration(plot, width) {
    const data = rows(plot, "stated", "share", "low", "high", "count");
    return Plot.plot({
      width, height: HEIGHT, grid: true, x: { domain: [0, 1], label: "stated probability" }, y: { domain: [0, 1], label: "share that is right" },
      marks: [
        Plot.line([[0, 0], [1, 1]], { strokeDasharray: "4,4", stroke: "currentColor", strokeOpacity: 0.6 }),
        Plot.ruleX(data, { x: "stated", y1: "low", y2: "high", stroke: COLOURS[0], strokeWidth: 2 }),
        Plot.dot(data, { x: "stated", y: "share", r: 5, fill: COLOURS[0] }),
        Plot.text(data, { x: "stated", y: "share", text: (each) => `${each.count}`, dx: 8, textAnchor: "start", fill: "currentColor" }),
      ],
    });
  }

  function methods(plot, width) {
    const ends = [Math.min(...plot.own, ...plot.phase), Math.max(...plot.own, ...plot.phase)];
    return Plot.plot({
      width, height: HEIGHT, grid: true,
      x: { type: "log", domain: ends, label: "error of phase correlation, px", ticks: 4, tickFormat: "~g" },
      y: { type: "log", domain: ends, label: `error of ${plot.label}, px`, ticks: 4, tickFormat: "~g" },
      color: { domain: ["down", "right"], range: COLOURS }, symbol: { domain: ["down", "right"], legend: true },
      marks: [
        Plot.line([[ends[0], ends[0]], [ends[1], ends[1]]], { strokeDasharray: "4,4", stroke: "currentColor", strokeOpacity: 0.6 }),
        Plot.dot(rows(plot, "own", "phase", "side"), { x: "phase", y: "own", stroke: "side", symbol: "side", strokeWidth: 1.5 }),
      ],
    });
  }

  function training(plot, width) {
    const data = rows(plot, "step", "median", "measure");
    const measures = [...new Set(plot.measure)];
    const charts = measures.map((measure) => {
      const of = data.filter((row) => row.measure === measure);
      return Plot.plot({
        width, height: HEIGHT / 1.5, grid: true, x: { label: "training steps" }, y: { label: measure, zero: true },
        marks: [Plot.line(of, { x: "step", y: "median", stroke: COLOURS[0] }), Plot.dot(of, { x: "step", y: "median", fill: COLOURS[0], tip: true })],
      });
    });
    return element("div", {}, ...charts);
  }

  function stage(plot, width) {
    const data = plot.lines.map((line) => ({ ...line, axis: `along ${line.axis}` }));
    return Plot.plot({
      width, height: HEIGHT * 1.4, marginRight: 60, grid: true,
      fx: { label: null, domain: ["row", "column"] }, fy: { label: null, domain: ["along y", "along x"] }, x: { label: "number of the row or column", tickFormat: "d" }, y: { label: "error of the stage, px" },
      marks: [
        Plot.frame({ strokeOpacity: 0.3 }),
        Plot.ruleY([0], { strokeOpacity: 0.5 }),
        Plot.ruleX(data, { fx: "line", fy: "axis", x: "number", y1: "low", y2: "high", stroke: COLOURS[0], strokeOpacity: 0.6, strokeWidth: 3 }),
        Plot.line(data, { fx: "line", fy: "axis", x: "number", y: "median", stroke: COLOURS[0] }),
        Plot.dot(data, { fx: "line", fy: "axis", x: "number", y: "median", r: 2.5, fill: COLOURS[0], tip: true }),
      ],
    });
  }

  function inTile(plot, width) {
    const [height, across] = plot.size;
    const scale = Math.max(height, across) / 7 / plot.scale;
    const data = rows(plot, "y", "x", "down", "right", "count");
    return Plot.plot({
      width: Math.min(width, 420), aspectRatio: 1, x: { domain: [0, across], label: "x in the tile, px" }, y: { domain: [height, 0], label: "y in the tile, px" },
      marks: [
        Plot.frame({ strokeOpacity: 0.5 }),
        Plot.arrow(data, {
          x1: "x", y1: "y", x2: (each) => each.x + scale * each.right, y2: (each) => each.y + scale * each.down, stroke: COLOURS[0], strokeWidth: 2, headLength: 8,
        }),
        Plot.dot(data, { x: "x", y: "y", r: 2, fill: "currentColor", title: (each) => `${Math.hypot(each.down, each.right).toFixed(3)} px, ${each.count} pairs`, tip: true }),
      ],
    });
  }

  function lens(plot, width) {
    const drawn = plot.cameras.map((camera) => {
      const [height, across] = camera.size;
      const scale = Math.max(height, across) / 9 / camera.scale;
      return Plot.plot({
        width: Math.min(width, 420), aspectRatio: 1, x: { domain: [0, across], label: `x in a tile${camera.name && ` of ${camera.name}`}, px` }, y: { domain: [height, 0], label: "y in a tile, px" },
        marks: [
          Plot.frame({ strokeOpacity: 0.5 }),
          Plot.arrow(rows(camera, "y", "x", "down", "right"), {
            x1: "x", y1: "y", x2: (each) => each.x + scale * each.right, y2: (each) => each.y + scale * each.down, stroke: COLOURS[0], strokeWidth: 2, headLength: 8,
          }),
          Plot.dot(rows(camera, "y", "x", "down", "right"), { x: "x", y: "y", r: 2, fill: "currentColor", title: (each) => `${Math.hypot(each.down, each.right).toFixed(2)} px`, tip: true }),
        ],
      });
    });
    return element("div", {}, ...drawn);
  }

  function light(plot) {
    const shown = plot.fields.map((field) => {
      const words = `${field.name}: black ${field.low}, white ${field.high}`;
      return element("figure", {}, element("img", { src: dlir.url(field.file), alt: words }), element("figcaption", {}, words));
    });
    return element("div", { className: "fields" }, ...shown);
  }

  function exposure(plot, width) {
    const data = rows(plot, "tile", "channel", "gain", "y", "x");
    const channels = new Set(plot.channel).size;
    return Plot.plot({
      width, aspectRatio: 1, x: { axis: null }, y: { axis: null, reverse: true }, fy: { label: "channel" },
      color: { scheme: "viridis", legend: true, label: "gain" },
      marks: [
        Plot.rect(data, {
          ...(channels > 1 ? { fy: "channel" } : {}), x1: (each) => each.x - plot.side / 2, x2: (each) => each.x + plot.side / 2,
          y1: (each) => each.y - plot.side / 2, y2: (each) => each.y + plot.side / 2, fill: "gain", inset: 0.5,
          title: (each) => `tile ${each.tile}: ${each.gain.toFixed(3)}`, tip: true,
        }),
      ],
    });
  }

  function cost(plot, width) {
    const y = { domain: plot.steps.map((each) => each.step), label: null };
    const shared = { width, height: 40 + 22 * plot.steps.length, marginLeft: 90, y };
    const words = (each) => `${each.step}: ${each.seconds.toFixed(1)} s, ${each.cpu === null ? "not known" : each.cpu.toFixed(1)} s of all cores`;
    const time = Plot.plot({
      ...shared, x: { label: "seconds", grid: true },
      marks: [
        Plot.barX(plot.steps, { y: "step", x: "seconds", fill: COLOURS[0], title: words, tip: true }),
        Plot.dot(plot.steps.filter((each) => each.cpu !== null), { y: "step", x: "cpu", symbol: "times", stroke: COLOURS[1], strokeWidth: 2, r: 4 }),
      ],
    });
    const memory = Plot.plot({ ...shared, x: { label: "memory, MB", grid: true }, marks: [Plot.barX(plot.steps, { y: "step", x: "memory", fill: COLOURS[0], tip: true })] });
    return element("div", {}, time, memory);
  }

  const draw = { residuals: bars, loops: bars, "in-tile": inTile, stage, calibration, methods, training, lens, light, exposure, cost };

  function figure(plot) {
    const id = `plot-${plot.name}`;
    const place = element("div", { className: "plot" });
    const described = plot.name === "light" ? [] : [element("p", {}, plot.described)]; // its pictures say it themselves
    const words = [...described, element("p", {}, plot.caption)];
    const made = element("figure", { id }, element("h3", {}, plot.title), place, element("figcaption", {}, ...words));
    if (plot.name !== "light") {
      place.setAttribute("role", "img");
      place.setAttribute("aria-label", `${plot.title}. ${plot.described}`);
    }
    const seen = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      seen.disconnect();
      place.replaceChildren(draw[plot.name](plot, Math.max(place.clientWidth, 240)));
      for (const part of place.querySelectorAll("svg [aria-label]")) part.removeAttribute("aria-label"); // the figure has the words
    }, { rootMargin: "300px" });
    seen.observe(made);
    return made;
  }

  const shown = dlir.facts.plots.filter((plot) => !plot.missing);
  const missing = dlir.facts.plots.filter((plot) => plot.missing);
  gallery.append(...shown.map(figure));
  if (missing.length) {
    const sentences = missing.map((plot) => element("li", {}, element("b", {}, plot.title), `: ${plot.missing}`));
    gallery.after(element("h3", {}, "Not shown"), element("ul", {}, ...sentences));
  }
})();
