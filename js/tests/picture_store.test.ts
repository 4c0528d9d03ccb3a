import { beforeEach, describe, expect, it } from "vitest";
import { GALLERY, type GalleryTraits } from "../src/latent/gallery";
import { pictureStore } from "../src/latent/picture_store";
import { connect } from "../src/shared/traits";
import { FakeModel, fakeAddresses, rest, text } from "./fake_model";

let addresses: Map<string, Blob>;
beforeEach(() => {
  addresses = fakeAddresses();
});

// Pictures of 2 x 5 pixels: the last byte of a mask is not full.
const about = { height: 2, width: 5, total: 9, full: true };

function store() {
  const model = new FakeModel({ _about: about, caption_by: "", caption_round: 1 });
  const python = connect(model.as<GalleryTraits>(), GALLERY);
  return { model, python, store: pictureStore(python) };
}

const bits = (...bytes: number[]) => new DataView(Uint8Array.from(bytes).buffer);
const entry = (index: number) => ({ index, iou: index / 10, caption: `c${index}`, error: "" });
const parts = (index: number) => [text(`png ${index}`), bits(0b10000000, 0b01000000), bits(0b11000000, 0)];
const content = (address: string | undefined) => addresses.get(address ?? "")?.text();

/** What Python answers to a request for pictures. */
async function answer(model: FakeModel, request: Record<string, unknown>) {
  const items = request.items as number[];
  await model.reply(request, { pictures: items.map(entry) }, items.flatMap(parts));
}

describe("pictures", () => {
  it("are asked for six at a time, none twice", () => {
    const { model, store: pictures } = store();
    pictures.want([0, 1, 2, 3, 4, 5, 6, 7]);
    pictures.want([7, 8]);
    pictures.want([]);
    expect(model.asked()).toEqual([
      { request: "pictures", items: [0, 1, 2, 3, 4, 5] },
      { request: "pictures", items: [6, 7] },
      { request: "pictures", items: [8] },
    ]);
  });

  it("come with masks, figures and captions, each to its item", async () => {
    const { model, store: pictures } = store();
    pictures.want([4, 2]);
    expect(pictures.get(4)).toBeUndefined();
    const before = pictures.arrived.value;
    await answer(model, model.sent[0]);
    expect(pictures.arrived.value).toBe(before + 1);
    const two = pictures.get(2);
    expect([two?.iou, two?.caption, two?.error]).toEqual([0.2, "c2", ""]);
    expect([...(two?.truth ?? [])]).toEqual([1, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    expect([...(two?.predicted ?? [])]).toEqual([1, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    expect(await content(two?.url)).toBe("png 2");
    expect(addresses.get(two?.url ?? "")?.type).toBe("image/png");
    expect(await content(pictures.get(4)?.url)).toBe("png 4");
    model.asked();
    pictures.want([2, 4]);
    expect(model.asked()).toEqual([]);
  });

  it("may start anywhere in their buffers", async () => {
    const { model, store: pictures } = store();
    pictures.want([1]);
    const all = new Uint8Array(20);
    all.set(new TextEncoder().encode("png"), 3);
    all.set([0b10000000, 0], 9);
    all.set([0b00000001, 0b10000000], 15);
    const views = [
      new DataView(all.buffer, 3, 3),
      new DataView(all.buffer, 9, 2),
      new DataView(all.buffer, 15, 2),
    ];
    await model.reply(model.sent[0], { pictures: [entry(1)] }, views);
    const one = pictures.get(1);
    expect(await content(one?.url)).toBe("png");
    expect([...(one?.truth ?? [])]).toEqual([1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    expect([...(one?.predicted ?? [])]).toEqual([0, 0, 0, 0, 0, 0, 0, 1, 1, 0]);
  });

  it("that could not be had are told, and can be asked for again", async () => {
    const { model, store: pictures } = store();
    pictures.want([1]);
    await model.reply(model.sent[0], { error: "the gallery is closed" });
    expect(pictures.error.value).toBe("the gallery is closed");
    expect(pictures.get(1)).toBeUndefined();
    model.asked();
    pictures.want([1]);
    expect(model.sent).toHaveLength(1);
    await answer(model, model.sent[0]);
    expect(pictures.error.value).toBe("");
    expect(pictures.get(1)?.caption).toBe("c1");
  });
});

describe("what is kept", () => {
  it("is six hundred pictures, those looked at last", async () => {
    const { model, store: pictures } = store();
    const get = async (items: number[]) => {
      pictures.want(items);
      for (const request of model.sent.splice(0)) await answer(model, request);
    };
    await get(Array.from({ length: 600 }, (_, i) => i));
    expect(addresses.size).toBe(600);
    pictures.get(0);
    await get([600, 601]);
    expect(addresses.size).toBe(600);
    expect([0, 1, 2, 3, 600, 601].map((item) => pictures.get(item) !== undefined)).toEqual([
      true,
      false,
      false,
      true,
      true,
      true,
    ]);
  });

  it("is forgotten when the captions change, and what was on its way is not taken", async () => {
    const { model, store: pictures } = store();
    pictures.want([1, 2]);
    await answer(model, model.sent[0]);
    pictures.want([3]);
    const late = model.sent[1];
    const before = pictures.arrived.value;
    model.set("caption_round", 2);
    expect(pictures.arrived.value).toBeGreaterThan(before);
    expect([1, 2, 3].map((item) => pictures.get(item))).toEqual([undefined, undefined, undefined]);
    expect(addresses.size).toBe(0);
    await answer(model, late);
    expect(pictures.get(3)).toBeUndefined();
    expect(addresses.size).toBe(0);
  });

  it("is asked for once more after it was forgotten, and only once", async () => {
    const { model, store: pictures } = store();
    pictures.want([3]);
    const [late] = model.sent;
    pictures.forget();
    pictures.want([3]);
    expect(model.sent).toHaveLength(2);
    await answer(model, late); // of before, it tells nothing about the one on its way
    pictures.want([3]);
    expect(model.sent).toHaveLength(2);
    await answer(model, model.sent[1]);
    expect(pictures.get(3)?.caption).toBe("c3");
  });

  it("is given back at the end", async () => {
    const { model, python, store: pictures } = store();
    pictures.want([1, 2]);
    await answer(model, model.sent[0]);
    expect(addresses.size).toBe(2);
    pictures.dispose();
    expect(addresses.size).toBe(0);
    python.dispose();
    expect(model.listening).toBe(0);
    model.set("caption_round", 5);
    await rest();
    expect(pictures.get(1)).toBeUndefined();
  });
});
