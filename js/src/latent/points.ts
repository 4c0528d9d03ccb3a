// Where the drawn points are on the page, and which one is under the pointer.
import { floats, ints } from "../shared/codec";
import type { PointsMessage } from "./python_state";

export interface Points {
  positions: Float32Array;
  rows: Int32Array;
  bounds: PointsMessage["bounds"];
  /** Which item is in each pixel of an image that fills the plot. */
  image?: { items: Int32Array; rows: number; cols: number };
}

export const readPoints = (message: PointsMessage): Points => ({
  positions: floats(message.positions),
  rows: ints(message.rows),
  bounds: message.bounds,
  ...(message.items && {
    image: { items: ints(message.items), rows: message.items.shape[0], cols: message.items.shape[1] },
  }),
});

/** x and y. */
export type Corner = [number, number];

export interface Box {
  left: number;
  top: number;
  width: number;
  height: number;
}

/** x and y of a point. */
export const placeOf = ({ positions }: Points, point: number): Corner => [
  positions[2 * point],
  positions[2 * point + 1],
];

/** Where a place of the map is on the page, for a plot that fills `box`. */
export function onPage([x0, x1, y0, y1]: Points["bounds"], [x, y]: Corner, box: Box) {
  return {
    x: box.left + ((x - x0) / (x1 - x0)) * box.width,
    y: box.top + (1 - (y - y0) / (y1 - y0)) * box.height,
  };
}

/** Whether a position on the page is in `box`. */
export const isIn = ({ left, top, width, height }: Box, { x, y }: { x: number; y: number }) =>
  x >= left && x <= left + width && y >= top && y <= top + height;

/** The point nearest to a position on the page, if it is within `radius` px; -1 otherwise. */
export function nearest(points: Points, x: number, y: number, box: Box, radius: number): number {
  let found = -1;
  let best = radius * radius;
  for (let i = 0; i < points.rows.length; i++) {
    const position = onPage(points.bounds, placeOf(points, i), box);
    const square = (position.x - x) ** 2 + (position.y - y) ** 2;
    if (square <= best) {
      best = square;
      found = i;
    }
  }
  return found;
}

/** The item in the pixel of the image nearest to a position on the page, within `radius` px, and where that is. */
export function nearestInImage({ image }: Points, x: number, y: number, box: Box, radius: number) {
  if (!image?.items.length) return null;
  const { items, rows, cols } = image;
  const [width, height] = [box.width / cols, box.height / rows];
  const [across, down] = [(x - box.left) / width, (y - box.top) / height];
  let found: { item: number; x: number; y: number } | null = null;
  let best = radius * radius;
  const first = Math.max(0, Math.floor(down - radius / height));
  const last = Math.min(rows - 1, Math.floor(down + radius / height));
  for (let row = first; row <= last; row++) {
    const end = Math.min(cols - 1, Math.floor(across + radius / width));
    for (let col = Math.max(0, Math.floor(across - radius / width)); col <= end; col++) {
      const item = items[row * cols + col];
      if (item < 0) continue;
      const square = ((col + 0.5 - across) * width) ** 2 + ((row + 0.5 - down) * height) ** 2;
      if (square > best) continue;
      best = square;
      found = { item, x: box.left + (col + 0.5) * width, y: box.top + (row + 0.5) * height };
    }
  }
  return found;
}
