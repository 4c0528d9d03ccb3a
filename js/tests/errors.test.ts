// @vitest-environment jsdom
import { afterEach, describe, expect, it, vi } from "vitest";
import { compared, type Palette, paint, palette, rgba } from "../src/shared/errors";

afterEach(() => vi.unstubAllGlobals());

const channels = (pixel: number) => [...new Uint8Array(Uint32Array.of(pixel).buffer)];

describe("a colour as a pixel", () => {
  it("has red, green, blue and opacity in the order of an ImageData", () => {
    expect(channels(rgba("#123456"))).toEqual([0x12, 0x34, 0x56, 255]);
    expect(channels(rgba(" #ff0080 ", 165))).toEqual([255, 0, 128, 165]);
    expect(channels(rgba("#000000", 0))).toEqual([0, 0, 0, 0]);
  });

  it("is never negative", () => {
    expect(rgba("#ffffff")).toBe(0xffffffff);
  });
});

it("takes the theme's colours from the element", () => {
  const element = document.createElement("div");
  document.body.append(element);
  for (const [name, value] of [
    ["--hit", " #00ff00"],
    ["--missed", "#ff0000"],
    ["--added", "#0000ff"],
    ["--mask", "#eeeeee"],
  ]) {
    element.style.setProperty(name, value);
  }
  const colours = palette(element, 165);
  expect(channels(colours.hit)).toEqual([0, 255, 0, 165]);
  expect(channels(colours.missed)).toEqual([255, 0, 0, 165]);
  expect(channels(colours.added)).toEqual([0, 0, 255, 165]);
  expect(channels(colours.mask)).toEqual([238, 238, 238, 165]);
  expect(colours.nothing).toBe(0);
  element.remove();
});

const colours: Palette = { hit: 1, missed: 2, added: 3, mask: 4, nothing: 0 };

describe("a mask against the truth", () => {
  it("tells hit, missed, added and nothing apart", () => {
    const truth = Uint8Array.of(1, 1, 0, 0);
    const drawn = Uint8Array.of(1, 0, 1, 0);
    expect([...compared(truth, drawn, colours)]).toEqual([1, 2, 3, 0]);
  });

  it("is all hit against itself", () => {
    const truth = Uint8Array.of(1, 0, 1);
    expect([...compared(truth, truth, colours)]).toEqual([1, 0, 1]);
  });

  it("may have no pixel at all", () => {
    expect([...compared(new Uint8Array(0), new Uint8Array(0), colours)]).toEqual([]);
  });
});

it("gives a canvas the size and the pixels of a picture", () => {
  class FakeImageData {
    constructor(
      readonly data: Uint8ClampedArray,
      readonly width: number,
      readonly height: number,
    ) {}
  }
  vi.stubGlobal("ImageData", FakeImageData);
  const put = vi.fn();
  const canvas = document.createElement("canvas");
  canvas.getContext = (() => ({ putImageData: put })) as unknown as typeof canvas.getContext;
  paint(canvas, Uint32Array.of(rgba("#010203"), 0, rgba("#040506", 7), 0, 0, 0), 2, 3);
  expect([canvas.width, canvas.height]).toEqual([3, 2]);
  const [image, x, y] = put.mock.calls[0];
  expect([image.width, image.height, x, y]).toEqual([3, 2, 0, 0]);
  expect([...image.data.slice(0, 12)]).toEqual([1, 2, 3, 255, 0, 0, 0, 0, 4, 5, 6, 7]);
});
