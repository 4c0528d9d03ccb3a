import { describe, expect, it } from "vitest";
import { rankByKey } from "../src/latent/card_keys";
import { HIGHEST, placed, scrolledTo } from "../src/latent/virtual_rows";

const VIEW = 400;
// A million items, three in a row of 78 px.
const TOTAL = 333_334 * 78;
const END = TOTAL - VIEW;
const LAST = HIGHEST - VIEW;

describe("the scroll bar of rows that fit into an element", () => {
  it("is the browser's own", () => {
    expect(placed(1234, 5000, VIEW)).toEqual({ at: 1234, top: 1234 });
    expect(placed(9999, 5000, VIEW)).toEqual({ at: 4600, top: 4600 });
    expect(placed(-5, 5000, VIEW)).toEqual({ at: 0, top: 0 });
    expect(scrolledTo({ at: 0, top: 0 }, 4600, 5000, VIEW)).toEqual({ at: 4600, top: 4600 });
    expect(placed(10, 300, VIEW)).toEqual({ at: 0, top: 0 });
  });
});

describe("the scroll bar of more rows than an element can have", () => {
  it("is in proportion", () => {
    expect(placed(0, TOTAL, VIEW)).toEqual({ at: 0, top: 0 });
    expect(placed(END, TOTAL, VIEW)).toEqual({ at: END, top: LAST });
    expect(placed(END / 2, TOTAL, VIEW)).toEqual({ at: END / 2, top: LAST / 2 });
  });

  it("leads to the same fraction of the rows when it is dragged", () => {
    for (const fraction of [0, 0.1, 0.5, 0.99, 1]) {
      const from = placed(END * (fraction > 0.5 ? 0 : 1), TOTAL, VIEW);
      expect(scrolledTo(from, LAST * fraction, TOTAL, VIEW).at).toBeCloseTo(END * fraction, 3);
    }
  });

  it("moves the rows by as much as a wheel turns", () => {
    const from = placed(5_000_000, TOTAL, VIEW);
    for (const step of [120, -120, 1, 1500]) {
      expect(scrolledTo(from, from.top + step, TOTAL, VIEW)).toEqual({
        at: 5_000_000 + step,
        top: from.top + step,
      });
    }
  });

  it.each([
    [1, "the last row"],
    [-1, "the first row"],
  ])("leaves no row out when it is turned, %i, to %s", (direction) => {
    let state = placed(direction > 0 ? END - 20_000 : 20_000, TOTAL, VIEW);
    let turns = 0;
    const goal = direction > 0 ? END : 0;
    while (state.at !== goal && turns++ < 1000) {
      const before = state.at;
      const top = Math.min(LAST, Math.max(0, state.top + direction * 100));
      state = scrolledTo(state, top, TOTAL, VIEW);
      expect(Math.abs(state.at - before)).toBeLessThanOrEqual(VIEW);
    }
    // 200 turns of 100 px, and those that the end of the bar cut short.
    expect(turns).toBeLessThan(260);
    expect(state).toEqual(placed(goal, TOTAL, VIEW));
  });
});

describe("keys", () => {
  const cards = { first: 30, perRow: 3, page: 12, count: 100 };
  it.each([
    ["ArrowRight", 50, 51],
    ["ArrowLeft", 50, 49],
    ["ArrowUp", 50, 47],
    ["ArrowDown", 50, 53],
    ["PageUp", 50, 38],
    ["PageDown", 50, 62],
    ["Home", 50, 0],
    ["End", 50, 99],
    // At the ends.
    ["ArrowLeft", 0, 0],
    ["ArrowUp", 2, 2],
    ["PageUp", 7, 1],
    ["ArrowRight", 99, 99],
    ["ArrowDown", 97, 99],
    ["ArrowDown", 99, 99],
    ["PageDown", 92, 99],
    // From the frame itself.
    ["ArrowDown", null, 30],
    ["PageUp", null, 30],
    ["End", null, 99],
    ["Home", null, 0],
    // Not ours.
    ["Enter", 50, null],
    ["w", 50, null],
  ])("%s leads from %s to %s", (key, from, to) => {
    expect(rankByKey(key, from, cards)).toBe(to);
  });

  it("stay in the column where the last row is full", () => {
    expect(rankByKey("ArrowDown", 97, { ...cards, count: 99 })).toBe(97);
    expect(rankByKey("ArrowDown", 94, { ...cards, count: 99 })).toBe(97);
  });
});
