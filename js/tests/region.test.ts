import { describe, expect, it } from "vitest";
import { brushed, countPixels, fromRuns, objectAt, toRuns } from "../src/hdm/region";

const SIZE = { height: 3, width: 5 };
const mask = (...lines: string[]) => Uint8Array.from([...lines.join("")].map((one) => (one === "#" ? 1 : 0)));
const lines = (values: Uint8Array, width: number) =>
  Array.from({ length: values.length / width }, (_, row) =>
    [...values.slice(row * width, (row + 1) * width)].map((one) => (one ? "#" : ".")).join(""),
  );

describe("runs", () => {
  const one = mask(".##.#", ".....", "#####");
  it("have row, first and past-the-last pixel of each", () => {
    expect(toRuns(one, SIZE)).toEqual([0, 1, 3, 0, 4, 5, 2, 0, 5]);
    expect(toRuns(mask(".....", ".....", "....."), SIZE)).toEqual([]);
  });
  it("are read as they are written", () => {
    expect(fromRuns(toRuns(one, SIZE), SIZE)).toEqual(one);
  });
});

describe("a brush", () => {
  const size = { height: 5, width: 9 };
  const empty = new Uint8Array(45);
  const paint = (from: [number, number], to: [number, number], radius: number, on: Uint8Array = empty) =>
    brushed(on, size, { x: from[0], y: from[1] }, { x: to[0], y: to[1] }, radius);

  it("paints a disc where it is pressed", () => {
    const once = paint([2.5, 2.5], [2.5, 2.5], 1.5);
    expect(lines(once, 9)).toEqual([".........", ".###.....", ".###.....", ".###.....", "........."]);
    expect(empty.includes(1)).toBe(false);
  });
  it("paints all along a line, and adds to what is there", () => {
    const first = paint([1.5, 0.5], [1.5, 0.5], 0.5);
    expect(lines(paint([1.5, 2.5], [7.5, 2.5], 1, first), 9)).toEqual([
      ".#.......",
      ".#######.",
      "#########",
      ".#######.",
      ".........",
    ]);
  });
  it("paints a slanted line without gaps", () => {
    const line = paint([0.5, 0.5], [8.5, 4.5], 0.8);
    expect(countPixels(objectAt(line, size, 0, 0) as Uint8Array)).toBe(countPixels(line));
    expect(line[44]).toBe(1);
  });
  it("stays in the image", () => {
    expect(countPixels(paint([-5, -5], [20, 20], 30))).toBe(45);
    expect(countPixels(paint([-5, 2], [-3, 2], 2))).toBe(0);
  });
});

describe("an object", () => {
  const two = mask("#..##", ".#...", "....#");
  it("is connected over corners", () => {
    expect(objectAt(two, SIZE, 0, 0)).toEqual(mask("#....", ".#...", "....."));
    expect(objectAt(two, SIZE, 0, 4)).toEqual(mask("...##", ".....", "....."));
  });
  it("does not go on at the other side of the image", () => {
    expect(objectAt(mask("....#", "#....", "....."), SIZE, 0, 4)).toEqual(mask("....#", ".....", "....."));
  });
  it.each([
    [0, 1],
    [-1, 0],
    [3, 0],
    [0, 5],
  ])("is nowhere at row %i, column %i", (row, col) => {
    expect(objectAt(two, SIZE, row, col)).toBeNull();
  });
});
