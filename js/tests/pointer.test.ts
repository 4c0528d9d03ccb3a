// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { followPointer, modifier } from "../src/latent/pointer";
import type { LegendTraits } from "../src/latent/python_state";
import { connect } from "../src/shared/traits";
import { FakeModel, FakeResizeObserver, fakeAddresses, floatsMessage, intsMessage, text } from "./fake_model";

it("takes Shift for adding and Alt for taking away", () => {
  expect(modifier({ shiftKey: false, altKey: false })).toBeNull();
  expect(modifier({ shiftKey: true, altKey: false })).toBe("add");
  expect(modifier({ shiftKey: false, altKey: true })).toBe("subtract");
  expect(modifier({ shiftKey: true, altKey: true })).toBe("add");
});

let addresses: Map<string, Blob>;
beforeEach(() => {
  vi.useFakeTimers();
  FakeResizeObserver.install();
  addresses = fakeAddresses();
});
afterEach(() => {
  vi.useRealTimers();
  document.body.replaceChildren();
});

/** Lets promises and what follows from them come to their end. */
const settle = () => vi.advanceTimersByTimeAsync(0);

// The plot is 200 x 100 px of the page at (50, 20): item 7 is at (150, 70), item 9 at (170, 70).
function page(points = true) {
  document.body.innerHTML = `
    <div class="hdm-latent">
      <div class="toolbar"><input type="text" /><select></select><button>Undo</button></div>
      <div class="hdm-latent-plot">
        <div class="bqplot"><svg><rect class="plotarea_background"></rect></svg></div>
        <div class="legend"></div>
      </div>
    </div>
    <div class="elsewhere"></div>`;
  const one = (selector: string) => document.querySelector(selector) as HTMLElement;
  const box = { left: 50, top: 20, width: 200, height: 100, right: 250, bottom: 120, x: 50, y: 20 };
  one(".plotarea_background").getBoundingClientRect = () => box as DOMRect;
  const model = new FakeModel({
    mode: "replace",
    background: "none",
    legend: {},
    surface: {},
    total: 24,
    notice: "",
    names: [],
    new: {},
    _points: {
      positions: points ? floatsMessage(5, 0, 6, 0) : floatsMessage(),
      rows: points ? intsMessage(7, 9) : intsMessage(),
      bounds: [0, 10, -1, 1],
    },
  });
  const python = connect(model.as<LegendTraits>(), ["mode", "legend", "total", "_points"], model.el);
  const leave = followPointer(one(".legend"), python);
  return { model, python, leave, one, root: one(".hdm-latent"), figure: one(".bqplot") };
}

/** On a page where everything has its place. */
function arrived(points = true) {
  const all = page(points);
  FakeResizeObserver.resize(800, 40);
  return all;
}

function pointer(type: string, target: Element, x: number, y: number, more: PointerEventInit = {}) {
  target.dispatchEvent(new PointerEvent(type, { bubbles: true, clientX: x, clientY: y, button: 0, ...more }));
}

function press(target: Element, key: string, more: KeyboardEventInit = {}) {
  const event = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more });
  target.dispatchEvent(event);
  return event.defaultPrevented;
}

const tip = (root: HTMLElement) => root.querySelector(".hdm-point-tip") as HTMLElement;

describe("a gesture on the figure", () => {
  it("is a lasso where the pointer has moved, with the key that was held at either end", () => {
    const { model, figure } = arrived();
    pointer("pointerdown", figure, 100, 50);
    pointer("pointerup", figure, 140, 90);
    pointer("pointerdown", figure, 100, 50, { shiftKey: true });
    pointer("pointerup", window.document.body, 400, 300);
    pointer("pointerdown", figure, 100, 50);
    pointer("pointerup", figure, 104, 50, { altKey: true });
    pointer("pointerdown", figure, 100, 50, { shiftKey: true });
    pointer("pointerup", figure, 140, 90, { altKey: true });
    expect(model.asked()).toEqual([
      { request: "gesture", figure: 0, kind: "lasso", mode: null },
      { request: "gesture", figure: 0, kind: "lasso", mode: "add" },
      { request: "gesture", figure: 0, kind: "lasso", mode: "subtract" },
      { request: "gesture", figure: 0, kind: "lasso", mode: "subtract" },
    ]);
  });

  it("is a click where it has not, with the item there", () => {
    const { model, figure } = arrived();
    pointer("pointerdown", figure, 152, 71);
    pointer("pointerup", figure, 154, 73);
    pointer("pointerdown", figure, 100, 50);
    pointer("pointerup", figure, 100, 50);
    expect(model.asked()).toEqual([
      { request: "gesture", kind: "click", item: 7 },
      { request: "gesture", kind: "click", item: null },
    ]);
  });

  it("is a click on nothing where there are no points", () => {
    const { model, figure } = arrived(false);
    pointer("pointerdown", figure, 150, 70);
    pointer("pointerup", figure, 150, 70);
    expect(model.asked()).toEqual([{ request: "gesture", kind: "click", item: null }]);
  });

  it("is told before anything on the figure hears of it", () => {
    const { model, figure } = arrived();
    const before: number[] = [];
    figure.addEventListener("pointerup", () => before.push(model.sent.length));
    pointer("pointerdown", figure, 100, 50);
    pointer("pointerup", figure, 140, 90);
    expect(before).toEqual([1]);
  });

  it("is none with another button, beside the figure, or begun elsewhere", () => {
    const { model, figure, one } = arrived();
    pointer("pointerdown", figure, 100, 50, { button: 2 });
    pointer("pointerup", figure, 140, 90, { button: 2 });
    pointer("pointerdown", one(".toolbar button"), 10, 10);
    pointer("pointerup", figure, 140, 90);
    pointer("pointerdown", one(".elsewhere"), 10, 10);
    pointer("pointerup", figure, 140, 90);
    pointer("pointerup", figure, 140, 90);
    expect(model.sent).toEqual([]);
  });

  it("gives the figure the keys, and keeps the notebook's shortcuts away", () => {
    const { figure, one } = arrived();
    const frame = one(".hdm-latent-plot");
    pointer("pointerdown", figure, 100, 50);
    expect(document.activeElement).toBe(frame);
    expect(frame.dataset.lmSuppressShortcuts).toBe("true");
    expect(frame.getAttribute("aria-label")).toContain("N new selection");
  });
});

describe("keys", () => {
  it("choose what the next lasso does", () => {
    const { model, figure } = arrived();
    const seen = ["a", "S", "r"].map((key) => [press(figure, key), model.state.mode]);
    expect(seen).toEqual([
      [true, "add"],
      [true, "subtract"],
      [true, "replace"],
    ]);
    expect(model.saved).toBe(3);
  });

  it("take back, and begin a selection", () => {
    const { model, figure } = arrived();
    expect(press(figure, "z", { ctrlKey: true })).toBe(true);
    expect(press(figure, "z", { metaKey: true })).toBe(true);
    expect(press(figure, "n")).toBe(true);
    expect(model.asked()).toEqual([{ request: "undo" }, { request: "undo" }, { request: "begin" }]);
  });

  it("do not reach the notebook when they mean something here", () => {
    const { figure } = arrived();
    const heard = vi.fn();
    document.body.addEventListener("keydown", heard);
    press(figure, "a");
    press(figure, "n");
    expect(heard).not.toHaveBeenCalled();
    press(figure, "x");
    press(figure, "a", { ctrlKey: true });
    expect(heard).toHaveBeenCalledTimes(2);
    document.body.removeEventListener("keydown", heard);
  });

  it("mean what they say in a field, and nothing with other keys", () => {
    const { model, one, figure } = arrived();
    for (const field of ["input", "select"]) {
      for (const key of ["a", "s", "n", "r"]) expect(press(one(field), key)).toBe(false);
      expect(press(one(field), "z", { ctrlKey: true })).toBe(false);
    }
    for (const more of [{ ctrlKey: true }, { metaKey: true }, { altKey: true }]) {
      expect(press(figure, "a", more)).toBe(false);
      expect(press(figure, "n", more)).toBe(false);
    }
    expect(press(figure, "z")).toBe(false);
    expect([model.sent, model.state.mode]).toEqual([[], "replace"]);
  });
});

describe("a thumbnail", () => {
  const facts = [
    ["IoU", "0.25"],
    ["place", "town"],
  ];

  it("comes when the pointer rests on a point, with what is known of the item", async () => {
    const { model, figure, root } = arrived();
    expect(tip(root).hidden).toBe(true);
    pointer("pointermove", figure, 152, 71);
    expect(model.sent).toEqual([]);
    await vi.advanceTimersByTimeAsync(60);
    expect(model.sent).toMatchObject([{ request: "thumbnail", item: 7 }]);
    expect(tip(root).hidden).toBe(false);
    expect(tip(root).textContent).toBe("item 7");
    model.tell("msg:custom", { id: model.sent[0].id, error: null, facts }, [text("png 7")]);
    await settle();
    expect([...tip(root).querySelectorAll(".hdm-fact")].map((span) => span.textContent)).toEqual([
      "IoU: 0.25",
      "place: town",
    ]);
    const image = tip(root).querySelector("img");
    expect(await addresses.get(image?.src ?? "")?.text()).toBe("png 7");
  });

  it("stands where there is room for its measured width, also when that grows", async () => {
    const { model, figure, root } = arrived();
    const [x, y] = [10, 5]; // of the explorer, which scrolls by 200 px until the thumbnail comes
    let scrolled = 0;
    root.getBoundingClientRect = () => new DOMRect(x, y - scrolled, 300, 150);
    const width = () => 60 + 5 * (tip(root).textContent ?? "").length;
    tip(root).getBoundingClientRect = () => new DOMRect(0, 0, width(), 40);
    pointer("pointermove", figure, 150, 70);
    await vi.advanceTimersByTimeAsync(60);
    const place = () => [tip(root).style.left, tip(root).style.top];
    // To the right of the point, which is 140 px from the left edge and 65 px from the top.
    expect(place()).toEqual([`${140 + 14}px`, `${65 + 14}px`]);
    scrolled = 200;
    model.tell("msg:custom", { id: model.sent[0].id, error: null, facts }, [text("png 7")]);
    await settle();
    // "item 7IoU: 0.25place: town" needs 190 px: neither side has as much.
    expect(width()).toBe(190);
    expect(place()).toEqual(["4px", `${65 + 14}px`]);
    pointer("pointerleave", root, 0, 0);
    scrolled = 0;
    // The next one fits to the left of its point only.
    pointer("pointermove", figure, 170, 70);
    root.getBoundingClientRect = () => new DOMRect(x, y, 250, 110);
    await vi.advanceTimersByTimeAsync(60);
    expect(place()).toEqual([`${160 - 14 - 90}px`, `${110 - 40 - 4}px`]);
  });

  it("is asked for once, and not at all by a pointer that passes", async () => {
    const { model, figure, root } = arrived();
    for (const x of [140, 145, 152]) {
      pointer("pointermove", figure, x, 71);
      await vi.advanceTimersByTimeAsync(20);
    }
    await vi.advanceTimersByTimeAsync(60);
    const [request] = model.sent;
    model.tell("msg:custom", { id: request.id, error: null, facts }, [text("png 7")]);
    await settle();
    pointer("pointermove", figure, 60, 30);
    await vi.advanceTimersByTimeAsync(60);
    expect(tip(root).hidden).toBe(true);
    pointer("pointermove", figure, 150, 70);
    await vi.advanceTimersByTimeAsync(60);
    expect(tip(root).hidden).toBe(false);
    expect(tip(root).querySelector("img")).not.toBeNull();
    expect(model.sent).toHaveLength(1);
  });

  it("goes when the pointer leaves, presses, or Escape is pressed", async () => {
    const { figure, root } = arrived();
    const ends = [
      () => pointer("pointerleave", root, 0, 0),
      () => pointer("pointerdown", figure, 150, 70),
      () => press(figure, "Escape"),
      () => pointer("pointermove", figure, 150, 70, { buttons: 1 }),
    ];
    for (const end of ends) {
      pointer("pointermove", figure, 150, 70);
      await vi.advanceTimersByTimeAsync(60);
      expect(tip(root).hidden).toBe(false);
      end();
      expect(tip(root).hidden).toBe(true);
    }
  });

  it("that comes late is not shown on another point", async () => {
    const { model, figure, root } = arrived();
    pointer("pointermove", figure, 150, 70);
    await vi.advanceTimersByTimeAsync(60);
    pointer("pointermove", figure, 170, 70);
    await vi.advanceTimersByTimeAsync(60);
    const [seven, nine] = model.sent;
    expect([seven.item, nine.item]).toEqual([7, 9]);
    model.tell("msg:custom", { id: seven.id, error: null, facts }, [text("png 7")]);
    await settle();
    expect(tip(root).textContent).toBe("item 9");
    expect(tip(root).querySelector("img")).toBeNull();
  });

  it("is asked for anew when the colors mean something else", async () => {
    const { model, figure } = arrived();
    const rest = async () => {
      pointer("pointermove", figure, 150, 70);
      await vi.advanceTimersByTimeAsync(60);
    };
    await rest();
    model.tell("msg:custom", { id: model.sent[0].id, error: null, facts }, [text("png 7")]);
    await settle();
    expect(addresses.size).toBe(1);
    model.set("legend", { title: "Cluster" });
    expect(addresses.size).toBe(0);
    pointer("pointermove", figure, 60, 30);
    await vi.advanceTimersByTimeAsync(60);
    await rest();
    expect(model.sent).toHaveLength(2);
  });

  it("that was on its way when the colors changed is not kept", async () => {
    const { model, figure } = arrived();
    pointer("pointermove", figure, 150, 70);
    await vi.advanceTimersByTimeAsync(60);
    model.set("legend", { title: "Cluster" });
    model.tell("msg:custom", { id: model.sent[0].id, error: null, facts }, [text("old")]);
    await settle();
    pointer("pointermove", figure, 60, 30);
    await vi.advanceTimersByTimeAsync(60);
    pointer("pointermove", figure, 150, 70);
    await vi.advanceTimersByTimeAsync(60);
    expect(model.sent).toHaveLength(2);
  });

  it("does not come where the figure has no size, or beside it", async () => {
    const { model, figure, one } = arrived();
    pointer("pointermove", one(".toolbar"), 150, 70);
    await vi.advanceTimersByTimeAsync(60);
    one(".plotarea_background").getBoundingClientRect = () => ({ width: 0 }) as DOMRect;
    pointer("pointermove", figure, 150, 70);
    await vi.advanceTimersByTimeAsync(60);
    expect(model.sent).toEqual([]);
  });
});

describe("following the pointer", () => {
  it("begins when the legend is on the page", () => {
    const { model, figure, root } = page();
    pointer("pointerdown", figure, 100, 50);
    pointer("pointerup", figure, 140, 90);
    expect(model.sent).toEqual([]);
    expect(tip(root)).toBeNull();
    expect(FakeResizeObserver.all.size).toBe(1);
    FakeResizeObserver.resize(800, 40);
    expect(FakeResizeObserver.all.size).toBe(0);
    pointer("pointerdown", figure, 100, 50);
    pointer("pointerup", figure, 140, 90);
    expect(model.sent).toHaveLength(1);
  });

  it("ends before it has begun without a trace", () => {
    const { leave, python, model } = page();
    leave();
    python.dispose();
    expect(FakeResizeObserver.all.size).toBe(0);
    expect(model.listening).toBe(0);
  });

  it("asks nothing of a kernel that was restarted", () => {
    const { model, figure, leave } = arrived();
    model.disconnect();
    pointer("pointerdown", figure, 50, 50);
    pointer("pointerup", figure, 90, 50);
    for (const ctrlKey of [true, false]) for (const key of ["a", "n", "z"]) press(figure, key, { ctrlKey });
    expect([model.sent, model.saved, model.state.mode]).toEqual([[], 0, "replace"]);
    leave();
  });

  it("ends with every listener off and the tooltip gone", async () => {
    const all = page();
    // What is on each target: kind of event, callback, and whether it is heard before others.
    const on: unknown[][] = [];
    for (const target of [all.root, window]) {
      const add = target.addEventListener.bind(target) as (...what: unknown[]) => void;
      const remove = target.removeEventListener.bind(target) as (...what: unknown[]) => void;
      vi.spyOn(target, "addEventListener").mockImplementation((...what: unknown[]) => {
        on.push(what);
        // A listener goes with its signal too.
        (what[2] as AddEventListenerOptions | undefined)?.signal?.addEventListener("abort", () => {
          on.splice(on.indexOf(what), 1);
        });
        add(...what);
      });
      vi.spyOn(target, "removeEventListener").mockImplementation((...what: unknown[]) => {
        const at = on.findIndex((one) => one.every((part, i) => part === what[i]));
        if (at >= 0) on.splice(at, 1);
        remove(...what);
      });
    }
    FakeResizeObserver.resize(800, 40);
    const { model, figure, root, leave, python } = all;
    expect(on.map(([type]) => type).sort()).toEqual([
      "focusin",
      "keydown",
      "pointerdown",
      "pointerleave",
      "pointermove",
      "pointerover",
      "pointerup",
    ]);
    pointer("pointermove", figure, 150, 70);
    await vi.advanceTimersByTimeAsync(60);
    model.tell("msg:custom", { id: model.sent[0].id, error: null, facts: [] }, [text("png")]);
    await settle();
    expect(addresses.size).toBe(1);
    model.sent.length = 0;
    pointer("pointermove", figure, 170, 70); // a timer runs at the end
    leave();
    python.dispose();
    expect(on).toEqual([]);
    expect(tip(root)).toBeNull();
    expect(addresses.size).toBe(0);
    expect(model.listening).toBe(0);
    await vi.advanceTimersByTimeAsync(200);
    pointer("pointerdown", figure, 100, 50);
    pointer("pointerup", figure, 140, 90);
    press(figure, "n");
    expect(model.sent).toEqual([]);
    vi.restoreAllMocks();
  });
});
