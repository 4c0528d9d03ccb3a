import { describe, expect, it } from "vitest";
import {
  areas,
  cellAt,
  center,
  cols,
  type Grid,
  neighbor,
  outline,
  rows,
  sameCell,
  sameGrid,
} from "../src/shared/geometry";

// 4 rows and 6 columns.
const grid: Grid = { height: 20, width: 32, circleSize: 7, offset: 5 };

describe("the grid", () => {
  it("has height // offset rows and width // offset columns", () => {
    expect([rows(grid), cols(grid)]).toEqual([4, 6]);
  });

  it("has discs of circleSize + 1 pixels, anchored at their top left corner", () => {
    expect(center(grid, [0, 0])).toEqual({ x: 4, y: 4 });
    expect(center(grid, [2, 3])).toEqual({ x: 19, y: 14 });
  });

  it("finds the disc whose center is nearest", () => {
    for (let row = 0; row < 4; row++) {
      for (let col = 0; col < 6; col++) {
        const { x, y } = center(grid, [row, col]);
        expect(cellAt(grid, x + 2.4, y - 2.4)).toEqual([row, col]);
      }
    }
    expect(cellAt(grid, -50, 1000)).toEqual([3, 0]);
    expect(cellAt(grid, 1000, -50)).toEqual([0, 5]);
  });

  it("stops at its border", () => {
    expect(neighbor(grid, [0, 0], -1, -1)).toEqual([0, 0]);
    expect(neighbor(grid, [1, 1], 1, 0)).toEqual([2, 1]);
    expect(neighbor(grid, [3, 2], 5, 1e9)).toEqual([3, 5]);
  });

  it("compares cells and grids by what they are", () => {
    expect(sameCell([1, 2], [1, 2])).toBe(true);
    expect(sameCell([1, 2], [2, 1])).toBe(false);
    expect(sameCell(null, null)).toBe(true);
    expect(sameCell(null, [0, 0])).toBe(false);
    expect(sameGrid(grid, { ...grid })).toBe(true);
    expect(sameGrid(grid, { ...grid, offset: 6 })).toBe(false);
  });
});

describe("areas", () => {
  it("are where the cell is the nearest one", () => {
    // Every other cell, two of them side by side.
    const chosen = Uint8Array.from({ length: 24 }, (_, cell) => Number(cell % 2 === 0 || cell === 7));
    const boxes = [...areas(chosen, grid).matchAll(/M([\d.]+) ([\d.]+)H([\d.]+)V([\d.]+)H\1Z/g)].map((box) =>
      box.slice(1).map(Number),
    );
    for (let y = 0.25; y < grid.height; y += 0.5) {
      for (let x = 0.25; x < grid.width; x += 0.5) {
        const [row, col] = cellAt(grid, x, y);
        const within = boxes.filter(([left, top, right, bottom]) => {
          return left < x && x < right && top < y && y < bottom;
        });
        expect(within.length, `${x}, ${y}`).toBe(chosen[6 * row + col]);
      }
    }
  });

  it("reach to the picture's border", () => {
    expect(areas(new Uint8Array(24).fill(1), grid).match(/M0 0H32V/)).not.toBeNull();
    expect(areas(new Uint8Array(24).fill(1), grid)).toContain("V20H0Z");
    expect(areas(new Uint8Array(24), grid)).toBe("");
  });

  it("leave out what no pixel of the picture is nearest to", () => {
    // The last of six discs of 20 pixels has its center 3 pixels beyond the border.
    const wide: Grid = { height: 20, width: 32, circleSize: 19, offset: 5 };
    const last = Uint8Array.from({ length: 24 }, (_, cell) => Number(cell === 5));
    expect(cellAt(wide, 31.9, 0)).toEqual([0, 4]);
    expect(areas(last, wide)).toBe("");
  });

  it("are the discs, where these leave gaps", () => {
    const gaps: Grid = { height: 8, width: 16, circleSize: 3, offset: 8 };
    expect(areas(Uint8Array.of(0, 1), gaps)).toBe("M8 2a2 2 0 1 0 4 0a2 2 0 1 0 -4 0Z");
  });
});

describe("outline", () => {
  it("goes around a block of pixels along their borders", () => {
    // prettier-ignore
    const mask = Uint8Array.of(0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0);
    expect(outline(mask, 3, 4)).toBe("M1 1H3M1 2H3M1 1V2M3 1V2");
  });

  it("closes at the border of the picture", () => {
    expect(outline(Uint8Array.of(1), 1, 1)).toBe("M0 0H1M0 1H1M0 0V1M1 0V1");
    expect(outline(new Uint8Array(6), 2, 3)).toBe("");
  });
});
