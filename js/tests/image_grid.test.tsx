// @vitest-environment jsdom
import { describe, expect, it, vi } from "vitest";
import gallery from "../src/gallery";
import { layout } from "../src/latent/image_grid";
import { HIGHEST } from "../src/latent/virtual_rows";
import {
  button,
  FakeModel,
  FakeResizeObserver,
  intsMessage,
  open as openWide,
  rest,
  shownItems,
  text,
} from "./fake_model";
import { withRoom } from "./latent_page";

describe("the layout of cards", () => {
  // A card is 12 px wider than its pictures, cards are 8 px apart; a row has 22 px for captions.
  it("fills the width with pictures of about the size asked for", () => {
    // 3 cards of 3 x 72 + 12 and two gaps are 700 px.
    expect(layout(700, 72, 3, 1)).toEqual({ perRow: 3, side: 72, height: 72 + 22 + 12 + 8 });
    // 730 px: 3 cards of 238 px, less 12, are 3 pictures of 75 px.
    expect(layout(730, 72, 3, 1)).toMatchObject({ perRow: 3, side: 75 });
    expect(layout(700, 72, 1, 1)).toMatchObject({ perRow: 8, side: 68 });
  });

  it("never overflows, and wastes less than a pixel for each picture", () => {
    for (const layers of [1, 3]) {
      for (let width = 260; width < 900; width += 7) {
        for (let size = 48; size <= 224; size += 8) {
          const { perRow, side } = layout(width, size, layers, 1);
          const used = perRow * (layers * side + 12) + (perRow - 1) * 8;
          expect(used).toBeLessThanOrEqual(width);
          expect(width - used).toBeLessThan(perRow * layers);
        }
      }
    }
  });

  it("is as high as the pictures are", () => {
    expect(layout(700, 72, 3, 0.5).height).toBe(36 + 42);
    expect(layout(700, 72, 3, 2).height).toBe(144 + 42);
  });

  it("has one card in a row where there is little room, of no less than 16 px", () => {
    expect(layout(120, 224, 3, 1)).toMatchObject({ perRow: 1, side: 36 });
    expect(layout(30, 72, 3, 1)).toMatchObject({ perRow: 1, side: 16 });
    expect(layout(0, 72, 1, 1)).toMatchObject({ perRow: 1, side: 16 });
  });
});

const addresses = withRoom();

const items = (count: number) =>
  shownItems(
    Array.from({ length: Math.min(count, 512) }, (_, i) => 100 + i),
    count,
  );

function state(count = 1000): Record<string, unknown> {
  return {
    source: "map",
    new_count: 0,
    new_status: "idle",
    sort: "lowest IoU first",
    sorts: ["lowest IoU first", "highest IoU first"],
    layers: "three",
    size: 72,
    highlighted: null,
    selections: [{ name: "a", color: "#8b5cf6", count, mean: 0.5, median: "nan" }],
    active: 0,
    can_explain: true,
    caption_by: "",
    captions_version: 1,
    suspects: { state: "idle", error: "" },
    with_reasons: false,
    _marked: intsMessage(),
    _about: { height: 2, width: 4, total: 2000, full: true },
    _shown: items(count),
    _saved: [],
  };
}

const mask = () => new DataView(Uint8Array.of(0b10010000).buffer);

/** Answer all requests for pictures. */
async function answer(model: FakeModel, more: object = {}) {
  for (const request of model.sent.filter(({ request }) => request === "images")) {
    const asked = request.items as number[];
    model.sent.splice(model.sent.indexOf(request), 1);
    const images = asked.map((index) => ({ index, iou: 0.25, caption: "", error: "", ...more }));
    await model.reply(
      request,
      { images },
      asked.flatMap(() => [text("png"), mask(), mask()]),
    );
  }
}

const open = (model: FakeModel) => openWide(gallery, model);

const asked = (model: FakeModel) => model.asked().flatMap(({ items }) => items as number[]);
const cards = (el: Element) => [...el.querySelectorAll(".hdm-card")];
const pictures = (el: Element) => el.querySelectorAll(".hdm-card img").length;

describe("the gallery", () => {
  it("has only the rows in view in the page, and asks for their pictures alone", async () => {
    const model = new FakeModel(state());
    const { el, stop } = await open(model);
    // Rows of 3 cards and 78 px in a frame of 300 px: 4 in view, and 2 more.
    expect((el.querySelector(".hdm-rows") as HTMLElement).style.height).toBe(`${334 * 78}px`);
    const first = Array.from({ length: 18 }, (_, i) => 100 + i);
    expect(asked(model)).toEqual(first);
    expect(cards(el)).toHaveLength(18);
    expect(el.querySelector(".hdm-gallery-head [role=status]")?.textContent).toBe("a: 1,000 of 2,000");
    stop();
  });

  it("shows pictures and masks when they come", async () => {
    const model = new FakeModel(state(2));
    const { el, stop } = await open(model);
    expect(cards(el).map((card) => card.querySelector(".hdm-caption")?.textContent)).toEqual(["…", "…"]);
    await answer(model, { caption: "town" });
    expect(pictures(el)).toBe(2);
    expect([...addresses().keys()]).toEqual([...el.querySelectorAll("img")].map((image) => image.src));
    const [card] = cards(el);
    expect(card.querySelector(".hdm-caption")?.textContent).toBe("IoU 0.25townExplain");
    expect(card.querySelector(".hdm-layers")?.getAttribute("aria-label")).toBe(
      "Item 100, IoU 0.25: highlight its point on the map",
    );
    const names = [...card.querySelectorAll("canvas")].map((canvas) => canvas.getAttribute("aria-label"));
    expect(names).toEqual(["True mask", "Prediction: hit, missed and added"]);
    expect([...card.querySelectorAll("canvas")].map((c) => [c.width, c.height])).toEqual([
      [4, 2],
      [4, 2],
    ]);
    model.set("layers", "overlay");
    await rest();
    expect(cards(el)[0].querySelectorAll("canvas")).toHaveLength(1);
    expect(cards(el)[0].querySelector("canvas")?.getAttribute("aria-label")).toBe("Hit, missed and added");
    stop();
  });

  it("says what an item lacks", async () => {
    const model = new FakeModel(state(1));
    const { el, stop } = await open(model);
    await answer(model, { iou: "nan", error: "disk 3 is gone" });
    expect(el.querySelector(".hdm-caption")?.textContent).toBe("not readable");
    expect(el.querySelector(".hdm-layers")?.getAttribute("title")).toBe("disk 3 is gone");
    stop();
    const other = new FakeModel(state(1));
    const second = await open(other);
    await answer(other, { iou: "nan" });
    expect(second.el.querySelector(".hdm-caption")?.textContent).toBe("IoU not definedExplain");
    second.stop();
  });

  it("gets pictures with the new captions when the captions change", async () => {
    const model = new FakeModel(state(4));
    const { el, stop } = await open(model);
    await answer(model);
    expect(pictures(el)).toBe(4);
    model.set("captions_version", 2);
    await rest();
    expect(asked(model)).toEqual([100, 101, 102, 103]);
    stop();
  });

  it("asks for other pictures when other items are shown", async () => {
    const model = new FakeModel(state(4));
    const { el, stop } = await open(model);
    await answer(model);
    model.set("_shown", shownItems([101, 7], 2, 2));
    await rest();
    expect(asked(model)).toEqual([7]);
    expect(cards(el)).toHaveLength(2);
    stop();
  });

  it("highlights a point by a click on its images, and no longer by another one", async () => {
    const model = new FakeModel(state(2));
    const { el, stop } = await open(model);
    await answer(model);
    const layers = () => [...el.querySelectorAll<HTMLButtonElement>(".hdm-layers")];
    layers()[1].click();
    await rest();
    expect(model.state.highlighted).toBe(101);
    expect(layers().map((one) => one.getAttribute("aria-pressed"))).toEqual(["false", "true"]);
    layers()[1].click();
    expect(model.state.highlighted).toBeNull();
    stop();
  });

  it("asks for an explanation where there can be one", async () => {
    const model = new FakeModel(state(1));
    const { el, stop } = await open(model);
    await answer(model);
    button(el, "Explain").click();
    expect(model.asked()).toEqual([{ request: "explain", item: 100 }]);
    model.set("can_explain", false);
    await rest();
    expect([...el.querySelectorAll("button")].some((one) => one.textContent === "Explain")).toBe(false);
    stop();
  });

  it("says why there is no explanation", async () => {
    const model = new FakeModel(state(1));
    const { el, stop } = await open(model);
    await answer(model);
    button(el, "Explain").click();
    await model.reply(model.sent[0], { error: "item 100 could not be read" });
    expect(el.querySelector("[role=alert]")?.textContent).toContain("item 100 could not be read");
    button(el, "Explain").click();
    await model.reply(model.sent[1]);
    expect(el.querySelector("[role=alert]")).toBeNull();
    stop();
  });

  it("says why there are no pictures", async () => {
    const model = new FakeModel(state(1));
    const { el, stop } = await open(model);
    await model.reply(model.sent[0], { error: "the gallery is closed" });
    expect(el.querySelector("[role=alert] ")?.textContent).toContain("the gallery is closed");
    model.asked();
    button(el, "Try again").click();
    await rest();
    expect(el.querySelector("[role=alert]")).toBeNull();
    expect(model.sent).toMatchObject([{ request: "images", items: [100] }]);
    await answer(model);
    expect(pictures(el)).toBe(1);
    stop();
  });

  it("does not ask again and again for pictures that cannot be had, but does when the view changes", async () => {
    const model = new FakeModel(state(1));
    const { stop } = await open(model);
    let requests = 0;
    for (let round = 0; round < 4; round++) {
      for (const request of model.sent.splice(0)) {
        requests++;
        await model.reply(request, { error: "the memory is full" });
      }
    }
    expect(requests).toBe(1);
    model.set("_shown", shownItems([100, 7], 2, 3));
    await rest();
    expect(asked(model)).toEqual([100, 7]);
    stop();
  });

  it("tells how to begin when nothing is selected, and what to do when nothing is left", async () => {
    const empty = { ...state(), selections: [], active: null, _shown: items(0) };
    const model = new FakeModel(empty);
    const { el, stop } = await open(model);
    expect(el.textContent).toContain("Draw a lasso around points");
    model.set("selections", [{ name: "b", color: "#000000", count: 0, mean: "nan", median: "nan" }]);
    model.set("active", 0);
    await rest();
    expect(el.textContent).toContain("Nothing is left in b");
    expect(cards(el)).toHaveLength(0);
    stop();
  });

  it("is as long for a million items as a browser allows, and asks for the page that is in view", async () => {
    const model = new FakeModel(state(1_000_000));
    const { el, stop } = await open(model);
    expect(asked(model)).toHaveLength(18);
    const grid = el.querySelector(".hdm-grid") as HTMLElement;
    expect((el.querySelector(".hdm-rows") as HTMLElement).style.height).toBe(`${HIGHEST}px`);
    expect(el.querySelector(".hdm-position")?.textContent).toBe("1 to 9 of 1,000,000");
    vi.useFakeTimers();
    grid.scrollTop = (HIGHEST - 300) / 2;
    grid.dispatchEvent(new Event("scroll"));
    await vi.advanceTimersByTimeAsync(200);
    vi.useRealTimers();
    expect(cards(el)).toHaveLength(0);
    expect(el.querySelectorAll(".hdm-blank").length).toBeGreaterThan(12);
    const [request] = model.sent;
    expect(request).toMatchObject({ request: "items" });
    const start = request.start as number;
    expect(Math.abs(start - 500_000)).toBeLessThan(512);
    const numbers = Array.from({ length: 512 }, (_, i) => 7 * (start + i));
    await model.reply(request, { version: 1 }, [intsMessage(...numbers).view]);
    await rest();
    const shown = cards(el).map((card) => Number(card.getAttribute("data-item")));
    expect(shown[0] % 7).toBe(0);
    expect(shown).toEqual(shown.map((_, i) => shown[0] + 7 * i));
    stop();
  });

  it("says which cards are in view though none is whole", async () => {
    const tall = { height: 8, width: 4, total: 2000, full: true };
    const { el, stop } = await open(new FakeModel({ ...state(5000), size: 224, _about: tall }));
    expect(el.querySelector(".hdm-position")?.textContent).toBe("1 to 1 of 5,000");
    const grid = el.querySelector(".hdm-grid") as HTMLElement;
    grid.scrollTop = 10;
    grid.dispatchEvent(new Event("scroll"));
    await rest();
    expect(el.querySelector(".hdm-position")?.textContent).toBe("1 to 1 of 5,000");
    stop();
  });

  it("keeps the cards in view when their size changes, and begins anew with another order", async () => {
    const model = new FakeModel(state(500));
    const { el, stop } = await open(model);
    const grid = el.querySelector(".hdm-grid") as HTMLElement;
    grid.scrollTop = 40 * 78; // from item 220 on, the 121st
    grid.dispatchEvent(new Event("scroll"));
    await rest();
    model.set("size", 224); // one card in a row
    await rest();
    const row = Number(el.querySelector(".hdm-cards")?.getAttribute("data-row"));
    expect(row).toBe(120 - 2);
    model.set("_shown", { ...items(500), version: 2 });
    await rest();
    expect(grid.scrollTop).toBe(0);
    stop();
  });

  it("moves the focus from card to card by keys that do nothing else", async () => {
    const model = new FakeModel(state());
    const { el, stop } = await open(model);
    const grid = el.querySelector(".hdm-grid") as HTMLElement;
    const heard = vi.fn();
    el.addEventListener("keydown", heard);
    const press = async (key: string) => {
      const target = grid.contains(document.activeElement) ? document.activeElement : grid;
      target?.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
      await rest();
      return document.activeElement?.closest(".hdm-card")?.getAttribute("data-item") ?? null;
    };
    grid.focus();
    const path = [];
    for (const key of ["ArrowDown", "ArrowDown", "ArrowRight", "PageDown", "ArrowUp", "Home"])
      path.push(await press(key));
    // Three rows are in view.
    expect(path).toEqual(["100", "103", "104", "113", "110", "100"]);
    expect(grid.scrollTop).toBe(0);
    expect(heard).not.toHaveBeenCalled();
    expect(await press("w")).toBe("100");
    expect(heard).toHaveBeenCalledTimes(1);
    // The numbers of the last cards are not known yet: the frame has the focus until they are.
    await press("End");
    expect(document.activeElement).toBe(grid);
    const request = await vi.waitUntil(() => model.sent.find(({ request }) => request === "items"));
    expect(request).toMatchObject({ start: 512, stop: 1000 });
    const numbers = Array.from({ length: 488 }, (_, i) => 612 + i);
    await model.reply(request as Record<string, unknown>, { version: 1 }, [intsMessage(...numbers).view]);
    expect(document.activeElement?.closest(".hdm-card")?.getAttribute("data-item")).toBe("1099");
    stop();
  });

  it("leaves nothing behind when it goes, and two views end apart", async () => {
    const model = new FakeModel(state(2));
    const first = await open(model);
    const alone = model.listening;
    const second = await open(model);
    await answer(model);
    expect([pictures(first.el), pictures(second.el)]).toEqual([2, 2]);
    expect(addresses().size).toBe(4);
    second.stop();
    expect(model.listening).toBe(alone);
    expect(addresses().size).toBe(2);
    expect(second.el.childElementCount).toBe(0);
    first.stop();
    expect(model.listening).toBe(0);
    expect(addresses().size).toBe(0);
    expect(FakeResizeObserver.all.size).toBe(0);
  });
});
