// @vitest-environment jsdom
import { describe, expect, it } from "vitest";
import { compared, type Palette, palette, rgba } from "../src/shared/errors";

const channels = (pixel: number) => [...new Uint8Array(Uint32Array.of(pixel).buffer)];

describe("a color as a pixel", () => {
  it("has red, green, blue and opacity in the order of an ImageData", () => {
    expect(channels(rgba("#123456"))).toEqual([0x12, 0x34, 0x56, 255]);
    expect(channels(rgba(" #ff0080 ", 165))).toEqual([255, 0, 128, 165]);
    expect(channels(rgba("#000000", 0))).toEqual([0, 0, 0, 0]);
  });

  it("is never negative", () => {
    expect(rgba("#ffffff")).toBe(0xffffffff);
  });
});

it("takes the theme's colors from the element", () => {
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
  const colors = palette(element, 165);
  expect(channels(colors.hit)).toEqual([0, 255, 0, 165]);
  expect(channels(colors.missed)).toEqual([255, 0, 0, 165]);
  expect(channels(colors.added)).toEqual([0, 0, 255, 165]);
  expect(channels(colors.mask)).toEqual([238, 238, 238, 165]);
  expect(colors.nothing).toBe(0);
  element.remove();
});

const colors: Palette = { hit: 1, missed: 2, added: 3, mask: 4, nothing: 0 };

describe("a mask against the truth", () => {
  it("tells hit, missed, added and nothing apart", () => {
    const truth = Uint8Array.of(1, 1, 0, 0);
    const drawn = Uint8Array.of(1, 0, 1, 0);
    expect([...compared(truth, drawn, colors)]).toEqual([1, 2, 3, 0]);
  });

  it("is all hit against itself", () => {
    const truth = Uint8Array.of(1, 0, 1);
    expect([...compared(truth, truth, colors)]).toEqual([1, 0, 1]);
  });

  it("may have no pixel at all", () => {
    expect([...compared(new Uint8Array(0), new Uint8Array(0), colors)]).toEqual([]);
  });
});
