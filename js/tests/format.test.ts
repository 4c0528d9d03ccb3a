import { expect, it } from "vitest";
import { change, count, distance, duration, score, ticks } from "../src/shared/format";

it("writes distances with their unit", () => {
  expect(distance(38.07, "px")).toBe("38.1 px");
  expect(distance(-0.01, "px")).toBe("0.0 px");
  expect(distance(-4, "")).toBe("−4.0");
  expect(distance(Number.POSITIVE_INFINITY, "px")).toBe("∞");
  expect(distance(Number.NaN, "px")).toBe("not defined");
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
  expect([-3, 12.34, 0.04, infinite, none].map((by) => change(by, "px", "none"))).toEqual([
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
