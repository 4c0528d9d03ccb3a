// @vitest-environment jsdom
import { describe, expect, it } from "vitest";
import widget from "../src/hdm_explorer";
import { packBits } from "../src/shared/codec";
import { explorerState, nothing } from "./explorer_state";
import { button, doublesMessage, FakeModel, nameless, show as onPage, rest } from "./fake_model";
import { doneMap, drawnOnCanvases, settings, texts } from "./shown_maps";

const models = {
  status: "done",
  models: [
    { name: "this model", map: doneMap, prediction: nothing() },
    { name: "after", map: { ...doneMap, values: doublesMessage(5, 12.5, 1, 40) }, prediction: nothing() },
  ],
  colors: new DataView(new Uint8Array(768).fill(9).buffer),
  text: "Of 4 discs, after has a larger value in 1",
};
/** Two objects of the truth, of which the second is in the prediction too. */
const square = (...corners: [number, number][]) => {
  const mask = new Uint8Array(256);
  for (const [row, col] of corners)
    for (let r = row; r < row + 3; r++) mask.fill(1, 16 * r + col, 16 * r + col + 3);
  return packBits(mask);
};
const objects = {
  status: "done",
  by: "truth",
  on: "prediction",
  values: { ...doublesMessage(0.25, Number.NaN), shape: [2, 1] },
  cells: { view: new DataView(Int32Array.of(1, 0, -1, -1).buffer), dtype: "int32", shape: [2, 1, 2] },
  covered: [
    [2, 2],
    [9, 8],
  ],
  changed: [[9, 8]],
  text: "The strongest: a disc on object 1",
};

const put = drawnOnCanvases();

const show = (changes: Record<string, unknown> = {}) => {
  const model = new FakeModel({ ...explorerState(), status: "done", _map: doneMap, ...changes });
  return { model, ...onPage(widget, model) };
};

it("buttons are there for what can be compared, and ask for it", async () => {
  const { model, el, stop } = show();
  expect(texts(el, ".hdm-comparisons button")).toEqual(["Compare fills"]);
  model.set("_other_models", ["after"]);
  model.set("_several_objects", true);
  await rest();
  expect(texts(el, ".hdm-comparisons button")).toEqual([
    "Compare fills",
    "Compare models",
    "Objects on objects",
  ]);
  button(el, "Compare models").click();
  button(el, "Objects on objects").click();
  expect(model.asked()).toEqual([
    { request: "compare_models", settings },
    { request: "compare_objects", settings },
  ]);
  model.set("_model_panel", { status: "running", done: 1, total: 4, secondsLeft: 3 });
  model.set("status", "running");
  await rest();
  expect(button(el, "Compare models").disabled && button(el, "Objects on objects").disabled).toBe(true);
  button(el.querySelector(".hdm-models") as HTMLElement, "Cancel").click();
  button(el.querySelector(".hdm-models") as HTMLElement, "Close").click();
  expect(model.asked()).toEqual([
    { request: "cancel_models", settings },
    { request: "hide_models", settings },
  ]);
  stop();
});

it("M goes to the next measure on offer, and to the first after the last", async () => {
  const { model, el, stop } = show();
  const stage = el.querySelector("[role=application]") as HTMLElement;
  const after = (key: string) => {
    stage.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    return model.state.measure;
  };
  expect(el.querySelector(".hdm-keys")?.textContent).toContain("M next measure");
  expect(["m", "M", "m"].map(after)).toEqual(["iou", "rows", "hausdorff"]);
  // Of the scan's own truth only.
  model.set("explain_by", "prediction");
  expect(["m", "m"].map(after)).toEqual(["iou", "hausdorff"]);
  model.set("_measures", [["hausdorff", "Hausdorff distance", false]]);
  await rest();
  expect(el.querySelector(".hdm-keys")?.textContent).not.toContain("next measure");
  expect(after("m")).toBe("hausdorff");
  stop();
});

describe("the panel that compares models", () => {
  const panel = (el: HTMLElement) => el.querySelector(".hdm-models") as HTMLElement;
  const stages = (el: HTMLElement) => [...panel(el).querySelectorAll<HTMLElement>("[role=application]")];

  it("has a map of each and of the difference, with the explorer's pointer and pin", async () => {
    const { model, el, stop } = show({ _model_panel: models });
    await rest();
    expect(texts(panel(el), "figcaption b")).toEqual(["this model", "after", "after − this model"]);
    expect(texts(panel(el), ".hdm-verdict")).toEqual(["Of 4 discs, after has a larger value in 1"]);
    expect(stages(el).map((stage) => put().some(({ canvas }) => stage.contains(canvas)))).toEqual([
      true,
      true,
      true,
    ]);
    expect(nameless(el)).toEqual([]);
    // No tools: a click pins. The first arrow goes to the middle.
    expect(panel(el).querySelector(".hdm-tools")).toBeNull();
    const press = (key: string) =>
      stages(el)[1].dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    press("ArrowDown");
    press("ArrowUp");
    press("ArrowLeft");
    await rest();
    expect(texts(el, ".hdm-tip b")).toEqual(["0.0 px", "0.0 px", "5.0 px", "+5.0 px"]);
    press("Enter");
    expect(model.state.cell).toEqual([0, 0]);
    stop();
    expect(model.listening).toBe(0);
  });

  it("shows what is measured, not what is brushed", async () => {
    const values = { view: new DataView(new Float32Array(4).fill(0.5).buffer), dtype: "float32", shape: [4] };
    const { el, stop } = show({
      _model_panel: models,
      brush: [0, 0, 4],
      _influence: { values, change: null },
    });
    await rest();
    stages(el)[0].dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown", bubbles: true }));
    await rest();
    expect(texts(el, ".hdm-tip b")).toEqual([
      "flips 50 % of the brushed area",
      "40.0 px",
      "40.0 px",
      "0.0 px",
    ]);
    stop();
  });

  it("says that the scan has other settings now", async () => {
    const { model, el, stop } = show({ _model_panel: models });
    model.set("fill", "mean");
    await rest();
    expect(texts(panel(el), ".hdm-verdict")[0]).toContain("Compare again");
    stop();
  });
});

describe("objects on objects", () => {
  const state = () => ({
    _object_panel: objects,
    _truth: square([2, 2], [9, 8]),
    _prediction: square([9, 8]),
  });
  const outlined = (el: HTMLElement) =>
    [...el.querySelectorAll(".hdm-picture path.hdm-object")].map((one) => [
      one.classList[1],
      one.getAttribute("d")?.slice(0, 4),
    ]);

  it("is a table in percent, with the image and the numbers of the objects beside it", async () => {
    const { el, stop } = show(state());
    await rest();
    expect(texts(el, ".hdm-matrix tr")).toEqual(["1", "125", "2–"]);
    const found = el.querySelector(".hdm-matrix button");
    expect(found?.getAttribute("aria-label")).toBe("A disc on object 1 flips 25 % of object 1");
    expect(texts(el, ".hdm-object-number")).toEqual(["1", "2", "1"]);
    const places = [...el.querySelectorAll<HTMLElement>(".hdm-object-number")].map(({ style }) => [
      style.left,
      style.top,
    ]);
    expect(places).toEqual([
      ["21.875%", "21.875%"],
      ["59.375%", "65.625%"],
      ["59.375%", "65.625%"],
    ]);
    expect(nameless(el)).toEqual([]);
    stop();
  });

  it("outlines both objects under the pointer and at the focus, and chooses by a click", async () => {
    const { model, el, stop } = show(state());
    await rest();
    const found = el.querySelector<HTMLButtonElement>(".hdm-matrix button") as HTMLButtonElement;
    found.focus();
    await rest();
    expect(outlined(el).map(([kind]) => kind)).toEqual(["hdm-covered", "hdm-changed"]);
    found.blur();
    await rest();
    expect(outlined(el)).toEqual([]);
    found.click();
    await rest();
    expect([model.state.explain_by, model.state.object, model.state.cell]).toEqual([
      "prediction",
      [9, 8],
      [1, 0],
    ]);
    expect(found.getAttribute("aria-pressed")).toBe("true");
    found.click();
    expect([model.state.object, model.state.cell]).toEqual([null, null]);
    stop();
  });

  it("pins the disc alone where the measure is of all objects", async () => {
    const { model, el, stop } = show({ ...state(), measure: "rows" });
    await rest();
    el.querySelector<HTMLButtonElement>(".hdm-matrix button")?.click();
    expect([model.state.explain_by, model.state.object, model.state.cell]).toEqual(["truth", null, [1, 0]]);
    stop();
  });
});
