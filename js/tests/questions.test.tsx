// @vitest-environment jsdom
import { options } from "preact";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { About } from "../src/hdm/python_state";
import { constantMap, meaning, resultTypes, told, valueNote, worsening } from "../src/hdm/texts";
import widget from "../src/hdm_explorer";
import { explorerState } from "./explorer_state";
import {
  choose,
  doublesMessage,
  FakeModel,
  FakeResizeObserver,
  fakeAddresses,
  fakeCanvases,
  floatsMessage,
  show as onPage,
  pick,
  rest,
} from "./fake_model";

options.requestAnimationFrame = (effect) => queueMicrotask(effect);

const ABOUT: Record<string, Partial<About>> = {
  hausdorff: {},
  hausdorff95: { label: "95 % Hausdorff distance" },
  mean_surface: { label: "mean surface distance" },
  iou: { label: "1 - IoU", unit: "", decimals: 3 },
  dice: { label: "1 - Dice", unit: "", decimals: 3 },
  area: { label: "area difference", unit: "px²", decimals: 0, signed: true },
  flipped: { label: "flipped area", unit: "px²", decimals: 0, fromPrediction: true },
  rows: { label: "row distance", unit: "" },
  custom: { label: "distance", unit: "" },
};

function about(measure: string, other: "truth" | "prediction" = "truth"): About {
  const { _about } = explorerState();
  const fromPrediction = measure === "flipped" || (other === "prediction" && measure !== "rows");
  return { ...(_about as About), measure, comparedWith: other, ...ABOUT[measure], fromPrediction };
}

const said = (measure: string, other: "truth" | "prediction" = "truth") => {
  const one = about(measure, other);
  return [
    meaning(one, "raw"),
    meaning(one, "better"),
    meaning(one, "worse"),
    constantMap(one, "better", 0),
    constantMap(one, "worse", 0),
  ];
};

describe("the texts of a measure", () => {
  it.each([
    ["hausdorff", "Hausdorff distance to the truth when a disc covers this cell"],
    ["hausdorff95", "95 % Hausdorff distance to the truth when a disc covers this cell"],
    ["mean_surface", "Mean surface distance to the truth when a disc covers this cell"],
    ["iou", "1 - IoU with the truth when a disc covers this cell"],
    ["dice", "1 - Dice with the truth when a disc covers this cell"],
    [
      "area",
      "Area of the mask less that of the truth when a disc covers this cell: less left of 0, more right of it",
    ],
    ["flipped", "Area of the mask that flips when a disc covers this cell"],
    ["rows", "Row distance to the truth when a disc covers this cell"],
    ["custom", "Distance to the truth when a disc covers this cell"],
  ])("say what the colors of %s mean", (measure, text) => {
    expect(meaning(about(measure), "raw")).toBe(text);
  });

  it("say what is better and what is worse", () => {
    expect(said("hausdorff", "prediction").slice(1)).toEqual([
      "How much nearer to the prediction a disc here brings the mask",
      "How much farther from the prediction a disc here brings the mask",
      "No disc brings the mask nearer to the prediction",
      "No disc takes the mask farther from the prediction",
    ]);
    expect(said("iou").slice(1)).toEqual([
      "How much a disc here raises the overlap with the truth",
      "How much a disc here lowers the overlap with the truth",
      "No disc raises the overlap with the truth",
      "No disc lowers the overlap with the truth",
    ]);
    expect(said("area").slice(1)).toEqual([
      "How much nearer to the truth's area a disc here brings that of the mask",
      "How much farther from the truth's area a disc here takes that of the mask",
      "No disc brings the mask's area nearer to that of the truth",
      "No disc takes the mask's area farther from that of the truth",
    ]);
    expect(said("flipped")[4]).toBe("No disc flips a pixel");
  });

  it.each([
    ["hausdorff", 12.5, "12.5 px", "from the truth"],
    ["iou", 0.25, "1 - IoU 0.250", "with the truth"],
    ["dice", 0.25, "1 - Dice 0.250", "with the truth"],
    ["area", 12, "area +12 px²", "against that of the truth"],
    ["area", -12, "area −12 px²", "against that of the truth"],
    ["area", 0, "area 0 px²", "against that of the truth"],
    ["flipped", 12, "12 px² flipped", ""],
    ["rows", 3, "3.0", "from the truth"],
  ])("tell a value of %s", (measure, value, text, note) => {
    expect([told(value, about(measure)), valueNote(about(measure))]).toEqual([text, note]);
  });

  it("count an area that is too small as one that is too large", () => {
    expect(worsening(-30, 20, about("area"))).toBe(10);
    expect(worsening(10, -20, about("area"))).toBe(-10);
    expect(worsening(0.5, 0.25, about("iou"))).toBe(0.25);
  });

  it.each([
    ["hausdorff", "truth", ["Raw distance", "Better", "Worse"]],
    ["iou", "truth", ["Raw value", "Better", "Worse"]],
    ["flipped", "truth", []],
    ["area", "prediction", []],
    ["rows", "prediction", ["Raw distance", "Better", "Worse"]],
  ] as const)("offer what differs: %s by the %s", (measure, other, labels) => {
    expect(resultTypes(about(measure, other), "raw").map(([, label]) => label)).toEqual(labels);
    // Who chose one before can go back.
    expect(resultTypes(about(measure, other), "better")).toHaveLength(3);
  });
});

describe("the explorer", () => {
  beforeEach(() => {
    FakeResizeObserver.install();
    fakeAddresses();
    fakeCanvases();
  });
  afterEach(() => {
    vi.unstubAllGlobals();
  });

  const show = (changes: Record<string, unknown>) => {
    const model = new FakeModel({ ...explorerState(), ...changes });
    return { model, ...onPage(widget, model) };
  };
  const stats = (el: HTMLElement) =>
    [...el.querySelectorAll(".hdm-stat")].map((one) => [...one.children].map((part) => part.textContent));
  const layers = (el: HTMLElement) => [...el.querySelectorAll(".hdm-chip")].map((chip) => chip.textContent);
  const values = (...all: number[]) => ({
    ...(explorerState()._map as object),
    values: doublesMessage(...all),
  });

  it("asks for another measure, and for another mask to compare with, without a request", async () => {
    const { model, el, stop } = show({});
    choose(pick(el, "Measure"), "iou");
    choose(pick(el, "Explain"), "prediction");
    expect([model.state.measure, model.state.explain_by, model.sent]).toEqual(["iou", "prediction", []]);
    model.set("measure", "hausdorff");
    await rest();
    expect(pick(el, "Measure").value).toBe("hausdorff");
    // The row distance is only as it was scanned.
    const offered = () =>
      [...pick(el, "Measure").options].filter((one) => !one.disabled).map((one) => one.value);
    expect(offered()).toEqual(["hausdorff", "iou"]);
    model.set("explain_by", "truth");
    model.set("measure", "rows");
    await rest();
    expect(offered()).toEqual(["hausdorff", "iou", "rows"]);
    expect([...pick(el, "Explain").options].map((one) => one.disabled)).toEqual([false, true]);
    stop();
  });

  it("has no choice where there is none", () => {
    const { el, stop } = show({
      _measures: [["hausdorff", "Hausdorff distance", false]],
      _explained_by: ["truth"],
    });
    expect(el.querySelector(".hdm-question")).toBeNull();
    stop();
  });

  it("says that the prediction is explained where there is no truth", () => {
    const { el, stop } = show({
      _explained_by: ["prediction"],
      explain_by: "prediction",
      _about: { ...about("hausdorff", "prediction"), hasTruth: false },
    });
    expect(() => pick(el, "Explain")).toThrow();
    expect(el.querySelector(".hdm-question p")?.textContent).toBe("Explain the prediction");
    expect(layers(el)).toEqual(["Image", "Edges", "Circle map", "Prediction"]);
    expect(stats(el)).toEqual([["Most changed", "12.5 px", "from the prediction"]]);
    stop();
  });

  it("explains the prediction where what flips is shown, whose objects may be those of either mask", async () => {
    const { el, model, stop } = show({
      measure: "flipped",
      _measures: [
        ["hausdorff", "Hausdorff distance", false],
        ["flipped", "Flipped area", false],
      ],
      _about: about("flipped"),
    });
    expect(() => pick(el, "Explain")).toThrow();
    expect(el.querySelector(".hdm-question p")?.textContent).toBe("Explain the prediction");
    expect(() => pick(el, "Near objects of")).toThrow();
    model.set("object", [3, 3]);
    await rest();
    expect(el.querySelector(".hdm-question p")?.textContent).toBe("Explain the prediction");
    choose(pick(el, "Near objects of"), "prediction");
    expect(model.get("explain_by")).toBe("prediction");
    model.set("measure", "hausdorff");
    await rest();
    expect(pick(el, "Explain").value).toBe("prediction");
    expect(() => pick(el, "Near objects of")).toThrow();
    stop();
  });

  it("asks where the class that is shown becomes another one, and shows how much of it does", async () => {
    const { el, model, stop } = show({
      _classes: [
        [1, "road"],
        [2, "building"],
        [3, "tree"],
      ],
      target: 1,
    });
    const list = () => pick(el, "Where road becomes");
    expect([...list().options].map((one) => one.textContent)).toEqual(["any class", "building", "tree"]);
    choose(list(), "2");
    expect(model.get("against")).toBe(2);
    model.set("_class_change", { values: floatsMessage(0, 0.25, 0.5, Number.NaN), classes: [1, 2] });
    await rest();
    expect(el.querySelector(".hdm-scale p")?.textContent).toBe(
      "How much of road becomes building when a disc covers this cell",
    );
    expect(el.querySelector(".hdm-ticks")?.textContent).toContain("50 %");
    expect(el.querySelector("[aria-label='Result type']")).toBeNull();
    for (const key of ["ArrowUp", "ArrowLeft"]) {
      const keyed = new KeyboardEvent("keydown", { key, bubbles: true });
      el.querySelector(".hdm-picture")?.dispatchEvent(keyed);
    }
    await rest();
    expect(el.querySelector(".hdm-sr")?.textContent).toContain("50 % of road becomes building");
    choose(list(), "");
    expect(model.get("against")).toBeNull();
    stop();
    const one = show({ _classes: [[1, "road"]], target: 1 });
    expect(() => pick(one.el, "Where road becomes")).toThrow();
    one.stop();
  });

  it("says that one object of the prediction is explained, of a page that is of it", () => {
    const { el, stop } = show({
      _explained_by: ["prediction"],
      explain_by: "prediction",
      _about: { ...about("hausdorff", "prediction"), hasTruth: false, ofObject: true },
    });
    expect(el.querySelector(".hdm-question p")?.textContent).toBe("Explain one object of the prediction");
    expect(stats(el)).toEqual([["Most changed", "12.5 px", "from the object"]]);
    stop();
  });

  it("sums up an area by how far it is from the truth's", () => {
    const { el, stop } = show({
      _about: about("area"),
      _map: { ...values(-300, 40, 120, 0), baseline: -120 },
    });
    expect(stats(el)).toEqual([
      ["Without a disc", "area −120 px²", "against that of the truth"],
      ["Worst cell", "−300 px²", "180 px² worse"],
      ["Best cell", "40 px²", "80 px² better"],
    ]);
    stop();
  });

  it("sums up what flips by the cell that is most changed", () => {
    const { el, stop } = show({ _about: about("flipped"), _map: { ...values(0, 45, 7, 0), baseline: 0 } });
    expect(stats(el)).toEqual([["Most changed", "45 px² flipped"]]);
    expect(el.querySelector("[aria-label='Result type']")).toBeNull();
    stop();
  });

  it("sums up nothing where no disc changes the mask", () => {
    const { el, stop } = show({ _about: about("flipped"), _map: { ...values(0, 0, 0, 0), baseline: 0 } });
    expect(stats(el)).toEqual([["Most changed", "0 px² flipped", "no disc changes the mask"]]);
    stop();
  });

  const found = {
    cell: [0, 1],
    pending: false,
    distance: 45,
    baseline: 0,
    rank: 1,
    of: 3,
    image: new DataView(new ArrayBuffer(0)),
  };
  const prediction = {
    mask: new DataView(new ArrayBuffer(0)),
    empty: false,
    iou: 0.5,
    pair: null,
    from: null,
    distance: 0,
  };
  const captions = (el: HTMLElement) => [...el.querySelectorAll("figcaption")].map((one) => one.textContent);
  const rows = (el: HTMLElement) => [...el.querySelectorAll("dt")].map((one) => one.textContent);

  it.each([
    [
      "iou",
      "truth",
      ["What the model saw", "Hit · missed · added"],
      ["Without the disc", "Change", "IoU", "Rank"],
    ],
    ["flipped", "truth", ["What the model saw", "Kept · lost · gained"], ["IoU with the truth", "Rank"]],
    [
      "hausdorff",
      "prediction",
      ["What the model saw", "Kept · lost · gained", "The two masks are equal"],
      ["IoU with the prediction", "Rank"],
    ],
  ] as const)("inspects a cell in %s by the %s", (measure, other, figures, list) => {
    const { el, stop } = show({
      _about: about(measure, other),
      cell: [0, 1],
      _inspector: { ...found, prediction },
    });
    expect([captions(el), rows(el)]).toEqual([figures, list]);
    stop();
  });

  it("says in the inspector what a change of area is", () => {
    const { el, stop } = show({
      _about: about("area"),
      cell: [0, 1],
      // From -120 to 40.
      _inspector: { ...found, distance: 40, baseline: -120, prediction },
    });
    expect(el.querySelector(".hdm-big")?.textContent).toBe("area +40 px²");
    expect([...el.querySelectorAll("dd")].map((one) => one.textContent).slice(0, 2)).toEqual([
      "−120 px²",
      "80 px² better",
    ]);
    stop();
  });

  it.each([
    [0.8674, 0.8678, ["0.868", "0.001 better"]],
    [0.8676, 0.8684, ["0.868", "none"]],
  ])("tells the change as the difference of the texts: %d from %d", (value, baseline, said) => {
    const { el, stop } = show({
      _about: about("iou"),
      cell: [0, 1],
      _inspector: { ...found, distance: value, baseline, change: value - baseline, prediction },
    });
    expect([...el.querySelectorAll("dd")].map((one) => one.textContent).slice(0, 2)).toEqual(said);
    stop();
  });
});
