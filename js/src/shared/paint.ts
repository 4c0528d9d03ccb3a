// The circle map: at every pixel the mean of the discs over it, or the disc that changes the distance most.
// `HDMResult.circle_map` with the same order paints the same.
import { cols, type Grid, radius, rows, type Size } from "./geometry";

/** What a pixel shows of the discs over it. */
export type PaintingOrder = "mean" | "change";

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
  let high = -Number.POSITIVE_INFINITY;
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

/** First and past-the-last pixel of every row of a round disc, or of the square around it, in pairs. */
function enlargedDisc(diameter: number, square: boolean): Int32Array {
  const disc = new Int32Array(2 * diameter);
  if (square) return disc.map((_, index) => (index % 2 ? diameter : 0));
  const r = diameter / 2;
  for (let y = 0; y < diameter; y++) {
    const half = Math.sqrt(Math.max(0, r * r - (y + 0.5 - r) ** 2));
    disc[2 * y] = Math.ceil(r - half - 0.5);
    disc[2 * y + 1] = Math.floor(r + half - 0.5) + 1;
  }
  return disc;
}

/**
 * Calls `paint` with the canvas pixels from `start` up to `end`, for every row of a cell's disc, from top to bottom.
 *
 * `disc` has the first and the past-the-last pixel of every row of the disc, in pairs, as Python draws it. A canvas with
 * more pixels than the image has round discs of the same diameter instead, or squares. One with fewer shows those pixels of the
 * image that lie at the centers of its own.
 */
function discRows(grid: Grid, disc: Int32Array, { height, width }: Size) {
  const enlarged = Math.max(1, Math.round(width / grid.width));
  const diameter = 2 * radius(grid);
  const square = disc.every((edge, index) => edge === (index % 2 ? diameter : 0));
  const rowsOf = enlarged > 1 ? enlargedDisc(diameter * enlarged, square) : disc;
  const step = grid.offset * enlarged;
  const across = cols(grid);
  // The first of `count` canvas pixels whose center lies at or after an edge of one of `length` image pixels. In whole
  // numbers up to the division, so that no rounding moves a center over an edge.
  const first = (edge: number, length: number, count: number) =>
    Math.min(count, Math.ceil((2 * count * edge - length) / (2 * length)));
  const canvasX = (x: number) => first(x, grid.width * enlarged, width);
  const canvasY = (y: number) => first(y, grid.height * enlarged, height);
  return (cell: number, paint: (start: number, end: number) => void) => {
    const left = (cell % across) * step;
    const upper = Math.floor(cell / across) * step;
    const bottom = canvasY(upper + rowsOf.length / 2);
    for (let y = canvasY(upper); y < bottom; y++) {
      const row = Math.floor(((2 * y + 1) * grid.height * enlarged) / (2 * height)) - upper;
      const line = y * width;
      paint(line + canvasX(left + rowsOf[2 * row]), line + canvasX(left + rowsOf[2 * row + 1]));
    }
  };
}

/** The topmost cell at every canvas pixel, -1 where there is none; discs as `discRows` has them. */
export function topmostCells(order: Uint32Array, grid: Grid, disc: Int32Array, size: Size): Int32Array {
  const eachRow = discRows(grid, disc, size);
  const top = new Int32Array(size.width * size.height).fill(-1);
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
    eachRow(cell, (start, end) => {
      for (let p = unpainted(start); p < end; p = unpainted(p)) {
        top[p] = cell;
        next[p] = p + 1;
      }
    });
  }
  return top;
}

/** The mean of all discs over every canvas pixel; NaN where there is none, infinite where one of them is. */
export function meanValues(values: Float64Array, grid: Grid, disc: Int32Array, size: Size): Float64Array {
  const eachRow = discRows(grid, disc, size);
  const count = size.width * size.height;
  // By how much sums and counts differ from those of the pixel before.
  const sums = new Float64Array(count + 1);
  const discs = new Int32Array(count + 1);
  const infinite = new Int32Array(count + 1);
  values.forEach((value, cell) => {
    if (Number.isNaN(value)) return;
    const finite = Number.isFinite(value);
    eachRow(cell, (start, end) => {
      if (end <= start) return;
      discs[start]++;
      discs[end]--;
      if (finite) {
        sums[start] += value;
        sums[end] -= value;
      } else {
        infinite[start]++;
        infinite[end]--;
      }
    });
  });
  const means = new Float64Array(count);
  for (let p = 0, sum = 0, over = 0, without = 0; p < count; p++) {
    sum += sums[p];
    over += discs[p];
    without += infinite[p];
    // What rounding has left of values that are no longer summed.
    if (over === without) sum = 0;
    means[p] = !over ? Number.NaN : without ? Number.POSITIVE_INFINITY : sum / over;
  }
  return means;
}

/** What a canvas shows, before its colors. */
interface Colored {
  /** Which of `values` each canvas pixel shows; -1 for none. */
  top: Int32Array;
  values: Float64Array;
  /** How much each of them changes, against the largest change. */
  weights: Float64Array;
  /** Of the places of values in the color table. */
  rounding?: number;
}

export interface Painting extends Colored {
  size: Size;
  /** The largest change. */
  largest: number;
}

export function painting(
  order: PaintingOrder,
  values: Float64Array,
  { grid, disc, baseline }: { grid: Grid; disc: Int32Array; baseline: number },
  type: ResultType,
  size: Size,
): Painting {
  const shown = order === "mean" ? meanValues(values, grid, disc, size) : values;
  const change = changes(shown, baseline, type);
  const top =
    order === "mean"
      ? Int32Array.from(shown, (mean, pixel) => (Number.isNaN(mean) ? -1 : pixel))
      : topmostCells(paintingOrder(change, values), grid, disc, size);
  const rounding = order === "mean" ? ROUNDING : 0;
  return { size, top, values: shown, weights: emphasis(change), rounding, largest: range(change)?.high ?? 0 };
}

/** A mean that rounding leaves just below the border of two colors has the upper one, here and in Python. */
const ROUNDING = 1e-9;

/** Under the map the image is lightened: black becomes this much of white. */
const LIGHTENED = 0.7;
/** Cells whose change is this much of the largest one, or more, have the full color. */
const FULL = 0.2;

/** How much of its color a cell has; the image shows through where little or nothing changes. */
const strength = (weight: number): number => Math.sqrt(Math.min(1, weight / FULL));

/** How much the image is lightened at an opacity of the map: all of it from a quarter on. */
const lightening = (opacity: number): number => LIGHTENED * Math.min(1, 4 * opacity);

/**
 * Colors for every canvas pixel, RGBA in one 32-bit number each.
 *
 * The image is lightened under the map, so that a value that matters has the color bar's color on any image: white
 * first, then the color, both as one translucent color. Where nothing matters there is no color.
 */
export function colorize(
  { top, values, weights, rounding = 0 }: Colored,
  span: Range | null,
  table: Uint8Array,
  opacity: number,
): Uint32Array<ArrayBuffer> {
  // The last one is where no disc is.
  const colors = new Uint32Array(values.length + 1);
  const channels = new Uint8Array(colors.buffer);
  const light = lightening(opacity);
  for (let cell = 0; cell <= values.length; cell++) {
    const missing = cell === values.length || Number.isNaN(values[cell]);
    const entry = missing ? 0 : 3 * Math.min(255, Math.floor(fraction(values[cell], span) * 256 + rounding));
    const color = missing ? 0 : strength(weights[cell]) * opacity;
    const white = 255 * light * (1 - color);
    const alpha = color + light * (1 - color);
    for (let channel = 0; channel < 3; channel++) {
      const value = table[entry + channel];
      channels[4 * cell + channel] = alpha ? Math.round((color * value + white) / alpha) : value;
    }
    channels[4 * cell + 3] = Math.round(255 * alpha);
  }
  return Uint32Array.from(top, (cell) => colors[cell < 0 ? values.length : cell]);
}

/**
 * A color table as it looks on the stage: over an image of one gray level, lightened.
 *
 * Values that hardly differ from the baseline have hardly a color there; `weight` is how much one of `span` changes.
 */
export function blended(
  table: Uint8Array,
  opacity: number,
  weight: (value: number) => number = () => 1,
  { low, high }: Range = { low: 0, high: 1 },
  level = 127.5,
): Uint8Array {
  const ground = level + (255 - level) * lightening(opacity);
  return table.map((value, index) => {
    const at = low + ((Math.floor(index / 3) + 0.5) / 256) * (high - low);
    const color = opacity * strength(weight(at));
    return Math.round(color * value + (1 - color) * ground);
  });
}

/** A color table with 0 in its middle: what is below has the same colors with red and blue exchanged. */
export function diverging(table: Uint8Array): Uint8Array {
  const both = new Uint8Array(768);
  for (let i = 0; i < 128; i++) {
    const [red, green, blue] = table.subarray(3 * (2 * i + 1));
    both.set([red, green, blue], 3 * (128 + i));
    both.set([blue, green, red], 3 * (127 - i));
  }
  return both;
}
