// @vitest-environment jsdom
import { describe, expect, it } from "vitest";
import { bits, explorerState } from "./explorer_state";
import { button, nameless, pick, rest } from "./fake_model";
import { onStage, packed, path, said, show, tool } from "./two_masks";

onStage();

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
        `Striped: ${percent} % of the image counts neither in distances nor in IoU${why}`,
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
