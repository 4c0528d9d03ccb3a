import { describe, expect, it } from "vitest";
import { nearest, onPage, type Points, placeOf, readPoints } from "../src/latent/points";
import { floatsMessage, intsMessage } from "./fake_model";

// A plot from 0 to 10 across and from -1 to 1 up, 200 x 100 px of the page at (50, 20).
const box = { left: 50, top: 20, width: 200, height: 100 };
const points: Points = {
  positions: Float32Array.of(0, -1, 10, 1, 5, 0, 5, 0.5),
  rows: Int32Array.of(3, 8, 21, 40),
  bounds: [0, 10, -1, 1],
};

it("reads points from a message", () => {
  const message = {
    positions: floatsMessage(1, 2, 3, 4),
    rows: intsMessage(7, 9),
    bounds: [0, 1, 2, 3] as Points["bounds"],
  };
  const read = readPoints(message);
  expect([...read.positions]).toEqual([1, 2, 3, 4]);
  expect([...read.rows]).toEqual([7, 9]);
  expect(read.bounds).toEqual([0, 1, 2, 3]);
});

it("knows where a point is on the page: the second component grows upwards", () => {
  expect(onPage(points.bounds, placeOf(points, 0), box)).toEqual({ x: 50, y: 120 });
  expect(onPage(points.bounds, placeOf(points, 1), box)).toEqual({ x: 250, y: 20 });
  expect(onPage(points.bounds, placeOf(points, 2), box)).toEqual({ x: 150, y: 70 });
  expect(onPage(points.bounds, placeOf(points, 3), box)).toEqual({ x: 150, y: 45 });
});

describe("the nearest point", () => {
  it("is found from anywhere within reach", () => {
    expect(nearest(points, 150, 70, box, 12)).toBe(2);
    expect(nearest(points, 158, 62, box, 12)).toBe(2);
    expect(nearest(points, 150, 56, box, 12)).toBe(3);
    expect(nearest(points, 52, 118, box, 12)).toBe(0);
  });

  it("may be as far as the reach and no farther", () => {
    expect(nearest(points, 162, 70, box, 12)).toBe(2);
    expect(nearest(points, 162.1, 70, box, 12)).toBe(-1);
    expect(nearest(points, 159, 79, box, 12)).toBe(-1); // 9 across and 9 down are more than 12
    expect(nearest(points, 0, 0, box, 12)).toBe(-1);
  });

  it("is the one on top where two are at the same place", () => {
    const two: Points = { ...points, positions: Float32Array.of(5, 0, 5, 0), rows: Int32Array.of(1, 2) };
    expect(nearest(two, 150, 70, box, 12)).toBe(1);
  });

  it("is none where there are no points", () => {
    const none: Points = { ...points, positions: new Float32Array(0), rows: new Int32Array(0) };
    expect(nearest(none, 150, 70, box, 12)).toBe(-1);
  });
});
