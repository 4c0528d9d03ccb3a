// @vitest-environment jsdom
import { options } from "preact";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import widget from "../src/hdm_explorer";
import { bits, explorerState } from "./explorer_state";
import {
  button,
  doublesMessage,
  FakeModel,
  FakeResizeObserver,
  fakeAddresses,
  fakeCanvases,
  floatsMessage,
  nameless,
  show as onPage,
  pick,
  rest,
} from "./fake_model";

options.requestAnimationFrame = (effect) => queueMicrotask(effect);

const SIDE = 16;
/** A mask of 16 x 16 px with these pixels. */
function packed(...boxes: [top: number, left: number, bottom: number, right: number][]) {
  const bytes = new Array(32).fill(0);
  for (const [top, left, bottom, right] of boxes) {
    for (let y = top; y < bottom; y++) {
      for (let x = left; x < right; x++) bytes[2 * y + (x >> 3)] |= 128 >> (x & 7);
    }
  }
  return bits(...bytes);
}

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

function show(changes: Record<string, unknown> = {}) {
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
const tool = (el: HTMLElement) => el.querySelector(".hdm-tools .hdm-on")?.textContent;
const said = (el: HTMLElement) => el.querySelector("[aria-live]")?.textContent;
const path = (el: HTMLElement, kind: string) => el.querySelector(`path.hdm-${kind}`)?.getAttribute("d");

describe("the tools of the stage", () => {
  it("are chosen by a click or a key, and say what they do", async () => {
    const { el, stop, stage, press, choose } = show();
    expect(tool(el)).toBe("Pin");
    for (const [key, name, label] of [
      ["b", "Brush", "brush it with Enter"],
      ["O", "Object", "choose the object there with Enter"],
      ["p", "Pin", "pin it with Enter"],
    ]) {
      await press(key);
      expect(tool(el)).toBe(name);
      expect(stage.getAttribute("aria-label")).toContain(label);
    }
    await press("b", { ctrlKey: true });
    expect(tool(el)).toBe("Pin");
    await choose("Brush");
    expect(tool(el)).toBe("Brush");
    expect(nameless(el)).toEqual([]);
    stop();
  });

  it("are not there where no masks are kept, or no Python", async () => {
    const { el, stop, press } = show({
      _measures: [["hausdorff", "Hausdorff distance", false]],
      _explained_by: ["truth"],
    });
    expect(el.querySelector(".hdm-tools")).toBeNull();
    await press("b");
    expect(el.querySelector(".hdm-tool-pin")).not.toBeNull();
    stop();
    const other = show();
    await other.press("b");
    other.model.disconnect();
    await rest();
    // Nothing moves, and nothing can be done.
    const tools = [...other.el.querySelectorAll<HTMLInputElement>(".hdm-tools input")];
    expect(tools.map((one) => one.disabled)).toEqual([true, true, true]);
    await other.press("b");
    expect(tool(other.el)).toBe("Pin");
    other.stop();
  });
});

describe("an object", () => {
  it("is chosen by a click, of what is explained rather than of the other mask", async () => {
    const { model, el, stop, mouse, choose } = show();
    await choose("Object");
    await mouse("pointermove", 2, 3);
    expect(path(el, "object")).toBe("M1 1H5M1 4H5M1 1V4M5 1V4");
    expect(said(el)).toContain("object of");
    await mouse("click", 2, 3);
    expect([model.state.explain_by, model.state.object, model.saved]).toEqual(["truth", [3, 2], 1]);
    expect(el.querySelector(".hdm-chosen")?.textContent).toBe("object of 12 pxAll objects");
    // Only the prediction has one there.
    await mouse("click", 12, 2);
    expect([model.state.explain_by, model.state.object]).toEqual(["prediction", [2, 12]]);
    // And here none has.
    await mouse("click", 15, 15);
    expect(model.state.object).toEqual([2, 12]);
    expect(model.state.cell).toBeNull();
    button(el, "All objects").click();
    expect(model.state.object).toBeNull();
    stop();
  });

  it("is chosen and let go by keys", async () => {
    const { model, el, stop, press } = show({
      circle_size: 3,
      offset: 4,
      _scanned: { circleSize: 3, offset: 4, channel: -1 },
    });
    await press("o");
    await press("ArrowUp");
    // The disc of row 2, column 2 has its center at 10, 10.
    expect(said(el)).toContain("object of 16 px");
    await press("Enter");
    expect(model.state.object).toEqual([10, 10]);
    await press("Escape");
    expect(model.state.object).toBeNull();
    stop();
  });

  it.each([
    // The disc of row 1, column 2 is 9 px across: its center at 12.5, 8.5 has no object, 2 px to its left is one.
    ["disc", [9, 11]],
    ["square", [9, 11]],
  ] as const)("is that which a %s touches, nearest to its center", async (shape, pixel) => {
    const { model, el, stop, press } = show({
      circle_size: 8,
      offset: 4,
      shape,
      _scanned: { circleSize: 8, offset: 4, channel: -1 },
      _truth: packed([9, 8, 12, 12], [4, 15, 6, 16]),
    });
    await press("o");
    await press("ArrowUp");
    await press("ArrowUp");
    expect(said(el)).toContain("row 1, column 2");
    expect(said(el)).toContain("object of 12 px");
    expect(path(el, "object")).toBe("M8 9H12M8 12H12M8 9V12M12 9V12");
    await press("Enter");
    expect(model.state.object).toEqual(pixel);
    expect(model.state.explain_by).toBe("truth");
    stop();
  });

  const notice = (el: HTMLElement) => el.querySelector(".hdm-tools [role=status]")?.textContent;

  it("may not be there: that is said, until the pointer or the cursor goes on", async () => {
    const { model, el, stop, mouse, press, choose } = show({
      _truth: packed([1, 1, 2, 2]),
      _prediction: packed(),
    });
    await choose("Object");
    expect(notice(el)).toBe("Click an object's outline or inside");
    await mouse("pointermove", 12, 12);
    await mouse("click", 12, 12);
    expect(notice(el)).toBe("No object here");
    await mouse("pointermove", 2, 12);
    expect(notice(el)).toBe("Click an object's outline or inside");
    await mouse("pointerleave", 2, 12);
    await press("ArrowDown");
    await press("Enter");
    expect(notice(el)).toBe("This disc touches no object");
    expect([model.state.object, model.saved]).toEqual([null, 0]);
    await press("p");
    await press("o");
    expect(notice(el)).toBe("Click an object's outline or inside");
    stop();
  });

  it("of the other mask is explained with it, which is said and taken back", async () => {
    const { model, el, stop, mouse, press, choose } = show();
    await choose("Object");
    await mouse("click", 12, 2);
    expect([model.state.explain_by, model.state.object]).toEqual(["prediction", [2, 12]]);
    expect(notice(el)).toBe("Only the prediction has an object here: it is explained now");
    // Another one of the same mask.
    await mouse("click", 4, 4);
    expect([model.state.explain_by, notice(el)]).toEqual(["prediction", ""]);
    await press("Escape");
    expect([model.state.explain_by, model.state.object]).toEqual(["truth", null]);
    // What is explained by hand stays.
    model.set("explain_by", "prediction");
    await mouse("click", 12, 2);
    await press("Escape");
    expect([model.state.explain_by, model.state.object]).toEqual(["prediction", null]);
    stop();
  });

  it("is what the texts, the summary and the inspector are about", async () => {
    const { el, stop } = show({ object: [9, 9] });
    expect(el.querySelector(".hdm-scale p")?.textContent).toBe(
      "Hausdorff distance to the object when a disc covers this cell",
    );
    expect(el.querySelector(".hdm-stat")?.textContent).toContain("from the object");
    expect(said(el)).toBe("explained: an object of 16 px");
    // The row distance is of the whole truth only.
    expect([...pick(el, "Measure").options].map((one) => one.disabled)).toEqual([false, false, true]);
    stop();
  });

  it.each([
    // The rows of the image that are nearer to another object, and those that are ignored.
    [[0, 4], [0, 0], ": it is nearer to other objects", "25"],
    [[0, 4], [12, 16], ": it is nearer to other objects or ignored", "50"],
    [[0, 0], [12, 16], "", "25"],
  ] as const)(
    "has stripes over what does not count: rows %s, and %s",
    async ([a, b], [c, d], why, percent) => {
      const { model, el, stop, choose, mouse } = show({
        object: [9, 9],
        _nearer_to_others: a < b ? packed([a, 0, b, 16]) : bits(),
        _ignored: c < d ? packed([c, 0, d, 16]) : bits(),
      });
      expect(el.textContent).toContain(
        `Striped: ${percent} % of the image does not count, neither in distances nor in IoU${why}`,
      );
      expect(el.querySelector("[aria-label='Pixels that do not count']")).not.toBeNull();
      // Other objects can be chosen all the same.
      await choose("Object");
      await mouse("click", 2, 2);
      expect(model.state.object).toEqual([2, 2]);
      stop();
    },
  );

  it.each([
    [null, "nothing is predicted", "The model predicts nothing, so"],
    [[9, 9], "nothing of the object is predicted", "The model predicts nothing of the object, so"],
  ])("%s may be all that is gone", async (object, said, caption) => {
    const prediction = { mask: packed(), empty: true, iou: 0, pair: null, from: null, distance: null };
    const inspection = { cell: [0, 1], pending: false, distance: 12.5, baseline: 1, rank: 1, of: 3 };
    const { el, stop, press } = show({
      object,
      cell: [0, 1],
      _map: { ...(explorerState()._map as object), oneEmpty: bits(0b01000000) },
      _inspector: { ...inspection, image: bits(), prediction },
    });
    const worst = [...el.querySelectorAll(".hdm-stat")].at(1);
    expect(worst?.lastElementChild?.textContent).toBe(said);
    expect([...el.querySelectorAll("figcaption")].at(-1)?.textContent).toContain(caption);
    await press("ArrowLeft");
    await press("ArrowRight");
    expect(el.querySelector(".hdm-tip")?.textContent).toContain(` ${said}`);
    stop();
  });

  it("is not on offer for a measure of the whole truth only", async () => {
    const { el, stop, press } = show({ measure: "rows" });
    expect(el.querySelector(".hdm-tools")?.textContent).toBe("PinBrush");
    await press("o");
    expect(tool(el)).toBe("Pin");
    stop();
  });

  it("is without the pixels that do not count", async () => {
    const { model, el, stop, mouse, choose } = show({
      explain_by: "prediction",
      _ignored: packed([0, 0, 16, 3]),
    });
    await choose("Object");
    await mouse("click", 4, 3);
    expect(model.state.object).toEqual([3, 4]);
    expect(el.querySelector(".hdm-chosen b")?.textContent).toBe("6 px");
    stop();
  });

  it("may be one of an annotator's", async () => {
    const names = { _explained_by: ["Anna", "Ben", "prediction"], explain_by: "prediction" };
    const { model, el, stop, mouse, choose } = show(names);
    expect([...pick(el, "Explain").options].map((one) => one.textContent)).toEqual([
      "Anna",
      "Ben",
      "the prediction",
    ]);
    await choose("Object");
    await mouse("click", 9, 9);
    expect([model.state.explain_by, model.state.object]).toEqual(["Anna", [9, 9]]);
    stop();
  });
});

describe("a brushed region", () => {
  it("is painted by the pointer, seen at once and sent now and then", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const { model, el, stop, stage } = show();
    const settle = () => vi.advanceTimersByTimeAsync(0);
    const mouse = (type: string, x: number, y: number) => {
      const Event = window.PointerEvent ?? MouseEvent;
      stage.dispatchEvent(new Event(type, { clientX: x + 0.5, clientY: y + 0.5, bubbles: true, button: 0 }));
      return settle();
    };
    stage.dispatchEvent(new KeyboardEvent("keydown", { key: "b", bubbles: true }));
    await settle();
    // Over the image it paints only while it is pressed.
    await mouse("pointermove", 3, 3);
    expect(path(el, "region")).toBeUndefined();
    await mouse("pointerdown", 3, 3);
    expect(path(el, "region")).toBeDefined();
    expect(model.state.brush).toEqual([]);
    await mouse("pointermove", 6, 3);
    await vi.advanceTimersByTimeAsync(200);
    expect([model.state.brush, model.saved]).toEqual([[2, 2, 8, 3, 2, 8, 4, 2, 8], 1]);
    await mouse("pointerup", 6, 3);
    await mouse("click", 6, 3);
    await mouse("pointermove", 12, 12);
    await vi.advanceTimersByTimeAsync(200);
    expect([model.saved, model.state.cell]).toEqual([1, null]);
    stop();
  });

  it("is painted and cleared by keys", async () => {
    const { model, el, stop, press } = show();
    await press("b");
    await press("ArrowUp");
    await press("Enter");
    await press("ArrowLeft", { shiftKey: true });
    await vi.waitFor(() => expect(model.state.brush).not.toEqual([]));
    // The discs of row 1: 9 px across, at both columns.
    const brush = model.state.brush as number[];
    expect([brush[0], brush.at(-3)]).toEqual([8, 15]);
    expect(brush.slice(12, 15)).toEqual([10, 0, 16]);
    expect(said(el)).toContain("px brushed");
    await press("]");
    expect(el.querySelector(".hdm-brush-size")?.textContent).toBe("Size5 px");
    await press("Escape");
    expect(model.state.brush).toEqual([]);
    stop();
  });

  const values = { values: floatsMessage(0, 0.61, 0.004, Number.NaN), change: 0.18 };
  it("has its own map, beside which the distances stay", async () => {
    const { model, el, stop, press } = show({ brush: [0, 0, 8, 1, 0, 8], _influence: values });
    expect(el.querySelector(".hdm-scale p")?.textContent).toBe(
      "How much of the brushed area flips when a disc covers this cell",
    );
    expect(el.querySelector(".hdm-ticks span:last-child")?.textContent).toBe("61 %");
    expect(el.querySelector(".hdm-panel [aria-label='Result type']")).toBeNull();
    await press("ArrowUp");
    await press("ArrowUp");
    expect(el.querySelector(".hdm-tip")?.textContent).toBe("flips 61 % of the brushed area · 12.5 px");
    expect(said(el)).toBe("row 0, column 1: flips 61 % of the brushed area, 12.5 px");
    const stats = [...el.querySelectorAll(".hdm-stat")].map((one) =>
      [...one.children].map((part) => part.textContent),
    );
    expect(stats).toEqual([
      ["Without a disc", "1.0 px", "from the truth"],
      ["Worst cell", "12.5 px", "11.5 px worse"],
      ["Best cell", "0.0 px", "1.0 px better"],
      ["Brushed area", "16 px", "18 % of the change on 6 % of the image"],
      ["Changed most", "61 %", "flips"],
    ]);
    (el.querySelector(".hdm-brushed button.hdm-stat") as HTMLButtonElement).click();
    expect(model.state.cell).toEqual([0, 1]);
    button(el, "Clear").click();
    model.set("_influence", {});
    await rest();
    expect(model.state.brush).toEqual([]);
    expect(el.querySelector(".hdm-brushed")).toBeNull();
    expect(el.querySelector(".hdm-scale p")?.textContent).toContain("Hausdorff distance");
    stop();
  });

  it("shows distances while the answer is of another grid, and says where none of its pixels counts", async () => {
    const { el, stop } = show({
      brush: [0, 0, 8],
      _influence: { values: floatsMessage(1, 1), change: null },
    });
    expect(el.querySelector(".hdm-scale p")?.textContent).toContain("Hausdorff distance");
    stop();
    const none = show({ brush: [0, 0, 8] });
    expect(none.el.querySelector(".hdm-brushed")?.textContent).toContain("none of its pixels counts");
    none.stop();
  });

  it("is that which Python has", async () => {
    const { model, el, stop } = show();
    model.set("brush", [4, 2, 6]);
    await rest();
    expect(path(el, "region")).toBe("M2 4H6M2 5H6M2 4V5M6 4V5");
    stop();
  });
});

it("edges are dark over the map, on an image that is lightened, and light without it", async () => {
  const put = fakeCanvases();
  const { model, el, stop } = show({ _edges: packed([0, 0, 1, 1]), layers: ["picture", "edges", "map"] });
  const drawn = () => {
    const { image } = put
      .filter(({ canvas }) => canvas.getAttribute("aria-label") === "Edges")
      .at(-1) as (typeof put)[0];
    return [...image.data.slice(0, 8)];
  };
  await rest();
  expect(drawn()).toEqual([42, 48, 54, 255, 0, 0, 0, 0]);
  const canvases = [...el.querySelectorAll("canvas")].map((one) => one.getAttribute("aria-label"));
  expect(canvases.indexOf("Edges")).toBeGreaterThan(canvases.indexOf("Distances"));
  model.set("layers", ["picture", "edges"]);
  await rest();
  expect(drawn()).toEqual([220, 225, 230, 255, 0, 0, 0, 0]);
  model.set("layers", ["picture", "edges", "map"]);
  model.set("opacity", 0);
  await rest();
  expect(drawn()).toEqual([220, 225, 230, 255, 0, 0, 0, 0]);
  stop();
});

it.each([
  [
    [Number.NaN, Number.NaN, Number.NaN, Number.NaN],
    0b11110000,
    {},
    "is not defined in any measured cell: nothing is predicted",
  ],
  [[Number.NaN, Number.NaN, Number.NaN, Number.NaN], 0b00010000, {}, "is not defined in any measured cell"],
  [
    [1 / 0, 1 / 0, 1 / 0, 1 / 0],
    0b11110000,
    { truthEmpty: true },
    "is infinite in every measured cell: something is predicted, and the truth is empty",
  ],
  [[1 / 0, Number.NaN, 1 / 0, 1 / 0], 0, {}, "has no finite value in any measured cell"],
])("a map without values, %s, says why", (values, oneEmpty, changes, why) => {
  const { _about, _map } = explorerState() as Record<string, object>;
  const { el, stop } = show({
    _about: { ..._about, ...changes },
    _map: { ..._map, values: doublesMessage(...values), oneEmpty: bits(oneEmpty) },
  });
  expect(el.querySelector(".hdm-scale p")?.textContent).toBe(`No colors, as the Hausdorff distance ${why}`);
  stop();
});

it("another measure is proposed in a line with a button", async () => {
  const _proposal = {
    measure: "iou",
    reason: "One of 12 objects of the truth decides 812 of 1,024 distances",
  };
  const { model, el, stop } = show({ _proposal: { ..._proposal, of: "truth", pixel: [9, 9] } });
  const line = el.querySelector(".hdm-proposal") as HTMLElement;
  // The object is outlined while the line is pointed at, or its button has the focus.
  for (const [target, over, out] of [
    [line, "pointerenter", "pointerleave"],
    [button(line, "Try 1 - IoU"), "focus", "blur"],
  ] as const) {
    target.dispatchEvent(new Event(over));
    await rest();
    expect(path(el, "changed")).toBe("M8 8H12M8 12H12M8 8V12M12 8V12");
    target.dispatchEvent(new Event(out));
    await rest();
    expect(path(el, "changed")).toBeUndefined();
  }
  expect(line.textContent).toBe("One of 12 objects of the truth decides 812 of 1,024 distances.Try 1 - IoU");
  button(line, "Try 1 - IoU").click();
  expect(model.state.measure).toBe("iou");
  model.set("_proposal", {});
  await rest();
  expect(el.querySelector(".hdm-proposal")).toBeNull();
  stop();
});

it("a map of areas has 0 in the middle of its bar", () => {
  const about = {
    ...(explorerState()._about as object),
    measure: "area",
    unit: "px²",
    signed: true,
    decimals: 0,
  };
  const map = { ...(explorerState()._map as object), values: doublesMessage(-40, 12, 3, 0), baseline: 3 };
  const { el, stop } = show({ _about: about, _map: map });
  const ticks = [...el.querySelectorAll(".hdm-ticks span")].map((one) => one.textContent);
  expect([ticks[0], ticks.at(-1)]).toEqual(["−40", "40 px²"]);
  expect(el.querySelector(".hdm-scale p")?.textContent).toBe(
    "Area of the mask less that of the truth when a disc covers this cell: less left of 0, more right of it",
  );
  stop();
});
