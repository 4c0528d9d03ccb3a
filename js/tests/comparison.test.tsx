// @vitest-environment jsdom
import { describe, expect, it } from "vitest";
import { together } from "../src/comparison/state";
import { around0, joined } from "../src/hdm/model_views";
import widget from "../src/hdm_comparison";
import { bits, explorerState } from "./explorer_state";
import { choose, doublesMessage, FakeModel, nameless, show as onPage, pick, rest } from "./fake_model";
import { drawnOnCanvases, texts } from "./shown_maps";

const missing = Number.NaN;

/** Two models on four cells; the second one's last cell is not measured yet. */
function state(): Record<string, unknown> {
  const explorer = explorerState();
  const map = explorer._map as Record<string, unknown>;
  const prediction = bits(0);
  return {
    ...explorer,
    _names: ["old", "new"],
    _maps: [
      {
        ...map,
        values: doublesMessage(0, 12.5, 3, 40),
        measured: bits(0b11110000),
        valued: bits(0b11110000),
        done: 4,
        seconds: 4,
        prediction,
      },
      {
        ...map,
        values: doublesMessage(2, 10, 3, 3),
        measured: bits(0b11100000),
        valued: bits(0b11100000),
        baseline: 5,
        prediction,
      },
    ],
    _inspectors: [{}, {}],
    _difference_colors: new DataView(new Uint8Array(768).fill(9).buffer),
    _ready_made: false,
    _map: {},
  };
}

const put = drawnOnCanvases();

const show = (changes: Record<string, unknown> = {}) => {
  const model = new FakeModel({ ...state(), ...changes });
  return { model, ...onPage(widget, model) };
};

describe("ranges of colors", () => {
  it("are joined for all models", () => {
    expect(joined([{ low: 1, high: 4 }, null, { low: -2, high: 3 }])).toEqual({ low: -2, high: 4 });
    expect(joined([null, null])).toBeNull();
  });
  it("lie around 0 for a difference", () => {
    expect(around0(Float64Array.of(missing, 1, -3, Number.POSITIVE_INFINITY))).toEqual({ low: -3, high: 3 });
    expect(around0(Float64Array.of(missing))).toEqual({ low: -0, high: 0 });
  });
});

it("all scans are one for the progress; one that has not begun takes as long as the others", () => {
  const maps = state()._maps as Parameters<typeof together>[0];
  expect(together(maps)).toMatchObject({ done: 7, total: 8, seconds: 7, secondsLeft: 1 });
  expect(together([maps[0], {}])).toMatchObject({ done: 4, total: 8, seconds: 4, secondsLeft: 4 });
  expect(together([{}, {}])).toEqual({});
});

describe("a view of the comparison", () => {
  it("has a map for each model and one for the difference", async () => {
    const { el, stop } = show();
    expect(texts(el, "figcaption b")).toEqual(["old", "new", "new − old"]);
    expect(texts(el, "figcaption .hdm-note")).toEqual(["without a disc 1.0 px", "without a disc 5.0 px", ""]);
    expect(el.querySelector("[role=status]")?.textContent).toBe("Refining · 7 of 8");
    // One range of colors, from the least to the largest of both, and one around 0.
    expect(texts(el, ".hdm-ticks").map((ticks) => ticks?.trim())).toEqual([
      expect.stringMatching(/^0.*40 px$/),
      expect.stringMatching(/^−2\.5.*2\.5 px$/),
    ]);
    expect(texts(el, ".hdm-scale .hdm-note")[1]).toBe("red: new is larger; blue: old is larger");
    expect(nameless(el)).toEqual([]);
    await rest();
    expect(new Set(put().map(({ canvas }) => canvas)).size).toBeGreaterThanOrEqual(3);
    stop();
  });

  it("shows a cell in all maps, with three numbers", async () => {
    const { model, el, stop } = show();
    const stages = [...el.querySelectorAll<HTMLElement>("[role=application]")];
    expect(stages.map((stage) => stage.getAttribute("aria-label")?.split(":")[0])).toEqual([
      "Circle map of old",
      "Circle map of new",
      "Circle map of new − old",
    ]);
    const tips = () => texts(el, ".hdm-tip");
    const key = async (stage: HTMLElement, key: string) => {
      stage.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
      await rest();
    };
    await key(stages[1], "ArrowUp");
    expect(tips()).toEqual(["40.0 px", "about 3.0 px · not measured yet", "not measured yet"]);
    await key(stages[2], "ArrowUp");
    expect(tips()).toEqual(["12.5 px", "10.0 px", "−2.5 px"]);
    await key(stages[0], "ArrowLeft");
    expect(tips()).toEqual(["0.0 px", "2.0 px", "+2.0 px"]);
    await key(stages[2], "Enter");
    expect(model.state.cell).toEqual([0, 0]);
    expect(el.querySelectorAll(".hdm-ring.hdm-pinned")).toHaveLength(3);
    expect(texts(el, ".hdm-of-model > h3")).toEqual(["old", "new"]);
    stop();
  });

  it("changes what all maps show, with the controls of the explorer", async () => {
    const { model, el, stop } = show();
    choose(pick(el, "Measure"), "iou");
    choose(pick(el, "Fill"), "mean");
    expect([model.state.measure, model.state.fill, model.sent]).toEqual(["iou", "mean", []]);
    choose(pick(el, "Fill"), "minimum");
    (el.querySelector("input[value=worse]") as HTMLInputElement).click();
    await rest();
    // Worse than without a disc by 11.5, 2 and 39, and by 5: the difference of the changes.
    const stage = el.querySelectorAll<HTMLElement>("[role=application]")[2];
    stage.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowUp", bubbles: true }));
    stage.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowUp", bubbles: true }));
    await rest();
    expect(texts(el, ".hdm-tip b")[2]).toBe("−6.5 px");
    stop();
  });

  it("waits for a model that has not begun", () => {
    const { el, stop } = show({ _maps: [(state()._maps as object[])[0], {}], status: "running" });
    expect(texts(el, "figcaption .hdm-note")).toEqual([
      "without a disc 1.0 px",
      "waits",
      "when both are measured",
    ]);
    stop();
  });

  it("shows results as they are, without controls of a scan", () => {
    const { el, stop } = show({ _ready_made: true, status: "done" });
    expect(() => pick(el, "Fill")).toThrow();
    expect(el.querySelectorAll("input[type=range]")).toHaveLength(1);
    expect(el.textContent).toContain("2 × 2 grid · 4 discs of 8 px, 8 px apart");
    expect(el.textContent).not.toContain("Run again");
    stop();
  });

  it("says what went wrong", () => {
    const { el, stop } = show({ status: "error", error: "new: at cell (row 0, column 1): no" });
    expect(el.querySelector("[role=alert]")?.textContent).toContain("new: at cell (row 0, column 1): no");
    stop();
  });

  it("hears nothing more when it ends", () => {
    const { model, stop } = show();
    expect(model.listening).toBeGreaterThan(0);
    stop();
    expect(model.listening).toBe(0);
  });
});
