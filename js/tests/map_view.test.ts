import { describe, expect, it } from "vitest";
import { fractions, panned, zoomed } from "../src/latent/map_view";
import { nearestInImage, readPoints } from "../src/latent/points";
import { floatsMessage, intsMessage } from "./fake_model";

// A plot of 200 x 100 px of the page at (50, 20).
const box = { left: 50, top: 20, width: 200, height: 100 };

describe("a view", () => {
  it("is zoomed around a position, which stays where it is", () => {
    expect(zoomed([0, 10, -1, 1], 0.5)).toEqual([2.5, 7.5, -0.5, 0.5]);
    expect(zoomed([0, 10, -1, 1], 0.5, [0, 1])).toEqual([0, 5, 0, 1]);
    expect(zoomed([2, 4, 0, 1], 2, [0.5, 0])).toEqual([1, 5, 0, 2]);
  });

  it("is moved by fractions of itself", () => {
    expect(panned([0, 10, -1, 1], [0.2, -0.5])).toEqual([2, 12, -2, 0]);
  });

  it("has its lower left corner at 0, 0", () => {
    expect(fractions(box, 50, 120)).toEqual([0, 0]);
    expect(fractions(box, 150, 20)).toEqual([0.5, 1]);
  });
});

describe("the item under the pointer", () => {
  // Pixels of 50 x 50 px: item 7 in the middle of the upper row, item 9 at the right end of the lower one.
  const points = readPoints({
    positions: floatsMessage(),
    rows: intsMessage(),
    bounds: [0, 1, 0, 1],
    items: { ...intsMessage(-1, 7, -1, -1, -1, -1, -1, 9), shape: [2, 4] },
  });

  it("is that of the nearest pixel with an item, at its middle", () => {
    expect(nearestInImage(points, 120, 40, box, 12)).toEqual({ item: 7, x: 125, y: 45 });
    expect(nearestInImage(points, 235, 100, box, 12)).toEqual({ item: 9, x: 225, y: 95 });
  });

  it("is none where none is near, or there is no image", () => {
    expect(nearestInImage(points, 60, 110, box, 12)).toBeNull();
    const { image: _, ...none } = points;
    expect(nearestInImage(none, 120, 40, box, 12)).toBeNull();
  });
});
