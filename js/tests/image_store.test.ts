import { beforeEach, describe, expect, it, vi } from "vitest";
import { type Item, imageStore } from "../src/latent/image_store";
import { GALLERY, type GalleryTraits } from "../src/latent/python_state";
import { connect, GONE } from "../src/shared/traits";
import { FakeModel, fakeAddresses, intsMessage, rest, shownItems, text } from "./fake_model";

let addresses: Map<string, Blob>;
beforeEach(() => {
  addresses = fakeAddresses();
});

// Pictures of 2 x 5 pixels: the last byte of a mask is not full.
const about = { height: 2, width: 5, total: 9, full: true };

function store(shape: object = about) {
  const model = new FakeModel({
    _about: shape,
    caption_by: "",
    captions_version: 1,
    _saved: [],
    _shown: shownItems([...Array(700).keys()].slice(0, 512), 700),
  });
  const python = connect(model.as<GalleryTraits>(), GALLERY, model.el);
  return { model, python, store: imageStore(python) };
}

const bits = (...bytes: number[]) => new DataView(Uint8Array.from(bytes).buffer);
const entry = (index: number) => ({ index, iou: index / 10, caption: `c${index}`, error: "" });
const parts = (index: number) => [text(`png ${index}`), bits(0b10000000, 0b01000000), bits(0b11000000, 0)];
const saved = (index: number) => ({
  index,
  iou: "nan",
  caption: `s${index}`,
  height: 1,
  width: 4,
  image: text(`small ${index}`),
  truth: bits(0b10010000),
  predicted: bits(0b01000000),
  ignored: bits(),
});
const content = (address: string | undefined) => addresses.get(address ?? "")?.text();

const numbers = (...values: number[]) => intsMessage(...values).view;

/** What Python answers to a request for images, or for items in the order of the data set. */
async function answer(model: FakeModel, request: Record<string, unknown>, version = 1) {
  if (request.request === "items") {
    const [start, stop] = [Number(request.start), Number(request.stop)];
    const values = Array.from({ length: stop - start }, (_, i) => start + i);
    return model.reply(request, { version }, [numbers(...values)]);
  }
  const items = request.items as number[];
  await model.reply(request, { images: items.map(entry) }, items.flatMap(parts));
}

describe("images", () => {
  it("are asked for six at a time, none twice", () => {
    const { model, store: images } = store();
    images.want([0, 1, 2, 3, 4, 5, 6, 7]);
    images.want([7, 8]);
    images.want([]);
    expect(model.asked()).toEqual([
      { request: "images", items: [0, 1, 2, 3, 4, 5] },
      { request: "images", items: [6, 7] },
      { request: "images", items: [8] },
    ]);
  });

  it("come with masks, figures and captions, each to its item", async () => {
    const { model, store: images } = store();
    images.want([4, 2]);
    expect(images.get(4)).toBeUndefined();
    const before = images.arrived.value;
    await answer(model, model.sent[0]);
    expect(images.arrived.value).toBe(before + 1);
    const two = images.get(2);
    expect([two?.iou, two?.caption, two?.error]).toEqual([0.2, "c2", ""]);
    expect([...(two?.truth ?? [])]).toEqual([1, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    expect([...(two?.predicted ?? [])]).toEqual([1, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    expect(two?.ignored).toBeNull();
    expect(await content(two?.url)).toBe("png 2");
    expect(addresses.get(two?.url ?? "")?.type).toBe("image/png");
    expect(await content(images.get(4)?.url)).toBe("png 4");
    model.asked();
    images.want([2, 4]);
    expect(model.asked()).toEqual([]);
  });

  it("come with what does not count, where the space ignores pixels", async () => {
    const { model, store: images } = store({ ...about, ignored: true });
    images.want([4, 2]);
    const [request] = model.sent;
    const buffers = [4, 2].flatMap((index) => [...parts(index), bits(0, index === 2 ? 0b11000000 : 0)]);
    await model.reply(request, { images: [4, 2].map(entry) }, buffers);
    expect([...(images.get(2)?.ignored ?? [])]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
    expect([...(images.get(4)?.ignored ?? [])]).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    expect(await content(images.get(2)?.url)).toBe("png 2");
    expect([...(images.get(2)?.predicted ?? [])]).toEqual([1, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
  });

  it("may start anywhere in their buffers", async () => {
    const { model, store: images } = store();
    images.want([1]);
    const all = new Uint8Array(20);
    all.set(new TextEncoder().encode("png"), 3);
    all.set([0b10000000, 0], 9);
    all.set([0b00000001, 0b10000000], 15);
    const views = [
      new DataView(all.buffer, 3, 3),
      new DataView(all.buffer, 9, 2),
      new DataView(all.buffer, 15, 2),
    ];
    await model.reply(model.sent[0], { images: [entry(1)] }, views);
    const one = images.get(1);
    expect(await content(one?.url)).toBe("png");
    expect([...(one?.truth ?? [])]).toEqual([1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    expect([...(one?.predicted ?? [])]).toEqual([0, 0, 0, 0, 0, 0, 0, 1, 1, 0]);
  });

  it("that could not be had are told, and can be asked for again", async () => {
    const { model, store: images } = store();
    images.want([1]);
    await model.reply(model.sent[0], { error: "the gallery is closed" });
    expect(images.error.value).toBe("the gallery is closed");
    expect(images.get(1)).toBeUndefined();
    model.asked();
    images.want([1]);
    expect(model.sent).toHaveLength(1);
    await answer(model, model.sent[0]);
    expect(images.error.value).toBe("");
    expect(images.get(1)?.caption).toBe("c1");
  });

  it("that do not come are asked for again when that is wished, and taken whenever they come", async () => {
    vi.useFakeTimers();
    const { model, store: images } = store();
    images.want([1]);
    await vi.advanceTimersByTimeAsync(1600);
    expect([images.slow.value, images.error.value]).toEqual([true, ""]);
    await vi.advanceTimersByTimeAsync(600_000);
    expect(images.error.value).toBe("");
    const before = images.round.value;
    images.retry();
    expect([images.round.value, images.slow.value]).toEqual([before + 1, false]);
    images.want([1]);
    expect(model.sent).toHaveLength(2);
    const [late, again] = model.sent;
    const items = [1];
    model.tell("msg:custom", { id: late.id, images: items.map(entry) }, items.flatMap(parts));
    await vi.advanceTimersByTimeAsync(0);
    expect([images.get(1)?.caption, images.slow.value]).toEqual(["c1", false]);
    model.tell("msg:custom", { id: again.id, images: items.map(entry) }, items.flatMap(parts));
    await vi.advanceTimersByTimeAsync(0);
    expect([images.get(1)?.caption, addresses.size]).toEqual(["c1", 1]);
    vi.useRealTimers();
  });

  it("are not waited for when the kernel was restarted, which the toolbar tells", async () => {
    vi.useFakeTimers();
    const { model, python, store: images } = store();
    images.want([1]);
    model.disconnect();
    images.want([1, 2]);
    await vi.advanceTimersByTimeAsync(100_000);
    expect(python.gone.value).toBe(GONE);
    expect([images.error.value, images.slow.value, model.asked()]).toEqual([
      "",
      false,
      [{ request: "images", items: [1] }],
    ]);
    vi.useRealTimers();
  });

  it("that are saved take the place of those that have not come", async () => {
    const { model, store: images } = store();
    model.set("_saved", [1, 2].map(saved));
    images.want([1]);
    await answer(model, model.sent[0]);
    expect([1, 2, 3].map((item) => images.get(item)?.size)).toEqual([
      { height: 2, width: 5 },
      undefined,
      undefined,
    ]);
    const before = images.arrived.value;
    model.disconnect();
    expect(images.arrived.value).toBe(before + 1);
    expect([1, 2, 3].map((item) => images.get(item)?.size)).toEqual([
      { height: 2, width: 5 },
      { height: 1, width: 4 },
      undefined,
    ]);
    const { url, ...second } = images.get(2) as Item;
    expect(second).toEqual({
      index: 2,
      iou: Number.NaN,
      caption: "s2",
      error: "",
      size: { height: 1, width: 4 },
      truth: Uint8Array.of(1, 0, 0, 1),
      predicted: Uint8Array.of(0, 1, 0, 0),
      ignored: null,
    });
    expect(await content(url)).toBe("small 2");
    images.dispose();
    expect(addresses.size).toBe(0);
  });
});

describe("what is kept", () => {
  it("is six hundred pictures, those looked at last", async () => {
    const { model, store: images } = store();
    const get = async (items: number[]) => {
      images.want(items);
      for (const request of model.sent.splice(0)) await answer(model, request);
      images.want(items); // those whose numbers have come
      for (const request of model.sent.splice(0)) await answer(model, request);
    };
    await get(Array.from({ length: 600 }, (_, i) => i));
    expect(addresses.size).toBe(600);
    images.get(0);
    await get([600, 601]);
    expect(addresses.size).toBe(600);
    expect([0, 1, 2, 3, 600, 601].map((item) => images.get(item) !== undefined)).toEqual([
      true,
      false,
      false,
      true,
      true,
      true,
    ]);
  });

  it("is forgotten when the captions change, and what was on its way is not taken", async () => {
    const { model, store: images } = store();
    images.want([1, 2]);
    await answer(model, model.sent[0]);
    images.want([3]);
    const late = model.sent[1];
    const before = images.arrived.value;
    model.set("captions_version", 2);
    expect(images.arrived.value).toBeGreaterThan(before);
    expect([1, 2, 3].map((item) => images.get(item))).toEqual([undefined, undefined, undefined]);
    expect(addresses.size).toBe(0);
    await answer(model, late);
    expect(images.get(3)).toBeUndefined();
    expect(addresses.size).toBe(0);
  });

  it("is asked for once more after it was forgotten, and only once", async () => {
    const { model, store: images } = store();
    images.want([3]);
    const [late] = model.sent;
    images.forget();
    images.want([3]);
    expect(model.sent).toHaveLength(2);
    await answer(model, late); // of before, it tells nothing about the one on its way
    images.want([3]);
    expect(model.sent).toHaveLength(2);
    await answer(model, model.sent[1]);
    expect(images.get(3)?.caption).toBe("c3");
  });

  it("is given back at the end", async () => {
    const { model, python, store: images } = store();
    images.want([1, 2]);
    await answer(model, model.sent[0]);
    expect(addresses.size).toBe(2);
    images.dispose();
    expect(addresses.size).toBe(0);
    python.dispose();
    expect(model.listening).toBe(0);
    model.set("captions_version", 5);
    await rest();
    expect(images.get(1)).toBeUndefined();
  });
});

describe("the items of ranks", () => {
  it("are known for the first page, and asked for by pages, none twice", async () => {
    const { model, store: images } = store();
    expect([images.item(0), images.item(511), images.item(512)]).toEqual([0, 511, undefined]);
    images.want([511, 512, 513, 699]);
    images.want([600]);
    expect(model.asked()).toEqual([
      { request: "items", start: 512, stop: 700 },
      { request: "images", items: [511] },
    ]);
  });

  it("come with their page", async () => {
    const { model, store: images } = store();
    images.want([699]);
    const before = images.arrived.value;
    await answer(model, model.sent[0]);
    expect(images.arrived.value).toBe(before + 1);
    expect([images.item(512), images.item(699), images.item(700)]).toEqual([512, 699, undefined]);
    model.asked();
    images.want([699]);
    expect(model.asked()).toEqual([{ request: "images", items: [699] }]);
  });

  it("are asked for anew in another order, and not taken from the one before", async () => {
    const { model, store: images } = store();
    images.want([600]);
    model.asked();
    model.set("_shown", shownItems([9, 8], 700, 2));
    expect([images.item(0), images.item(2)]).toEqual([9, undefined]);
    images.want([600]);
    const [late] = model.sent;
    expect(late).toMatchObject({ request: "items", start: 512, stop: 700 });
    await answer(model, late, 1);
    expect(images.item(600)).toBeUndefined();
    images.want([600]);
    await answer(model, model.sent[1], 2);
    expect(images.item(600)).toBe(600);
  });

  it("that could not be had are told, and can be asked for again", async () => {
    const { model, store: images } = store();
    images.want([600]);
    await model.reply(model.sent[0], { error: "the gallery is closed" });
    expect([images.error.value, images.item(600)]).toEqual(["the gallery is closed", undefined]);
    images.retry();
    images.want([600]);
    await answer(model, model.sent[1]);
    expect([images.error.value, images.item(600)]).toEqual(["", 600]);
  });

  it("are kept for 64 pages and the first", async () => {
    const { model, store: images } = store();
    model.set("_shown", shownItems([...Array(512).keys()], 1_000_000, 2));
    for (let page = 1; page < 70; page++) {
      images.want([page * 512]);
      const request = model.sent.splice(0).find(({ request }) => request === "items");
      await answer(model, request as Record<string, unknown>, 2);
    }
    const known = Array.from({ length: 70 }, (_, page) => images.item(page * 512) !== undefined);
    expect(known.filter(Boolean)).toHaveLength(64);
    expect([known[0], known[1], known[69]]).toEqual([true, false, true]);
  });
});
