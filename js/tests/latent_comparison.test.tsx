// @vitest-environment jsdom
// Toolbar, verdict and gallery of two models, as the notebook shows them, and what belongs to two maps.
import { afterEach, describe, expect, it, vi } from "vitest";
import gallery from "../src/compared_gallery";
import { showNames } from "../src/latent/names";
import { followPointer } from "../src/latent/pointer";
import type { LegendTraits } from "../src/latent/python_state";
import head from "../src/latent_comparison";
import { signed } from "../src/shared/format";
import { connect } from "../src/shared/traits";
import {
  button,
  enabled,
  FakeModel,
  FakeResizeObserver,
  fakeCanvases,
  floatsMessage,
  intsMessage,
  nameless,
  open as openWide,
  rest,
  show,
  shownItems,
  text,
} from "./fake_model";
import { withRoom } from "./latent_page";

const addresses = withRoom();
afterEach(() => {
  vi.useRealTimers();
  document.body.replaceChildren();
});

const findings = () => ({
  names: ["before", "after"],
  before: 0.625,
  after: 0.5,
  scored: 1234,
  lists: { better: 56, worse: 97, moved: 0 },
  changedAbove: 0.1,
  movedBelow: 0.0564,
  k: 10,
  cka: 0.81,
  ckaNull: 0.01,
  overlap: 0.18,
  overlapNull: 0.02,
  likeness: "Activations are more alike than by chance.",
});

const heads = () => ({
  mode: "replace",
  color_by: "iou_change",
  background: "none",
  colors: [
    ["iou_change", "Change of IoU"],
    ["iou_a", "IoU, before"],
  ],
  color_as: "auto",
  color_modes: [],
  backgrounds: [],
  points: "both",
  has_new: false,
  can_undo: true,
  count: 1300,
  findings: findings() as object,
  chosen: "",
});

const lists = (count = 5): Record<string, unknown> => ({
  source: "map",
  new_count: 0,
  new_status: "idle",
  sort: "largest change first",
  sorts: ["largest change first"],
  layers: "three",
  size: 72,
  highlighted: null,
  selections: [{ name: "got worse", color: "#8b5cf6", count, mean: 0.91, median: 0.95, after: 0.21 }],
  active: 0,
  can_explain: false,
  caption_by: "",
  captions_version: 1,
  _about: { height: 2, width: 4, total: 2000, full: true, compared: ["before", "after"] },
  _shown: shownItems(Array.from({ length: count }, (_, i) => 100 + i)),
  _saved: [],
});

const list = (el: Element, title: string) =>
  [...el.querySelectorAll<HTMLButtonElement>(".hdm-list")].find((one) => one.textContent?.includes(title)) as
    | HTMLButtonElement
    | undefined as HTMLButtonElement;
const line = (el: Element | null) => el?.textContent?.replace(/\s+/g, " ").trim();

describe("the verdict", () => {
  it("has both mean IoUs, their difference, and how alike the spaces are", async () => {
    const model = new FakeModel(heads());
    const { el, stop } = show(head, model);
    expect(line(el.querySelector(".hdm-two-figure, .hdm-changes-figure"))).toBe("0.63 → 0.50−0.13");
    expect(el.textContent).toContain("mean IoU of 1,234 items that have one with both models");
    expect([...el.querySelectorAll(".hdm-measure")].map(line)).toEqual([
      "CKA of the activations0.81by chance 0.01",
      "Overlap of 10 nearest0.18by chance 0.02",
    ]);
    expect(el.textContent).toContain("Activations are more alike than by chance.");
    expect(nameless(el)).toEqual([]);
    model.set("findings", { ...findings(), before: "nan", after: "nan", scored: 1300, cka: "nan" });
    await rest();
    expect(line(el.querySelector(".hdm-changes-figure"))).toBe("– → ––");
    expect(el.textContent).toContain("mean IoU of all 1,300 items");
    expect(line(el.querySelector(".hdm-measure"))).toBe("CKA of the activations–by chance 0.01");
    stop();
  });

  it("has lists of items, of which a click selects one", async () => {
    const model = new FakeModel(heads());
    const { el, stop } = show(head, model);
    expect([...el.querySelectorAll(".hdm-list")].map(line)).toEqual([
      "56Got better IoU up > 0.1",
      "97Got worse IoU down > 0.1",
      "0Moved neighbors overlap < 0.06",
    ]);
    // There is nothing to select.
    expect(list(el, "Moved").disabled).toBe(true);
    list(el, "Got worse").click();
    expect(model.asked()).toEqual([{ request: "choose", list: "worse" }]);
    model.set("chosen", "worse");
    await rest();
    const pressed = ["Got better", "Got worse"].map((one) => list(el, one).getAttribute("aria-pressed"));
    expect(pressed).toEqual(["false", "true"]);
    stop();
  });

  it("says why a list could not be selected", async () => {
    const model = new FakeModel(heads());
    const { el, stop } = show(head, model);
    list(el, "Got better").click();
    await model.reply(model.sent[0], { error: "Python says no." });
    expect(el.querySelector("[role=alert]")?.textContent).toBe("Python says no.");
    stop();
  });

  it("is beside a toolbar without a choice of backgrounds", () => {
    const model = new FakeModel(heads());
    const { el, stop } = show(head, model);
    expect([...el.querySelectorAll(".hdm-pick label")].map((label) => label.textContent)).toEqual(["Color"]);
    button(el, "Undo").click();
    expect(model.asked()).toEqual([{ request: "undo" }]);
    stop();
  });

  it("tells of its views, has nothing to use without a kernel, and leaves nothing behind", async () => {
    const model = new FakeModel(heads());
    const { el, stop } = show(head, model);
    FakeResizeObserver.resize(800, 100);
    expect(model.views).toEqual(["shown"]);
    model.disconnect();
    await rest();
    expect(enabled(el)).toEqual([]);
    list(el, "Got worse").click();
    expect(model.sent).toEqual([]);
    stop();
    expect(model.listening).toBe(0);
    expect(FakeResizeObserver.all.size).toBe(0);
  });
});

it.each([
  [0.126, "+0.13"],
  [-0.5, "−0.50"],
  [0.004, "±0"],
  [-0.004, "±0"],
  [Number.NaN, "–"],
])("a change of %d is written as %s", (change, expected) => {
  expect(signed(change)).toBe(expected);
});

describe("the gallery of two models", () => {
  // Each has its position as its red.
  const NAMES = ["", "hit", "missed", "added", "mask"];
  const mask = (bits: number) => new DataView(Uint8Array.of(bits).buffer);
  const parts = () => [text("png"), mask(0b11110000), mask(0b11000000), mask(0b00001111)];

  const open = (model: FakeModel) => openWide(gallery, model);

  async function answer(model: FakeModel, more: object = {}) {
    for (const request of model.sent.splice(0)) {
      const asked = request.items as number[];
      const images = asked.map((index) => ({
        index,
        iou: 0.25,
        after: 0.75,
        caption: "",
        error: "",
        ...more,
      }));
      await model.reply(request, { images }, asked.flatMap(parts));
    }
  }

  it("has an image, the truth and both predictions of every item, with what the IoU was and is", async () => {
    const put = fakeCanvases();
    vi.spyOn(window, "getComputedStyle").mockReturnValue({
      getPropertyValue: (name: string) => `#0${NAMES.indexOf(name.slice(2))}0000`,
    } as CSSStyleDeclaration);
    const model = new FakeModel(lists(1));
    const { el, stop } = await open(model);
    expect(el.querySelector(".hdm-card")?.textContent).toBe("…");
    await answer(model);
    expect(line(el.querySelector(".hdm-caption"))).toBe("IoU 0.25 → 0.75+0.50");
    expect(el.querySelector(".hdm-caption b")?.className).toBe("hdm-better");
    const canvases = [...el.querySelectorAll("canvas")];
    expect(canvases.map((canvas) => canvas.getAttribute("aria-label"))).toEqual([
      "True mask",
      "before: Prediction: hit, missed and added",
      "after: Prediction: hit, missed and added",
    ]);
    // The first four pixels are the truth; of these the first model has two, the second none and four others.
    const pixels = canvases.map((canvas) => {
      const image = put.find((one) => one.canvas === canvas)?.image;
      const values = new Uint32Array((image?.data.buffer ?? new ArrayBuffer(0)) as ArrayBuffer);
      return Array.from(values, (pixel) => NAMES[pixel & 0xffffff] ?? "")
        .join(" ")
        .trim();
    });
    expect(pixels).toEqual([
      "mask mask mask mask",
      "hit hit missed missed",
      "missed missed missed missed added added added added",
    ]);
    expect(el.querySelector(".hdm-layers")?.getAttribute("aria-label")).toBe(
      "Item 100, IoU 0.25 with before, 0.75 with after, change +0.50: highlight its points on both maps",
    );
    expect(el.textContent).toContain("Image, truth, prediction of before and of after");
    expect(nameless(el)).toEqual([]);
    stop();
    expect(addresses().size).toBe(0);
  });

  it("shows both predictions over the image, too", async () => {
    const model = new FakeModel({ ...lists(1), layers: "overlay" });
    const { el, stop } = await open(model);
    await answer(model, { after: 0.125 });
    const labels = [...el.querySelectorAll("canvas")].map((canvas) => canvas.getAttribute("aria-label"));
    expect(labels).toEqual(["before: Hit, missed and added", "after: Hit, missed and added"]);
    expect(el.querySelectorAll(".hdm-layers img")).toHaveLength(2);
    expect(el.querySelector(".hdm-caption b")?.className).toBe("hdm-worse");
    expect(el.textContent).toContain("Hit, missed and added by before and by after");
    stop();
  });

  it.each([
    ["of an item without an IoU", "nan", "IoU – → 0.75–"],
    ["of one that did not change", 0.75, "IoU 0.75 → 0.75±0"],
  ])("writes the change %s", async (_, iou, expected) => {
    const model = new FakeModel(lists(1));
    const { el, stop } = await open(model);
    await answer(model, { iou });
    expect(line(el.querySelector(".hdm-caption"))).toBe(expected);
    expect(el.querySelector(".hdm-caption b")?.className).toBe("");
    stop();
  });

  it("keeps the stripes of pixels that do not count apart from the second prediction", async () => {
    const model = new FakeModel(lists(1));
    model.state._about = { ...(model.state._about as object), ignored: true };
    const { el, stop } = await open(model);
    const [request] = model.sent;
    const images = [{ index: 100, iou: 0.25, after: 0.75, caption: "", error: "" }];
    const [image, truth, first, second] = parts();
    await model.reply(request, { images }, [image, truth, first, mask(0b00000001), second]);
    expect(el.querySelector("canvas")?.getAttribute("aria-label")).toBe(
      "True mask; striped pixels do not count",
    );
    expect(line(el.querySelector(".hdm-caption"))).toBe("IoU 0.25 → 0.75+0.50");
    stop();
  });

  it("shows what was saved where there is no kernel", async () => {
    const [image, truth, predicted, second] = parts();
    const saved = { index: 100, iou: 0.5, after: 0.25, caption: "", height: 2, width: 4 };
    const model = new FakeModel({
      ...lists(2),
      _saved: [{ ...saved, image, truth, predicted, second, ignored: new DataView(new ArrayBuffer(0)) }],
    });
    model.disconnect();
    const { el, stop } = await open(model);
    expect([...el.querySelectorAll(".hdm-caption")].map(line)).toEqual([
      "IoU 0.50 → 0.25−0.25",
      "image not saved",
    ]);
    stop();
  });

  it("lists selections with both mean IoUs", async () => {
    const { el, stop } = await open(new FakeModel(lists()));
    expect(line(el.querySelector(".hdm-selection"))).toBe("got worse5 itemsmean IoU 0.91 → 0.21");
    stop();
  });

  it("says how to begin", async () => {
    const { el, stop } = await open(new FakeModel({ ...lists(0), selections: [], active: null }));
    expect(el.textContent).toContain("Draw a lasso on either map, or choose a list above");
    // Truths are marked on the map of one model only.
    expect(el.textContent).toContain("A click on a point highlights it.");
    expect(el.textContent).not.toContain("wrong");
    expect(el.textContent).toContain("both predictions");
    stop();
  });
});

// Two plots of 200 x 100 px: item 7 is at (150, 70) on the first, and at (430, 45) on the second.
function twoMaps() {
  document.body.innerHTML = `
    <div class="hdm-latent"><div class="hdm-latent-plot">
      <div class="bqplot"><svg><rect class="plotarea_background" width="200" height="100"></rect></svg></div>
      <div class="bqplot"><svg><rect class="plotarea_background" width="200" height="100"></rect></svg></div>
      <div class="legend"></div>
    </div></div>`;
  const plots = [...document.querySelectorAll(".plotarea_background")];
  plots.forEach((plot, i) => {
    plot.getBoundingClientRect = () => new DOMRect(50 + 300 * i, 20, 200, 100);
  });
  const points = (x: number, y: number) => ({
    positions: floatsMessage(x, y, 9, 0.9),
    rows: intsMessage(7, 9),
    bounds: [0, 10, -1, 1] as [number, number, number, number],
  });
  const model = new FakeModel({
    mode: "replace",
    legend: {},
    sample: { drawn: 2, total: 2 },
    names: [
      { text: "a", color: "#123456", x: 0.5, y: 0.5, figure: 0 },
      { text: "a", color: "#123456", x: 0.25, y: 0.5, figure: 1 },
    ],
    _points: { ...points(5, 0), others: [points(4, 0.5)] },
  });
  const python = connect(
    model.as<LegendTraits>(),
    ["mode", "legend", "sample", "names", "_points"],
    model.el,
  );
  return {
    model,
    python,
    legend: document.querySelector(".legend") as HTMLElement,
    figures: [...document.querySelectorAll(".bqplot")],
  };
}

const pointer = (type: string, target: Element, clientX: number, clientY: number) =>
  target.dispatchEvent(new PointerEvent(type, { bubbles: true, clientX, clientY, button: 0 }));
const twins = () =>
  [...document.querySelectorAll<HTMLElement>(".hdm-twin")].map(({ style }) => [style.left, style.top]);

describe("the pointer on one of two maps", () => {
  it("marks the same item on the other one", async () => {
    vi.useFakeTimers();
    const { python, legend, figures } = twoMaps();
    const leave = followPointer(legend, python);
    FakeResizeObserver.resize(800, 40);
    pointer("pointermove", figures[0], 152, 71);
    vi.advanceTimersByTime(100);
    expect(twins()).toEqual([["430px", "45px"]]);
    expect(document.querySelector(".hdm-latent-plot")?.getAttribute("aria-label")).toMatch(/^Both maps of/);
    pointer("pointermove", figures[1], 430, 45);
    vi.advanceTimersByTime(100);
    expect(twins()).toEqual([["150px", "70px"]]);
    // There is no point.
    pointer("pointermove", figures[1], 500, 110);
    vi.advanceTimersByTime(100);
    expect(twins()).toEqual([]);
    pointer("pointermove", figures[0], 152, 71);
    vi.advanceTimersByTime(100);
    leave();
    expect(twins()).toEqual([]);
  });

  it("clicks the item of that map", () => {
    const { model, python, legend, figures } = twoMaps();
    const leave = followPointer(legend, python);
    FakeResizeObserver.resize(800, 40);
    // Where the first map has an item, the second has none, and the other way round.
    for (const [figure, x, y] of [
      [0, 150, 70],
      [1, 450, 70],
      [1, 430, 45],
    ]) {
      pointer("pointerdown", figures[figure], x, y);
      pointer("pointerup", figures[figure], x, y);
    }
    expect(model.asked().map(({ item }) => item)).toEqual([7, null, 7]);
    leave();
  });
});

it("names of selections are over both maps", async () => {
  const { model, python, legend, figures } = twoMaps();
  const leave = showNames(legend, python);
  FakeResizeObserver.resize(800, 40);
  figures[0].querySelector("rect")?.setAttribute("width", "201");
  await rest();
  const layers = [...document.querySelectorAll<HTMLElement>(".hdm-map-names")];
  expect(layers.map(({ style }) => style.left)).toEqual(["50px", "350px"]);
  const [first, second] = layers.map((layer) => layer.querySelector<HTMLElement>(".hdm-map-name"));
  expect([first?.style.left, second?.style.left]).toEqual(["100px", "50px"]);
  model.set("names", []);
  expect(document.querySelectorAll(".hdm-map-name")).toHaveLength(0);
  leave();
  expect(document.querySelectorAll(".hdm-map-names")).toHaveLength(0);
});
