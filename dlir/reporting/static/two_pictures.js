// Two pictures of one place over each other: blended, blinking, or in two colours.
"use strict";

(() => {
  const { element } = dlir;
  const MODES = { blend: "Blend", blink: "Blink", "magenta-green": "Magenta and green", "red-green": "Red and green" };
  const BLINK_MS = 600;
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  let timer = null;

  // A picture, cut off where its tile ends, so that what lies below shows there; without an outline it is whole.
  function layer(place, which, kind = "") {
    const image = element("img", { src: dlir.url(place[which]), alt: "", className: kind, loading: "lazy" });
    if (place.outlines) image.style.clipPath = `polygon(${place.outlines[which].map(([x, y]) => `${x}% ${y}%`).join(",")})`;
    return image;
  }

  // Both pictures of a place over each other; `moving` is the name of the second one, the first is called fixed.
  function overlay(place, moving, how) {
    const box = element("div", { className: `seam-picture ${how}` });
    box.style.aspectRatio = `${place.width} / ${place.height}`;
    if (how === "blend") box.append(layer(place, moving), layer(place, "fixed"), layer(place, moving, "half"));
    else if (how === "blink") box.append(layer(place, "fixed"), layer(place, moving, "second"));
    else {
      const tints = [["fixed", "first-tint"], [moving, "second-tint"]];
      box.append(...tints.map(([which, tint]) => element("div", { className: `tint ${tint}` }, layer(place, which))));
    }
    return box;
  }

  function stop() {
    clearInterval(timer);
    timer = null;
  }

  // The button that swaps the two pictures again and again; once a click where the user wants no motion.
  function blinker(pictures, what) {
    const swap = () => pictures.classList.toggle("swapped");
    const words = () => (still.matches ? `Swap the ${what}` : timer ? "Stop" : "Start to blink");
    const button = element("button", { type: "button" }, words());
    button.addEventListener("click", () => {
      if (still.matches) swap();
      else if (timer) stop();
      else timer = setInterval(swap, BLINK_MS);
      button.textContent = words();
    });
    return button;
  }

  // Radio buttons for the modes, of which `mode` is chosen; choose(name) is called for another one.
  function chooser(name, what, mode, choose) {
    const choices = Object.entries(MODES).map(([value, words]) => {
      const input = element("input", { type: "radio", name, value, checked: value === mode });
      input.addEventListener("change", () => choose(value));
      return element("label", {}, input, ` ${words}`);
    });
    return element("fieldset", {}, element("legend", {}, `Show the two ${what} as`), ...choices);
  }

  // What the colours of a mode mean, in a sentence; undefined where it has none.
  function colours(mode, first, second) {
    if (!mode.includes("-")) return undefined;
    const [one, other] = mode.split("-");
    return `${first} is ${one}, ${second} ${other}. Where both show the same, they add up to ${mode === "red-green" ? "yellow" : "grey"}.`;
  }

  dlir.twoPictures = { MODES, overlay, stop, blinker, chooser, colours };
})();
