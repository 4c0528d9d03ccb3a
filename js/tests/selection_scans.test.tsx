// @vitest-environment jsdom
// The panel that explains a selection.
import { options } from "preact";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import selectionScans from "../src/selection_scans";
import { button, FakeModel, fakeAddresses, nameless, rest, show } from "./fake_model";

// Effects at once, not with the next picture on the screen.
options.requestAnimationFrame = (effect) => queueMicrotask(effect);

beforeEach(() => {
  fakeAddresses();
});
afterEach(() => vi.restoreAllMocks());

const png = () => new DataView(new Uint8Array([137, 80, 78, 71]).buffer);
const none = () => new DataView(new ArrayBuffer(0));

const about = (more: object = {}) => ({
  name: "cluster 3",
  of: 87,
  images: 2,
  circleSize: 6,
  offset: 4,
  label: "Hausdorff distance (px)",
  unit: "px",
  decimals: 1,
  truth: "truth",
  failed: [],
  low: 0,
  high: 14.25,
  colors: ["#ffffff", "#ff0000"],
  width: 64,
  height: 32,
  ...more,
});

const row = (item: number, fragility: number, improvability: number) => ({
  item,
  fragility,
  improvability,
  baseline: 3,
  iou: 0.5,
});

const state = (more: object = {}): Record<string, unknown> => ({
  state: "done",
  done: 2,
  total: 2,
  seconds_left: 0,
  error: "",
  selection: { name: "cluster 3", color: "#009e73", count: 87 },
  wanted: 12,
  kind: "worse",
  frame: "image",
  order: "fragility",
  about: about(),
  rows: [row(7, 14.2, 0), row(3, 7.1, 2.5)],
  _map: png(),
  _counts: none(),
  _thumbnails: [png(), png()],
  ...more,
});

const idle = (more: object = {}) => state({ state: "idle", about: {}, rows: [], _thumbnails: [], ...more });
const texts = (el: Element, selector: string) =>
  [...el.querySelectorAll(selector)].map((one) => one.textContent?.trim());

describe("the panel that explains a selection", () => {
  it("waits for a selection", () => {
    const { el, stop } = show(selectionScans, new FakeModel(idle({ selection: {} })));
    expect(el.textContent).toContain("Select items on the map, or a cluster in the table.");
    expect(el.querySelectorAll("button")).toHaveLength(0);
    stop();
  });

  it("says what sample it would explain, and asks for it", async () => {
    const model = new FakeModel(idle());
    const { el, stop } = show(selectionScans, model);
    expect(texts(el, ".hdm-scans-of")).toEqual(["drawn at random from cluster 3 (87)"]);
    const input = el.querySelector("input") as HTMLInputElement;
    input.value = "200";
    input.dispatchEvent(new Event("change"));
    await rest();
    expect(model.get("wanted")).toBe(87);
    expect(texts(el, ".hdm-scans-of")).toEqual(["all of cluster 3 (87)"]);
    button(el, "Explain").click();
    expect(model.asked()).toEqual([{ request: "start", count: 87 }]);
    expect(nameless(el)).toEqual([]);
    stop();
  });

  it("goes on to want as many as before where a selection has fewer", () => {
    const few = { name: "five", color: "#009e73", count: 5 };
    const model = new FakeModel(idle({ selection: few }));
    const { el, stop } = show(selectionScans, model);
    expect(el.querySelector("input")?.value).toBe("5");
    expect(texts(el, ".hdm-scans-of")).toEqual(["all of five (5)"]);
    button(el, "Explain").click();
    // What is asked for is what Python wants of the next selection, too.
    expect(model.asked()).toEqual([{ request: "start", count: 12 }]);
    stop();
  });

  it("tells how far it is with the time left, shows what there is, and can be cancelled", async () => {
    const model = new FakeModel(state({ state: "running", done: 2.4, total: 12, seconds_left: 42.4 }));
    const { el, stop } = show(selectionScans, model);
    expect(texts(el, "[role=status]")).toEqual(["Scanning image 3 of 12"]);
    expect(el.textContent).toContain("42 s left");
    expect(el.querySelector("progress")?.value).toBe(2.4);
    expect(el.querySelectorAll(".hdm-scans-ranked li")).toHaveLength(2);
    expect(button(el, "Explain").disabled).toBe(true);
    button(el, "Cancel").click();
    expect(model.asked()).toEqual([{ request: "cancel" }]);
    model.set("state", "cancelled");
    await rest();
    expect(texts(el, "[role=status]")).toEqual(["Cancelled: 2 of 12 images are finished."]);
    stop();
  });

  it("shows the mean with its range, and the images in order", async () => {
    const model = new FakeModel(state());
    const { el, stop } = show(selectionScans, model);
    await rest();
    expect(texts(el, "figcaption span")).toEqual(["0.0 px", "14.3 px"]);
    expect(el.querySelector("figure img")?.getAttribute("alt")).toBe(
      "How much farther from the truth a disc takes the mask, mean of 2 images",
    );
    expect(el.textContent).toContain("mean of 2 of 87 images in cluster 3; circle 6, offset 4 px.");
    expect(texts(el, ".hdm-scans-value")).toEqual(["up to 14.2 px worse", "up to 7.1 px worse"]);
    expect([...el.querySelectorAll<HTMLElement>(".hdm-scans-bar i")].map((bar) => bar.style.width)).toEqual([
      "100%",
      "50%",
    ]);
    el.querySelectorAll<HTMLElement>("li button")[1].click();
    expect(model.asked()).toEqual([{ request: "open", item: 3 }]);
    model.set("order", "improvability");
    await rest();
    expect(texts(el, ".hdm-scans-value")).toEqual(["no disc makes it better", "up to 2.5 px better"]);
    expect(nameless(el)).toEqual([]);
    stop();
  });

  it("shows the centroid and how many images count in the segments' frame", async () => {
    const aligned = { aligned: 2, leftOut: 1, center: [0.5, 0.25], size: [0.25, 0.5] };
    const model = new FakeModel(state({ frame: "segment", about: about(aligned), _counts: png() }));
    const { el, stop } = show(selectionScans, model);
    await rest();
    const square = el.querySelector("rect");
    expect(["x", "y", "width", "height"].map((name) => square?.getAttribute(name))).toEqual([
      "24",
      "0",
      "16",
      "16",
    ]);
    expect(texts(el, "figcaption span").slice(2)).toEqual(["0", "2 images"]);
    expect(el.textContent).toContain("the square has its median area");
    expect(el.textContent).toContain("1 with an empty segment left out.");
    stop();
  });

  it.each([
    [state({ state: "error", error: "all 2 images failed", about: {}, rows: [] }), "all 2 images failed"],
    [state({ about: about({ failed: [{ item: 4, error: "disk 4 is gone" }] }) }), "Item 4: disk 4 is gone"],
  ])("says what went wrong", (given, what) => {
    const { el, stop } = show(selectionScans, new FakeModel(given));
    expect(texts(el, "[role=alert]")).toHaveLength(1);
    expect(el.querySelector("[role=alert]")?.textContent).toContain(what);
    stop();
  });

  it("says why there is no map", () => {
    const model = new FakeModel(state({ about: about({ problem: "the segments of all images are empty" }) }));
    const { el, stop } = show(selectionScans, model);
    expect(texts(el, ".hdm-notice")).toEqual(["The segments of all images are empty."]);
    expect(el.querySelectorAll("figure")).toHaveLength(0);
    stop();
  });
});
