// @vitest-environment jsdom
// What is seen where discs lie over one another: their mean, or the one that changes most.
import { describe, expect, it } from "vitest";
import widget from "../src/hdm_explorer";
import type { Grid } from "../src/shared/geometry";
import { blended, colorize, meanValues, painting, range } from "../src/shared/paint";
import { bits, explorerState } from "./explorer_state";
import { doublesMessage, FakeModel, rest, show } from "./fake_model";
import { drawnOnCanvases, settings } from "./shown_maps";

const { NaN: missing, POSITIVE_INFINITY: infinite } = Number;
const of = (...values: number[]) => Float64Array.from(values);
// One apart, 2 px wide: every pixel but those of the first row and column lies under four discs.
const grid: Grid = { height: 3, width: 3, circleSize: 1, offset: 1 };
const SQUARE = Int32Array.of(0, 2, 0, 2);

const RAMP = Uint8Array.from({ length: 768 }, (_, index) => Math.floor(index / 3));

describe("the mean of the discs over a pixel", () => {
  it("is that of all discs which have a value", () => {
    const means = meanValues(of(4, 0, 2, 8, missing, 1, 0, 3, 5), grid, SQUARE, grid);
    expect([...means]).toEqual([4, 2, 1, 6, 4, 1, 4, 11 / 3, 3]);
  });

  it("is infinite where one of them is, and nothing where there is none", () => {
    const means = meanValues(
      of(infinite, 1, missing, missing, 1, 1, missing, missing, 1),
      grid,
      SQUARE,
      grid,
    );
    expect([...means]).toEqual([infinite, infinite, 1, infinite, infinite, 1, missing, 1, 1]);
  });

  it("forgets the discs that end before a pixel", () => {
    const apart: Grid = { height: 1, width: 6, circleSize: 1, offset: 1 };
    const means = meanValues(of(1e17, 1, missing, missing, 3, 3), apart, Int32Array.of(0, 2), apart);
    expect([...means].slice(4)).toEqual([3, 3]);
  });

  it("is drawn round and larger on a larger canvas, and at the centers of a smaller one", () => {
    const one: Grid = { height: 4, width: 4, circleSize: 3, offset: 4 };
    const disc = Int32Array.of(1, 3, 0, 4, 0, 4, 1, 3);
    const large = meanValues(of(7), one, disc, { height: 32, width: 32 });
    expect(large.filter((value) => value === 7).length / 64).toBeCloseTo(Math.PI * 4, 0);
    expect([...meanValues(of(7), one, disc, { height: 2, width: 2 })]).toEqual([7, 7, 7, missing]);
  });
});

describe("a painting", () => {
  const map = { grid, disc: SQUARE, baseline: 2 };
  const values = of(2, 2, 2, 2, 10, 2, 2, 2, 2);

  it("of means has for each pixel its own value, and how much that changes", () => {
    const { top, values: shown, weights, largest } = painting("mean", values, map, "raw", grid);
    expect([...shown]).toEqual([2, 2, 2, 2, 4, 4, 2, 4, 4]);
    expect([...top]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
    expect([...weights]).toEqual([0, 0, 0, 0, 1, 1, 0, 1, 1]);
    expect(largest).toBe(2);
  });

  it("of what changes most has for each pixel a disc", () => {
    const { top, weights, largest } = painting("change", values, map, "raw", grid);
    expect([4, 5, 7, 8].map((pixel) => top[pixel])).toEqual([4, 4, 4, 4]);
    expect(weights[4]).toBe(1);
    expect(largest).toBe(8);
  });

  it("has the colors of the bar's range, that of single discs", () => {
    const painted = painting("mean", values, map, "raw", grid);
    const colors = new Uint8Array(colorize(painted, range(values), RAMP, 1).buffer);
    // (4 - 2) / (10 - 2) of 256.
    expect(colors[4 * 4]).toBe(64);
  });
});

describe("a color bar", () => {
  it("has hardly a color where the map has none", () => {
    const table = new Uint8Array(768).fill(0);
    const bar = blended(table, 1, (value) => Math.abs(value - 5) / 5, { low: 0, high: 10 });
    const ground = Math.round(127.5 + 127.5 * 0.7);
    expect([bar[0], bar[767]]).toEqual([0, 0]);
    expect(bar[3 * 128]).toBeGreaterThan(0.85 * ground);
    // From a fifth of the largest change on the color is full.
    expect(bar[3 * Math.ceil(0.61 * 256)]).toBe(0);
  });
});

describe("the explorer", () => {
  const put = drawnOnCanvases();
  const state = (more: object) => ({
    ...explorerState(),
    status: "done",
    offset: 4,
    opacity: 1,
    _color_tables: { Blues: new DataView(RAMP.buffer) },
    _scanned: { ...settings, offset: 4 },
    _map: {
      ...(explorerState()._map as object),
      offset: 4,
      values: doublesMessage(...Array.from({ length: 16 }, (_, cell) => (cell === 5 ? 40 : 1))),
      measured: bits(0xff, 0xff),
      valued: bits(0xff, 0xff),
      drawn: bits(0xff, 0xff),
      done: 16,
      total: 16,
    },
    ...more,
  });
  const radios = (el: ParentNode) =>
    [...el.querySelectorAll<HTMLLabelElement>(".hdm-choice label")].filter((label) =>
      ["Averaged", "Largest on top"].includes(label.textContent ?? ""),
    );

  it("paints means or the largest change, as its control says", async () => {
    const model = new FakeModel(state({ order: "mean" }));
    const { el, stop } = show(widget, model);
    await rest();
    const colors = () => {
      const { image } =
        put()
          .filter(({ canvas }) => canvas.getAttribute("aria-label") === "Distances")
          .at(-1) ?? {};
      return new Set(new Uint32Array(image?.data.buffer ?? new ArrayBuffer(0))).size;
    };
    const means = colors();
    const [averaged, largest] = radios(el).map((label) => label.querySelector("input") as HTMLInputElement);
    expect([averaged.checked, largest.checked]).toEqual([true, false]);
    expect(averaged.closest("[role=radiogroup]")?.getAttribute("aria-labelledby")).toBeTruthy();
    largest.click();
    expect(model.get("order")).toBe("change");
    await rest();
    // A color for the disc, and the lightened ground; means have more than these.
    expect(means).toBeGreaterThan(colors());
    expect(colors()).toBe(2);
    stop();
  });

  it("has no such control where discs do not overlap", () => {
    const model = new FakeModel(explorerState());
    const { el, stop } = show(widget, model);
    // 9 px wide discs, 8 px apart, share a row of pixels.
    expect(radios(el)).toHaveLength(2);
    stop();
    const apart = show(widget, new FakeModel({ ...explorerState(), offset: 9 }));
    expect(radios(apart.el)).toHaveLength(0);
    apart.stop();
  });
});
