// The patches that have pictures: one is open, with its pictures and numbers, and a gallery shows all.
"use strict";

(() => {
  const { element } = dlir;
  const { MODES, overlay, stop, blinker, chooser, colours } = dlir.twoPictures;
  const gallery = document.getElementById("patch-gallery");
  const panel = document.getElementById("patch-open");
  const against = (patch) => dlir.facts.rounds.find((round) => round.name === patch.round).against;
  const shown = new Map(dlir.facts.gallery.map((each) => [each.patch, each]));
  const groups = { worst: "Worst", uncertain: "Least certain", random: "At random" };
  let mode = "red-green";
  let open = null;

  const off = (patch, digits) => (patch.state === "measured" ? `${patch.length.toFixed(digits)} px` : patch.state === "unmatched" ? "does not match" : "too little to tell");
  const tileOf = (patch) => dlir.places.tile(patch.tile);

  function picture(each, box, words) {
    box.setAttribute("role", "img");
    box.setAttribute("aria-label", words);
    const made = element("figure", {}, box, element("figcaption", {}, words));
    made.style.maxWidth = `${Math.min(each.width * 2, 400)}px`;
    return made;
  }

  function single(each, which) {
    const box = element("div", { className: "seam-picture" }, element("img", { src: dlir.url(each[which]), alt: "", loading: "lazy" }));
    box.style.aspectRatio = `${each.width} / ${each.height}`;
    return box;
  }

  function show(number) {
    const each = shown.get(number);
    if (!each) return;
    stop();
    open = number;
    const patch = dlir.patches[number];
    const pictures = element("div", { className: "seam-pictures" },
      picture(each, single(each, "fixed"), against(patch)),
      picture(each, single(each, "moving"), patch.round),
      ...(each.before ? [picture(each, overlay(each, "before", mode), `both, where the rough map puts ${patch.round} (${MODES[mode].toLowerCase()})`)] : []),
      picture(each, overlay(each, "moving", mode), `both, as placed (${MODES[mode].toLowerCase()})`));
    const meaning = colours(mode, against(patch), patch.round);
    const link = element("a", { href: "#mosaic" }, "Show it in the mosaic");
    link.addEventListener("click", () => dlir.emit("patch", { patch: number, from: "gallery" }));
    const numbers = patch.state === "measured"
      ? `${patch.round} lies ${off(patch, 2)} off here (y ${patch.dy.toFixed(2)}, x ${patch.dx.toFixed(2)} px, ± ${patch.deviation.toFixed(2)} px). The NCC is ${patch.before.toFixed(2)}.`
      : `What ${patch.round} shows here ${patch.state === "empty" ? "is too little to tell how far it is off" : "does not match"}. The NCC is ${patch.before.toFixed(2)}.`;
    panel.replaceChildren(
      element("h3", { id: "patch-heading", tabIndex: -1 }, `${against(patch)} and ${patch.round}, tile ${tileOf(patch).number}, at y ${patch.y}, x ${patch.x}`),
      chooser("patch-mode", "rounds", mode, showAs), ...(mode === "blink" ? [blinker(pictures, "rounds")] : []), pictures,
      ...(meaning ? [element("p", {}, meaning)] : []), element("p", {}, numbers), element("p", {}, link));
    panel.hidden = false;
    for (const button of gallery.querySelectorAll("button")) button.setAttribute("aria-pressed", String(Number(button.value) === number));
  }

  function showAs(name) {
    mode = name;
    show(open);
    panel.querySelector(`input[value="${name}"]`).focus();
  }

  function card(each) {
    const patch = dlir.patches[each.patch];
    const words = `${patch.round}, tile ${tileOf(patch).number} · ${off(patch, 1)}`;
    const button = element("button", { type: "button", value: String(each.patch) }, overlay(each, "moving", "red-green"), words);
    button.addEventListener("click", () => {
      dlir.emit("patch", { patch: each.patch, from: "gallery" });
      show(each.patch);
      panel.scrollIntoView({ block: "nearest" });
    });
    return element("li", {}, button);
  }

  for (const [group, words] of Object.entries(groups)) {
    const found = dlir.facts.gallery.filter((each) => each.group === group);
    if (found.length) gallery.append(element("h3", {}, `${words} (${found.length})`), element("ul", { className: "seam-cards" }, ...found.map(card)));
  }
  if (shown.size) show(dlir.facts.gallery[0].patch);
  dlir.on("patch", ({ patch, from }) => from === "map" && show(patch));
})();
