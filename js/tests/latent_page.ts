// What the tests of the latent explorer's parts have in common: a browser that draws nothing, with room for images.
import { options } from "preact";
import { afterEach, beforeAll, beforeEach, vi } from "vitest";
import { FakeResizeObserver, fakeAddresses, layOut } from "./fake_model";

/** Fakes for every test of a file, with effects at once, not with the next frame; the addresses of images, in each of them. */
export function withRoom(): () => Map<string, Blob> {
  options.requestAnimationFrame = (effect) => queueMicrotask(effect);
  let addresses: Map<string, Blob>;
  beforeAll(layOut);
  beforeEach(() => {
    FakeResizeObserver.install();
    addresses = fakeAddresses();
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });
  return () => addresses;
}
