// The strokes of which all layers over the mosaic are made, and the switches of these layers.
//
// Nothing is told by colour alone: lines differ in dashes and width too, and marks have their words in the legend.
"use strict";

(() => {
  const FULL = 60; // px of the page: with smaller tiles, lines are thinner

  // By how much lengths are exaggerated, so that most of them show: 1, 2, 5, 10, ...
  function exaggeration(lengths, shown) {
    const known = lengths.filter((length) => length > 0).sort((a, b) => a - b);
    if (!known.length) return 1;
    const wanted = shown / known[Math.floor(0.95 * (known.length - 1))];
    const power = 10 ** Math.floor(Math.log10(Math.max(1, wanted)));
    return Math.max(1, [5, 2, 1].map((step) => step * power).find((step) => step <= wanted) || 1);
  }

  const times = (factor) => (factor === 1 ? "at their true length" : `${factor} times as long as they are`);
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

  function key(style) {
    const made = dlir.element("canvas", { className: "key", width: 77, height: 35 });
    const context = made.getContext("2d");
    context.scale(2, 2);
    stroke(context, style, new Path2D("M3 9H35"));
    if (style.cross) stroke(context, { ...style, dash: [], width: 2 }, new Path2D("M15 5l8 8M15 13l8-8"));
    made.setAttribute("aria-hidden", "true");
    return made;
  }

  // Draws layers in this order over the mosaic, and makes their switches in the other order, with the legend of those that are on.
  // A layer is {name, label, any, on, key, kinds, note, draw(context, view)}; `any` says whether there is something to draw.
  function layers(drawn, listed) {
    dlir.draw((context, view) => {
      for (const layer of drawn) if (layer.on) layer.draw(context, view);
    });
    const box = document.getElementById("layers");
    const list = dlir.element("div", { className: "list" });
    const legend = dlir.element("ul", { className: "legend" });
    const notes = dlir.element("div", {});
    box.append(list, legend, notes);
    for (const layer of listed) {
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
      const on = listed.filter((layer) => layer.on);
      const kinds = on.flatMap((layer) => layer.kinds || []);
      legend.replaceChildren(...kinds.map((style) => dlir.element("li", {}, key(style), style.words)));
      notes.replaceChildren(...on.filter((layer) => layer.note).map((layer) => dlir.element("p", {}, layer.note)));
    }
    tell();
  }

  dlir.pen = { stroke, outline, arrow, write, key, exaggeration, times };
  dlir.layers = layers;
})();
