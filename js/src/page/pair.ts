// The two pixels whose separation is the Hausdorff distance, as `metrics/distance.py` finds them.
import type { Prediction } from "../hdm/python_state";
import type { Size } from "../shared/geometry";

export interface Found {
  pair: NonNullable<Prediction["pair"]>;
  /** The mask that the first pixel lies in. */
  from: "a" | "b";
  distance: number;
}

/**
 * The pixel of either mask that is farthest from the other mask, and the pixel there that is nearest to it.
 *
 * Of several at the same distance the one in `a`, first in reading order. Null where a mask is empty or both are equal.
 * Masks have one byte per pixel; a pixel is `sides` high and wide, which the distance is in.
 */
export function hausdorffPair(
  a: Uint8Array,
  b: Uint8Array,
  size: Size,
  sides: readonly [number, number] = [1, 1],
): Found | null {
  if (!a.includes(1) || !b.includes(1)) return null;
  let best: Found | null = null;
  let farthest = 0;
  for (const [from, source, goal] of [
    ["a", a, b],
    ["b", b, a],
  ] as const) {
    const rows = nearestInColumn(goal, size);
    for (let pixel = 0; pixel < source.length; pixel++) {
      // A pixel of both masks is at no distance.
      if (!source[pixel] || goal[pixel]) continue;
      const found = nearest(rows, pixel, size, sides, farthest);
      if (!found) continue;
      farthest = found.squared;
      best = {
        pair: [place(pixel, size), place(found.pixel, size)],
        from,
        distance: Math.sqrt(found.squared),
      };
    }
  }
  return best;
}

const place = (pixel: number, { width }: Size): [number, number] => [
  Math.floor(pixel / width),
  pixel % width,
];

/** For every pixel the row of the nearest pixel of a mask in its column; -1 if there is none. */
function nearestInColumn(mask: Uint8Array, { height, width }: Size): Int32Array {
  const rows = new Int32Array(mask.length).fill(-1);
  for (let col = 0; col < width; col++) {
    for (let row = 0, above = -1; row < height; row++) {
      const pixel = row * width + col;
      if (mask[pixel]) above = row;
      rows[pixel] = above;
    }
    for (let row = height - 1, below = -1; row >= 0; row--) {
      const pixel = row * width + col;
      if (mask[pixel]) below = row;
      const above = rows[pixel];
      if (below >= 0 && (above < 0 || below - row < row - above)) rows[pixel] = below;
    }
  }
  return rows;
}

/** The nearest pixel of the mask to a pixel; null if one is as near as `known`, so that this pixel is not the farthest. */
function nearest(
  rows: Int32Array,
  pixel: number,
  { width }: Size,
  [high, wide]: readonly [number, number],
  known: number,
): { squared: number; pixel: number } | null {
  const row = Math.floor(pixel / width);
  const col = pixel % width;
  let squared = Number.POSITIVE_INFINITY;
  let found = -1;
  for (let across = 0; across < width && (across * wide) ** 2 < squared; across++) {
    for (const other of across ? [col - across, col + across] : [col]) {
      if (other < 0 || other >= width) continue;
      const there = rows[row * width + other];
      if (there < 0) continue;
      const far = ((there - row) * high) ** 2 + (across * wide) ** 2;
      if (far < squared) {
        squared = far;
        found = there * width + other;
      }
    }
    if (squared <= known) return null;
  }
  return { squared, pixel: found };
}
