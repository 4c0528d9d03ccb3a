// Where the drawn points are on the page, and which one is under the pointer.
import { floats, ints } from "../shared/codec";
import type { PointsMessage } from "./python_state";

export interface Points {
  positions: Float32Array;
  rows: Int32Array;
  bounds: PointsMessage["bounds"];
}

export const readPoints = (message: PointsMessage): Points => ({
  positions: floats(message.positions),
  rows: ints(message.rows),
  bounds: message.bounds,
});

interface Box {
  left: number;
  top: number;
  width: number;
  height: number;
}

/** A point's position on the page, for a plot that fills `box`. */
export function onPage({ positions, bounds: [x0, x1, y0, y1] }: Points, point: number, box: Box) {
  return {
    x: box.left + ((positions[2 * point] - x0) / (x1 - x0)) * box.width,
    y: box.top + (1 - (positions[2 * point + 1] - y0) / (y1 - y0)) * box.height,
  };
}

/** The point nearest to a position on the page, if it is within `radius` px; -1 otherwise. */
export function nearest(points: Points, x: number, y: number, box: Box, radius: number): number {
  let found = -1;
  let best = radius * radius;
  for (let i = 0; i < points.rows.length; i++) {
    const position = onPage(points, i, box);
    const square = (position.x - x) ** 2 + (position.y - y) ** 2;
    if (square <= best) {
      best = square;
      found = i;
    }
  }
  return found;
}
