// @vitest-environment jsdom
// New data in the latent explorer: the panel, and what toolbar, legend and gallery have of it.
import { describe, expect, it, vi } from "vitest";
import gallery from "../src/gallery";
import { steps } from "../src/latent/histogram";
import legend from "../src/legend";
import newData from "../src/new_data";
import toolbar from "../src/toolbar";
import {
  button,
  enabled,
  FakeModel,
  FakeResizeObserver,
  floatsMessage,
  intsMessage,
  nameless,
  pick,
  rest,
  show,
  shownItems,
  text,
} from "./fake_model";
import { withRoom } from "./latent_page";

const addresses = withRoom();

const column = (more: object = {}) => ({
  title: "Soft IoU",
  moved: "lower by 1.2 SD",
  low: 0,
  high: 1,
  map: [0.25, 0.75],
  new: [1, 0],
  mapMedian: 0.81,
  newMedian: 0.346,
  ...more,
});

const findings = (more: object = {}) => ({
  count: 40,
  mean: 0.617,
  low: 0.55,
  high: 0.69,
  coverage: 0.9,
  mapMean: 0.71,
  reliable: 31,
  shift: "clearly unlike the data of the map (p = 0.001, effect 0.44): moved are soft_iou (lower by 1.2 SD)",
  shifted: true,
  skill: "expected IoU: the best single confidence, R² 0.80",
  skilled: true,
  measured: {},
  columns: [column(), column({ title: "Objects", moved: "" })],
  ...more,
});

const state = (more: object = {}): Record<string, unknown> => ({
  state: "done",
  done: 40,
  total: 40,
  error: "",
  findings: findings(),
  to_label: 20,
  ...more,
});

const texts = (el: Element, selector: string) =>
  [...el.querySelectorAll(selector)].map((one) => one.textContent?.trim());

describe("the panel of new data", () => {
  it("says how far the model is, and can be cancelled", async () => {
    const model = new FakeModel(state({ state: "running", done: 1200, total: 4000, findings: {} }));
    const { el, stop } = show(newData, model);
    expect(texts(el, "[role=status]")).toEqual(["Running the model on new data: 1,200 of 4,000 items"]);
    expect(el.querySelector("progress")?.value).toBe(1200);
    expect(el.querySelector("section")?.getAttribute("aria-busy")).toBe("true");
    button(el, "Cancel").click();
    expect(model.asked()).toEqual([{ request: "cancel" }]);
    model.set("done", 4000);
    await rest();
    expect(texts(el, "[role=status]")).toEqual(["Estimating the IoU of the new items"]);
    model.set("done", 1300);
    model.set("state", "cancelled");
    await rest();
    expect(texts(el, "[role=status]")).toEqual(["Cancelled after 1,300 of 4,000 items."]);
    button(el, "Start again").click();
    expect(model.asked()).toEqual([{ request: "start" }]);
    stop();
  });

  it("says what went wrong, and can be tried again", () => {
    const model = new FakeModel(state({ state: "error", error: "item 3 could not be read", findings: {} }));
    const { el, stop } = show(newData, model);
    expect(el.querySelector("[role=alert]")?.textContent).toContain("item 3 could not be read");
    button(el, "Try again").click();
    expect(model.asked()).toEqual([{ request: "start" }]);
    stop();
  });

  it("tells the expected mean IoU, whether the data are alike, and what moved", () => {
    const model = new FakeModel(state());
    const { el, stop } = show(newData, model);
    expect(texts(el, "h3")[0]).toBe("Expected mean IoU of 40 new items");
    expect(texts(el, ".hdm-findings-figure")).toEqual(["0.620.55 to 0.69 90 % interval"]);
    expect(texts(el, ".hdm-findings-key")).toEqual(["mean of the map 0.71"]);
    expect(el.querySelector(".hdm-likeness.hdm-unlike")?.textContent).toBe(
      "Clearly unlike the data of the map (p = 0.001, effect 0.44): moved are soft_iou (lower by 1.2 SD).",
    );
    expect(el.textContent).toContain("9 of 40 estimates are not reliable.");
    expect(el.textContent).toContain("Of the other 31, the IoU is 0 for certain, as nothing is predicted.");
    expect(el.textContent).toContain("The intervals promise less than they say");
    expect(el.textContent).not.toContain("easured");
    expect(el.querySelector(".hdm-unskilled")).toBeNull();
    expect([...el.querySelectorAll("svg")].map((one) => one.getAttribute("aria-label"))).toEqual([
      "Soft IoU, lower by 1.2 SD: median 0.81 on the map, 0.35 in the new data",
      "Objects: median 0.81 on the map, 0.35 in the new data",
    ]);
    expect(nameless(el)).toEqual([]);
    stop();
  });

  it.each([
    [40, false, "All estimates are reliable."],
    [0, false, "No estimate is reliable."],
    [31, false, "9 of 40 estimates are not reliable."],
    [40, true, "All estimates are reliable: the IoU is 0 for certain, as nothing is predicted."],
    [0, true, "No estimate is reliable. The intervals promise less"],
  ])("says which estimates can be relied on: %s of 40, shifted: %s", (reliable, shifted, expected) => {
    const { el, stop } = show(newData, new FakeModel(state({ findings: findings({ reliable, shifted }) })));
    expect(el.querySelector(".hdm-findings-like")?.textContent).toContain(expected);
    stop();
  });

  it.each([
    [1, "The estimate is reliable."],
    [0, "The estimate is not reliable."],
  ])("speaks of one item alone as one: %s reliable", (reliable, expected) => {
    const like = { count: 1, reliable, shifted: false };
    const { el, stop } = show(newData, new FakeModel(state({ findings: findings(like) })));
    expect(texts(el, "h3")[0]).toBe("Expected IoU of 1 new item");
    expect(el.querySelector(".hdm-findings-like")?.textContent).toContain(expected);
    expect(button(el, "Show the most doubtful").disabled).toBe(false);
    stop();
  });

  it.each([
    [40, "Measured 0.53. 35 of 40 intervals contain the measured IoU; 90\u00a0% should."],
    [
      38,
      "Measured 0.53 in 38 items with a true mask (expected 0.60). 35 of 38 intervals contain the measured IoU; 90\u00a0% should.",
    ],
    [0, null],
  ])("puts the measured mean beside the expected one: %s of 40 items have one", (items, expected) => {
    const measured = { count: items, mean: 0.531, expected: 0.604, held: 35 };
    const { el, stop } = show(newData, new FakeModel(state({ findings: findings({ measured }) })));
    expect(el.querySelector(".hdm-findings-measured")?.textContent ?? null).toBe(expected);
    const ring = el.querySelector(".hdm-range .hdm-range-ring") as HTMLElement | null;
    expect(ring?.style.left ?? null).toBe(expected && "53.1%");
    stop();
  });

  it("says where nothing is known to be unlike, and where no estimate is better than the mean", () => {
    const like = { shifted: false, shift: "like the data of the map", reliable: 40 };
    const skill = "nothing that was tried is better than the mean";
    const model = new FakeModel(
      state({ findings: findings({ ...like, skilled: false, skill, columns: [] }) }),
    );
    const { el, stop } = show(newData, model);
    expect(el.querySelector(".hdm-unlike")).toBeNull();
    expect(el.textContent).toContain("Like the data of the map.");
    expect(el.textContent).toContain("All estimates are reliable.");
    expect(el.textContent).not.toContain("promise less");
    expect(texts(el, ".hdm-unskilled")).toEqual(["Nothing that was tried is better than the mean."]);
    expect(el.querySelector("svg")).toBeNull();
    stop();
  });

  it("asks for as many to be labeled first as are wished for, of those that there are", async () => {
    const model = new FakeModel(state());
    const { el, stop } = show(newData, model);
    const field = el.querySelector("input") as HTMLInputElement;
    const wish = async (value: string) => {
      field.value = value;
      field.dispatchEvent(new Event("change", { bubbles: true }));
      await rest();
      return field.value;
    };
    button(el, "Show the 20 most doubtful").click();
    expect(model.asked()).toEqual([{ request: "label", count: 20 }]);
    expect(await wish("5")).toBe("5");
    expect(await wish("1000")).toBe("40");
    expect(await wish("0")).toBe("40");
    expect(await wish("")).toBe("40");
    expect(model.state.to_label).toBe(40);
    button(el, "Show the 40 most doubtful").click();
    expect(model.asked()).toEqual([{ request: "label", count: 40 }]);
    stop();
  });

  it("saves the table that Python sends, or says why there is none", async () => {
    const model = new FakeModel(state());
    const { el, stop } = show(newData, model);
    const saved: string[] = [];
    vi.spyOn(HTMLAnchorElement.prototype, "click").mockImplementation(function (this: HTMLAnchorElement) {
      saved.push(this.download);
    });
    button(el, "Save as CSV").click();
    await model.reply(model.sent[0], { name: "new_items.csv" }, [text("index,iou\n")]);
    expect(saved).toEqual(["new_items.csv"]);
    expect(addresses().size).toBe(0);
    button(el, "Save as CSV").click();
    await model.reply(model.sent[1], { error: "nothing to export" });
    expect(el.querySelector("[role=alert]")?.textContent).toBe("nothing to export");
    stop();
  });

  it.each(["running", "done", "cancelled", "error"])(
    "has no control without a kernel when %s",
    async (now) => {
      const model = new FakeModel(state({ state: now }));
      const { el, stop } = show(newData, model);
      model.disconnect();
      await rest();
      expect(enabled(el)).toEqual([]);
      expect(el.querySelector("[aria-busy=true]")).toBeNull();
      stop();
      expect(model.listening).toBe(0);
    },
  );
});

describe("a histogram", () => {
  it("has a step for every bin, as high as its fraction of the largest", () => {
    expect(steps([0.25, 0.5], 0.5, 20, 10)).toBe("M0 10L0.0 5.0H10.0L10.0 0.0H20.0V10");
  });
});

describe("toolbar and legend", () => {
  it("offer whose points are drawn where there is new data", async () => {
    const model = new FakeModel({
      mode: "replace",
      color_by: "iou",
      background: "none",
      colors: [["iou", "IoU"]],
      color_as: "auto",
      color_modes: [],
      backgrounds: [["none", "None"]],
      points: "both",
      has_new: false,
      can_undo: false,
      count: 9,
    });
    const { el, stop } = show(toolbar, model);
    expect(el.querySelector("input[value=both]")).toBeNull();
    model.set("has_new", true);
    await rest();
    expect(nameless(el)).toEqual([]);
    const group = el.querySelector("input[value=both]")?.closest("[role=radiogroup]");
    expect(document.getElementById(group?.getAttribute("aria-labelledby") ?? "")?.textContent?.trim()).toBe(
      "Points",
    );
    (el.querySelector("input[value=new]") as HTMLInputElement).click();
    expect(model.state.points).toBe("new");
    stop();
  });

  it.each([
    ["iou", { kind: "scale", title: "IoU", low: 0, high: 1, colors: ["#000000"], missing: 0 }, true],
    ["cluster", { kind: "categories", title: "Cluster", entries: [] }, false],
  ])("say what the colors of new items mean where points have those of %s", async (_, colors, same) => {
    const model = new FakeModel({
      mode: "replace",
      background: "none",
      legend: colors,
      search: "",
      surface: {},
      total: 9,
      notice: "",
      names: [],
      new: {
        count: 1200,
        outside: 3,
        colors: ["#ff0000", "#0000ff"],
        skill: "no better than the mean",
      },
      _points: { positions: floatsMessage(), rows: intsMessage(), bounds: [0, 1, 0, 1] },
    });
    const { el, stop } = show(legend, model);
    expect(el.textContent).toContain(`1,200 new items, by expected IoU${same ? ", on the same scale" : ""}`);
    expect(el.querySelectorAll(".hdm-ramp.hdm-short")).toHaveLength(same ? 0 : 1);
    expect(el.textContent).toContain("3 lie farther out than the map and are at its edge");
    expect(el.textContent).not.toContain("A diamond has");
    model.set("density", { new: { inView: 1000, most: 7 } });
    await rest();
    expect(el.textContent).toContain(
      "1,000 are in view. A diamond has the mean color of 1 (faint) to 7 (opaque) of them.",
    );
    expect(el.querySelector(".hdm-density")).toBeNull();
    expect(texts(el, ".hdm-sample")).toEqual(["no better than the mean"]);
    stop();
  });
});

const lists = (count: number, more: object = {}): Record<string, unknown> => ({
  source: "new",
  new_count: 1000,
  new_status: "done",
  sort: "most doubtful first",
  sorts: ["most doubtful first", "in data set order"],
  layers: "three",
  size: 72,
  highlighted: null,
  selections: [],
  active: null,
  can_explain: true,
  caption_by: "",
  captions_version: 1,
  suspects: { state: "idle", error: "" },
  with_reasons: false,
  _marked: intsMessage(),
  _about: { height: 2, width: 4, total: 300, full: true, ignored: false, coverage: 0.8 },
  _shown: shownItems(Array.from({ length: count }, (_, i) => 300 + i)),
  _saved: [],
  ...more,
});

async function open(model: FakeModel) {
  const view = show(gallery, model);
  await rest();
  FakeResizeObserver.resize(700, 300);
  await rest();
  return view;
}

async function answer(model: FakeModel, reliable: boolean, measured?: number | "NaN") {
  for (const request of model.sent.splice(0)) {
    const items = request.items as number[];
    const images = items.map((index) => ({
      index,
      iou: 0.25,
      interval: { low: 0.125, high: 0.5, reliable, ...(measured !== undefined && { measured }) },
      caption: "",
      error: "",
    }));
    const mask = () => new DataView(Uint8Array.of(0).buffer);
    await model.reply(
      request,
      { images },
      items.flatMap(() => [text("png"), mask(), mask()]),
    );
  }
}

describe("the gallery of new items", () => {
  it("has only the rows in view in the page, without selections, and counts the items", async () => {
    const model = new FakeModel(lists(1000));
    const { el, stop } = await open(model);
    expect(el.querySelector("[aria-label=Selections]")).toBeNull();
    expect(texts(el, ".hdm-gallery-head [role=status]")).toEqual(["new items: all 1,000"]);
    expect(el.querySelectorAll(".hdm-card").length).toBeLessThan(40);
    expect(pick(el, "Sort").value).toBe("most doubtful first");
    model.set("_shown", shownItems([301, 307], 2, 2));
    await rest();
    expect(texts(el, ".hdm-gallery-head [role=status]")).toEqual(["new items: 2 of 1,000 Show all"]);
    model.asked();
    button(el, "Show all").click();
    expect(model.asked()).toEqual([{ request: "all" }]);
    stop();
  });

  it.each([
    [
      true,
      "New item 0, expected IoU 0.25, 80 % interval 0.13 to 0.50: highlight its point on the map",
      "0.250.13–0.50Explain",
    ],
    [
      false,
      "New item 0, expected IoU 0.25, 80 % interval 0.13 to 0.50, not reliable: highlight its point on the map",
      "0.250.13–0.50?Explain",
    ],
  ])("tells estimate and interval of an item that is reliable: %s", async (reliable, name, caption) => {
    const model = new FakeModel(lists(1));
    const { el, stop } = await open(model);
    await answer(model, reliable);
    const card = el.querySelector(".hdm-card") as HTMLElement;
    expect(card.querySelector("button")?.getAttribute("aria-label")).toBe(name);
    expect(card.querySelector(".hdm-caption")?.textContent).toBe(caption);
    const band = card.querySelector(".hdm-range-band") as HTMLElement;
    expect([band.style.left, band.style.right]).toEqual(["12.5%", "50%"]);
    expect((card.querySelector(".hdm-range-dot") as HTMLElement).style.left).toBe("25%");
    expect([...card.querySelectorAll("canvas")].map((one) => one.getAttribute("aria-label"))).toEqual([
      "Prediction",
    ]);
    expect(nameless(el)).toEqual([]);
    card.querySelector("button")?.click();
    expect(model.state.highlighted).toBe(300);
    stop();
  });

  it("has one image with the prediction over it", async () => {
    const model = new FakeModel(lists(1, { layers: "overlay" }));
    const { el, stop } = await open(model);
    await answer(model, true);
    expect([...el.querySelectorAll("canvas")].map((one) => one.getAttribute("aria-label"))).toEqual([
      "Prediction over the image",
    ]);
    stop();
  });

  const about = { height: 2, width: 4, total: 300, full: true, ignored: false, coverage: 0.9 };

  it.each([
    [0.25, "three", "measured 0.25", "measured 0.25", ["True mask", "Prediction: hit, missed and added"]],
    [
      0.75,
      "three",
      "measured 0.75 outside of it",
      "measured 0.75",
      ["True mask", "Prediction: hit, missed and added"],
    ],
    [0.25, "overlay", "measured 0.25", null, ["Hit, missed and added"]],
    [undefined, "three", "0.13 to 0.50", "0.13–0.50", ["Prediction"]],
    [undefined, "overlay", "0.13 to 0.50", null, ["Prediction over the image"]],
  ])("tells the measured IoU %s of an item as %s", async (measured, layers, name, caption, masks) => {
    const model = new FakeModel(lists(1, { layers, _about: { ...about, truths: true } }));
    const { el, stop } = await open(model);
    expect(el.querySelector(".hdm-gallery-head")?.textContent).toContain("Three layers");
    await answer(model, true, measured);
    const card = el.querySelector(".hdm-card") as HTMLElement;
    expect(card.querySelector("button")?.getAttribute("aria-label")).toContain(`${name}: highlight`);
    const ring = card.querySelector(".hdm-range-ring") as HTMLElement | null;
    expect(ring?.style.left ?? null).toBe(measured === undefined ? null : `${100 * measured}%`);
    if (caption) expect(card.querySelector(".hdm-note")?.textContent).toBe(caption);
    expect(card.querySelector(".hdm-outside") !== null).toBe(measured === 0.75);
    expect([...card.querySelectorAll("canvas")].map((one) => one.getAttribute("aria-label"))).toEqual(masks);
    expect(card.querySelector(".hdm-no-truth") !== null).toBe(measured === undefined && layers === "three");
    stop();
  });

  it.each([
    [true, "0.50: highlight", undefined],
    [false, "0.50, not reliable: highlight", "Not reliable: all of it is unlike"],
  ])("says why an estimate is not reliable: %s", async (reliable, spoken, why) => {
    const model = new FakeModel(lists(1, { _about: { ...about, unreliable: "all of it is unlike" } }));
    const { el, stop } = await open(model);
    await answer(model, reliable);
    expect(el.querySelector(".hdm-card button")?.getAttribute("aria-label")).toContain(spoken);
    expect(el.querySelector(".hdm-doubtful")?.getAttribute("title")).toBe(why);
    stop();
  });

  it("explains an item where there are a model and images", async () => {
    const model = new FakeModel(lists(1));
    const { el, stop } = await open(model);
    await answer(model, true);
    button(el, "Explain").click();
    expect(model.asked()).toEqual([{ request: "explain", item: 300 }]);
    model.set("can_explain", false);
    await rest();
    expect(texts(el, "button")).not.toContain("Explain");
    stop();
  });

  it("turns to the items of the map", async () => {
    const model = new FakeModel(lists(1));
    const { el, stop } = await open(model);
    model.asked();
    (el.querySelector("input[value=map]") as HTMLInputElement).click();
    expect(model.asked()).toEqual([{ request: "turn", source: "map" }]);
    model.set("source", "map");
    model.set("_shown", shownItems([], 0, 3));
    await rest();
    expect(el.textContent).toContain("Draw a lasso around points");
    expect((el.querySelector("input[value=new]") as HTMLInputElement).checked).toBe(false);
    stop();
  });
});

describe("the place of new items that are not there", () => {
  const waiting = (status: string, more: object = {}) =>
    lists(0, { source: "map", new_count: 0, new_status: status, _shown: shownItems([]), ...more });

  it.each([
    ["running", "The new items will appear here", undefined],
    ["cancelled", "The new items are not here", "Start again"],
    ["error", "The new items are not here", "Try again"],
  ])("says what is going on: %s", async (status, title, again) => {
    const model = new FakeModel(waiting(status));
    const { el, stop } = await open(model);
    expect(el.querySelector(".hdm-awaited[role=status] b")?.textContent).toBe(title);
    // The map can be used meanwhile.
    expect(el.querySelector(".hdm-nothing > p b")?.textContent).toBe(
      again ? "Draw a lasso around points" : "Meanwhile, draw a lasso around points of the map",
    );
    const buttons = [...el.querySelectorAll<HTMLElement>(".hdm-awaited button")];
    expect(buttons.map((one) => one.textContent)).toEqual(again ? [again] : []);
    expect(nameless(el)).toEqual([]);
    model.asked();
    for (const one of buttons) one.click();
    expect(model.asked()).toEqual(again ? [{ request: "start" }] : []);
    stop();
  });

  it("is not spoken of without new data, in an empty selection, or without Python", async () => {
    const empty = { name: "a", color: "#8b5cf6", count: 0, mean: "nan", median: "nan" };
    for (const state of [waiting("idle"), waiting("running", { selections: [empty], active: 0 })]) {
      const { el, stop } = await open(new FakeModel(state));
      expect(el.querySelector(".hdm-awaited")).toBeNull();
      expect(el.querySelector(".hdm-nothing")).not.toBeNull();
      stop();
    }
    const model = new FakeModel(waiting("running"));
    const { el, stop } = await open(model);
    model.disconnect();
    await rest();
    expect(el.querySelector(".hdm-awaited")).toBeNull();
    stop();
  });
});
