// Regions and objects of an image as masks, one byte per pixel: brushed, packed as runs, found by a pixel.
import type { Size } from "../shared/geometry";

export interface Shape {
  mask: Uint8Array;
  path: string;
  pixels: number;
}

export interface FoundObject extends Shape {
  /** What it is an object of, as the trait `explain_by` has it. */
  of: string;
  /** The pixel by which it was found. */
  pixel: [row: number, col: number];
  /** Of a large image, whose `mask` is that of the object's box. */
  middle?: Point;
}

/** A mask as its runs, row by row: row, first and past-the-last pixel of each. */
export function toRuns(mask: Uint8Array, { height, width }: Size): number[] {
  const runs: number[] = [];
  for (let row = 0; row < height; row++) {
    for (let col = 0, start = -1; col <= width; col++) {
      const on = col < width && mask[row * width + col] === 1;
      if (on && start < 0) start = col;
      if (!on && start >= 0) {
        runs.push(row, start, col);
        start = -1;
      }
    }
  }
  return runs;
}

export function fromRuns(runs: readonly number[], { height, width }: Size): Uint8Array {
  const mask = new Uint8Array(height * width);
  for (let i = 0; i + 2 < runs.length; i += 3) {
    const line = runs[i] * width;
    mask.fill(1, line + runs[i + 1], line + runs[i + 2]);
  }
  return mask;
}

export interface Point {
  x: number;
  y: number;
}

/** A copy of a mask with a disc added wherever a brush of this radius goes on a straight line; all in pixels. */
export function brushed(
  mask: Uint8Array,
  { height, width }: Size,
  from: Point,
  to: Point,
  radius: number,
): Uint8Array {
  const result = mask.slice();
  const [across, down] = [to.x - from.x, to.y - from.y];
  const squared = across ** 2 + down ** 2;
  const within = (value: number, most: number) => Math.min(most, Math.max(0, value));
  const top = within(Math.floor(Math.min(from.y, to.y) - radius), height);
  const bottom = within(Math.ceil(Math.max(from.y, to.y) + radius), height);
  const left = within(Math.floor(Math.min(from.x, to.x) - radius), width);
  const right = within(Math.ceil(Math.max(from.x, to.x) + radius), width);
  for (let row = top; row < bottom; row++) {
    for (let col = left; col < right; col++) {
      // From the pixel's center to the nearest point of the line.
      const [x, y] = [col + 0.5 - from.x, row + 0.5 - from.y];
      const along = squared ? Math.min(1, Math.max(0, (x * across + y * down) / squared)) : 0;
      if (Math.hypot(x - along * across, y - along * down) <= radius) result[row * width + col] = 1;
    }
  }
  return result;
}

/** The object of a mask that has this pixel, connected over sides and corners; null if none has. */
export function objectAt(
  mask: Uint8Array,
  { height, width }: Size,
  row: number,
  col: number,
): Uint8Array | null {
  if (row < 0 || row >= height || col < 0 || col >= width || !mask[row * width + col]) return null;
  const found = new Uint8Array(mask.length);
  const waiting = [row * width + col];
  found[waiting[0]] = 1;
  for (let pixel = waiting.pop(); pixel !== undefined; pixel = waiting.pop()) {
    const [y, x] = [Math.floor(pixel / width), pixel % width];
    for (let v = Math.max(0, y - 1); v <= Math.min(height - 1, y + 1); v++) {
      for (let u = Math.max(0, x - 1); u <= Math.min(width - 1, x + 1); u++) {
        const next = v * width + u;
        if (mask[next] && !found[next]) {
          found[next] = 1;
          waiting.push(next);
        }
      }
    }
  }
  return found;
}

/** The pixel [row, col] of a mask nearest to a point, in a disc or square of this radius around it; null if there is none. */
export function nearestPixel(
  mask: Uint8Array,
  { height, width }: Size,
  { x, y }: Point,
  radius: number,
  square = false,
): [row: number, col: number] | null {
  let found: [number, number] | null = null;
  let least = radius;
  const first = (position: number) => Math.max(0, Math.floor(position - radius));
  for (let row = first(y); row < Math.min(height, y + radius); row++) {
    for (let col = first(x); col < Math.min(width, x + radius); col++) {
      if (!mask[row * width + col]) continue;
      const [down, across] = [row + 0.5 - y, col + 0.5 - x];
      const away = square ? Math.max(Math.abs(down), Math.abs(across)) : Math.hypot(down, across);
      if (away < least || (away === least && !found)) {
        least = away;
        found = [row, col];
      }
    }
  }
  return found;
}

export const countPixels = (mask: Uint8Array): number => mask.reduce((sum, one) => sum + one, 0);

/** The center of a region's pixels. */
export function middle(mask: Uint8Array, { width }: Size): Point {
  let [x, y, pixels] = [0, 0, 0];
  mask.forEach((one, pixel) => {
    if (!one) return;
    x += pixel % width;
    y += Math.floor(pixel / width);
    pixels++;
  });
  return { x: x / pixels + 0.5, y: y / pixels + 0.5 };
}
