// What the tests of maps beside each other have in common: a browser that draws nothing, and a scan that is done.
import { options } from "preact";
import { afterEach, beforeEach, vi } from "vitest";
import { bits, explorerState } from "./explorer_state";
import { doublesMessage, FakeResizeObserver, fakeAddresses, fakeCanvases } from "./fake_model";

/** Fakes for every test of a file, with effects at once, not with the next frame; what is put on canvases, in each of them. */
export function drawnOnCanvases(): () => ReturnType<typeof fakeCanvases> {
  options.requestAnimationFrame = (effect) => queueMicrotask(effect);
  let put: ReturnType<typeof fakeCanvases>;
  beforeEach(() => {
    FakeResizeObserver.install();
    fakeAddresses();
    put = fakeCanvases();
  });
  afterEach(() => {
    vi.unstubAllGlobals();
  });
  return () => put;
}

export const settings = { circleSize: 8, offset: 8, channel: -1, fill: "minimum", shape: "disc" };

/** A map whose four cells are all measured. */
export const doneMap = {
  ...(explorerState()._map as Record<string, unknown>),
  values: doublesMessage(0, 12.5, 3, 40),
  measured: bits(0b11110000),
  valued: bits(0b11110000),
  done: 4,
};

/** The texts of all that a selector finds. */
export const texts = (el: ParentNode, css: string) =>
  [...el.querySelectorAll(css)].map((one) => one.textContent);
