// @vitest-environment jsdom
import { afterEach, describe, expect, it, vi } from "vitest";
import { maskSize, putPixels, resized, striped, stripedSize } from "../src/shared/canvas";
import { rgba } from "../src/shared/errors";
import { fakeCanvases } from "./fake_model";

afterEach(() => vi.unstubAllGlobals());

it("gives a canvas the size and the pixels of an image", () => {
  const put = fakeCanvases();
  const canvas = document.createElement("canvas");
  const pixels = Uint32Array.of(rgba("#010203"), 0, rgba("#040506", 7), 0, 0, 0);
  putPixels(canvas, pixels, { height: 2, width: 3 });
  expect([canvas.width, canvas.height]).toEqual([3, 2]);
  const [{ image }] = put;
  expect([put.length, image.width, image.height]).toEqual([1, 3, 2]);
  expect([...image.data.slice(0, 12)]).toEqual([1, 2, 3, 255, 0, 0, 0, 0, 4, 5, 6, 7]);
});

describe("a mask on a canvas", () => {
  it.each([
    [
      { height: 300, width: 1024 },
      { height: 300, width: 1024 },
    ],
    [
      { height: 5000, width: 2500 },
      { height: 1024, width: 512 },
    ],
    [
      { height: 1, width: 9000 },
      { height: 1, width: 1024 },
    ],
  ])("of %o has %o", (size, canvas) => {
    expect(maskSize(size)).toEqual(canvas);
  });

  const from = { height: 4, width: 6 };
  const mask = Uint8Array.of(1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0);

  it("is the mask itself where it has room", () => {
    expect(resized(mask, from, { ...from })).toBe(mask);
  });

  it("has the pixels at the centers of the canvas's own", () => {
    expect([...resized(mask, from, { height: 2, width: 2 })]).toEqual([1, 0, 0, 0]);
    expect([...resized(mask, from, { height: 4, width: 2 })]).toEqual([1, 0, 1, 0, 1, 1, 0, 0]);
  });

  it("keeps lines of a single pixel where they matter", () => {
    const line = new Uint8Array(24);
    line[8] = 1;
    line[23] = 1;
    expect([...resized(line, from, { height: 2, width: 2 }, true)]).toEqual([1, 0, 0, 1]);
  });
});

describe("stripes over the pixels of a mask", () => {
  it("are light and dark by turns, and leave the others as they are", () => {
    const [own, light, dark] = [7, 0xb0ffffff, 0xb0000000];
    const mask = Uint8Array.of(1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 0, 0, 0, 0);
    const pixels = striped(new Uint32Array(16).fill(own), mask, { height: 2, width: 8 }, 2);
    // A period of four pixels, which begins one pixel farther right in the second row.
    const first = [light, dark, own, own, light, dark, own, own];
    expect([...pixels]).toEqual([...first, own, light, dark, own, own, own, own, own]);
  });

  it.each([
    [
      { height: 8, width: 4 },
      { height: 512, width: 256 },
    ],
    [
      { height: 600, width: 300 },
      { height: 600, width: 300 },
    ],
    [
      { height: 5000, width: 2500 },
      { height: 1024, width: 512 },
    ],
  ])("over %o are drawn on %o, where they are thin", (size, canvas) => {
    expect(stripedSize(size)).toEqual(canvas);
  });
});
