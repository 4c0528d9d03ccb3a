import { describe, expect, it } from "vitest";
import type { Grid, Size } from "../src/shared/geometry";
import {
  blended,
  canvasSize,
  changes,
  colorize,
  diverging,
  emphasis,
  fraction,
  paintingOrder,
  range,
  relative,
  topmostCells,
} from "../src/shared/paint";

const { NaN: missing, POSITIVE_INFINITY: infinite } = Number;
const of = (...values: number[]) => Float64Array.from(values);

describe("relative", () => {
  const values = of(1, 3, 5, missing);

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

describe("range and fraction", () => {
  it("leave out what is missing or infinite", () => {
    expect(range(of(missing, 4, infinite, 2))).toEqual({ low: 2, high: 4 });
    expect(range(of(missing))).toBeNull();
  });
  it("run from 0 to 1", () => {
    const span = { low: 2, high: 4 };
    expect([2, 2.5, 4, infinite].map((value) => fraction(value, span))).toEqual([0, 0.25, 1, 1]);
  });
  it("are 0 for a constant map, without a division by zero", () => {
    expect(fraction(7, { low: 7, high: 7 })).toBe(0);
    expect(fraction(7, null)).toBe(0);
  });
});

describe("the painting order", () => {
  it("is from the smallest to the largest, equal values in reading order, nothing that is missing", () => {
    expect([...paintingOrder(of(3, 1, missing, 3, 0, 1))]).toEqual([4, 1, 5, 0, 3]);
  });

  it("is by change first, then by value, infinity too", () => {
    const values = of(9, infinite, 5, 7, infinite, 9);
    expect([...paintingOrder(changes(values, 7, "raw"), values)]).toEqual([3, 2, 0, 5, 1, 4]);
  });

  it("tells apart what single precision would not", () => {
    const values = of(10 + 1e-9, 10, 10 + 1e-12);
    expect([...paintingOrder(changes(values, 0, "raw"), values)]).toEqual([1, 2, 0]);
  });
});

const asPil = (rows: [number, number][]) => Int32Array.from(rows.flat());
// Discs of 2 x 2 pixels.
const SQUARE = asPil([
  [0, 2],
  [0, 2],
]);
// Discs of 4 x 4 pixels.
const ROUND = asPil([
  [1, 3],
  [0, 4],
  [0, 4],
  [1, 3],
]);

function topmost(values: Float64Array, grid: Grid, disc: Int32Array, size: Size = grid, baseline = 0) {
  return [...topmostCells(paintingOrder(changes(values, baseline, "raw"), values), grid, disc, size)];
}

describe("topmostCells", () => {
  // One apart: every one lies over its right and lower neighbor.
  const grid: Grid = { height: 3, width: 3, circleSize: 1, offset: 1 };

  it("puts the larger change on top and cuts at the image's border", () => {
    expect(topmost(of(9, 1, 1, 1, 5, 1, 1, 1, 2), grid, SQUARE)).toEqual([0, 0, 2, 0, 0, 4, 6, 4, 4]);
  });

  it("shows a disc that improves the mask, though those that change nothing have the larger distance", () => {
    const values = of(9, 9, 9, 9, 5, 9, 9, 9, 9);
    expect(topmost(values, grid, SQUARE, grid, 9)).toEqual([0, 1, 2, 3, 4, 4, 6, 4, 4]);
  });

  it("enlarges discs as round ones, and squares as squares", () => {
    const one: Grid = { height: 8, width: 8, circleSize: 7, offset: 8 };
    const full = Int32Array.from(Array.from({ length: 8 }, () => [0, 8]).flat());
    const round = Int32Array.from([3, 5, 1, 7, 1, 7, 0, 8, 0, 8, 1, 7, 1, 7, 3, 5]);
    const size = { height: 16, width: 16 };
    const missingPixels = (disc: Int32Array) =>
      topmost(of(1), one, disc, size).filter((cell) => cell < 0).length;
    expect(missingPixels(full)).toBe(0);
    // Of a square of 16 px a disc leaves about 1 - pi / 4.
    expect(missingPixels(round)).toBe(256 - 208);
  });

  it("leaves pixels without a disc empty", () => {
    const values = new Float64Array(9).fill(missing);
    values[4] = 1;
    expect(topmost(values, grid, SQUARE)).toEqual([-1, -1, -1, -1, 4, 4, -1, 4, 4]);
  });

  it("draws the disc that Python draws, pixel by pixel", () => {
    const one: Grid = { height: 4, width: 4, circleSize: 3, offset: 4 };
    // Not as a circle would be.
    const odd = asPil([
      [2, 3],
      [0, 4],
      [1, 2],
      [0, 1],
    ]);
    // prettier-ignore
    expect(topmost(of(1), one, odd).map((cell) => cell + 1)).toEqual([
      0, 0, 1, 0, 1, 1, 1, 1, 0, 1, 0, 0, 1, 0, 0, 0,
    ]);
  });

  it("draws round discs of the same diameter where the canvas is larger", () => {
    const one: Grid = { height: 4, width: 4, circleSize: 3, offset: 4 };
    const top = topmost(of(1), one, ROUND, { height: 32, width: 32 });
    expect(top.filter((cell) => cell === 0).length / 8 ** 2).toBeCloseTo(Math.PI * 2 ** 2, 0);
    // They touch all four sides.
    const edges = [top.slice(0, 32), top.slice(-32)];
    expect(edges.every((line) => line.includes(0))).toBe(true);
    expect([top[16 * 32], top[16 * 32 + 31]]).toEqual([0, 0]);
  });

  it("shows the pixels of the image at the centers of its own where the canvas is smaller", () => {
    const large: Grid = { height: 60, width: 90, circleSize: 3, offset: 2 };
    const values = Float64Array.from({ length: 30 * 45 }, (_, i) => (i * 37) % 101);
    const whole = topmost(values, large, ROUND);
    for (const size of [
      { height: 20, width: 30 },
      { height: 37, width: 55 },
      { height: 1, width: 2 },
    ]) {
      const expected = Array.from({ length: size.height * size.width }, (_, i) => {
        const y = Math.floor(((Math.floor(i / size.width) + 0.5) * 60) / size.height);
        const x = Math.floor((((i % size.width) + 0.5) * 90) / size.width);
        return whole[90 * y + x];
      });
      expect(topmost(values, large, ROUND, size)).toEqual(expected);
    }
  });
});

describe("the size of a canvas", () => {
  const square = (side: number, circleSize: number, offset: number) => ({
    height: side,
    width: side,
    circleSize,
    offset,
  });
  const side = (...[grid, wanted]: Parameters<typeof canvasSize>) => canvasSize(grid, wanted).width;

  it("is a multiple of a small image's", () => {
    expect(side(square(128, 15, 5))).toBe(8 * 128);
    expect(side(square(128, 15, 5), 512)).toBe(4 * 128);
    expect(side(square(400, 25, 5))).toBe(2 * 400);
    expect(side(square(600, 25, 5))).toBe(600);
    expect(side(square(400, 80, 1))).toBe(400);
  });

  it("is smaller than a large image's: 4 MB a buffer, not 100", () => {
    const large = { height: 5000, width: 3000, circleSize: 100, offset: 50 };
    expect(canvasSize(large)).toEqual({ height: 1024, width: 614 });
    expect(canvasSize(large, 512)).toEqual({ height: 512, width: 307 });
    expect(canvasSize({ ...large, height: 1, width: 20_000, circleSize: 1, offset: 1 })).toEqual({
      height: 1,
      width: 1024,
    });
  });

  it("is smaller where there are very many discs", () => {
    const size = side(square(1000, 300, 1));
    expect(size).toBe(Math.round((1000 * 15e6) / (1000 * 1000 * 301)));
  });
});

describe("emphasis", () => {
  const of2 = (values: Float64Array, baseline: number, type: "raw" | "worse") =>
    emphasis(changes(values, baseline, type));
  it("is the change from the baseline for raw distances", () => {
    expect([...of2(of(8, 10, 9, missing), 9, "raw")]).toEqual([1, 1, 0, missing]);
    expect([...of2(of(0, 2, 8), 0, "raw")]).toEqual([0, 0.25, 1]);
  });
  it("is the value itself where that is a change already", () => {
    expect([...of2(of(0, 3, 4), 9, "worse")]).toEqual([0, 0.75, 1]);
  });
  it("is 0 where no disc changes anything", () => {
    expect([...of2(of(7, 7), 7, "raw")]).toEqual([0, 0]);
  });
});

/** What is seen of a pixel of a canvas over a pixel of the image. */
function seen([red, green, blue, alpha]: Iterable<number>, ground: number[]): number[] {
  return [red, green, blue].map((value, i) => (value * alpha + ground[i] * (255 - alpha)) / 255);
}

describe("the colors on the stage", () => {
  // The least value is yellow, the largest dark blue.
  const table = new Uint8Array(768);
  for (let i = 0; i < 256; i++) table.set([255 - i, 240 - (i >> 1), 30 + (i >> 1)], 3 * i);
  const paint = (value: number, weight: number, opacity: number) =>
    new Uint8Array(
      colorize(
        { top: Int32Array.of(0), values: of(value), weights: of(weight) },
        { low: 0, high: 181 },
        table,
        opacity,
      ).buffer,
    );
  const grounds = {
    black: [0, 0, 0],
    white: [255, 255, 255],
    red: [200, 20, 20],
    green: [40, 120, 60],
    gray: [127, 127, 127],
  };

  it("are the color table's own where the map is opaque", () => {
    expect([...paint(70, 70 / 181, 1)]).toEqual([...table.subarray(3 * 99, 3 * 99 + 3), 255]);
  });

  it.each(
    Object.entries(grounds).flatMap(([name, ground]) =>
      [0.5, 0.7, 0.9, 1].flatMap((opacity) =>
        [40, 70, 181].map((value) => ({ name, ground, opacity, value })),
      ),
    ),
  )("are the color bar's on $name at opacity $opacity for $value of 181 px", ({ ground, opacity, value }) => {
    const entry = 3 * Math.min(255, Math.floor((value / 181) * 256));
    const bar = blended(table, opacity).subarray(entry, entry + 3);
    const color = seen(paint(value, value / 181, opacity), ground);
    // The image shows through by no more than this.
    const most = 0.5 * 255 * 0.3 * (1 - opacity) + 2;
    color.forEach((channel, i) => {
      expect(Math.abs(channel - bar[i])).toBeLessThanOrEqual(most);
    });
  });

  it.each(Object.entries(grounds))("let a %s image through where nothing changes, lightened", (_, ground) => {
    const light = (channel: number, part: number) => channel + (255 - channel) * part;
    for (const [opacity, part] of [
      [0, 0],
      [0.125, 0.35],
      [0.5, 0.7],
      [1, 0.7],
    ]) {
      const color = seen(paint(0, 0, opacity), ground);
      color.forEach((channel, i) => {
        expect(Math.abs(channel - light(ground[i], part))).toBeLessThanOrEqual(0.5);
      });
    }
  });

  it.each([0, 70, 128, 255])(
    "begin as the bar of an image of gray level %d does, where nothing changes",
    (level) => {
      for (const opacity of [0.125, 0.5, 0.7, 1]) {
        const bar = blended(table, opacity, (value) => value, { low: 0, high: 181 }, level);
        // The bar's first color is that of the middle of the first of 256 steps.
        const step = 181 / 512;
        const color = seen(paint(step, step, opacity), [level, level, level]);
        color.forEach((channel, i) => {
          expect(Math.abs(channel - bar[i])).toBeLessThanOrEqual(1);
        });
      }
    },
  );

  it("fade as the opacity does, down to the image alone", () => {
    expect(seen(paint(181, 1, 0), grounds.green)).toEqual(grounds.green);
    const farther = [0, 0.1, 0.3, 0.6, 1].map((opacity) => {
      const color = seen(paint(181, 1, opacity), grounds.white);
      return Math.abs(color[0] - 255);
    });
    expect(farther).toEqual([...farther].sort((a, b) => a - b));
    expect(new Set(farther.map(Math.round)).size).toBe(5);
  });

  it("grow weaker with the change, and end at none", () => {
    const reds = [0.2, 0.1, 0.05, 0].map((weight) => seen(paint(181, weight, 1), grounds.black)[0]);
    // From the color to the lightened ground.
    const expected = [1, Math.sqrt(0.5), 0.5, 0].map((part) => (1 - part) * 0.7 * 255);
    reds.forEach((red, i) => {
      expect(Math.abs(red - expected[i])).toBeLessThan(1.5);
    });
  });

  it("have none where there is no disc, or no value", () => {
    const painted = { top: Int32Array.of(-1, 0), values: of(missing), weights: of(1) };
    const pixels = colorize(painted, null, table, 0.5);
    expect([...new Uint8Array(pixels.buffer)]).toEqual([255, 255, 255, 179, 255, 255, 255, 179]);
  });

  it("are two for values below 0 and above it", () => {
    const both = diverging(table);
    const at = (i: number) => [...both.subarray(3 * i, 3 * i + 3)];
    expect(at(255)).toEqual([...table.subarray(765)]);
    expect(at(0)).toEqual([...table.subarray(765)].reverse());
    // Nearly 0 from both sides.
    expect(at(128)).toEqual([...table.subarray(3, 6)]);
    expect(at(127)).toEqual([...table.subarray(3, 6)].reverse());
  });
});
