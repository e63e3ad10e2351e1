// The mosaic: an OpenSeadragon viewer for each channel, all in one place and in step.
//
// The pictures are grey. The browser stretches and colours them with an SVG filter, and adds the channels up, so a slider needs
// no pixels of its own; a page from a disk could not read them anyway.
"use strict";

(() => {
  const pictures = dlir.facts.pictures;
  const SIDE = pictures.side;
  const MOST_ON = 6; // channels that are on at first
  const SVG = "http://www.w3.org/2000/svg";
  const place = document.getElementById("pictures");
  const size = dlir.facts.pixel_size;
  const [height, width] = dlir.facts.shape;
  const byName = (time, z) => pictures.planes.find((plane) => plane.time === time && plane.z === z);
  let shown = byName(pictures.reference.time, pictures.reference.z);

  // ---- pictures

  // The levels of a plane for OpenSeadragon, which counts them from the coarsest, 0.
  function source(plane, channel) {
    const levels = pictures.levels.slice(plane.finest).reverse();
    const present = [...plane.present].reverse();
    const columns = (level) => Math.ceil(levels[level].width / SIDE);
    const made = new OpenSeadragon.TileSource({ width, height, tileSize: SIDE, tileOverlap: pictures.overlap, minLevel: 0, maxLevel: levels.length - 1 });
    made.getLevelScale = (level) => 1 / levels[level].factor;
    made.getNumTiles = (level) => new OpenSeadragon.Point(columns(level), Math.ceil(levels[level].height / SIDE));
    made.tileExists = (level, x, y) => levels[level] !== undefined && x >= 0 && y >= 0 && present[level][y * columns(level) + x] === "1";
    made.getTileUrl = (level, x, y) => dlir.url(`${plane.name}/${levels[level].name}/${channel}_${y}_${x}.jpg`);
    return made;
  }

  function newViewer(channel) {
    const element = dlir.element("div", { className: "channel" });
    canvas.before(element);
    const viewer = OpenSeadragon({
      element,
      tileSources: [source(shown, channel)],
      drawer: "canvas", // WebGL may not use pictures from a disk
      showNavigationControl: false,
      mouseNavEnabled: channel === 0,
      keyboardNavEnabled: channel === 0,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
      gestureSettingsTouch: { clickToZoom: false, dblClickToZoom: true },
      visibilityRatio: 0.2,
      minZoomImageRatio: 0.5,
      maxZoomPixelRatio: 16,
      animationTime: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 0.4,
      immediateRender: true,
      imageLoaderLimit: 8,
      maxImageCacheCount: 400,
    });
    viewer.addHandler("open", () => colour(channel));
    viewer.addHandler("tile-load-failed", tellOfMissingPictures);
    return viewer;
  }

  let told = false;
  function tellOfMissingPictures() {
    if (told || !dlir.facts.folder) return;
    told = true;
    const words = `The folder ${dlir.facts.folder} is not complete beside this page, so the finest pictures are missing: move the page together with it.`;
    place.parentElement.after(dlir.element("p", { className: "missing" }, words));
  }

  // ---- colours

  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("width", 0);
  svg.setAttribute("height", 0);
  svg.setAttribute("aria-hidden", "true");
  svg.style.position = "absolute";
  place.before(svg);

  const part = (name, attributes, ...children) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };

  const settings = pictures.channels.map((channel, number) => {
    const grey = (value) => Math.min(255, Math.max(0, (255 * (value - channel.low)) / (channel.high - channel.low)));
    const stretch = ["R", "G", "B"].map((name) => part(`feFunc${name}`, { type: "linear" }));
    const tint = part("feColorMatrix", { type: "matrix" });
    svg.append(
      part("filter", { id: `colour-${number}`, "color-interpolation-filters": "sRGB", x: 0, y: 0, width: 1, height: 1 },
        part("feComponentTransfer", {}, ...stretch),
        tint),
    );
    return {
      channel, stretch, tint, black: grey(channel.black), white: grey(channel.white), on: number < MOST_ON,
      colour: channel.color, light: 1, clip: "", // how it is drawn: a colour, how much of its light, and the part that is seen
    };
  });

  function colour(number) {
    const { stretch, tint, black, white, on, light, clip } = settings[number];
    const range = Math.max(1, white - black);
    for (const each of stretch) {
      each.setAttribute("slope", 255 / range);
      each.setAttribute("intercept", -black / range);
    }
    const colour = [0, 2, 4].map((at) => (light * parseInt(settings[number].colour.slice(at, at + 2), 16)) / 255);
    const matrix = colour.flatMap((value, row) => [0, 1, 2, 3, 4].map((column) => (column === row ? value : 0)));
    tint.setAttribute("values", [...matrix, 0, 0, 0, 1, 0].join(" "));
    if (on && !viewers[number]) addFollower(number);
    if (!viewers[number]) return;
    const { style } = viewers[number].drawer.canvas;
    style.filter = `url(#colour-${number})`;
    style.clipPath = clip;
    style.visibility = on ? "" : "hidden";
  }

  // ---- viewers in step: that of the first channel, and one for each other channel as soon as it is on

  const canvas = dlir.element("canvas", { id: "drawing" }); // for the layers, over all viewers
  place.append(canvas);
  const first = newViewer(0);
  const viewers = [first];
  dlir.viewer = first;
  first.canvas.setAttribute("aria-label", `The mosaic of ${dlir.facts.dataset}, which can be moved and zoomed`);
  first.canvas.setAttribute("role", "application");
  // OpenSeadragon's keys for turning and mirroring: the layers would not follow
  first.addHandler("canvas-key", (event) => {
    event.preventDefaultAction = ["r", "R", "f"].includes(event.originalEvent.key);
  });
  const followers = () => viewers.filter((viewer) => viewer && viewer !== first);

  function addFollower(number) {
    const follower = newViewer(number);
    viewers[number] = follower;
    follower.element.inert = true;
    follower.element.style.pointerEvents = "none";
    follower.addHandler("open", follow);
  }
  if (!dlir.facts.rounds) settings.forEach(({ on }, number) => on && number > 0 && addFollower(number)); // else round_compare.js chooses

  let wasCrisp = null;
  function follow() {
    for (const follower of followers()) {
      if (!follower.isOpen()) continue;
      follower.viewport.zoomTo(first.viewport.getZoom(true), null, true);
      follower.viewport.panTo(first.viewport.getCenter(true), true);
    }
    const crisp = pixelsOnScreen() * (devicePixelRatio || 1) > 0.999; // pixels of the mosaic as they are
    if (crisp !== wasCrisp) for (const viewer of [first, ...followers()]) viewer.drawer.setImageSmoothingEnabled(!crisp);
    wasCrisp = crisp;
    drawScale();
    redraw();
  }
  first.addHandler("update-viewport", follow);

  // ---- where is what; all lengths in px of the mosaic, a pixel's centre at whole numbers

  // How many px of the page a px of the mosaic takes.
  const pixelsOnScreen = () => (first.viewport.getZoom(true) * first.viewport.getContainerSize().x) / width;

  const toScreen = (y, x) => first.viewport.pixelFromPoint(new OpenSeadragon.Point((x + 0.5) / width, (y + 0.5) / width), true);

  function toMosaic(point) {
    const found = first.viewport.pointFromPixel(point, true);
    return { y: found.y * width - 0.5, x: found.x * width - 0.5 };
  }

  // Shows a square of this side around a place.
  function goTo(y, x, side = SIDE) {
    const [top, left, length] = [y + 0.5 - side / 2, x + 0.5 - side / 2, side].map((value) => value / width);
    const show = () => first.viewport.fitBounds(new OpenSeadragon.Rect(left, top, length, length));
    if (first.isOpen()) show();
    else first.addOnceHandler("open", show);
  }

  // ---- layers are drawn on one canvas, by functions that get its context

  const drawers = [];
  let waiting = false;

  function redraw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  }

  function draw() {
    const ratio = devicePixelRatio || 1;
    const [across, down] = [place.clientWidth, place.clientHeight];
    if (canvas.width !== Math.round(across * ratio) || canvas.height !== Math.round(down * ratio)) {
      canvas.width = Math.round(across * ratio);
      canvas.height = Math.round(down * ratio);
    }
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, across, down);
    if (!first.isOpen()) return;
    // one affine takes px of the mosaic to px of the page, since the viewer is never turned
    const scale = pixelsOnScreen();
    const origin = toScreen(0, 0);
    const view = { scale, across, down, y: (value) => origin.y + scale * value, x: (value) => origin.x + scale * value };
    view.sees = (y, x, margin) => {
      const [on, over] = [view.x(x), view.y(y)];
      return on > -margin && over > -margin && on < across + margin && over < down + margin;
    };
    for (const drawer of drawers) drawer(context, view);
  }
  new ResizeObserver(redraw).observe(place);

  Object.assign(dlir, {
    goTo,
    toMosaic,
    toScreen,
    redraw,
    // Adds f(context, view) to what draws over the mosaic; view.x(x) and view.y(y) take px of the mosaic to px of the page.
    draw(f) {
      drawers.push(f);
      redraw();
    },
  });

  // ---- scale bar, and what is under the pointer

  function drawScale() {
    const unit = size || 1;
    const longest = (Math.min(160, place.clientWidth / 3) / pixelsOnScreen()) * unit;
    const power = 10 ** Math.floor(Math.log10(longest));
    const length = [5, 2, 1].map((step) => step * power).find((step) => step <= longest);
    document.getElementById("scale-line").style.width = `${(length / unit) * pixelsOnScreen()}px`;
    const words = size ? (length >= 1000 ? `${length / 1000} mm` : `${+length.toPrecision(1)} µm`) : `${+length.toPrecision(1)} px`;
    document.getElementById("scale-text").textContent = `${words}, shown at ${(100 * pixelsOnScreen()).toPrecision(3)} %`;
  }

  const pointer = document.getElementById("pointer");
  new OpenSeadragon.MouseTracker({
    element: first.canvas,
    moveHandler(event) {
      const { y, x } = toMosaic(event.position);
      const inMicrometres = size ? ` (y ${(y * size).toFixed(1)}, x ${(x * size).toFixed(1)} µm)` : "";
      const tiles = dlir.places.tilesAt(y, x).map((tile) => tile.label || `${tile.tile} ${tile.name}`);
      const words = tiles.length ? `${tiles.length > 1 ? "tiles" : "tile"} ${tiles.join(", ")}` : "no tile";
      pointer.textContent = `y ${y.toFixed(0)}, x ${x.toFixed(0)} px${inMicrometres}: ${words}`;
    },
  });

  // ---- zoom

  const onClick = (id, f) => document.getElementById(id).addEventListener("click", f);
  const zoomBy = (factor) => () => first.viewport.zoomBy(factor).applyConstraints();
  onClick("zoom-in", zoomBy(2));
  onClick("zoom-out", zoomBy(0.5));
  onClick("zoom-whole", () => first.viewport.goHome());
  // A px of the mosaic on a px of the screen, edge on edge: the browser then shows the pixels as they are.
  onClick("zoom-pixels", () => {
    const ratio = devicePixelRatio || 1;
    first.viewport.zoomTo(width / first.viewport.getContainerSize().x / ratio, null, true);
    const corner = toScreen(-0.5, -0.5);
    const [x, y] = [corner.x, corner.y].map((value) => value - Math.round(value * ratio) / ratio);
    first.viewport.panBy(first.viewport.deltaPointsFromPixels(new OpenSeadragon.Point(x, y)), true);
  });
  onClick("full-screen", () => {
    if (document.fullscreenElement) document.exitFullscreen();
    else document.getElementById("viewer").requestFullscreen();
  });
  if (!document.fullscreenEnabled) document.getElementById("full-screen").hidden = true;

  // ---- other planes

  function showPlane(plane) {
    if (!plane || plane === shown) return;
    shown = plane;
    const bounds = first.viewport.getBounds(true);
    viewers.forEach((viewer, number) => {
      if (!viewer) return;
      viewer.addOnceHandler("open", () => viewer.viewport.fitBounds(bounds, true));
      viewer.open([source(plane, number)]);
    });
    if (dlir.facts.time !== null && dlir.time !== plane.time) {
      dlir.time = plane.time;
      dlir.emit("time", { time: plane.time });
      redraw();
    }
  }

  Object.assign(dlir, { channels: settings, colour, showPlane, shownPlane: () => shown });
})();
