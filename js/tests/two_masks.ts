// What the tests of the stage have in common: an explorer of two masks with objects, on which hands and keys act.
import { options } from "preact";
import { afterEach, beforeEach, vi } from "vitest";
import widget from "../src/hdm_explorer";
import { bits, explorerState } from "./explorer_state";
import {
  FakeModel,
  FakeResizeObserver,
  fakeAddresses,
  fakeCanvases,
  show as onPage,
  rest,
} from "./fake_model";

const SIDE = 16;
/** A mask of 16 x 16 px with these pixels. */
export function packed(...boxes: [top: number, left: number, bottom: number, right: number][]) {
  const bytes = new Array(32).fill(0);
  for (const [top, left, bottom, right] of boxes) {
    for (let y = top; y < bottom; y++) {
      for (let x = left; x < right; x++) bytes[2 * y + (x >> 3)] |= 128 >> (x & 7);
    }
  }
  return bits(...bytes);
}

/** Fakes for every test of a file, with effects at once, not with the next frame. */
export function onStage() {
  options.requestAnimationFrame = (effect) => queueMicrotask(effect);
  beforeEach(() => {
    FakeResizeObserver.install();
    fakeAddresses();
    fakeCanvases();
    // A pixel of the image is a pixel of the screen.
    vi.spyOn(HTMLElement.prototype, "getBoundingClientRect").mockReturnValue({
      ...{ left: 0, top: 0, width: SIDE, height: SIDE },
    } as DOMRect);
  });
  afterEach(() => {
    vi.unstubAllGlobals();
    vi.restoreAllMocks();
    vi.useRealTimers();
  });
}

/** An explorer whose truth has two objects, and its prediction two others. */
export function show(changes: Record<string, unknown> = {}) {
  const masks = {
    _truth: packed([1, 1, 4, 5], [8, 8, 12, 12]),
    _prediction: packed([2, 1, 5, 5], [1, 10, 3, 14]),
  };
  const model = new FakeModel({ ...explorerState(), ...masks, status: "done", ...changes });
  const { el, stop } = onPage(widget, model);
  const stage = el.querySelector("[role=application]") as HTMLElement;
  const mouse = (type: string, x: number, y: number) => {
    const Event = window.PointerEvent ?? MouseEvent;
    stage.dispatchEvent(new Event(type, { clientX: x + 0.5, clientY: y + 0.5, bubbles: true, button: 0 }));
    return rest();
  };
  const press = (key: string, more: KeyboardEventInit = {}) => {
    stage.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, ...more }));
    return rest();
  };
  const choose = (tool: string) => {
    const label = [...el.querySelectorAll(".hdm-tools label")].find((one) => one.textContent === tool);
    label?.querySelector("input")?.click();
    return rest();
  };
  return { model, el, stop, stage, mouse, press, choose };
}
export const tool = (el: HTMLElement) => el.querySelector(".hdm-tools .hdm-on")?.textContent;
export const said = (el: HTMLElement) => el.querySelector("[aria-live]")?.textContent;
export const path = (el: HTMLElement, kind: string) =>
  el.querySelector(`path.hdm-${kind}`)?.getAttribute("d");
