// Which part of a large image the stage shows, and the tiles that are drawn of it.
import type { Size } from "../shared/geometry";

/** `x` and `y` are the image's point at the stage's upper left corner, in fractions of its sides. */
export interface Zoom {
  scale: number;
  x: number;
  y: number;
}

export interface Tile {
  level: number;
  row: number;
  col: number;
}

export const WHOLE: Zoom = { scale: 1, x: 0, y: 0 };
export const TILE = 256;
/** So few pixels of the image fill the stage at most. */
const LEAST = 64;

const within = (value: number, most: number) => Math.min(most, Math.max(0, value));

function kept({ scale, x, y }: Zoom): Zoom {
  return { scale, x: within(x, 1 - 1 / scale), y: within(y, 1 - 1 / scale) };
}

/** Zoomed by a factor; the image's point under (x, y), in fractions of the stage's sides, stays where it is. */
export function zoomed(zoom: Zoom, factor: number, x: number, y: number, { height, width }: Size): Zoom {
  const scale = Math.max(1, Math.min(zoom.scale * factor, Math.max(height, width) / LEAST));
  return kept({ scale, x: zoom.x + x / zoom.scale - x / scale, y: zoom.y + y / zoom.scale - y / scale });
}

/** Dragged by fractions of the stage's sides. */
export const panned = (zoom: Zoom, x: number, y: number): Zoom =>
  kept({ ...zoom, x: zoom.x - x / zoom.scale, y: zoom.y - y / zoom.scale });

/** Moved as little as shows a point of the image, in fractions of its sides. */
export function showing(zoom: Zoom, x: number, y: number): Zoom {
  const side = 1 / zoom.scale;
  const along = (first: number, at: number) => Math.min(at - 0.1 * side, Math.max(at - 0.9 * side, first));
  return kept({ ...zoom, x: along(zoom.x, x), y: along(zoom.y, y) });
}

/** What is written beside a disc has at least so much of the view. */
const ROOM = 0.4;

/** Whether what is written beside a disc is to its right, and where it begins; all in fractions of the image's width. */
export function besideDisc({ scale, x }: Zoom, middle: number, radius: number): [right: boolean, at: number] {
  const right = middle < x + 0.5 / scale;
  return right
    ? [right, Math.min(middle + radius, x + (1 - ROOM) / scale)]
    : [right, Math.max(middle - radius, x + ROOM / scale)];
}

/** In pixels of the image. */
export interface Part extends Size {
  top: number;
  left: number;
}

/** What is in view, and up to a quarter as much around it: the same for small moves. */
export function partInView({ scale, x, y }: Zoom, { height, width }: Size): Part {
  const steps = 4 * 2 ** Math.floor(Math.log2(scale));
  const range = (at: number, length: number) => {
    const first = Math.floor((Math.floor(at * steps) / steps) * length);
    return [
      first,
      Math.min(length, Math.ceil((Math.ceil((at + 1 / scale) * steps) / steps) * length)) - first,
    ];
  };
  const [[top, high], [left, wide]] = [range(y, height), range(x, width)];
  return { top, left, height: high, width: wide };
}

/**
 * The tiles that show a part of the image with at least one pixel for each of the screen's, and a ring around them.
 *
 * None where the first image is fine enough, whose pixels are `step` wide; `pixels` is the stage's width on the screen.
 */
export function tilesOf(zoom: Zoom, { height, width }: Size, step: number, pixels: number): Tile[] {
  const level = Math.max(0, Math.floor(Math.log2(width / (pixels * zoom.scale))));
  if (2 ** level >= step) return [];
  const side = TILE * 2 ** level;
  const range = (first: number, length: number) => {
    const last = Math.ceil(length / side) - 1;
    const start = Math.max(0, Math.floor((first * length) / side) - 1);
    const stop = Math.min(last, Math.floor(((first + 1 / zoom.scale) * length) / side) + 1);
    return Array.from({ length: stop - start + 1 }, (_, index) => start + index);
  };
  return range(zoom.y, height).flatMap((row) => range(zoom.x, width).map((col) => ({ level, row, col })));
}

/**
 * The part whose masks are drawn: what is in view, with a pixel of theirs around it, and so fine that it has at most as
 * many of them as the screen has in view.
 *
 * Null where the first masks are as fine, whose pixels are `step` wide; `pixels` is the stage's width on the screen.
 */
export function masksOf(
  zoom: Zoom,
  size: Size,
  step: number,
  pixels: number,
): (Part & { level: number }) | null {
  const level = Math.max(0, Math.ceil(Math.log2(size.width / (pixels * zoom.scale))));
  const side = 2 ** level;
  if (side >= step) return null;
  const { top, left, height, width } = partInView(zoom, size);
  const range = (first: number, length: number, whole: number) => {
    const start = Math.max(0, (Math.floor(first / side) - 1) * side);
    return [start, Math.min(whole, (Math.ceil((first + length) / side) + 1) * side) - start];
  };
  const [[y, high], [x, wide]] = [range(top, height, size.height), range(left, width, size.width)];
  return { top: y, left: x, height: high, width: wide, level };
}

/** Whether what is in view lies in a part of the image. */
export const covers = ({ top, left, height, width }: Part, { scale, x, y }: Zoom, size: Size): boolean =>
  top <= y * size.height &&
  left <= x * size.width &&
  top + height >= Math.floor((y + 1 / scale) * size.height) &&
  left + width >= Math.floor((x + 1 / scale) * size.width);

/** What was used last, up to so many bytes; what is dropped is told. */
export class RecentlyUsed<T> {
  private entries = new Map<string, { value: T; bytes: number }>();
  private bytes = 0;

  constructor(
    private most: number,
    private dropped: (value: T) => void,
  ) {}

  get(key: string): T | undefined {
    const entry = this.entries.get(key);
    if (!entry) return undefined;
    this.entries.delete(key);
    this.entries.set(key, entry);
    return entry.value;
  }

  put(key: string, value: T, bytes: number) {
    this.drop(key);
    this.entries.set(key, { value, bytes });
    this.bytes += bytes;
    for (const oldest of this.entries.keys()) {
      if (this.bytes <= this.most || oldest === key) break;
      this.drop(oldest);
    }
  }

  clear() {
    for (const key of [...this.entries.keys()]) this.drop(key);
  }

  private drop(key: string) {
    const entry = this.entries.get(key);
    if (!entry) return;
    this.entries.delete(key);
    this.bytes -= entry.bytes;
    this.dropped(entry.value);
  }
}
