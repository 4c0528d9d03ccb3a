import { describe, expect, it } from "vitest";
import type { Grid } from "../src/shared/geometry";
import {
  colourise,
  emphasis,
  paintingOrder,
  paintingScale,
  range,
  relative,
  share,
  topmostCells,
} from "../src/shared/paint";

const { NaN: missing, POSITIVE_INFINITY: infinite } = Number;

describe("relative", () => {
  const values = Float32Array.of(1, 3, 5, missing);

  it("keeps raw distances", () => {
    expect([...relative(values, 3, "raw")]).toEqual([1, 3, 5, missing]);
  });
  it("counts what came nearer to the truth", () => {
    expect([...relative(values, 3, "better")]).toEqual([2, 0, 0, missing]);
  });
  it("counts what went farther", () => {
    expect([...relative(values, 3, "worse")]).toEqual([0, 0, 2, missing]);
  });
});

describe("range and share", () => {
  it("leave out what is missing or infinite", () => {
    expect(range(Float32Array.of(missing, 4, infinite, 2))).toEqual({ low: 2, high: 4 });
    expect(range(Float32Array.of(missing))).toBeNull();
  });
  it("run from 0 to 1", () => {
    const span = { low: 2, high: 4 };
    expect([2, 2.5, 4, infinite].map((value) => share(value, span))).toEqual([0, 0.25, 1, 1]);
  });
  it("are 0 for a constant map, without a division by zero", () => {
    expect(share(7, { low: 7, high: 7 })).toBe(0);
    expect(share(7, null)).toBe(0);
  });
});

it("paints from the smallest to the largest, equal values in reading order, nothing that is missing", () => {
  expect([...paintingOrder(Float32Array.of(3, 1, missing, 3, 0, 1))]).toEqual([4, 1, 5, 0, 3]);
});

describe("topmostCells", () => {
  // Discs of 2 x 2 pixels, one apart: every one reaches over its right and lower neighbour.
  const grid: Grid = { height: 3, width: 3, circleSize: 1, offset: 1 };

  it("puts the larger value on top and cuts at the picture's border", () => {
    const values = Float32Array.of(9, 1, 1, 1, 5, 1, 1, 1, 2);
    expect([...topmostCells(values, grid, 1)]).toEqual([0, 0, 2, 0, 0, 4, 6, 4, 4]);
  });

  it("shows a disc that improves the mask, though those that change nothing have the larger distance", () => {
    const values = Float32Array.of(9, 9, 9, 9, 5, 9, 9, 9, 9);
    const top = topmostCells(emphasis(values, 9, "raw"), grid, 1, values);
    expect([...top]).toEqual([0, 1, 2, 3, 4, 4, 6, 4, 4]);
  });

  it("puts the larger of two values of equal weight on top, infinity too", () => {
    const values = Float32Array.of(Number.POSITIVE_INFINITY, 1, 1, 1, 5, 1, 1, 1, 1);
    const top = topmostCells(emphasis(values, 1, "worse"), grid, 1, values);
    expect([...top].slice(0, 5)).toEqual([0, 0, 2, 0, 0]);
  });

  it("leaves pixels without a disc empty", () => {
    const values = new Float32Array(9).fill(missing);
    values[4] = 0;
    // prettier-ignore
    expect([...topmostCells(values, grid, 1)]).toEqual([-1, -1, -1, -1, 4, 4, -1, 4, 4]);
  });

  it("draws round discs when enlarged", () => {
    const one: Grid = { height: 4, width: 4, circleSize: 3, offset: 4 };
    const top = topmostCells(Float32Array.of(1), one, 1);
    // prettier-ignore
    expect([...top].map((cell) => cell + 1)).toEqual([0, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 0]);
    const covered = topmostCells(Float32Array.of(1), one, 8).filter((cell) => cell === 0).length;
    expect(covered / 8 ** 2).toBeCloseTo(Math.PI * 2 ** 2, 0);
  });
});

it("bounds the work of painting and never draws below the picture's own size", () => {
  expect(paintingScale({ height: 128, width: 128, circleSize: 15, offset: 5 })).toBe(8);
  expect(paintingScale({ height: 128, width: 128, circleSize: 15, offset: 5 }, 512)).toBe(4);
  expect(paintingScale({ height: 400, width: 400, circleSize: 25, offset: 5 })).toBe(2);
  expect(paintingScale({ height: 400, width: 400, circleSize: 80, offset: 1 })).toBe(1);
});

describe("emphasis", () => {
  it("is the change from the baseline for raw distances", () => {
    expect([...emphasis(Float32Array.of(8, 10, 9, missing), 9, "raw")]).toEqual([1, 1, 0, missing]);
    expect([...emphasis(Float32Array.of(0, 2, 8), 0, "raw")]).toEqual([0, 0.25, 1]);
  });
  it("is the value itself where that is a change already", () => {
    expect([...emphasis(Float32Array.of(0, 3, 4), 9, "worse")]).toEqual([0, 0.75, 1]);
  });
  it("is 0 where no disc changes anything", () => {
    expect([...emphasis(Float32Array.of(7, 7), 7, "raw")]).toEqual([0, 0]);
  });
});

it("colours by value, with an opacity that grows with the emphasis", () => {
  const table = new Uint8Array(768);
  table.set([10, 20, 30], 0);
  table.set([200, 210, 220], 3 * 255);
  const values = Float32Array.of(5, 9, missing);
  const weights = Float32Array.of(1, 0, 0);
  const pixels = colourise(Int32Array.of(0, 1, -1), values, { low: 5, high: 9 }, table, weights);
  expect([...pixels]).toEqual([10, 20, 30, 255, 200, 210, 220, 0, 0, 0, 0, 0]);
});
