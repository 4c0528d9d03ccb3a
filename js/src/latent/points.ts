// The drawn points in the page: which one is under the pointer.
import { type ArrayMessage, floats, ints } from "../shared/codec";

export interface PointsMessage {
  places: ArrayMessage;
  rows: ArrayMessage;
  /** x0, x1, y0, y1 of the plot. */
  bounds: [number, number, number, number];
}

export interface Points {
  places: Float32Array;
  rows: Int32Array;
  bounds: PointsMessage["bounds"];
}

export const readPoints = (message: PointsMessage): Points => ({
  places: floats(message.places),
  rows: ints(message.rows),
  bounds: message.bounds,
});

interface Box {
  left: number;
  top: number;
  width: number;
  height: number;
}

/** A point's place on the page, for a plot that fills `box`. */
export function onPage({ places, bounds: [x0, x1, y0, y1] }: Points, point: number, box: Box) {
  return {
    x: box.left + ((places[2 * point] - x0) / (x1 - x0)) * box.width,
    y: box.top + (1 - (places[2 * point + 1] - y0) / (y1 - y0)) * box.height,
  };
}

/** The point nearest to a place on the page, if it is within `reach` px; -1 otherwise. */
export function nearest(points: Points, x: number, y: number, box: Box, reach: number): number {
  let found = -1;
  let best = reach * reach;
  for (let i = 0; i < points.rows.length; i++) {
    const place = onPage(points, i, box);
    const square = (place.x - x) ** 2 + (place.y - y) ** 2;
    if (square <= best) {
      best = square;
      found = i;
    }
  }
  return found;
}
