import { describe, expect, it } from "vitest";
import { coarseRuns, fineRuns, maskGrid, placed } from "../src/hdm/large";
import {
  besideDisc,
  covers,
  masksOf,
  panned,
  RecentlyUsed,
  showing,
  tilesOf,
  WHOLE,
  zoomed,
} from "../src/hdm/zoom";

const SIZE = { height: 5000, width: 5000 };

describe("zooming", () => {
  it("keeps the image's point under the pointer", () => {
    const once = zoomed(WHOLE, 2, 0.25, 0.5, SIZE);
    expect(once).toEqual({ scale: 2, x: 0.125, y: 0.25 });
    const twice = zoomed(once, 2, 0.25, 0.5, SIZE);
    expect([twice.x + 0.25 / twice.scale, twice.y + 0.5 / twice.scale]).toEqual([0.25, 0.5]);
  });
  it("ends at the whole image and at 64 pixels", () => {
    expect(zoomed({ scale: 2, x: 0.5, y: 0 }, 0.1, 0.5, 0.5, SIZE)).toEqual(WHOLE);
    expect(zoomed(WHOLE, 1e6, 0.5, 0.5, SIZE).scale).toBe(5000 / 64);
  });
  it("drags no further than to the border", () => {
    const zoom = { scale: 4, x: 0.5, y: 0.5 };
    expect(panned(zoom, 0.4, -0.4)).toEqual({ scale: 4, x: 0.4, y: 0.6 });
    expect(panned(zoom, 9, -9)).toEqual({ scale: 4, x: 0, y: 0.75 });
  });
  it("moves only for what is out of view", () => {
    const zoom = { scale: 2, x: 0.2, y: 0.2 };
    expect(showing(zoom, 0.5, 0.4)).toEqual(zoom);
    expect(showing(zoom, 0.9, 0.05)).toEqual({ scale: 2, x: expect.closeTo(0.45), y: 0 });
  });
});

describe("tiles", () => {
  it("are none where the first image is fine enough", () => {
    expect(tilesOf(WHOLE, SIZE, 4, 600)).toEqual([]);
    expect(tilesOf(WHOLE, { height: 100, width: 100 }, 1, 600)).toEqual([]);
  });
  it("are those in view with a ring around them, in the level of the screen's pixels", () => {
    // 1250 px of the image on 625 px: level 1, whose tiles are 512 px wide.
    const tiles = tilesOf({ scale: 4, x: 0.5, y: 0 }, SIZE, 4, 625);
    expect(new Set(tiles.map(({ level }) => level))).toEqual(new Set([1]));
    expect([...new Set(tiles.map(({ row }) => row))]).toEqual([0, 1, 2, 3]);
    expect([...new Set(tiles.map(({ col }) => col))]).toEqual([3, 4, 5, 6, 7, 8]);
  });
  it("lie in the image", () => {
    const tiles = tilesOf({ scale: 10, x: 0.9, y: 0.9 }, SIZE, 4, 600);
    expect(Math.max(...tiles.map(({ level, col }) => col * 256 * 2 ** level))).toBeLessThan(5000);
    expect(tiles.at(-1)).toEqual({ level: 0, row: 19, col: 19 });
  });
});

it("what was not used for the longest time is dropped first", () => {
  const dropped: string[] = [];
  const cache = new RecentlyUsed<string>(30, (value) => dropped.push(value));
  for (const name of ["a", "b", "c"]) cache.put(name, name, 10);
  expect(cache.get("a")).toBe("a");
  cache.put("d", "d", 10);
  expect(dropped).toEqual(["b"]);
  expect(cache.get("b")).toBeUndefined();
  cache.put("e", "e", 40);
  expect(cache.get("e")).toBe("e");
  expect(dropped).toEqual(["b", "c", "a", "d"]);
  cache.clear();
  expect(dropped.at(-1)).toBe("e");
});

describe("masks of a large image", () => {
  const about = { height: 5, width: 7, step: 2 };
  it("have halved sides, with what is left at the border", () => {
    expect(maskGrid(about)).toEqual({ height: 3, width: 4 });
  });
  it("have outlines and runs in pixels of the image", () => {
    expect(placed("M0 1H12V3", 2)).toBe("M0 2H24V6");
    expect(placed("M0 1H12M3 4V5", 2, 100, 10)).toBe("M10 102H34M16 108V110");
    expect(fineRuns([1, 0, 2, 2, 3, 4], about)).toEqual([2, 0, 4, 3, 0, 4, 4, 6, 7]);
    expect(coarseRuns([2, 1, 4, 4, 6, 7], about)).toEqual([1, 0, 2, 2, 3, 4]);
  });
  it("are those of the image at step 1", () => {
    const same = { height: 5, width: 7 };
    expect(maskGrid(same)).toEqual(same);
    expect(placed("M0 1H12V3", 1)).toBe("M0 1H12V3");
    expect(fineRuns([2, 1, 4], same)).toEqual([2, 1, 4]);
    expect(coarseRuns([2, 1, 4], same)).toEqual([2, 1, 4]);
  });
});

describe("masks in view", () => {
  it.each([
    [1, null],
    [4.1, null],
    [4.5, 1],
    [8, 1],
    [9, 0],
    [50, 0],
  ])("at scale %d are of level %s", (scale, level) => {
    const zoom = { scale, x: 0.3, y: 0.5 };
    const part = masksOf(zoom, SIZE, 4, 600);
    expect(part?.level ?? null).toBe(level);
    if (!part) return;
    const side = 2 ** part.level;
    // At most one for each pixel of the screen in view, and not much around.
    expect(5000 / scale / side).toBeLessThanOrEqual(600);
    expect(part.width).toBeLessThanOrEqual((5000 / scale) * 1.5 + 4 * side);
    expect([part.top % side, part.left % side]).toEqual([0, 0]);
    expect(covers(part, zoom, SIZE)).toBe(true);
    expect(covers(part, { ...zoom, x: 0.3 + 0.5 / scale }, SIZE)).toBe(false);
    expect(covers(part, WHOLE, SIZE)).toBe(false);
  });
  it("end at the image's border", () => {
    const part = masksOf({ scale: 10, x: 0.9, y: 0 }, SIZE, 4, 600);
    expect(part).toMatchObject({ top: 0, level: 0 });
    expect((part?.left ?? 0) + (part?.width ?? 0)).toBe(5000);
  });
});

it.each([
  // Of the whole image the middle parts left from right; zoomed, that of the view does.
  ["to the right of a disc on the left", WHOLE, 0.2, 0.1, [true, expect.closeTo(0.3)]],
  ["to the left of a disc on the right", WHOLE, 0.7, 0.1, [false, expect.closeTo(0.6)]],
  [
    "in the view, of a disc at its right",
    { scale: 4, x: 0.1, y: 0 },
    0.3,
    0.05,
    [false, expect.closeTo(0.25)],
  ],
  [
    "in the view, of a disc at its left",
    { scale: 4, x: 0.6, y: 0 },
    0.65,
    0.02,
    [true, expect.closeTo(0.67)],
  ],
  [
    "over a disc that is larger than the view",
    { scale: 10, x: 0.4, y: 0 },
    0.43,
    0.2,
    [true, expect.closeTo(0.46)],
  ],
  ["over such a disc at the right", { scale: 10, x: 0.4, y: 0 }, 0.48, 0.2, [false, expect.closeTo(0.44)]],
] as const)("a text is %s", (_, zoom, middle, radius, expected) => {
  expect(besideDisc(zoom, middle, radius)).toEqual(expected);
});
