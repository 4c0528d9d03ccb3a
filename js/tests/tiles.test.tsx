// @vitest-environment jsdom
// The tiles of a large image: what is shown, and that no address of a picture is left when the stage is gone.
import { signal } from "@preact/signals";
import { options, render } from "preact";
import { beforeEach, expect, it } from "vitest";
import type { ViewState } from "../src/hdm/view_state";
import { WHOLE } from "../src/hdm/zoom";
import { Tiles } from "../src/hdm/zoomed_stage";
import { fakeAddresses, rest, text } from "./fake_model";

options.requestAnimationFrame = (effect) => queueMicrotask(effect);

let addresses: Map<string, Blob>;
beforeEach(() => {
  addresses = fakeAddresses();
});

/** Tiles on the page, and the answers that Python still owes. */
async function tilesOnPage() {
  const owed: (() => void)[] = [];
  const python = {
    gone: signal(""),
    traits: { _about: signal({ height: 1024, width: 1024, step: 4 }) },
    ask: () =>
      new Promise((done) => {
        owed.push(() => done({ error: null, buffers: [text("png")] }));
      }),
  };
  const el = document.createElement("div");
  render(<Tiles view={{ python } as unknown as ViewState} zoom={signal(WHOLE)} on />, el);
  await rest();
  const answer = async () => {
    for (const one of owed.splice(0)) one();
    await rest();
  };
  return { el, owed, answer };
}

it("are shown when they have come, and given back at the end", async () => {
  const { el, owed, answer } = await tilesOnPage();
  const count = owed.length;
  expect(count).toBeGreaterThan(0);
  await answer();
  expect(el.querySelectorAll("img")).toHaveLength(count);
  expect(addresses.size).toBe(count);
  render(null, el);
  await rest();
  expect(addresses.size).toBe(0);
});

it("are not kept where they come after the end", async () => {
  const { el, answer } = await tilesOnPage();
  render(null, el);
  await answer();
  expect(addresses.size).toBe(0);
});
