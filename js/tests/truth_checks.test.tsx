// @vitest-environment jsdom
// Truths that may be wrong, and where the model fails: what gallery, legend, tables and keys have of them.
import { describe, expect, it, vi } from "vitest";
import clusterTable from "../src/cluster_table";
import gallery from "../src/gallery";
import { followPointer } from "../src/latent/pointer";
import type { LegendTraits } from "../src/latent/python_state";
import legend from "../src/legend";
import { connect } from "../src/shared/traits";
import {
  button,
  enabled,
  FakeModel,
  FakeResizeObserver,
  floatsMessage,
  intsMessage,
  nameless,
  rest,
  show,
  shownItems,
  text,
} from "./fake_model";
import { withRoom } from "./latent_page";

const addresses = withRoom();

const REASON = "the model draws an object of 412 px that the truth lacks, with confidence 0.97";

const galleryState = (more: object = {}): Record<string, unknown> => ({
  source: "map",
  new_count: 0,
  new_status: "idle",
  sort: "most suspicious truth first",
  sorts: ["lowest IoU first", "most suspicious truth first"],
  layers: "three",
  size: 72,
  highlighted: null,
  selections: [{ name: "a", color: "#8b5cf6", count: 2, mean: 0.5, median: 0.5 }],
  active: 0,
  can_explain: true,
  caption_by: "",
  captions_version: 1,
  suspects: { state: "done", error: "" },
  with_reasons: true,
  _marked: intsMessage(5),
  _about: { height: 2, width: 4, total: 9, full: true },
  _shown: shownItems([5, 3]),
  _saved: [],
  ...more,
});

async function open(model: FakeModel, width = 700) {
  const view = show(gallery, model);
  await rest();
  FakeResizeObserver.resize(width, 300);
  await rest();
  const [request] = model.sent.splice(0);
  if (request) {
    const mask = () => new DataView(Uint8Array.of(0b10010000).buffer);
    const told = { iou: 0.25, caption: "", error: "", suspicion: "0.93", reason: REASON };
    const images = (request.items as number[]).map((index) => ({ index, ...told }));
    await model.reply(
      request,
      { images },
      images.flatMap(() => [text("png"), mask(), mask()]),
    );
  }
  return view;
}

const marks = (el: Element) => [...el.querySelectorAll<HTMLButtonElement>(".hdm-mark")];

describe("cards", () => {
  it("say how suspicious their truth is and why, where that orders or colors them", async () => {
    const model = new FakeModel(galleryState());
    const { el, stop } = await open(model);
    const [line] = el.querySelectorAll<HTMLElement>(".hdm-reason");
    expect(line.textContent).toBe(`0.93 ${REASON}`);
    expect(el.querySelector<HTMLElement>(".hdm-layers")?.title).toBe(
      `Item 5: highlight its point on the map\nSuspicion of the truth 0.93: ${REASON}`,
    );
    const height = () => (el.querySelector(".hdm-rows") as HTMLElement).style.height;
    const high = Number.parseInt(height(), 10);
    model.set("with_reasons", false);
    await rest();
    expect(el.querySelector(".hdm-reason")).toBeNull();
    expect(high - Number.parseInt(height(), 10)).toBe(36); // two lines
    stop();
  });

  it("have room for the figure alone where they are narrow", async () => {
    const { el, stop } = await open(new FakeModel(galleryState({ layers: "overlay" })));
    expect(el.querySelector(".hdm-reason")?.textContent?.trim()).toBe("0.93");
    expect(el.querySelector<HTMLElement>(".hdm-reason")?.title).toContain(REASON);
    stop();
  });

  it.each([
    ["a pointer", "pointerover", "pointerleave"],
    ["the focus", "focusin", "focusout"],
  ])("say all of a reason below the images, to %s", async (_, into, out) => {
    const model = new FakeModel(galleryState({ layers: "overlay" }));
    const { el, stop } = await open(model);
    const told = () => el.querySelector(".hdm-whole-reason[role=status]")?.textContent;
    const hint = "Point at an image or tap it to read why its truth is suspicious.";
    expect(told()).toBe(hint);
    const event = (name: string, at: Element | null) => {
      at?.dispatchEvent(new Event(name, { bubbles: name !== "pointerleave" }));
      return rest();
    };
    await event(into, el.querySelectorAll(".hdm-layers")[1]);
    expect(told()).toBe(`Item 3: 0.93 ${REASON}`);
    await event(into, el.querySelector(".hdm-layers"));
    expect(told()).toBe(`Item 5: 0.93 ${REASON}`);
    await event(out, el.querySelector(".hdm-grid"));
    expect(told()).toBe(hint);
    // A tap highlights the item, and that lasts.
    model.set("highlighted", 3);
    await rest();
    expect(told()).toBe(`Item 3: 0.93 ${REASON}`);
    model.set("with_reasons", false);
    await rest();
    expect(told()).toBeUndefined();
    stop();
  });

  it("are marked by a button, and show that they are", async () => {
    const model = new FakeModel(galleryState());
    const { el, stop } = await open(model);
    const states = () => marks(el).map((one) => [one.getAttribute("aria-pressed"), one.textContent]);
    expect(states()).toEqual([
      ["true", "✕ wrong"],
      ["false", "wrong?"],
    ]);
    expect(marks(el)[1].getAttribute("aria-label")).toBe("Truth of item 3 is wrong");
    expect(marks(el)[1].title).toContain("(W)");
    expect(
      [...el.querySelectorAll(".hdm-card")].map((card) => card.classList.contains("hdm-marked")),
    ).toEqual([true, false]);
    marks(el)[1].click();
    expect(model.asked()).toEqual([{ request: "mark", item: 3 }]);
    model.set("_marked", intsMessage(3));
    await rest();
    expect(states()).toEqual([
      ["false", "wrong?"],
      ["true", "✕ wrong"],
    ]);
    expect(nameless(el)).toEqual([]);
    stop();
  });
});

describe("marked truths", () => {
  it("are counted, and nothing is said where there are none", async () => {
    const model = new FakeModel(galleryState());
    const { el, stop } = await open(model);
    const told = () => el.querySelector(".hdm-marks-count")?.textContent?.trim();
    expect(told()).toBe("✕ 1 truth marked as wrong");
    model.set("_marked", intsMessage(3, 5));
    await rest();
    expect(told()).toBe("✕ 2 truths marked as wrong");
    model.set("_marked", intsMessage());
    await rest();
    expect(told()).toBeUndefined();
    stop();
  });

  it("are selected, and saved as Python sends them", async () => {
    const model = new FakeModel(galleryState());
    const { el, stop } = await open(model);
    const saved: [string, string | undefined][] = [];
    vi.spyOn(HTMLAnchorElement.prototype, "click").mockImplementation(function (this: HTMLAnchorElement) {
      saved.push([this.download, addresses().get(this.href)?.type]);
    });
    button(el, "Select marked").click();
    expect(model.asked()).toEqual([{ request: "select_marked" }]);
    for (const [entry, format, name] of [
      ["Table (CSV)", "csv", "marked.csv"],
      ["COCO masks (JSON)", "coco", "marked.json"],
      ["VOC masks (ZIP)", "voc", "marked.zip"],
    ]) {
      (el.querySelector(".hdm-marks details") as HTMLDetailsElement).open = true;
      button(el, entry).focus();
      button(el, entry).click();
      // Its list is gone, and the focus is still in the explorer.
      expect(el.querySelector<HTMLDetailsElement>(".hdm-marks details")?.open).toBe(false);
      expect(document.activeElement?.textContent).toBe("Export marked");
      const [request] = model.sent;
      expect(request.format).toBe(format);
      expect(model.asked()).toEqual([{ request: "export_marked", format }]);
      await model.reply(request, { name }, [text("content")]);
    }
    expect(saved).toEqual([
      ["marked.csv", "text/csv"],
      ["marked.json", "application/json"],
      ["marked.zip", "application/zip"],
    ]);
    stop();
  });

  it("say why they could not be saved", async () => {
    const model = new FakeModel(galleryState());
    const { el, stop } = await open(model);
    button(el, "Table (CSV)").click();
    await model.reply(model.sent[0], { error: "the disk is full" });
    expect(el.querySelector(".hdm-marks [role=alert]")?.textContent).toBe("the disk is full");
    stop();
  });

  it("are still shown without a kernel, where nothing can be done with them", async () => {
    const model = new FakeModel(galleryState({ highlighted: 3 }));
    model.disconnect();
    const { el, stop } = await open(model);
    expect(el.querySelector(".hdm-marks-count")?.textContent).toContain("1 truth marked");
    expect(marks(el)[0].getAttribute("aria-pressed")).toBe("true");
    expect(enabled(el).filter((name) => /mark|wrong/i.test(name))).toEqual([]);
    stop();
  });
});

describe("the search for suspicious truths", () => {
  const legendState = (state: string, error = ""): Record<string, unknown> => ({
    mode: "replace",
    background: "none",
    legend: {
      kind: "scale",
      title: "Suspicion of the truth",
      low: 0.0001,
      high: 1,
      colors: ["#0000ff", "#ff0000"],
      missing: 0,
      missingLabel: "not known",
      note: "logarithmic; an order, no probability",
      state,
      error,
    },
    search: "",
    surface: {},
    sample: { drawn: 9, total: 9 },
    notice: "",
    names: [],
    new: {},
    _points: { positions: floatsMessage(), rows: intsMessage(), bounds: [0, 1, 0, 1] },
  });
  const suspects = (state: string, error = "") =>
    galleryState({ suspects: { state, error }, with_reasons: false });

  it.each([
    ["legend", legend, legendState],
    ["gallery", gallery, suspects],
  ] as const)("is told in the %s", async (_, widget, state) => {
    const model = new FakeModel(state("running"));
    const { el, stop } = show(widget, model);
    const told = () => el.querySelector("[role=status].hdm-suspects-note")?.textContent;
    expect(told()).toBe("Looking for truths that may be wrong …");
    expect(el.querySelector(".hdm-busy")).not.toBeNull();
    model.disconnect();
    await rest();
    expect(told()).toBe("The search for truths that may be wrong was not finished.");
    expect(el.querySelector(".hdm-busy, [aria-busy=true]")).toBeNull();
    stop();
    const failed = show(widget, new FakeModel(state("error", "it takes at least 30 items, got 24")));
    expect(failed.el.querySelector("[role=alert]")?.textContent).toMatch(
      /^Suspicion is not available.*: it takes at least 30 items, got 24$/,
    );
    failed.stop();
    const done = show(widget, new FakeModel(state("done")));
    expect(done.el.querySelector(".hdm-suspects-note, [role=alert]")).toBeNull();
    done.stop();
  });

  it("has a scale of its own kind", () => {
    const { el, stop } = show(legend, new FakeModel(legendState("done")));
    expect([...el.querySelectorAll(".hdm-number")].map((one) => one.textContent)).toEqual(["0.0001", "1"]);
    expect(el.textContent).toContain("logarithmic; an order, no probability");
    stop();
  });
});

describe("the key W", () => {
  function page() {
    document.body.innerHTML = `
      <div class="hdm-latent">
        <div class="hdm-latent-plot"><div class="bqplot"><svg></svg></div><div class="legend"></div></div>
        <div class="side">
          <div class="hdm-card" data-item="3"><button>three</button></div>
          <div class="hdm-card" data-item="5"><button>five</button></div>
          <div class="hdm-card"><button>new</button></div>
          <input />
        </div>
      </div>`;
    const model = new FakeModel({
      mode: "replace",
      legend: {},
      sample: { drawn: 9, total: 9 },
      _points: { positions: floatsMessage(), rows: intsMessage(), bounds: [0, 1, 0, 1] },
    });
    const python = connect(model.as<LegendTraits>(), ["mode", "legend", "sample", "_points"], model.el);
    const leave = followPointer(document.querySelector(".legend") as HTMLElement, python);
    FakeResizeObserver.resize(800, 40);
    const [three, five, fresh] = document.querySelectorAll<HTMLButtonElement>(".hdm-card button");
    const press = (target: Element) =>
      target.dispatchEvent(new KeyboardEvent("keydown", { key: "w", bubbles: true, cancelable: true }));
    const over = (target: Element) =>
      target.dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
    return { model, leave, three, five, fresh, press, over };
  }
  const side = () => document.querySelector(".side") as HTMLElement;

  it("is about the card that the pointer or the focus came to last", () => {
    const { model, leave, three, five, press, over } = page();
    over(three);
    press(side());
    five.focus();
    press(five);
    over(three);
    press(five);
    over(side()); // beside the cards: the one with the focus
    press(five);
    expect(model.asked()).toEqual([3, 5, 3, 5].map((item) => ({ request: "mark", item })));
    leave();
  });

  it("leaves it to Python where nothing is pointed at, and names no item of new data", () => {
    const { model, leave, fresh, press, over } = page();
    press(side());
    over(fresh);
    press(side());
    expect(model.asked()).toEqual([null, 9].map((item) => ({ request: "mark", item })));
    press(document.querySelector("input") as HTMLElement);
    expect(model.asked()).toEqual([]);
    leave();
  });
});

describe("the table of failures", () => {
  const group = (more: object = {}) => ({
    text: "land use = car park; sun 3 to 12",
    mostly: "",
    size: 1234,
    mean: 0.31,
    low: 0.25,
    high: 0.375,
    rest: 0.8,
    harm: 40,
    harmLow: 30.25,
    harmHigh: 50,
    ...more,
  });
  const about = "2,000 items with a mean IoU of 0.71 searched";
  const state = (failures: object = {}): Record<string, unknown> => ({
    rows: [],
    chosen: null,
    n_clusters: 0,
    most: 5,
    about: "3 clusters",
    busy: "",
    error: "",
    failures: { state: "idle", error: "", about: "", rows: [], ...failures },
    failure: null,
    _thumbnails: [],
  });
  const done = {
    state: "done",
    about,
    rows: [group(), group({ text: "shadow", mostly: "site = A", harm: 10 })],
  };
  const opened = async (model: FakeModel) => {
    const view = show(clusterTable, model);
    button(view.el, "Where it fails").click();
    await rest();
    return view;
  };

  it("is asked for when it is opened, and not again", async () => {
    const model = new FakeModel(state());
    const { el, stop } = show(clusterTable, model);
    await rest();
    expect(model.asked()).toEqual([]);
    button(el, "Where it fails").click();
    await rest();
    expect(model.asked()).toEqual([{ request: "failures" }]);
    model.set("failures", { state: "running", error: "", about: "", rows: [] });
    await rest();
    expect(el.querySelector("section")?.getAttribute("aria-busy")).toBe("true");
    expect(el.querySelector("[role=status]")?.textContent).toBe("Looking for groups where the model fails …");
    model.set("failures", done);
    await rest();
    expect(el.querySelector("[role=status]")?.textContent).toBe(about);
    button(el, "Clusters").click();
    await rest();
    expect(el.querySelector("section")?.getAttribute("aria-label")).toBe("Clusters");
    button(el, "Where it fails").click();
    await rest();
    expect(model.asked()).toEqual([]);
    stop();
  });

  it("has a row for each group, whose items a click selects", async () => {
    const model = new FakeModel(state({ ...done, error: "" }));
    model.state.failure = 1;
    const { el, stop } = await opened(model);
    const rows = [...el.querySelectorAll<HTMLElement>("tbody tr")];
    expect([...rows[0].children].map((cell) => cell.textContent)).toEqual([
      "land use = car park; sun 3 to 12",
      "1,234",
      "0.310.25 to 0.38",
      "0.80",
      "40.030.3 to 50.0",
    ]);
    expect(rows[1].children[0].textContent).toBe("shadowmostly site = A");
    expect(rows.map((row) => row.className)).toEqual(["", "hdm-chosen"]);
    expect([...el.querySelectorAll<HTMLElement>(".hdm-harm i")].map((bar) => bar.style.width)).toEqual([
      "100%",
      "25%",
    ]);
    rows[1].click();
    rows[0].querySelector("button")?.click();
    expect(model.asked()).toEqual([1, 0].map((position) => ({ request: "choose_failure", position })));
    expect(nameless(el)).toEqual([]);
    stop();
  });

  it("says what went wrong, and is sought again", async () => {
    const model = new FakeModel(state({ state: "error", error: "no memory" }));
    const { el, stop } = await opened(model);
    expect(model.asked()).toEqual([]);
    expect(el.querySelector("[role=alert]")?.textContent).toContain("no memory");
    button(el, "Try again").click();
    expect(model.asked()).toEqual([{ request: "failures" }]);
    stop();
  });

  it("is shown without a kernel if it was sought before, and else says that it was not", async () => {
    const model = new FakeModel(state(done));
    model.disconnect();
    const { el, stop } = await opened(model);
    expect(el.querySelectorAll("tbody tr")).toHaveLength(2);
    (el.querySelector("tbody tr") as HTMLElement).click();
    expect(enabled(el)).toEqual(["Clusters", "Where it fails"]);
    stop();
    const never = new FakeModel(state());
    never.disconnect();
    const view = show(clusterTable, never);
    expect(enabled(view.el)).toEqual([]);
    expect(button(view.el, "Where it fails").title).toBe("Failures were not looked for");
    view.stop();
    const running = new FakeModel(state({ state: "running" }));
    const late = await opened(running);
    running.disconnect();
    await rest();
    expect(late.el.querySelector("[role=status]")?.textContent).toBe(
      "The search for failures was not finished.",
    );
    expect(late.el.querySelector(".hdm-busy, [aria-busy=true]")).toBeNull();
    late.stop();
    expect([...model.sent, ...never.sent, ...running.sent]).toEqual([]);
  });
});
