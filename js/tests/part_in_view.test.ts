// The map of a large image, zoomed in: the same as the whole map at that resolution.
import { signal } from "@preact/signals";
import { expect, it } from "vitest";
import { paintedInView } from "../src/hdm/part_in_view";
import type { ViewState } from "../src/hdm/view_state";
import { partInView } from "../src/hdm/zoom";
import { cols, type Grid, rows } from "../src/shared/geometry";
import { type PaintingOrder, painting } from "../src/shared/paint";

const GRID: Grid = { height: 300, width: 400, circleSize: 20, offset: 9 };
const DISC = Int32Array.from({ length: 42 }, (_, index) => (index % 2 ? 21 - (index % 4) : index % 3));

function viewOf(order: PaintingOrder) {
  const values = Float64Array.from({ length: rows(GRID) * cols(GRID) }, (_, cell) =>
    cell % 11 === 3 ? Number.NaN : (cell * 7919) % 101,
  );
  const map = { grid: GRID, disc: DISC, baseline: 40 };
  const whole = painting(order, values, map, "raw", { height: 75, width: 100 });
  const view = {
    map: signal(map),
    values: signal(values),
    painted: signal(whole),
    resultType: signal("raw"),
    python: {
      traits: {
        _about: signal({ ...GRID, step: 2 }),
        order: signal(order),
        status: signal("done"),
      },
    },
  };
  return {
    view: view as unknown as ViewState,
    whole,
    sharp: painting(order, values, map, "raw", { height: 300, width: 400 }),
  };
}

it.each<[PaintingOrder, number, number]>([
  ["mean", 0, 0],
  ["mean", 0.31, 0.4],
  ["mean", 0.5, 0.5],
  ["change", 0.31, 0.4],
  ["change", 0.5, 0.5],
])("is that of the whole map: %s at (%d, %d)", (order, x, y) => {
  const { view, sharp, whole } = viewOf(order);
  const zoom = { scale: 2, x, y };
  const fine = paintedInView(view, zoom, 200);
  if (!fine) throw new Error("nothing is painted");
  const { part, size } = fine;
  expect(size).toEqual({ height: part.height, width: part.width });
  const seen = partInView(zoom, GRID);
  expect(seen.left).toBeLessThanOrEqual(x * 400);
  expect(seen.left + seen.width).toBeGreaterThanOrEqual(x * 400 + 200);
  expect(seen.width).toBeLessThanOrEqual(300);
  for (let row = seen.top; row < seen.top + seen.height; row++) {
    for (let col = seen.left; col < seen.left + seen.width; col++) {
      const index = fine.top[(row - part.top) * size.width + col - part.left];
      const expected = sharp.top[row * 400 + col];
      const [value, other] = [fine.values[index], sharp.values[expected]];
      if (Number.isNaN(other ?? Number.NaN)) expect(value ?? Number.NaN).toBeNaN();
      else {
        expect(value).toBeCloseTo(other, 9);
        expect(fine.weights[index]).toBeCloseTo(Math.min(1, Math.abs(other - 40) / whole.largest), 9);
      }
    }
  }
});

it.each([
  ["the whole image", { scale: 1, x: 0, y: 0 }, 800],
  ["a stage with fewer pixels than the map", { scale: 2, x: 0, y: 0 }, 40],
])("is not painted for %s", (_, zoom, pixels) => {
  expect(paintedInView(viewOf("mean").view, zoom, pixels)).toBeNull();
});
