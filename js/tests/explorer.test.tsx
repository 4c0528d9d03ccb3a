// @vitest-environment jsdom
import { afterEach, describe, expect, it, vi } from "vitest";
import type { MapMessage } from "../src/hdm/python_state";
import { shownMap } from "../src/hdm/view_state";
import widget from "../src/hdm_explorer";
import { EXPORTED, GONE } from "../src/shared/traits";
import { bits, nothing, explorerState as state } from "./explorer_state";
import { button, choose, doublesMessage, enabled, FakeModel, show as onPage, pick, rest } from "./fake_model";
import { drawnOnCanvases } from "./shown_maps";

const put = drawnOnCanvases();
afterEach(() => {
  delete document.body.dataset.jpThemeLight;
});

const show = (model: FakeModel) => onPage(widget, model);

/** What is said of the cell that each of these keys leads to. */
async function heardAt(el: Element, ...keys: string[]) {
  const heard: (string | null | undefined)[] = [];
  for (const key of keys) {
    el.querySelector("[role=application]")?.dispatchEvent(
      new KeyboardEvent("keydown", { key, bubbles: true }),
    );
    await rest();
    heard.push(el.querySelector("[aria-live]")?.textContent);
  }
  return heard;
}

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
    const settings = { circleSize: 8, offset: 8, channel: -1, fill: "minimum", shape: "disc" };
    expect(model.sent).toEqual([{ request: "cancel", settings, id: expect.any(Number) }]);
    stop();
  });

  it("offers the classes by their names, and follows the one that is shown", async () => {
    const classes = [
      [0, "background"],
      [3, "road"],
      [7, "7"],
    ];
    const model = new FakeModel({ ...state(), target: 3, _classes: classes });
    const { el, stop } = show(model);
    const list = pick(el, "Class");
    expect([...list.options].map((option) => option.text)).toEqual(["background", "road", "7"]);
    expect(list.value).toBe("3");
    choose(list, "7");
    expect(model.state.target).toBe(7);
    model.set("target", 0);
    await rest();
    expect(list.value).toBe("0");
    expect(model.sent).toEqual([]);
    stop();
  });

  it("has no choice of class where there is one class", () => {
    const { el, stop } = show(new FakeModel({ ...state(), target: 1 }));
    expect(() => pick(el, "Class")).toThrow("there is no list Class");
    stop();
  });

  it("offers what the disc may show, and waits for the scan of another choice", async () => {
    const model = new FakeModel({ ...state(), status: "done" });
    const { el, stop } = show(model);
    const list = pick(el, "Fill");
    expect([...list.options].map((option) => option.text)).toEqual(["black (as published)", "mean", "blur"]);
    expect(el.querySelector(".hdm-stale")).toBeNull();
    choose(list, "mean");
    await rest();
    expect(model.state.fill).toBe("mean");
    // The map is still that of black discs.
    expect(el.querySelector(".hdm-stale")).not.toBeNull();
    model.set("_map", { ...(model.state._map as object), fill: "mean" });
    await rest();
    expect(el.querySelector(".hdm-stale")).toBeNull();
    model.set("_fills", []);
    await rest();
    expect(() => pick(el, "Fill")).toThrow();
    stop();
  });

  it("says why what was asked for is not shown", async () => {
    const model = new FakeModel({ ...state(), status: "done" });
    const { el, stop } = show(model);
    expect(el.querySelector("[role=alert]")).toBeNull();
    model.set("error", "there is no class 7; the classes are 0, 1, 2");
    await rest();
    expect(el.querySelector("[role=alert]")?.textContent).toBe(
      "What was asked for cannot be shownthere is no class 7; the classes are 0, 1, 2",
    );
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

  it("shows several channels that Python chose, and offers them again", async () => {
    const model = new FakeModel(state());
    model.state.channel = [0, 2];
    model.state._scanned = { circleSize: 8, offset: 8, channel: [0, 2] };
    model.state._map = { ...(model.state._map as object), channel: [0, 2] };
    const { el, stop } = show(model);
    const group = el.querySelector(".hdm-panel [role=radiogroup]") as HTMLElement;
    const chosen = () => group.querySelector("label.hdm-on")?.textContent;
    const labels = [...group.querySelectorAll("label")].map((label) => label.textContent);
    expect(labels).toEqual(["All", "Red", "Green", "Blue", "Red + Blue"]);
    expect(chosen()).toBe("Red + Blue");
    // The map is that of these settings: nothing is out of date.
    expect(el.querySelector(".hdm-stale")).toBeNull();
    (group.querySelector("input[value='1']") as HTMLInputElement).click();
    expect(model.state.channel).toBe(1);
    await rest();
    expect(chosen()).toBe("Green");
    expect(el.querySelector(".hdm-stale")).not.toBeNull();
    (group.querySelector("input[value='0,2']") as HTMLInputElement).click();
    expect(model.state.channel).toEqual([0, 2]);
    stop();
  });

  it("names several of many channels by their numbers", () => {
    const model = new FakeModel(state());
    model.state.channel = [1, 3, 5];
    (model.state._about as { channels: number }).channels = 6;
    const { el, stop } = show(model);
    const select = el.querySelector(".hdm-panel select") as HTMLSelectElement;
    expect(select.selectedOptions[0].textContent).toBe("1 + 3 + 5");
    select.value = "-1";
    select.dispatchEvent(new Event("change", { bubbles: true }));
    expect(model.state.channel).toBe(-1);
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
    expect(el.querySelector(".hdm-bar i")).toBeNull(); // no place on the color bar

    await press("Enter");
    expect(model.state.cell).toEqual([1, 1]);
    expect(el.textContent).toContain("shown as soon as its masks are there");
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
    expect(legend()).toBe("Hatched: not measured yet, but estimated");
    model.set("status", "cancelled");
    await rest();
    expect(stripes()).not.toBeNull();
    expect(legend()).toBe("Hatched: not measured, but estimated");
    model.set("layers", ["picture", "truth"]);
    await rest();
    expect([stripes(), legend()]).toEqual([null, null]);
    model.set("layers", ["map"]);
    const map = model.state._map as object;
    model.set("_map", { ...map, done: 4, measured: bits(0b11110000), valued: bits(0b11110000) });
    await rest();
    expect([stripes(), legend()]).toEqual([null, null]);
    stop();
  });

  it("takes for a value what is measured or estimated by the model, not what the nearest cell has", () => {
    const map = shownMap(
      {
        ...(state()._map as MapMessage),
        values: doublesMessage(1, 2, 3, Number.NaN),
        measured: bits(0b10000000),
        valued: bits(0b11000000),
        drawn: bits(0b11110000),
      },
      { height: 16, width: 16 },
    );
    expect([...map.raw]).toEqual([1, 2, Number.NaN, Number.NaN]);
    expect([...map.filled]).toEqual([1, 2, 3, Number.NaN]);
    expect([...map.measured]).toEqual([1, 0, 0, 0]);
    expect([...(map.estimated ?? [])]).toEqual([0, 1, 1, 0]);
  });

  it("does not hatch what is estimated and certain, and says so", async () => {
    const model = new FakeModel(state());
    const { el, stop } = show(model);
    const path = () => el.querySelector("clipPath path")?.getAttribute("d") ?? null;
    const legend = () => el.querySelector(".hdm-hatched")?.textContent ?? null;
    const map = model.state._map as object;
    const cells = {
      values: doublesMessage(0, 1, 3, 40),
      measured: bits(0b10000000),
      valued: bits(0b11110000),
    };
    // The last cell is not certain, the two before it are.
    model.set("_map", { ...map, ...cells, certain: bits(0b01100000), done: 4 });
    await rest();
    expect(path()).toBe("M8.5 8.5H16V16H8.5Z");
    expect(legend()).toBe("Hatched: estimated, not certain");
    const worst = () => el.querySelector(".hdm-summary button b")?.textContent;
    expect(worst()).toBe("about 40.0 px");
    expect(await heardAt(el, "ArrowDown", "ArrowLeft")).toEqual([
      "row 1, column 1: about 40.0 px, not measured yet",
      "row 1, column 0: 3.0 px, certain, not measured",
    ]);
    // They count as estimates all the same.
    expect(shownMap(model.state._map as MapMessage, { height: 16, width: 16 }).estimated?.[1]).toBe(2);
    model.set("_map", { ...map, ...cells, certain: bits(0b01110000), done: 4 });
    await rest();
    expect([path(), legend(), worst()]).toEqual([null, null, "40.0 px"]);
    stop();
  });

  it("tells a place that is never drawn from one that is not measured yet, and from a value that is not defined", async () => {
    const model = new FakeModel(state());
    const map = model.state._map as object;
    model.state._map = {
      ...map,
      values: doublesMessage(Number.NaN, 12.5, 7, 12.5),
      measured: bits(0b11000000),
      valued: bits(0b11000000),
      drawn: bits(0b11010000),
    };
    const { el, stop } = show(model);
    expect(await heardAt(el, "ArrowDown", "ArrowLeft", "ArrowUp")).toEqual([
      "row 1, column 1: about 12.5 px, not measured yet",
      "row 1, column 0: outside the region",
      "row 0, column 0: not defined",
    ]);
    expect(el.querySelector("clipPath path")?.getAttribute("d")).toBe("M8.5 8.5H16V16H8.5Z");
    stop();
  });

  it("counts the discs of a region, and says where a pinned disc is outside it", async () => {
    const about = { ...(state()._about as object), region: [0, 0, 4, 16] };
    const map = {
      ...(state()._map as object),
      measured: bits(0b11000000),
      valued: bits(0b11000000),
      drawn: bits(0b11000000),
      total: 2,
    };
    const model = new FakeModel({
      ...state(),
      ...{ _about: about, _map: { ...map, done: 2, seconds: 2 }, cell: [1, 0] },
      _inspector: { cell: [1, 0], pending: true },
    });
    const { el, stop } = show(model);
    const cost = () => el.querySelector("[data-testid=cost]")?.textContent;
    expect(cost()).toBe("2 × 2 grid · 2 of 4 discs · about 2.0 s");
    expect(el.querySelector(".hdm-inspector")?.textContent).toContain("it is outside the region");
    // Before the map has other discs: 4 px from one to the next, of which one row touches rows 0 to 3.
    model.set("_map", {});
    model.set("offset", 4);
    await rest();
    expect(cost()).toBe("4 × 4 grid · 4 of 16 discs");
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

  it("shows how the output is read, behind how the scan is computed", async () => {
    const model = new FakeModel(state());
    model.set("_map", {
      ...(model.state._map as object),
      plan: "In full",
      reading: "The model returns one map.",
    });
    const { el, stop } = show(model);
    await rest();
    const plan = el.querySelector("details.hdm-plan") as HTMLDetailsElement;
    expect(plan.open).toBe(false);
    expect(plan.querySelector("summary")?.textContent).toBe("In full");
    expect(plan.querySelector(".hdm-reading")?.textContent).toBe("The model returns one map.");
    stop();
  });

  it("shows the noise of a random model around the baseline, and says what it means", async () => {
    const model = new FakeModel(state());
    const map = model.state._map as object;
    const values = doublesMessage(0, 10, 20, 40);
    model.state._map = {
      ...map,
      values,
      measured: bits(0xf0),
      valued: bits(0xf0),
      baseline: 20,
      noise: { distance: 30, pixels: 1234 },
    };
    const { el, stop } = show(model);
    await rest();
    const band = el.querySelector(".hdm-bar b") as HTMLElement;
    // From 20 - 30, cut at 0, to 20 + 30, cut at 40.
    expect([band.style.left, band.style.width, band.title]).toEqual([
      "0%",
      "100%",
      "Noise of the model: 30.0 px",
    ]);
    expect(el.querySelector(".hdm-noise")?.textContent).toContain(
      "up to 1,234 px, its Hausdorff distance by 30.0 px",
    );
    model.set("_map", {
      ...map,
      values,
      measured: bits(0xf0),
      valued: bits(0xf0),
      baseline: 20,
      noise: { distance: 5, pixels: 3 },
    });
    await rest();
    const narrow = el.querySelector(".hdm-bar b") as HTMLElement;
    expect([narrow.style.left, narrow.style.width]).toEqual(["37.5%", "25%"]);
    model.set("_map", {
      ...map,
      values,
      measured: bits(0xf0),
      valued: bits(0xf0),
      baseline: 20,
      noise: null,
    });
    await rest();
    expect(el.querySelector(".hdm-bar b")).toBeNull();
    expect(el.querySelector(".hdm-noise")).toBeNull();
    stop();
  });

  it("shows no change where there is none", () => {
    const model = new FakeModel(state());
    const map = model.state._map as object;
    model.state._map = {
      ...map,
      values: doublesMessage(1 / 3, 1 / 3, 1 / 3, 1 / 3),
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
    model.set("_scanned", { circleSize: 8, offset: 4, channel: -1, fill: "minimum", shape: "disc" });
    await rest();
    expect(late()).toBe("Refining · 3 of 4");
    second.stop();
  });

  it("says why a request failed, until the next one succeeds", async () => {
    const model = new FakeModel({ ...state(), status: "done" });
    const { el, stop } = show(model);
    button(el, "Run again").click();
    await model.reply(model.sent[0], { error: "can't start new thread" });
    expect(el.querySelector("[role=alert]")?.textContent).toContain("can't start new thread");
    button(el, "Run again").click();
    await model.reply(model.sent[1]);
    expect(el.querySelector("[role=alert]")).toBeNull();
    stop();
  });

  it("says so when the kernel is restarted", async () => {
    const model = new FakeModel(state());
    const { el, stop } = show(model);
    model.disconnect();
    await rest();
    expect(el.querySelector("[role=alert]")?.textContent).toContain(GONE);
    stop();
  });

  it.each([
    ["was restarted", { kernel: null }, GONE],
    ["never was there", {}, EXPORTED],
  ])("waits for nothing when the kernel %s", async (_, manager, why) => {
    vi.useFakeTimers();
    // The scan runs, Python has not answered to the last slider, and a pinned cell is awaited.
    const awaited = { cell: [1, 1], _inspector: { cell: [1, 1], pending: true }, _scanned: {} };
    const model = new FakeModel({ ...state(), ...awaited, target: 1, _classes: [[1, "roof"]] });
    model.widget_manager = manager;
    model.disconnect();
    const { el, stop } = show(model);
    await vi.advanceTimersByTimeAsync(100_000);
    expect([...el.querySelectorAll("[role=alert]")].map((one) => one.textContent)).toEqual([why]);
    expect(el.querySelector("[role=status]")?.textContent).toBe("Stopped at 3 of 4");
    expect(el.querySelector("[aria-busy=true], [role=progressbar]")).toBeNull();
    expect(el.textContent).toContain("the scan ended before it was measured");
    expect(el.textContent).not.toMatch(/ left|Waiting|pin ·/);
    // What changes how the map is drawn needs no Python.
    expect(enabled(el)).toEqual([
      ...["Raw distance", "Better", "Worse", "Opacity", "Blues", "Magma", "More color maps"],
      ...["Averaged", "Largest on top"],
      ...["Image", "Edges", "Circle map", "Truth", "Prediction"],
    ]);
    const stage = el.querySelector("[role=application]") as HTMLElement;
    for (const key of ["ArrowUp", "Enter", "Escape"]) {
      stage.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    }
    stage.click();
    expect([model.state.cell, model.sent, model.saved]).toEqual([[1, 1], [], 0]);
    stop();
    vi.useRealTimers();
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

  it("paints the map again when it can afford to, with no more pixels than are seen", async () => {
    const large = { ...(state()._about as object), height: 5000, width: 5000 };
    const disc = Int32Array.from(Array.from({ length: 1001 }, () => [0, 1001]).flat());
    const values = Array.from({ length: 25 }, (_, i) => i);
    const all = bits(0xff, 0xff, 0xff, 0x80);
    const map = {
      ...(state()._map as object),
      values: doublesMessage(...values),
      measured: all,
      drawn: all,
      oneEmpty: bits(0, 0, 0, 0),
      disc: { view: new DataView(disc.buffer), dtype: "int32", shape: [1001, 2] },
      baseline: 0,
      circleSize: 1000,
      offset: 1000,
    };
    const settings = { circleSize: 1000, offset: 1000, channel: -1, fill: "minimum", shape: "disc" };
    const grid = { circle_size: 1000, offset: 1000, _scanned: settings };
    const model = new FakeModel({ ...state(), ...grid, _about: large, _map: map });
    const { el, stop } = show(model);
    await rest();
    const painted = () => put().filter(({ canvas }) => canvas.getAttribute("aria-label") === "Distances");
    expect(painted().map(({ image }) => [image.width, image.height])).toEqual([[512, 512]]);
    model.set("status", "done");
    await rest();
    const { image } = painted()[1];
    expect([painted().length, image.width, image.height]).toEqual([2, 1024, 1024]);
    // The larger value lies on top, in its own opacity: up to the slider's 0.7, over an image that is lightened by 0.7.
    const opacity = (x: number, y: number) => image.data[4 * (1024 * y + x) + 3];
    const alpha = (part: number) => Math.round(255 * (1 - (1 - 0.7 * part) * (1 - 0.7)));
    const partly = alpha(Math.sqrt(4 / 24 / 0.2));
    expect([opacity(0, 0), opacity(1023, 1023), opacity(950, 10)]).toEqual([alpha(0), alpha(1), partly]);
    // A canvas for masks is no larger.
    expect(put().every(({ image }) => image.width <= 1024)).toBe(true);
    expect(el.querySelector("canvas")).not.toBeNull();
    stop();
  });
});

describe("the inspector", () => {
  const found = (prediction: object | null = {}) => ({
    cell: [0, 1],
    pending: false,
    distance: 12.5,
    baseline: 1,
    rank: 1,
    of: 3,
    image: nothing(),
    prediction: prediction && {
      mask: bits(...new Array(32).fill(0xf0)),
      empty: false,
      iou: 0.5,
      pair: null,
      from: null,
      distance: null,
      ...prediction,
    },
  });
  const pinned = (inspection: object, about: object = {}) =>
    new FakeModel({
      ...state(),
      cell: [0, 1],
      _inspector: inspection,
      _about: { ...(state()._about as object), ...about },
      _truth: bits(...new Array(32).fill(0xff)),
    });
  const caption = (el: Element) => [...el.querySelectorAll("figcaption")].at(-1)?.textContent;

  it.each([
    [
      {
        pair: [
          [0, 0],
          [3, 4],
        ],
        from: "a",
        distance: 5,
      },
      {},
      "Added pixel and the nearest true one: 5.0 px apart",
    ],
    [
      {
        pair: [
          [0, 0],
          [3, 4],
        ],
        from: "b",
        distance: 5,
      },
      {},
      "Missed pixel and the nearest predicted one: 5.0 px apart",
    ],
    [
      {
        pair: [
          [0, 0],
          [3, 4],
        ],
        from: "b",
        distance: 0.05,
      },
      { unit: "units", lengthUnit: "units", decimals: 3 },
      "Missed pixel and the nearest predicted one: 0.050 units apart",
    ],
    [{}, {}, "The two masks are equal"],
    [{ empty: true }, { truthEmpty: true }, "Both masks are empty"],
    [
      { empty: true },
      {},
      "The model predicts nothing, so there is no pair; the distance is the image's diagonal",
    ],
    [{ empty: true }, { empty: "inf" }, "The model predicts nothing, so there is no pair"],
    [{ empty: true }, { unit: "" }, "The model predicts nothing, so there is no pair"],
    [
      {},
      { truthEmpty: true },
      "The truth is empty, so there is no pair; the distance is the image's diagonal",
    ],
  ])("says what makes the distance: %o, %o", (inspection, about, expected) => {
    const { el, stop } = show(pinned(found(inspection), about));
    expect(caption(el)).toBe(expected);
    stop();
  });

  it.each(["hausdorff95", "mean_surface", "rows", "custom"])(
    "says that the pair is of another distance than %s",
    (measure) => {
      const pair = [
        [0, 0],
        [3, 4],
      ];
      const { el, stop } = show(pinned(found({ pair, from: "a", distance: 5 }), { measure }));
      expect(caption(el)).toBe("Plain Hausdorff distance, 5.0 px: added pixel and the nearest true one");
      stop();
    },
  );

  it.each([
    // What stands for a distance where one mask is empty, without and with a disc.
    [12.5, 1, ["1.0 px", "11.5 px worse"], 1, "1 of 3"],
    [Number.POSITIVE_INFINITY, 20.2, ["20.2 px", "∞ worse"], 1, "1 of 3"],
    [20.2, Number.POSITIVE_INFINITY, ["∞", "∞ better"], 3, "3 of 3"],
    [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, ["∞", "none"], 1, "1 of 3"],
    [Number.NaN, 20.2, ["20.2 px", "not defined"], null, "none"],
    [20.2, Number.NaN, ["not defined", "not defined"], 1, "1 of 3"],
  ])("says of %d px what it is without the disc, %d px", (distance, baseline, told, rank, place) => {
    const { el, stop } = show(pinned({ ...found(null), distance, baseline, rank }));
    const values = [...el.querySelectorAll(".hdm-inspector dd")].map((one) => one.textContent);
    expect(values).toEqual([...told, place]);
    stop();
  });

  it.each([
    [0b11100000, "at row 0, column 1"],
    [0b10000000, "at row 0, column 1, estimated"],
  ])("says of a pinned cell whether it is estimated: %d", (measured, text) => {
    const model = pinned(found());
    model.state._map = { ...(model.state._map as object), measured: bits(measured) };
    const { el, stop } = show(model);
    expect(el.querySelector(".hdm-numbers .hdm-note")?.textContent).toBe(text);
    stop();
  });

  it("stripes the pixels that do not count", async () => {
    const model = pinned(found());
    model.state._ignored = bits(...new Array(2).fill(0xff), ...new Array(30).fill(0));
    const { el, stop } = show(model);
    await rest();
    expect(el.textContent).toContain("Striped: 6 % of the image counts neither in distances nor in IoU");
    const painted = (label: string) =>
      put()
        .filter(({ canvas }) => canvas.getAttribute("aria-label")?.startsWith(label))
        .at(-1)?.image.data;
    // The first row of the image.
    const ignored = new Uint32Array((painted("Pixels that do not count") as Uint8ClampedArray).buffer);
    expect(ignored).toHaveLength(512 * 512);
    expect([ignored[0], ignored[4], ignored[8], ignored[512 * 32]]).toEqual([0xb0ffffff, 0xb0000000, 0, 0]);
    const masks = new Uint32Array((painted("The model's") as Uint8ClampedArray).buffer);
    expect([masks[0], masks[1]]).toEqual([0xb0ffffff, 0xb0000000]);
    stop();
  });

  it("has no stripes where all pixels count", async () => {
    const { el, stop } = show(pinned(found()));
    await rest();
    expect(el.textContent).not.toContain("Striped");
    expect(el.querySelector("[aria-label='Pixels that do not count']")).toBeNull();
    stop();
  });

  it("does without masks where the scan keeps none", () => {
    const { el, stop } = show(pinned(found(null)));
    expect(el.querySelectorAll(".hdm-inspector figure")).toHaveLength(1);
    expect(el.querySelector(".hdm-big")?.textContent).toBe("12.5 px");
    expect([...el.querySelectorAll("dt")].map((dt) => dt.textContent)).not.toContain("IoU");
    expect(el.querySelector(".hdm-numbers")?.textContent).toContain("keeps no masks");
    stop();
  });

  it("paints both masks in the theme's colors, and again when the theme changes", async () => {
    const colors = { hit: "#00ff00", missed: "#ff0000", added: "#0000ff", mask: "#ffffff" };
    const dark = { ...colors, missed: "#123456" };
    const themed = vi.spyOn(window, "getComputedStyle");
    themed.mockImplementation(() => {
      const theme = document.body.dataset.jpThemeLight === "false" ? dark : colors;
      const of = (name: string) => theme[name.slice(2) as keyof typeof theme];
      return { getPropertyValue: of } as unknown as CSSStyleDeclaration;
    });
    const { stop } = show(pinned(found()));
    await rest();
    const masks = () =>
      put().filter(({ canvas }) => canvas.getAttribute("aria-label")?.startsWith("The model's"));
    // The first four pixels of every eight are hit, the others missed.
    const pixels = (nth: number) => [...masks()[nth].image.data.slice(12, 20)];
    expect(masks()).toHaveLength(2);
    expect(pixels(1)).toEqual([0, 255, 0, 255, 255, 0, 0, 255]);
    document.body.dataset.jpThemeLight = "false";
    await rest();
    expect(masks()).toHaveLength(4);
    expect(pixels(3)).toEqual([0, 255, 0, 255, 0x12, 0x34, 0x56, 255]);
    stop();
    themed.mockRestore();
  });
});

it("says that nothing is predicted where Python says so, whatever the distance is", async () => {
  const map = { ...(state()._map as object), oneEmpty: bits(0b01000000) };
  const model = new FakeModel({ ...state(), status: "done", _map: map });
  const { el, stop } = show(model);
  const stats = () => [...el.querySelectorAll(".hdm-stat")].map((stat) => stat.textContent);
  expect(stats()[1]).toBe("Worst cell12.5 pxnothing is predicted");
  const stage = el.querySelector("[role=application]") as HTMLElement;
  for (const key of ["ArrowLeft", "ArrowUp"]) {
    stage.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    await rest();
  }
  expect(el.querySelector(".hdm-tip")?.textContent).toBe("12.5 px nothing is predicted");
  model.set("_about", { ...(state()._about as object), truthEmpty: true });
  await rest();
  expect(stats()[1]).toBe("Worst cell12.5 pxsomething is predicted");
  // The image's diagonal, 22.6 px, says nothing by itself.
  model.set("_map", { ...map, oneEmpty: bits(0), values: doublesMessage(0, Math.hypot(16, 16), 3, 40) });
  await rest();
  expect(stats()[1]).toBe("Worst cell22.6 px21.6 px worse");
  expect(el.querySelector(".hdm-tip")?.textContent).toBe("22.6 px");
  stop();
});
