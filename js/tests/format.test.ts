import { expect, it } from "vitest";
import { count, distance, duration, noMask, ticks } from "../src/shared/format";

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

it("knows the distance that stands for an empty mask", () => {
  const picture = { height: 3, width: 4 };
  expect(noMask(picture, 5, "px")).toBe(true);
  expect(noMask(picture, Math.hypot(2, 3), "px")).toBe(false);
  expect(noMask(picture, 5, "")).toBe(false);
});

it("marks the ends of a range and round numbers between them", () => {
  expect(ticks(0, 52)).toEqual([0, 20, 40, 52]);
  expect(ticks(0, 181.02)).toEqual([0, 50, 100, 181.02]);
  expect(ticks(-3, 52)).toEqual([-3, 20, 40, 52]);
  expect(ticks(3, 3)).toEqual([3]);
});
