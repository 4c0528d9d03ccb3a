// The circle map: discs painted one over another, the one that changes the distance most on top. `HDMResult.circle_map`
// with order="change" paints the same discs in the same order and colors.
import { cols, type Grid, radius, rows, type Size } from "./geometry";

export type ResultType = "raw" | "better" | "worse";

/** Distances as the result type shows them; NaN (nothing to draw) stays NaN. Signed ones below 0 are as far as above. */
export function relative(
  values: Float64Array,
  baseline: number,
  type: ResultType,
  signed = false,
): Float64Array {
  if (type === "raw") return values;
  if (signed) return relative(values.map(Math.abs), Math.abs(baseline), type);
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
export function range(values: Float64Array): Range | null {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? { low, high } : null;
}

/** A value's place in the color table, in [0, 1]; a constant map is 0 everywhere. */
export function fraction(value: number, span: Range | null): number {
  if (value === Number.POSITIVE_INFINITY) return 1;
  if (!span || span.high <= span.low) return 0;
  return Math.min(1, Math.max(0, (value - span.low) / (span.high - span.low)));
}

/**
 * How much each disc changes.
 *
 * For raw distances that is the difference from the baseline: a mask that is far from the truth with and without a disc
 * says nothing about the disc. The other result types are changes themselves.
 */
export function changes(values: Float64Array, baseline: number, type: ResultType): Float64Array {
  return type === "raw" && Number.isFinite(baseline) ? values.map((v) => Math.abs(v - baseline)) : values;
}

/** The changes against the largest one, in [0, 1]. */
export function emphasis(change: Float64Array): Float64Array {
  const span = range(change);
  return change.map((v) => fraction(v, span && { low: Math.min(0, span.low), high: span.high }));
}

/** Infinity less infinity would be no number. */
const compare = (a: number, b: number): number => (a === b ? 0 : a - b);

/** The cells that have a value, the topmost last: by change, then by value, then in reading order. */
export function paintingOrder(change: Float64Array, values = change): Uint32Array {
  const order: number[] = [];
  for (let i = 0; i < values.length; i++) if (!Number.isNaN(values[i])) order.push(i);
  return Uint32Array.from(
    order.sort((a, b) => compare(change[a], change[b]) || compare(values[a], values[b]) || a - b),
  );
}

// Rows of discs that are worth painting at a time: about a quarter of a second.
const MOST_ROWS = 15e6;

/**
 * How many pixels a canvas of about `side` px has for an image, which bounds memory and time.
 *
 * That is a whole number of pixels for every one of the image, or, for a large image or very many discs, fewer than
 * the image has.
 */
export function canvasSize(grid: Grid, side = 1024): Size {
  const longest = Math.max(grid.height, grid.width);
  const affordable = MOST_ROWS / (rows(grid) * cols(grid) * (grid.circleSize + 1));
  const scale = Math.min(side / longest, affordable, 8);
  const size = (length: number) => Math.max(1, Math.round(length * (scale < 1 ? scale : Math.floor(scale))));
  return { height: size(grid.height), width: size(grid.width) };
}

/** First and past-the-last pixel of every row of a round disc, in pairs. */
function roundDisc(diameter: number): Int32Array {
  const disc = new Int32Array(2 * diameter);
  const r = diameter / 2;
  for (let y = 0; y < diameter; y++) {
    const half = Math.sqrt(Math.max(0, r * r - (y + 0.5 - r) ** 2));
    disc[2 * y] = Math.ceil(r - half - 0.5);
    disc[2 * y + 1] = Math.floor(r + half - 0.5) + 1;
  }
  return disc;
}

/**
 * The topmost cell at every canvas pixel, -1 where there is none.
 *
 * `disc` has the first and the past-the-last pixel of every row of the disc, in pairs, as Python draws it. A canvas with
 * more pixels than the image has round discs of the same diameter instead. One with fewer shows those pixels of the
 * image that lie at the centers of its own.
 */
export function topmostCells(
  order: Uint32Array,
  grid: Grid,
  disc: Int32Array,
  { height, width }: Size,
): Int32Array {
  const enlarged = Math.max(1, Math.round(width / grid.width));
  const rowsOf = enlarged > 1 ? roundDisc(2 * radius(grid) * enlarged) : disc;
  const step = grid.offset * enlarged;
  const across = cols(grid);
  // The first of `count` canvas pixels whose center lies at or after an edge of one of `length` image pixels. In whole
  // numbers up to the division, so that no rounding moves a center over an edge.
  const first = (edge: number, length: number, count: number) =>
    Math.min(count, Math.ceil((2 * count * edge - length) / (2 * length)));
  const canvasX = (x: number) => first(x, grid.width * enlarged, width);
  const canvasY = (y: number) => first(y, grid.height * enlarged, height);

  const top = new Int32Array(width * height).fill(-1);
  // From the topmost disc down: every pixel is painted once. `next` leads from a pixel to the first unpainted one.
  const next = new Int32Array(top.length + 1);
  for (let i = 0; i < next.length; i++) next[i] = i;
  const unpainted = (pixel: number): number => {
    let found = pixel;
    while (next[found] !== found) {
      next[found] = next[next[found]];
      found = next[found];
    }
    return found;
  };
  for (let i = order.length - 1; i >= 0; i--) {
    const cell = order[i];
    const left = (cell % across) * step;
    const upper = Math.floor(cell / across) * step;
    const bottom = canvasY(upper + rowsOf.length / 2);
    for (let y = canvasY(upper); y < bottom; y++) {
      const row = Math.floor(((2 * y + 1) * grid.height * enlarged) / (2 * height)) - upper;
      const line = y * width;
      const end = line + canvasX(left + rowsOf[2 * row + 1]);
      for (let p = unpainted(line + canvasX(left + rowsOf[2 * row])); p < end; p = unpainted(p)) {
        top[p] = cell;
        next[p] = p + 1;
      }
    }
  }
  return top;
}

/**
 * Colors for every canvas pixel, RGBA in one 32-bit number each.
 *
 * Opacity grows with the emphasis, so that the image shows through where nothing matters.
 */
export function colorize(
  top: Int32Array,
  values: Float64Array,
  span: Range | null,
  table: Uint8Array,
  weights: Float64Array,
): Uint32Array<ArrayBuffer> {
  const cellColors = new Uint32Array(values.length);
  const channels = new Uint8Array(cellColors.buffer);
  for (let cell = 0; cell < values.length; cell++) {
    if (Number.isNaN(values[cell])) continue;
    const entry = 3 * Math.min(255, Math.floor(fraction(values[cell], span) * 256));
    const opacity = Math.round(255 * weights[cell] ** 0.6);
    channels.set([table[entry], table[entry + 1], table[entry + 2], opacity], 4 * cell);
  }
  const pixels = new Uint32Array(top.length);
  for (let i = 0; i < top.length; i++) if (top[i] >= 0) pixels[i] = cellColors[top[i]];
  return pixels;
}
