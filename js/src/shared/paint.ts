// The circle map: discs painted in ascending order of emphasis, so that what matters most is on top. Emphasis is the
// value itself, but for raw distances, where a disc that changes nothing would hide one that improves the mask.
import { cols, type Grid, radius, rows } from "./geometry";

export type ResultType = "raw" | "better" | "worse";

/** Distances as the result type shows them; NaN (nothing to draw) stays NaN. */
export function relative(values: Float32Array, baseline: number, type: ResultType): Float32Array {
  if (type === "raw") return values;
  const sign = type === "better" ? -1 : 1;
  return values.map((value) => {
    if (Number.isNaN(value)) return value;
    return sign * value > sign * baseline ? Math.abs(value - baseline) : 0;
  });
}

export interface Range {
  low: number;
  high: number;
}

/** Least and largest finite value; null where there is none. */
export function range(values: Float32Array): Range | null {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? { low, high } : null;
}

/** A value's place in the colour table, in [0, 1]; a constant map is 0 everywhere. */
export function share(value: number, span: Range | null): number {
  if (value === Number.POSITIVE_INFINITY) return 1;
  if (!span || span.high <= span.low) return 0;
  return Math.min(1, Math.max(0, (value - span.low) / (span.high - span.low)));
}

/** Infinity less infinity would be no number. */
const compare = (a: number, b: number): number => (a === b ? 0 : a - b);

/** Indices of the cells that have a value by weight, then by value, smallest first; equal ones in reading order. */
export function paintingOrder(weights: Float32Array, values = weights): Uint32Array {
  const order: number[] = [];
  for (let i = 0; i < weights.length; i++) if (!Number.isNaN(weights[i])) order.push(i);
  return Uint32Array.from(
    order.sort((a, b) => weights[a] - weights[b] || compare(values[a], values[b]) || a - b),
  );
}

/** How many canvas pixels a picture pixel gets, for a canvas of about `side`: round discs, within a bound on the work. */
export function paintingScale(grid: Grid, side = 1024): number {
  const longest = Math.max(grid.height, grid.width);
  const perCell = (grid.circleSize + 1) ** 2;
  const affordable = Math.sqrt(60e6 / (rows(grid) * cols(grid) * perCell));
  return Math.max(1, Math.floor(Math.min(side / longest, affordable, 8)));
}

/**
 * The topmost cell at every canvas pixel, -1 where there is none.
 *
 * The canvas has `scale` pixels to one of the picture.
 */
export function topmostCells(weights: Float32Array, grid: Grid, scale: number, values = weights): Int32Array {
  const width = grid.width * scale;
  const height = grid.height * scale;
  const top = new Int32Array(width * height).fill(-1);
  const r = radius(grid) * scale;
  const side = (grid.circleSize + 1) * scale;
  const starts = new Int32Array(side);
  const ends = new Int32Array(side);
  for (let y = 0; y < side; y++) {
    const half = Math.sqrt(Math.max(0, r * r - (y + 0.5 - r) ** 2));
    starts[y] = Math.ceil(r - half - 0.5);
    ends[y] = Math.floor(r + half - 0.5) + 1;
  }
  const step = grid.offset * scale;
  const across = cols(grid);
  for (const cell of paintingOrder(weights, values)) {
    const left = (cell % across) * step;
    const upper = Math.floor(cell / across) * step;
    const bottom = Math.min(side, height - upper);
    for (let y = 0; y < bottom; y++) {
      const line = (upper + y) * width;
      top.fill(cell, line + left + starts[y], line + Math.min(width, left + ends[y]));
    }
  }
  return top;
}

/**
 * How much each cell matters, in [0, 1]: what its disc changes, against the largest change of all.
 *
 * For raw distances that is the difference from the baseline: a mask that is far from the truth with and without
 * a disc says nothing about the place of the disc.
 */
export function emphasis(values: Float32Array, baseline: number, type: ResultType): Float32Array {
  const change =
    type === "raw" && Number.isFinite(baseline) ? values.map((v) => Math.abs(v - baseline)) : values;
  const span = range(change);
  return change.map((v) => share(v, span && { low: Math.min(0, span.low), high: span.high }));
}

/**
 * Colours for every canvas pixel, RGBA in one 32-bit number each.
 *
 * Opacity grows with the emphasis, so that the picture shows through where nothing matters.
 */
export function colourise(
  top: Int32Array,
  values: Float32Array,
  span: Range | null,
  table: Uint8Array,
  weights: Float32Array,
): Uint8ClampedArray<ArrayBuffer> {
  const cellColours = new Uint32Array(values.length);
  const channels = new Uint8Array(cellColours.buffer);
  for (let cell = 0; cell < values.length; cell++) {
    if (Number.isNaN(values[cell])) continue;
    const entry = 3 * Math.min(255, Math.floor(share(values[cell], span) * 256));
    const opacity = Math.round(255 * weights[cell] ** 0.6);
    channels.set([table[entry], table[entry + 1], table[entry + 2], opacity], 4 * cell);
  }
  const pixels = new Uint32Array(top.length);
  for (let i = 0; i < top.length; i++) if (top[i] >= 0) pixels[i] = cellColours[top[i]];
  return new Uint8ClampedArray(pixels.buffer);
}
