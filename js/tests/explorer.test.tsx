// @vitest-environment jsdom
import type { AnyModel } from "@anywidget/types";
import { describe, expect, it, vi } from "vitest";
import type { Traits } from "../src/hdm/python_state";
import widget from "../src/hdm_explorer";
import { FakeModel } from "./fake_model";

// jsdom paints nothing; what is painted is tested in paint.test.ts and in a real browser.
HTMLCanvasElement.prototype.getContext = () => null;

const nothing = () => new DataView(new ArrayBuffer(0));
const blues = new DataView(new Uint8Array(768).fill(100).buffer);

function state(): Record<string, unknown> {
  // The last cell is not measured yet: its value is no more than an estimate.
  const values = Float32Array.of(0, 12.5, 3, 40);
  return {
    circle_size: 8,
    offset: 8,
    channel: -1,
    result_type: "raw",
    color_map: "Blues",
    opacity: 0.7,
    cell: null,
    layers: ["picture", "map", "truth"],
    status: "running",
    progress: 0.75,
    error: "",
    _about: {
      height: 16,
      width: 16,
      channels: 3,
      label: "Hausdorff distance",
      unit: "px",
      truthEmpty: false,
    },
    _picture: nothing(),
    _edges: nothing(),
    _truth: nothing(),
    _prediction: nothing(),
    _palettes: { Blues: blues, magma: blues, viridis: blues },
    _map: {
      values: { view: new DataView(values.buffer), dtype: "float32", shape: [2, 2] },
      measured: new DataView(Uint8Array.of(0b11100000).buffer),
      plan: "",
      baseline: 1,
      circleSize: 8,
      offset: 8,
      channel: -1,
      done: 3,
      total: 4,
      stride: 1,
      seconds: 3,
      secondsLeft: 1,
    },
    _inspector: {},
    _scanned: { circleSize: 8, offset: 8, channel: -1 },
  };
}

function show(model: FakeModel) {
  const el = document.createElement("div");
  document.body.append(el);
  const stop = widget.render({
    model: model as unknown as AnyModel<Traits>,
    el,
  } as unknown as Parameters<typeof widget.render>[0]);
  return { el, stop };
}

const rest = () => new Promise((done) => setTimeout(done));

describe("a view of the explorer", () => {
  it("says what a scan costs, how far it is and what it found", () => {
    const { el, stop } = show(new FakeModel(state()));
    expect(el.querySelector("[data-testid=cost]")?.textContent).toBe("2 × 2 grid · 4 discs · about 4.0 s");
    expect(el.querySelector("[role=status]")?.textContent).toBe("Refining · 3 of 4");
    expect(el.querySelector("[role=progressbar]")?.getAttribute("aria-valuenow")).toBe("75");
    expect(el.textContent).toContain("1.0 s left");
    const stats = [...el.querySelectorAll(".hdm-stat b")].map((stat) => stat.textContent);
    expect(stats).toEqual(["1.0 px", "12.5 px", "0.0 px"]);
    stop();
  });

  it("asks Python to cancel, once, with an id", () => {
    const model = new FakeModel(state());
    const { el, stop } = show(model);
    const cancel = [...el.querySelectorAll("button")].find((button) => button.textContent === "Cancel");
    cancel?.click();
    const settings = { circleSize: 8, offset: 8, channel: -1 };
    expect(model.sent).toEqual([{ request: "cancel", settings, id: expect.any(Number) }]);
    stop();
  });

  it("changes traits by its controls and follows them from elsewhere", async () => {
    const model = new FakeModel(state());
    const { el, stop } = show(model);
    (el.querySelector("input[value=worse]") as HTMLInputElement).click();
    expect(model.state.result_type).toBe("worse");
    model.set("opacity", 0.25);
    model.set("status", "error");
    model.set("error", "at cell (row 1, column 0): the model raised ValueError: no");
    await rest();
    expect((el.querySelector("[aria-valuetext='25 %']") as HTMLInputElement).value).toBe("25");
    expect(el.querySelector("[role=alert]")?.textContent).toContain("at cell (row 1, column 0)");
    stop();
  });

  it("walks the grid by keys, pins and releases", async () => {
    const model = new FakeModel(state());
    const { el, stop } = show(model);
    const stage = el.querySelector("[role=application]") as HTMLElement;
    const press = async (key: string) => {
      stage.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
      await rest();
    };
    await press("ArrowLeft"); // enters at the middle
    await press("ArrowUp");
    expect(el.querySelector("[aria-live]")?.textContent).toBe("row 0, column 1: 12.5 px");
    await press("Enter");
    expect(model.state.cell).toEqual([0, 1]);
    await press("Escape");
    expect(model.state.cell).toBeNull();
    expect(el.querySelector("[aria-live]")?.textContent).toBe("");
    stop();
  });

  it("says of an estimate that it is one, and counts only what was measured", async () => {
    const model = new FakeModel(state());
    const { el, stop } = show(model);
    const stage = el.querySelector("[role=application]") as HTMLElement;
    const press = async (key: string) => {
      stage.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
      await rest();
    };
    await press("ArrowLeft"); // enters at the middle, the cell that is not measured
    const said = () => el.querySelector("[aria-live]")?.textContent;
    const tip = () => el.querySelector(".hdm-tip")?.textContent;
    expect(said()).toBe("row 1, column 1: about 40.0 px, not measured yet");
    expect(tip()).toBe("about 40.0 px · not measured yet");
    const stats = () => [...el.querySelectorAll(".hdm-stat b")].map((stat) => stat.textContent);
    expect(stats()).toEqual(["1.0 px", "12.5 px", "0.0 px"]);
    expect(el.querySelector(".hdm-ticks")?.textContent).toMatch(/12\.5 px$/);
    expect(el.querySelector(".hdm-bar i")).toBeNull(); // no place on the colour bar

    await press("Enter");
    expect(model.state.cell).toEqual([1, 1]);
    expect(el.textContent).toContain("shown as soon as it is measured");
    model.set("status", "cancelled");
    await rest();
    expect(said()).toBe("row 1, column 1: about 40.0 px, not measured");
    expect(el.textContent).toContain("the scan ended before it was measured");
    await press("ArrowUp");
    expect(tip()).toBe("12.5 px");
    expect(el.querySelector(".hdm-bar i")).not.toBeNull();
    stop();
  });

  it("hatches what is not measured and says what that means, until all is", async () => {
    const model = new FakeModel(state());
    const { el, stop } = show(model);
    const stripes = () => el.querySelector(".hdm-picture .hdm-hatching");
    const legend = () => el.querySelector(".hdm-hatched")?.textContent ?? null;
    expect(el.querySelector("clipPath path")?.getAttribute("d")).toBe("M8.5 8.5H16V16H8.5Z");
    expect(legend()).toBe("Hatched: not measured yet, the nearest value is shown");
    model.set("status", "cancelled");
    await rest();
    expect(stripes()).not.toBeNull();
    expect(legend()).toBe("Hatched: not measured, the nearest value is shown");
    model.set("layers", ["picture", "truth"]);
    await rest();
    expect([stripes(), legend()]).toEqual([null, null]);
    model.set("layers", ["map"]);
    const map = model.state._map as object;
    model.set("_map", { ...map, done: 4, measured: new DataView(Uint8Array.of(0b11110000).buffer) });
    await rest();
    expect([stripes(), legend()]).toEqual([null, null]);
    stop();
  });

  it("tells a place that is never drawn from one that is not measured yet, and from a value that is not defined", async () => {
    const model = new FakeModel(state());
    const values = Float32Array.of(Number.NaN, 12.5, Number.NaN, 12.5);
    const map = model.state._map as object;
    model.state._map = {
      ...map,
      values: { view: new DataView(values.buffer), dtype: "float32", shape: [2, 2] },
      measured: new DataView(Uint8Array.of(0b11000000).buffer),
    };
    const { el, stop } = show(model);
    const stage = el.querySelector("[role=application]") as HTMLElement;
    const heard: (string | null | undefined)[] = [];
    for (const key of ["ArrowDown", "ArrowLeft", "ArrowUp"]) {
      stage.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
      await rest();
      heard.push(el.querySelector("[aria-live]")?.textContent);
    }
    expect(heard).toEqual([
      "row 1, column 1: about 12.5 px, not measured yet",
      "row 1, column 0: not measured yet",
      "row 0, column 0: not defined",
    ]);
    expect(el.querySelector("clipPath path")?.getAttribute("d")).toBe("M8.5 8.5H16V16H8.5Z");
    stop();
  });

  it("says which way the scan is computed, if Python does", async () => {
    const model = new FakeModel(state());
    const { el, stop } = show(model);
    expect(el.querySelector(".hdm-plan")).toBeNull();
    const plan = "Only what changes is computed: windows of 296 x 296 px of 512 x 512, about 4.1 x faster";
    model.set("_map", { ...(model.state._map as object), plan });
    await rest();
    const line = el.querySelector(".hdm-plan");
    expect([line?.textContent, line?.getAttribute("title")]).toEqual([plan, plan]);
    stop();
  });

  it("shows no change where float32 alone makes one", () => {
    const model = new FakeModel(state());
    const values = new Float32Array(4).fill(1 / 3);
    const map = model.state._map as object;
    model.state._map = {
      ...map,
      values: { view: new DataView(values.buffer), dtype: "float32", shape: [2, 2] },
      baseline: 1 / 3,
    };
    model.state.result_type = "worse";
    const { el, stop } = show(model);
    expect(el.querySelector(".hdm-scale")?.textContent).toContain("No disc takes the mask farther");
    stop();
  });

  it("sends a slider's value on release, and while it is dragged after a short rest only", () => {
    vi.useFakeTimers();
    const model = new FakeModel(state());
    const { el, stop } = show(model);
    const slider = el.querySelector("input[type=range]") as HTMLInputElement;
    slider.value = "5";
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    expect(model.state.circle_size).toBe(8);
    vi.advanceTimersByTime(200);
    expect(model.state.circle_size).toBe(5);
    slider.value = "6";
    slider.dispatchEvent(new Event("input", { bubbles: true }));
    slider.dispatchEvent(new Event("change", { bubbles: true }));
    expect(model.state.circle_size).toBe(6);
    vi.useRealTimers();
    stop();
  });

  it("says so when Python does not hear", async () => {
    vi.useFakeTimers();
    const model = new FakeModel(state());
    const { el, stop } = show(model);
    const status = () => el.querySelector("[role=status]")?.textContent;
    model.set("offset", 4);
    vi.advanceTimersByTime(600);
    vi.useRealTimers();
    await rest();
    expect(status()).toBe("Refining · 3 of 4");
    stop();

    vi.useFakeTimers();
    const second = show(model);
    vi.advanceTimersByTime(800);
    vi.useRealTimers();
    await rest();
    const late = () => second.el.querySelector("[role=status]")?.textContent;
    expect(late()).toContain("Waiting for the kernel");
    model.set("_scanned", { circleSize: 8, offset: 4, channel: -1 });
    await rest();
    expect(late()).toBe("Refining · 3 of 4");
    second.stop();
  });

  it("gives every control a name", () => {
    const { el, stop } = show(new FakeModel(state()));
    for (const control of el.querySelectorAll<HTMLInputElement>("input, select, button")) {
      const labels = control.labels ? [...control.labels].map((label) => label.textContent).join("") : "";
      const labelled = control.getAttribute("aria-labelledby");
      const named = labelled ? el.querySelector(`#${CSS.escape(labelled)}`)?.textContent : "";
      expect(control.getAttribute("aria-label") || labels || named || control.textContent).toBeTruthy();
    }
    stop();
  });

  it("leaves nothing behind when it goes, and two views end apart", () => {
    const model = new FakeModel(state());
    const first = show(model);
    const alone = model.listening;
    const second = show(model);
    expect(model.listening).toBe(2 * alone);
    second.stop();
    expect(model.listening).toBe(alone);
    expect(second.el.childElementCount).toBe(0);
    expect(first.el.querySelector(".hdm")).not.toBeNull();
    first.stop();
    expect(model.listening).toBe(0);
  });
});
