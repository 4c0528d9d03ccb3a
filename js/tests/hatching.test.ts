import { expect, it } from "vitest";
import { period } from "../src/hdm/hatching";

it("gives every cell a whole number of stripes, or a stripe a whole number of cells", () => {
  for (const [width, height] of [
    [128, 128],
    [96, 240],
    [1024, 512],
  ]) {
    for (let offset = 1; offset <= Math.min(width, height); offset++) {
      const across = period({ height, width, offset, circleSize: 1 }) * (width + height);
      const cells = Math.max(across, offset) / Math.min(across, offset);
      expect(cells).toBeCloseTo(Math.round(cells), 9);
      // On a stage 560 pixels wide, about 9 of them from stripe to stripe.
      const pixels = (560 * across) / width;
      expect(pixels).toBeGreaterThan(6);
      expect(pixels).toBeLessThan(13.5);
    }
  }
});
