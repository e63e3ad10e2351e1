// The seams: one open seam with its pictures and numbers, and a gallery of all seams that have pictures.
"use strict";

(() => {
  const gallery = document.getElementById("seam-gallery");
  if (!gallery) return;
  const { element } = dlir;
  const { MODES, overlay, stop, blinker, chooser, colours } = dlir.twoPictures;
  const panel = document.getElementById("seam-open");
  const seams = new Map(dlir.facts.seams.map((seam) => [seam.pair, seam]));
  const names = new Map(dlir.tiles.map((tile) => [tile.tile, tile.name]));
  const groups = { worst: "Worst", uncertain: "Least certain", random: "At random" };
  let mode = "blend";
  let open = null; // number of the pair that is open

  // A pair at the time point that is shown, and its seam: pictures of seams are kept for one time point.
  const pairAt = (number) => dlir.pairs.find((pair) => pair.pair === number && [undefined, dlir.time].includes(pair.time));
  const seamAt = (number) => (dlir.time === dlir.facts.time ? seams.get(number) : undefined);

  const px = (value, digits = 2) => (value === null ? "not known" : `${value.toFixed(digits)} px`);
  const percent = (value, digits = 1) => (value === null ? "not measured" : `${(100 * value).toFixed(digits)} %`);
  const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(2);

  function figure(seam, moving, words, difference) {
    const box = overlay(seam, moving, mode);
    box.setAttribute("role", "img");
    const { fixed, moving: other } = pairAt(seam.pair);
    box.setAttribute("aria-label", `Tiles ${fixed} and ${other} over each other (${MODES[mode].toLowerCase()}), ${words.toLowerCase()}`);
    const shown = element("figure", {}, box, element("figcaption", {}, `${words}. The tiles differ by ${percent(difference)} of the contrast.`));
    shown.style.maxWidth = `${Math.min(seam.width * 2.5, 560)}px`;
    return shown;
  }

  // The standard deviations of a shift along the two axes of its covariance, and the direction of the longer one.
  function uncertainty({ var_y, cov_yx, var_x }) {
    const middle = (var_y + var_x) / 2;
    const reach = Math.hypot((var_y - var_x) / 2, cov_yx);
    const [long, short] = [middle + reach, Math.max(middle - reach, 0)].map((variance) => Math.sqrt(variance).toFixed(3));
    const angle = (Math.atan2(2 * cov_yx, var_x - var_y) / 2) * (180 / Math.PI);
    return `± ${long} px along ${angle.toFixed(0)}° (0° is x, 90° is y, downwards), ± ${short} px across`;
  }

  function numbers(pair, seam) {
    const state = pair.overruled ? "accepted, then overruled" : pair.accepted ? "accepted" : "rejected";
    const rows = [
      ["Verdict", pair.reason ? `${state}: ${pair.reason.replace(/^(overruled|accepted): /, "")}` : state],
      ["Residual against the placement", px(pair.residual)],
      ["Probability that the pair is right", pair.confidence < 0.001 ? "below 0.001" : pair.confidence.toFixed(3)],
      ["NCC, before and after", `${pair.score_before.toFixed(3)}, ${pair.score_after.toFixed(3)}`],
      ["Uncertainty of the pair", uncertainty(pair)],
    ];
    if (seam) rows.push(["The moving tile was moved", `${signed(seam.moved[0])} px in y, ${signed(seam.moved[1])} px in x`]);
    rows.push(["Fixed tile", `${pair.fixed}: ${names.get(pair.fixed)}`], ["Moving tile", `${pair.moving}: ${names.get(pair.moving)}`]);
    return element("dl", { className: "seam-numbers" }, ...rows.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
  }

  function showAs(name) {
    mode = name;
    show(open);
    panel.querySelector(`input[value="${name}"]`).focus();
  }

  function show(number) {
    const pair = pairAt(number);
    if (!pair) return;
    stop();
    open = number;
    const seam = seamAt(number);
    const content = [element("h3", { id: "seam-heading", tabIndex: -1 }, `Tiles ${pair.fixed} and ${pair.moving}`)];
    if (seam) {
      const pictures = element("div", { className: "seam-pictures" });
      pictures.append(
        figure(seam, "before", "Where the stage puts them", seam.difference_before),
        figure(seam, "moving", "As placed", seam.difference_after),
      );
      content.push(chooser("seam-mode", "tiles", mode, showAs), ...(mode === "blink" ? [blinker(pictures, "tiles")] : []), pictures);
      const meaning = colours(mode, "The fixed tile", "the moving one");
      if (meaning) content.push(element("p", {}, meaning));
    } else {
      const when = dlir.facts.time === null ? "" : `, of time point ${dlir.facts.time}`;
      content.push(element("p", {}, `No picture of this seam was kept: only the worst seams, the least certain ones, and some at random have one${when}.`));
    }
    const link = element("a", { href: "#mosaic" }, "Show it in the mosaic");
    link.addEventListener("click", () => dlir.emit("pair", { pair: number, from: "seams" }));
    content.push(numbers(pair, seam), element("p", {}, link));
    panel.replaceChildren(...content);
    panel.hidden = false;
    for (const button of gallery.querySelectorAll("button")) button.setAttribute("aria-pressed", String(Number(button.value) === number));
  }

  function card(seam) {
    const pair = pairOf.get(seam.pair);
    const words = [`tiles ${pair.fixed} and ${pair.moving}`, px(pair.residual, 1), percent(seam.difference_after, 0), pair.overruled ? "overruled" : pair.accepted ? "" : "rejected"];
    const button = element("button", { type: "button", value: String(seam.pair) }, overlay(seam, "moving", "blend"), words.filter(Boolean).join(" · "));
    button.addEventListener("click", () => {
      dlir.emit("pair", { pair: seam.pair, from: "seams" });
      panel.scrollIntoView({ block: "nearest" });
    });
    return element("li", {}, button);
  }

  const pairOf = new Map(dlir.pairs.filter((pair) => [undefined, dlir.facts.time].includes(pair.time)).map((pair) => [pair.pair, pair]));
  for (const [group, words] of Object.entries(groups)) {
    const found = dlir.facts.seams.filter((seam) => seam.group === group && pairOf.has(seam.pair));
    if (!found.length) continue;
    gallery.append(element("h3", {}, `${words} (${found.length})`), element("ul", { className: "seam-cards" }, ...found.map(card)));
  }
  if (seams.size) show(dlir.facts.seams[0].pair);

  // Shows the seam of a pair that was chosen in the mosaic beside it, with a way to its numbers.
  function showBesideMosaic(number) {
    const chosen = document.getElementById("chosen");
    const seam = seamAt(number);
    if (!chosen || !pairAt(number)) return;
    const link = element("a", { href: "#seam-open" }, seam ? "Open its seam: before and after, blink, two colours" : "Its numbers; no picture of its seam was kept");
    link.addEventListener("click", () => document.getElementById("seam-heading").focus({ preventScroll: true }));
    if (seam) {
      const box = overlay(seam, "moving", "blend");
      box.setAttribute("role", "img");
      box.setAttribute("aria-label", "Both tiles blended, as placed");
      chosen.append(box);
    }
    chosen.append(element("p", {}, link));
  }

  dlir.on("pair", ({ pair, from }) => {
    show(pair);
    if (from === "map") showBesideMosaic(pair);
  });
})();
