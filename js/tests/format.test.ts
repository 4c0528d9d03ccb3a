import { expect, it } from "vitest";
import {
  change,
  changeClass,
  count,
  distance,
  duration,
  rounded,
  score,
  signed,
  tick,
  tickDecimals,
  ticks,
} from "../src/shared/format";

const PX = { unit: "px", decimals: 1 };

it("writes distances with their unit", () => {
  expect(distance(38.07, PX)).toBe("38.1 px");
  expect(distance(-0.01, PX)).toBe("0.0 px");
  expect(distance(-13559.26, PX)).toBe("−13,559.3 px");
  expect(distance(13559, { unit: "px²", decimals: 0 })).toBe("13,559 px²");
  expect(distance(Number.NEGATIVE_INFINITY, PX)).toBe("−∞");
  expect(distance(-4, { unit: "", decimals: 1 })).toBe("−4.0");
  expect(distance(Number.POSITIVE_INFINITY, PX)).toBe("∞");
  expect(distance(Number.NaN, PX)).toBe("not defined");
  expect([38.07, -0.04, Number.POSITIVE_INFINITY, Number.NaN].map((value) => rounded(value, PX))).toEqual([
    38.1,
    -0,
    Number.POSITIVE_INFINITY,
    Number.NaN,
  ]);
});

it("shows distances of small pixels with more digits", () => {
  const fine = { unit: "units", decimals: 3 };
  expect(distance(0.0123, fine)).toBe("0.012 units");
  expect(distance(0.0004, fine)).toBe("0.000 units");
  expect(distance(-2, fine)).toBe("−2.000 units");
  expect(change(0.01, fine, "none")).toBe("0.010 units worse");
  expect(change(0.0001, fine, "none")).toBe("none");
});

it("writes counts and times for people", () => {
  expect(count(57600)).toBe("57,600");
  expect([0.42, 12.4, 600, 7200].map(duration)).toEqual(["0.4 s", "12 s", "10 min", "2.0 h"]);
});

it("writes scores, and a dash where there is none", () => {
  expect([0.456, 1, "nan", null].map(score)).toEqual(["0.46", "1.00", "–", "–"]);
});

it("says what a change is worth", () => {
  const { NaN: none, POSITIVE_INFINITY: infinite } = Number;
  expect([-3, 12.34, 0.04, infinite, none].map((by) => change(by, PX, "none"))).toEqual([
    "3.0 px better",
    "12.3 px worse",
    "none",
    "∞ worse",
    "not defined",
  ]);
});

it("marks the ends of a range and round numbers between them", () => {
  expect(ticks(0, 52)).toEqual([0, 20, 40, 52]);
  expect(ticks(0, 181.02)).toEqual([0, 50, 100, 181.02]);
  expect(ticks(-3, 52)).toEqual([-3, 20, 40, 52]);
  expect(ticks(3, 3)).toEqual([3]);
});

it.each([
  [-0.2, 0, "0"],
  [-0, 1, "0"],
  [-720, 0, "−720"],
  [0.25, 3, "0.25"],
])("the number %d at a color bar", (value, decimals, text) => {
  expect(tick(value, decimals)).toBe(text);
});

it.each([
  [0, 1.19, 0, ["0", "0.5", "1.2"]],
  [0, 2, 0, ["0", "0.5", "1", "1.5", "2"]],
  [0, 0.4, 0, ["0", "0.1", "0.2", "0.3", "0.4"]],
  [0, 61.3, 0, ["0", "20", "40", "61"]],
  [0, 12.5, 1, ["0", "5", "10", "12.5"]],
])(
  "no two labels of a bar from %d to %d are alike, and each is where it says",
  (low, high, decimals, texts) => {
    const marks = ticks(low, high);
    expect(marks.map((mark) => tick(mark, tickDecimals(marks, decimals)))).toEqual(texts);
  },
);

it("colors a change of a score by what it says of it", () => {
  const changes = [0.05, -0.05, 0.004, -0.004, 0, Number.NaN];
  expect(changes.map((each) => [signed(each), changeClass(each)])).toEqual([
    ["+0.05", "hdm-better"],
    ["−0.05", "hdm-worse"],
    ["±0", ""],
    ["±0", ""],
    ["±0", ""],
    ["–", ""],
  ]);
});
