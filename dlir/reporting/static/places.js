// Where the tiles and the pairs of the time point lie that is shown, and what lies at a place.
"use strict";

dlir.places = (() => {
  const NEAR = 9; // px of the page: a click so close to a pair chooses it
  const SURE = 0.9, LIKELY = 0.5; // probabilities

  const { tiles, pairs } = dlir;
  const atTime = (row) => row.time === undefined || row.time === dlir.time;
  const apply = (tile, y, x) => [tile.yy * y + tile.yx * x + tile.y0, tile.xy * y + tile.xx * x + tile.x0];
  let now, ofTile, ofPair;

  for (const tile of tiles) {
    const [bottom, right] = [tile.height - 0.5, tile.width - 0.5];
    tile.corners = [[-0.5, -0.5], [-0.5, right], [bottom, right], [bottom, -0.5]].map(([y, x]) => apply(tile, y, x));
    tile.centre = apply(tile, (tile.height - 1) / 2, (tile.width - 1) / 2);
    tile.off = [tile.stage_y - tile.y0, tile.stage_x - tile.x0]; // from the solved place to that of the stage
    tile.radius = Math.hypot(tile.height, tile.width) / 2;
  }
  for (const pair of pairs) {
    if (!pair.accepted) pair.kind = "rejected";
    else if (pair.overruled) pair.kind = "overruled";
    else pair.kind = pair.confidence >= SURE ? "sure" : pair.confidence >= LIKELY ? "likely" : "faint";
  }

  function takeTime() {
    now = { tiles: tiles.filter(atTime), pairs: pairs.filter(atTime) };
    ofTile = new Map(now.tiles.map((tile) => [tile.tile, tile]));
    ofPair = new Map(now.pairs.map((pair) => [pair.pair, pair]));
  }
  takeTime();
  dlir.on("time", takeTime);

  const side = tiles.length ? Math.min(...tiles.map((tile) => Math.min(tile.height, tile.width))) : 100;

  function holds(tile, y, x) {
    const det = tile.yy * tile.xx - tile.yx * tile.xy;
    const [dy, dx] = [y - tile.y0, x - tile.x0];
    const [inY, inX] = [(tile.xx * dy - tile.yx * dx) / det, (tile.yy * dx - tile.xy * dy) / det];
    return inY >= -0.5 && inX >= -0.5 && inY <= tile.height - 0.5 && inX <= tile.width - 0.5;
  }

  // The tiles that show a place of the mosaic, the one whose middle is nearest first.
  function tilesAt(y, x) {
    const far = (tile) => Math.hypot(tile.centre[0] - y, tile.centre[1] - x);
    return now.tiles.filter((tile) => holds(tile, y, x)).sort((a, b) => far(a) - far(b));
  }

  // The pair whose line or middle lies at a point of the screen; undefined where there is none.
  function pairAt(point) {
    let [best, nearest] = [undefined, NEAR];
    for (const pair of now.pairs) {
      const [a, b] = [pair.fixed, pair.moving].map((tile) => dlir.toScreen(...ofTile.get(tile).centre));
      const [dx, dy] = [b.x - a.x, b.y - a.y];
      const along = Math.min(1, Math.max(0, ((point.x - a.x) * dx + (point.y - a.y) * dy) / (dx * dx + dy * dy || 1)));
      const middle = dlir.toScreen(pair.y, pair.x);
      const far = Math.min(
        Math.hypot(a.x + along * dx - point.x, a.y + along * dy - point.y),
        Math.hypot(middle.x - point.x, middle.y - point.y),
      );
      if (far < nearest) [best, nearest] = [pair, far];
    }
    return best;
  }

  return {
    SURE,
    LIKELY,
    side, // px, the shortest of all tiles
    tiles: () => now.tiles,
    pairs: () => now.pairs,
    tile: (number) => ofTile.get(number),
    pair: (number) => ofPair.get(number),
    tilesAt,
    pairAt,
  };
})();
