// The switches and sliders of the channels, and the sliders of time and z.
"use strict";

(() => {
  const { pictures } = dlir.facts;

  const greyOf = (channel, value) => channel.low + (value / 255) * (channel.high - channel.low);
  const digits = (channel) => (channel.high - channel.low > 20 ? 0 : 3);

  // Where channels are those of several rounds, each round has a part of its own.
  const groups = new Map();
  function groupOf(round) {
    if (!groups.has(round)) {
      const made = round === undefined ? document.getElementById("channels") : dlir.element("details", {}, dlir.element("summary", {}, round));
      if (round !== undefined) document.getElementById("channels").append(made);
      groups.set(round, made);
    }
    return groups.get(round);
  }

  dlir.channels.forEach((setting, number) => {
    const { channel } = setting;
    const name = channel.name || (dlir.channels.length > 1 ? `channel ${number}` : "brightness");
    const swatch = dlir.element("span", { className: "swatch" });
    swatch.style.background = `#${channel.color}`;
    const on = dlir.element("input", { type: "checkbox", checked: setting.on });
    on.addEventListener("change", () => {
      setting.on = on.checked;
      dlir.colour(number);
    });
    dlir.on("channels", () => {
      on.checked = setting.on;
      swatch.style.background = `#${setting.colour}`;
    });
    const sliders = ["black", "white"].map((point) => {
      const told = dlir.element("output", {});
      const slider = dlir.element("input", { type: "range", min: 0, max: 255, step: 1, value: setting[point] });
      slider.setAttribute("aria-label", `${name}: ${point} point`);
      const tell = () => {
        const grey = greyOf(channel, Number(slider.value)).toFixed(digits(channel));
        told.textContent = grey;
        slider.setAttribute("aria-valuetext", `${grey} grey values`);
      };
      slider.addEventListener("input", () => {
        setting[point] = Number(slider.value);
        tell();
        dlir.colour(number);
      });
      tell();
      return dlir.element("label", { className: "point" }, dlir.element("span", {}, point), slider, told);
    });
    const label = dlir.channels.length > 1 ? dlir.element("label", {}, on, swatch, name) : dlir.element("b", {}, channel.name);
    groupOf(channel.round).append(dlir.element("div", { className: "channel-control" }, label, ...sliders));
  });

  const range = (channel) => `${greyOf(channel, 0).toFixed(digits(channel))} to ${greyOf(channel, 255).toFixed(digits(channel))}`;
  document.getElementById("channels").append(
    dlir.element("p", {}, `The pictures hold the grey values ${[...new Set(pictures.channels.map(range))].join("; ")} in 256 steps; mosaic.ome.zarr has all.`),
  );

  const words = dlir.element("p", {});
  function show(plane) {
    dlir.showPlane(plane);
    const factor = pictures.levels[plane.finest].factor;
    words.textContent = factor === 1 ? "This plane is shown to its full resolution." : `This plane is shown at 1/${factor} of the resolution; mosaic.ome.zarr has all of it.`;
  }

  function slider(label, values, shownAs, chosen, choose) {
    const told = dlir.element("output", {}, shownAs(values[chosen]));
    const input = dlir.element("input", { type: "range", min: 0, max: values.length - 1, step: 1, value: chosen });
    input.setAttribute("aria-label", label);
    input.addEventListener("input", () => {
      told.textContent = shownAs(values[Number(input.value)]);
      input.setAttribute("aria-valuetext", told.textContent);
      choose(values[Number(input.value)]);
    });
    return dlir.element("label", { className: "point" }, dlir.element("span", {}, label), input, told);
  }

  if (pictures.planes.length > 1) {
    const box = document.getElementById("planes");
    const unique = (name) => [...new Set(pictures.planes.map((plane) => plane[name]))].sort((a, b) => (a === null ? -1 : a) - (b === null ? -1 : b));
    const [times, depths] = [unique("time"), unique("z")];
    let { time, z } = dlir.shownPlane();
    const find = (time, z) => pictures.planes.find((plane) => plane.time === time && plane.z === z);
    if (times.length > 1) box.append(slider("time", times, String, times.indexOf(time), (value) => show(find((time = value), z))));
    const zName = (value) => (value === null ? "maximum" : String(value));
    if (depths.length > 1) box.append(slider("z", depths, zName, depths.indexOf(z), (value) => show(find(time, (z = value)))));
    const there = (count, all, what) => (count < all ? ` ${count} of ${all} ${what} are here.` : "");
    const left = there(times.length, pictures.times, "time points") + there(depths.filter((value) => value !== null).length, pictures.depth, "z planes");
    box.append(words, ...(left ? [dlir.element("p", {}, left.trim())] : []));
    box.hidden = false;
    show(dlir.shownPlane());
  }
})();
