"use strict";
// Where tiles lie, how they overlap, and which rows of overrides say so. Places are affines {yy, yx, y0, xy, xx, x0} from a px of a
// tile to a px of the mosaic, by the numbers of the tiles; offsets [y, x] are px of a tile, as the solver takes them.
dlir.geometry = (() => {
  const CONTRADICTED = 2; // px: a pair that is further off than this is not right

  const apply = (a, [y, x]) => [a.yy * y + a.yx * x + a.y0, a.xy * y + a.xx * x + a.x0];

  // The px of a tile that lies at a px of the mosaic.
  function inverse(a, [y, x]) {
    const determinant = a.yy * a.xx - a.yx * a.xy;
    const [dy, dx] = [y - a.y0, x - a.x0];
    return [(a.xx * dy - a.yx * dx) / determinant, (a.yy * dx - a.xy * dy) / determinant];
  }

  const shifted = (a, [y, x]) => ({ ...a, y0: a.y0 + y, x0: a.x0 + x });

  // The corners of a tile in the mosaic, in a round.
  function corners(a, { height, width }) {
    const [bottom, right] = [height - 0.5, width - 0.5];
    return [[-0.5, -0.5], [-0.5, right], [bottom, right], [bottom, -0.5]].map((corner) => apply(a, corner));
  }

  // The box {top, left, bottom, right} around a tile in the mosaic.
  function box(a, size) {
    const points = corners(a, size);
    const [ys, xs] = [points.map(([y]) => y), points.map(([, x]) => x)];
    return { top: Math.min(...ys), left: Math.min(...xs), bottom: Math.max(...ys), right: Math.max(...xs) };
  }

  // The overlap of two boxes: its area, and its middle.
  function overlap(a, b) {
    const [top, bottom] = [Math.max(a.top, b.top), Math.min(a.bottom, b.bottom)];
    const [left, right] = [Math.max(a.left, b.left), Math.min(a.right, b.right)];
    const area = Math.max(bottom - top, 0) * Math.max(right - left, 0);
    return { area, middle: [(top + bottom) / 2, (left + right) / 2] };
  }

  // The offset of a moving tile from a fixed one, at the middle of their overlap.
  function offset(fixed, moving, sizes) {
    const { middle } = overlap(box(fixed, sizes[0]), box(moving, sizes[1]));
    const [at, from] = [inverse(fixed, middle), inverse(moving, middle)];
    return [0, 1].map((axis) => Math.round(100 * (at[axis] - from[axis])) / 100);
  }

  // The overlaps {mover, still, area} of tiles in the set `movers`, shifted by `shift`, with all others; the largest first.
  function overlaps(tiles, places, movers, shift) {
    const boxes = new Map(tiles.map((tile) => [tile.tile, box(places.get(tile.tile), tile)]));
    const found = [];
    for (const mover of movers) {
      const own = boxes.get(mover);
      const there = { top: own.top + shift[0], bottom: own.bottom + shift[0], left: own.left + shift[1], right: own.right + shift[1] };
      for (const { tile: still } of tiles) {
        if (movers.has(still)) continue;
        const { area } = overlap(boxes.get(still), there);
        if (area) found.push({ mover, still, area });
      }
    }
    return found.sort((a, b) => b.area - a.area);
  }

  // The rows of overrides that put tiles of the set `movers` where they were dragged: one offset from the tile that they overlap
  // most, and the pairs that say otherwise, which are ignored. None where they overlap no tile.
  function dragged(tiles, places, pairs, movers, shift) {
    const [best] = overlaps(tiles, places, movers, shift);
    if (!best) return [];
    const sizes = new Map(tiles.map((tile) => [tile.tile, tile]));
    const there = (tile) => (movers.has(tile) ? shifted(places.get(tile), shift) : places.get(tile));
    const from = (fixed, moving) => offset(there(fixed), there(moving), [sizes.get(fixed), sizes.get(moving)]);
    const rows = [row(best.still, best.mover, from(best.still, best.mover))];
    for (const { fixed, moving, y, x, accepted } of pairs) {
      if (!accepted || movers.has(fixed) === movers.has(moving)) continue;
      if (key({ fixed, moving }) === key(rows[0])) continue;
      const [dy, dx] = from(fixed, moving);
      if (Math.hypot(dy - y, dx - x) > CONTRADICTED) rows.push(row(fixed, moving, [null, null]));
    }
    return rows;
  }

  const row = (fixed, moving, [y, x]) => ({ fixed, moving, y, x });

  // What a row is about: a pair in either direction, or a tile alone.
  const key = ({ fixed, moving }) => (fixed === null ? `${moving}` : [fixed, moving].sort((a, b) => a - b).join("-"));

  return { shifted, corners, offset, overlaps, dragged, row, key };
})();
