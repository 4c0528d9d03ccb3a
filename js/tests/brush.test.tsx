// @vitest-environment jsdom
import { describe, expect, it, vi } from "vitest";
import { button, floatsMessage, rest } from "./fake_model";
import { onStage, path, said, show } from "./two_masks";

onStage();

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
