// @vitest-environment jsdom
import { describe, expect, it } from "vitest";
import widget from "../src/hdm_explorer";
import { bits, explorerState } from "./explorer_state";
import { button, doublesMessage, FakeModel, nameless, show as onPage, rest } from "./fake_model";
import { doneMap, drawnOnCanvases, settings } from "./shown_maps";

const found = {
  status: "done",
  fills: [
    { fill: "minimum", map: doneMap, note: "" },
    {
      fill: "mean",
      map: { ...doneMap, values: doublesMessage(0, 80, 3, 1) },
      note: "left out: drawn in 3 of 4 cells",
    },
    { fill: "blur", map: { ...doneMap, values: doublesMessage(1, 1, 1, 1) }, note: "" },
  ],
  agreement: [
    ["minimum", "mean", -0.25, -0.5, 0.125],
    ["mean", "blur", "nan", "nan", "nan"],
  ],
  text: "1 of 4 discs matter beyond chance: every fill changes the Hausdorff distance",
  noiseFloor: 2,
  significant: bits(0b01000000),
  count: 1,
  of: 4,
};

const put = drawnOnCanvases();

const show = (changes: Record<string, unknown> = {}) => {
  const model = new FakeModel({ ...explorerState(), status: "done", _map: doneMap, ...changes });
  return { model, ...onPage(widget, model) };
};
const panel = (el: HTMLElement) => el.querySelector<HTMLElement>("section.hdm-fills");
const small = (el: HTMLElement) => [...el.querySelectorAll<HTMLButtonElement>(".hdm-small-maps > button")];

describe("the panel that compares fills", () => {
  it("opens by its button, tells how far it is, and can be cancelled and closed", async () => {
    const { model, el, stop } = show();
    expect(panel(el)).toBeNull();
    button(el, "Compare fills").click();
    expect(model.asked()).toEqual([{ request: "compare_fills", settings }]);
    model.set("_fill_panel", { status: "running", done: 1500, total: 6000, secondsLeft: 12 });
    await rest();
    expect(panel(el)?.textContent).toContain("Comparing fills · 1,500 of 6,000 discs");
    expect(panel(el)?.textContent).toContain("12 s left");
    expect(panel(el)?.querySelector("[role=progressbar]")?.getAttribute("aria-valuenow")).toBe("25");
    expect(button(el, "Compare fills").disabled).toBe(true);
    button(panel(el) as HTMLElement, "Cancel").click();
    button(panel(el) as HTMLElement, "Close").click();
    expect(model.asked()).toEqual([
      { request: "cancel_fills", settings },
      { request: "hide_fills", settings },
    ]);
    model.set("_fill_panel", {});
    await rest();
    expect(panel(el)).toBeNull();
    stop();
  });

  it.each([
    [4.2, "done", "about 38 s"],
    [4.2, "running", ""],
    [0.1, "done", ""],
  ])("says beforehand how long it takes, from a scan of %f s that is %s", (seconds, status, said) => {
    const { el, stop } = show({ status, _map: { ...doneMap, seconds } });
    expect(el.querySelector(".hdm-comparisons .hdm-note")?.textContent ?? "").toBe(said);
    stop();
  });

  it("shows a small map of each fill, which chooses it", async () => {
    const { model, el, stop } = show({ _fill_panel: found, _has_significance: true });
    await rest();
    expect(small(el).map((one) => one.textContent)).toEqual([
      "black",
      "meanρ −0.25 (−0.50 to 0.13)left out: drawn in 3 of 4 cells",
      "blura map is constant",
    ]);
    expect(small(el).map((one) => one.getAttribute("aria-pressed"))).toEqual(["true", "false", "false"]);
    expect(el.querySelector(".hdm-verdict b")?.textContent).toBe("1 of 4 discs");
    expect(nameless(el)).toEqual([]);
    const drawn = small(el).map((one) => put().some(({ canvas }) => one.contains(canvas)));
    expect(drawn).toEqual([true, true, true]);
    small(el)[1].click();
    await rest();
    expect(model.state.fill).toBe("mean");
    expect(small(el).map((one) => one.querySelector("b + .hdm-note")?.textContent)).toEqual([
      "ρ −0.25 (−0.50 to 0.13)",
      "",
      "a map is constant",
    ]);
    stop();
  });

  it("shows the maps that are there while others are scanned", async () => {
    const running = { status: "running", done: 8, total: 36, secondsLeft: 3 };
    const { model, el, stop } = show({ _fill_panel: running });
    expect(small(el)).toHaveLength(0);
    model.set("_fill_maps", { fills: found.fills.slice(0, 2).map((one) => ({ ...one, note: "" })) });
    await rest();
    expect(small(el).map((one) => one.textContent)).toEqual(["black", "mean"]);
    expect(small(el).every((one) => put().some(({ canvas }) => one.contains(canvas)))).toBe(true);
    expect(panel(el)?.textContent).toContain("8 of 36 discs");
    model.set("_fill_panel", found);
    model.set("_fill_maps", {});
    await rest();
    expect(small(el)).toHaveLength(3);
    stop();
  });

  it("outlines the discs that matter, on which others' stripes lie", async () => {
    const shows = { _fill_panel: found, _has_significance: true, result_type: "significant" };
    const { model, el, stop } = show(shows);
    await rest();
    const outline = () => el.querySelector(".hdm-significant")?.getAttribute("d");
    // Cell (0, 1): 9 px wide discs, 8 px apart.
    expect(outline()).toBe("M8 4.5a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0Z");
    model.set("shape", "square");
    model.set("_map", { ...doneMap, shape: "square" });
    await rest();
    expect(outline()).toBe("M8 0h9v9h-9Z");
    model.set("result_type", "raw");
    await rest();
    expect(outline()).toBeUndefined();
    stop();
  });

  it("says what went wrong", () => {
    const { el, stop } = show({ _fill_panel: { status: "error", error: "no memory" } });
    expect(panel(el)?.querySelector("[role=alert]")?.textContent).toContain("no memory");
    stop();
  });
});

it("a disc that is drawn as segment is said, with a fill to try", async () => {
  const { model, el, stop } = show({
    _disc_drawn: { finding: "The disc itself is drawn as segment in 3 of 4 cells", fill: "mean" },
  });
  expect(el.querySelector("[role=note]")?.textContent).toContain("The disc itself is drawn");
  button(el, "Try mean as fill").click();
  expect(model.state.fill).toBe("mean");
  await rest();
  // The map is of the fill before.
  expect(el.querySelector("[role=note]")).toBeNull();
  model.set("fill", "minimum");
  model.set("_disc_drawn", {});
  await rest();
  expect(el.querySelector("[role=note]")).toBeNull();
  stop();
});

describe("what matters beyond chance", () => {
  const types = (el: HTMLElement) =>
    [...el.querySelectorAll("[aria-label='Result type'] label")].map((one) => one.textContent);

  it("is on offer once fills are compared, as a result type and in the panel", async () => {
    const { model, el, stop } = show();
    expect(types(el)).toEqual(["Raw distance", "Better", "Worse"]);
    model.set("_fill_panel", found);
    await rest();
    expect(panel(el)?.textContent).toContain("Compare again");
    expect(panel(el)?.textContent).toContain("Before: 1 of 4 discs");
    expect(panel(el)?.querySelector(".hdm-verdict b")).toBeNull();
    model.set("_has_significance", true);
    await rest();
    expect(types(el)).toEqual(["Raw distance", "Better", "Worse", "Beyond chance"]);
    button(el, "Show what matters beyond chance").click();
    expect(model.state.result_type).toBe("significant");
    await rest();
    button(el, "Show all discs").click();
    expect(model.state.result_type).toBe("raw");
    stop();
  });

  it("hatches the other cells over raw values, and marks the noise floor on the color bar", async () => {
    const { model, el, stop } = show({
      _fill_panel: found,
      _has_significance: true,
      result_type: "significant",
    });
    const hatched = () => el.querySelectorAll(".hdm-picture .hdm-chance").length;
    expect(hatched()).toBe(1);
    // The areas of the first cell, and of the lower two; cells are 8 px apart, with centers at 4.5.
    expect(el.querySelector("clipPath path")?.getAttribute("d")).toBe("M0 0H8.5V8.5H0ZM0 8.5H16V16H0Z");
    expect(el.textContent).toContain(
      "1 of 4 discs matter beyond chance; hatched ones do not: chance explains changes of up to 2.0 px",
    );
    const floor = el.querySelector<HTMLElement>(".hdm-bar b");
    expect(floor?.title).toBe("Noise floor: chance explains changes of up to 2.0 px");
    // From -1, which is off the bar, to 3 of 40 px.
    expect([floor?.style.left, floor?.style.width]).toEqual(["0%", "7.5%"]);
    // It stays when the panel is closed.
    model.set("_fill_panel", {});
    await rest();
    expect(hatched()).toBe(1);
    model.set("result_type", "raw");
    await rest();
    expect([hatched(), el.querySelector(".hdm-bar b")]).toEqual([0, null]);
    stop();
  });
});
