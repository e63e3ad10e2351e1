// Two rounds of a specimen over each other: the stain by which they were registered, in two colours, faded, or beside each other.
"use strict";

(() => {
  const { element } = dlir;
  const rounds = dlir.facts.rounds;
  const MODES = {
    "red-green": "red and green", "magenta-green": "magenta and green", fade: "fade from one to the other",
    curtain: "one left of a line, the other right of it", own: "all channels in their own colours",
  };
  const TINTS = { "red-green": ["ff0000", "00ff00"], "magenta-green": ["ff00ff", "00ff00"] };
  const WHITE = "ffffff";
  const box = document.getElementById("compare");
  let mode = rounds.length > 1 ? "red-green" : "own";
  let slid = 50; // per cent
  const chosen = [0, Math.min(1, rounds.length - 1)]; // the places of the two rounds in the list

  // ---- what the viewer shows

  // How the channels of the first (0) or the second (1) of the two rounds are drawn.
  function drawn(which) {
    const part = which ? slid / 100 : 1 - slid / 100;
    if (mode === "fade") return { colour: WHITE, light: part, clip: "" };
    if (mode === "curtain") return { colour: WHITE, light: 1, clip: which ? `inset(0 0 0 ${slid}%)` : `inset(0 ${100 - slid}% 0 0)` };
    return { colour: TINTS[mode][which], light: 1, clip: "" };
  }

  function apply() {
    const kept = dlir.channels.map((setting) => ({ ...setting }));
    dlir.channels.forEach((setting, number) => {
      if (mode === "own") Object.assign(setting, { colour: setting.channel.color, light: 1, clip: "" });
      else {
        const which = chosen.findIndex((round) => rounds[round].shown.includes(number));
        Object.assign(setting, { on: which >= 0 }, which >= 0 ? drawn(which) : {});
      }
      if (["on", "colour", "light", "clip"].some((name) => kept[number][name] !== setting[name])) dlir.colour(number);
    });
  }

  function changed() {
    apply();
    slider.parentElement.hidden = !["fade", "curtain"].includes(mode);
    const [first, second] = chosen.map((round) => rounds[round].name);
    words.textContent = dlir.twoPictures.colours(mode, first, second) || (mode === "fade" ? `The slider leads from ${first} to ${second}.` : mode === "curtain" ? `${first} is left of the line, ${second} right of it.` : "");
    tellSlider();
    dlir.emit("channels");
    dlir.emit("rounds");
    dlir.redraw();
  }

  function tellSlider() {
    const [first, second] = chosen.map((round) => rounds[round].name);
    told.textContent = `${slid} %`;
    slider.setAttribute("aria-valuetext", `${100 - slid} % ${first}, ${slid} % ${second}`);
  }

  // ---- the switches

  const selects = ["first", "second"].map((name, which) => {
    const options = rounds.map((round, at) => element("option", { value: String(at), selected: at === chosen[which] }, round.name));
    const select = element("select", {}, ...options);
    select.addEventListener("change", () => {
      const before = chosen[which];
      chosen[which] = Number(select.value);
      if (chosen[0] === chosen[1]) chosen[1 - which] = before; // the two change places
      selects.forEach((each, at) => { each.value = String(chosen[at]); });
      changed();
    });
    return select;
  });
  const radios = Object.entries(MODES).map(([value, label]) => {
    const input = element("input", { type: "radio", name: "compare-mode", value, checked: value === mode });
    input.addEventListener("change", () => {
      mode = value;
      changed();
    });
    return element("label", {}, input, label);
  });
  const told = element("output", {});
  const slider = element("input", { type: "range", min: 0, max: 100, step: 1, value: slid });
  slider.setAttribute("aria-label", "from the first round to the second");
  slider.addEventListener("input", () => {
    slid = Number(slider.value);
    tellSlider();
    apply();
    dlir.redraw();
  });
  const words = element("p", {});
  const pick = (label, select) => element("label", { className: "point" }, element("span", {}, label), select);
  box.append(pick("first", selects[0]), pick("second", selects[1]), ...radios, element("label", { className: "point" }, slider, told), words);

  // The line between the two rounds
  dlir.draw((context, view) => {
    if (mode !== "curtain") return;
    const line = new Path2D();
    const x = (slid / 100) * view.across;
    line.moveTo(x, 0);
    line.lineTo(x, view.down);
    dlir.pen.stroke(context, { colour: "#fff", dash: [], width: 1.5 }, line);
  });

  dlir.compared = {
    rounds: () => chosen.map((round) => rounds[round].name),
    // Shows a round beside the one with which it is compared, if it is not one of the two that are shown.
    show(name) {
      const at = rounds.findIndex((round) => round.name === name);
      if (at < 0 || chosen.includes(at)) return;
      chosen.splice(0, 2, rounds.findIndex((round) => round.name === rounds[at].against), at);
      selects.forEach((select, which) => { select.value = String(chosen[which]); });
      changed();
    },
  };
  changed();
})();
