// @vitest-environment jsdom
import { options } from "preact";
import { beforeEach, describe, expect, it } from "vitest";
import { Explorer } from "../src/hdm/explorer";
import {
  type ClassChange,
  type Influence,
  type Inspection,
  type MapMessage,
  pythonState,
  type Traits,
} from "../src/hdm/python_state";
import { shownMap, viewState } from "../src/hdm/view_state";
import { type PageData, revived } from "../src/page/data";
import { pngFile } from "../src/page/images";
import { FlippedMasks } from "../src/page/masks";
import { PageModel } from "../src/page/model";
import { hausdorffPair } from "../src/page/pair";
import { bytes, number, unpackBits } from "../src/shared/codec";
import {
  colorize,
  type PaintingOrder,
  painting,
  type ResultType,
  range,
  relative,
} from "../src/shared/paint";
import { show } from "../src/shared/show";
import {
  choose,
  enabled,
  FakeResizeObserver,
  fakeAddresses,
  fakeCanvases,
  intsMessage,
  pick,
  rest,
} from "./fake_model";
import scans from "./page_scans.txt?raw";

type Expected = Omit<Inspection, "image"> & { image?: string; mask?: string };

interface Brushed {
  runs: number[];
  classes: {
    target: number | null;
    values: string;
    change: Record<PaintingOrder, Record<ResultType, number | null>>;
  }[];
}

interface Page {
  brushed?: Brushed;
  data: unknown;
  bytes: string;
  expected: Expected[];
  turned?: { from: number; to: number; values: string | null }[];
  maps: { order: PaintingOrder; type: ResultType; drawn: string; bare: string }[];
}

const ORDERS: PaintingOrder[] = ["mean", "change"];
const TYPES: ResultType[] = ["raw", "better", "worse"];
/** Each value of the color bar has its number as color. */
const NUMBERED = Uint8Array.from({ length: 768 }, (_, index) => Math.floor(index / 3));

const decoded = (text: string) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

async function inflated(packed: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  const { writable, readable } = new DecompressionStream("deflate");
  const writer = writable.getWriter();
  const written = writer.write(packed).then(() => writer.close());
  const unpacked = new Uint8Array(await new Response(readable).arrayBuffer());
  await written;
  return unpacked;
}

// Made by Python: tests/hdm/page_scans.py.
const text = new TextDecoder().decode(await inflated(decoded(scans.trim())));
const pages = Object.entries(JSON.parse(text) as Record<string, Page>);

function read(name: string): PageData {
  const page = Object.fromEntries(pages)[name];
  return revived(JSON.stringify(page.data), decoded(page.bytes).buffer);
}

function change<K extends keyof Traits>(model: PageModel, name: K, value: Traits[K]) {
  model.set(name, value);
  model.save_changes();
}

/** The pixels of a PNG file that is not filtered, three bytes each. */
async function pixels(file: DataView): Promise<number[]> {
  const width = file.getUint32(16);
  const length = file.getUint32(33);
  const lines = await inflated(bytes(file).slice(41, 41 + length));
  const line = 1 + 3 * width;
  return [...lines].filter((_, at) => at % line);
}

describe.each(pages)("a page of a scan: %s", (name, { expected }) => {
  it("says of every cell in every measure what Python says", async () => {
    const data = read(name);
    const model = new PageModel(data);
    const [rows, cols] = (model.get("_map") as MapMessage).values.shape;
    expect(expected.length).toBe(data.answers.length * rows * cols);
    for (const [nth, answer] of data.answers.entries()) {
      change(model, "target", answer.target);
      change(model, "measure", answer.measure);
      change(model, "explain_by", answer.explainBy);
      for (const { image, mask, ...wanted } of expected.slice(nth * rows * cols, (nth + 1) * rows * cols)) {
        change(model, "cell", wanted.cell);
        const found = model.get("_inspector") as Inspection;
        const { cell, pending, rank, of } = found;
        const what = `${answer.measure} of ${answer.target} by ${answer.explainBy} at ${cell}`;
        expect({ cell, pending, rank, of }, what).toEqual({
          cell: wanted.cell,
          pending: wanted.pending,
          rank: wanted.rank,
          of: wanted.of,
        });
        if (pending) continue;
        expect(found.distance, what).toBe(number(wanted.distance));
        expect(found.baseline, what).toBe(number(wanted.baseline));
        if (image) expect(await pixels(found.image), what).toEqual([...decoded(image)]);
        if (!wanted.prediction) {
          expect(found.prediction, what).toBeNull();
          continue;
        }
        const { prediction } = found;
        if (mask) expect(bytes(prediction?.mask as DataView), what).toEqual(decoded(mask));
        const { pair, distance, iou, empty, from } = wanted.prediction;
        expect([prediction?.iou, prediction?.empty, prediction?.from], what).toEqual([iou, empty, from]);
        // Of several nearest pixels any may be the one.
        expect(prediction?.pair?.[0], what).toEqual(pair?.[0]);
        expect(apart(prediction?.pair, data), what).toBeCloseTo(apart(pair, data), 12);
        expect(prediction?.distance === null, what).toBe(distance === null);
        if (pair) expect(number(prediction?.distance), what).toBeCloseTo(number(distance), 12);
      }
    }
  });
});

it.each(pages)("every pixel of the maps of a scan: %s", (name, { maps }) => {
  const data = read(name);
  const { _about: about, circle_size: circleSize, offset } = data.traits;
  const { target, measure, explain_by } = data.traits;
  const own = data.answers.find(
    (one) => one.target === target && one.measure === measure && one.explainBy === explain_by,
  );
  const shown = shownMap({ ...data.traits._map, ...own?.map } as MapMessage, about);
  expect(shown.grid).toEqual({ height: about.height, width: about.width, circleSize, offset });
  for (const { order, type, drawn, bare } of maps) {
    const [raw, values] = [shown.raw, shown.filled].map((kind) =>
      relative(kind, shown.baseline, type, own?.about?.signed),
    );
    const painted = painting(order, values, shown, type, about);
    const { top } = painted;
    const plain = { ...painted, weights: painted.weights.map(() => 1) };
    const pixels = colorize(plain, range(raw), NUMBERED, 1);
    const reds = new Uint8Array(pixels.buffer).filter((_, channel) => channel % 4 === 0);
    const none = unpackBits(new DataView(decoded(bare).buffer), top.length);
    expect([...top].map((index) => Number(index < 0))).toEqual([...none]);
    const found = reds.map((red, pixel) => (none[pixel] ? 0 : red));
    expect(found).toEqual(decoded(drawn));
  }
});

const brushedPages = pages.flatMap(([name, { brushed }]) => (brushed ? [[name, brushed] as const] : []));

it.each(brushedPages)("a brushed region of a scan: %s", (name, { runs, classes }) => {
  const model = new PageModel(read(name));
  change(model, "brush", runs);
  for (const { target, values, change: changes } of classes) {
    change(model, "target", target);
    for (const [order, type] of ORDERS.flatMap((order) => TYPES.map((type) => [order, type] as const))) {
      change(model, "order", order);
      change(model, "result_type", type);
      const fraction = changes[order][type];
      const found = model.get("_influence") as Influence;
      expect(bytes(found.values.view)).toEqual(decoded(values));
      if (fraction === null) expect(found.change).toBeNull();
      else expect(number(found.change)).toBeCloseTo(fraction, 12);
    }
  }
  change(model, "brush", []);
  expect(model.get("_influence")).toEqual({});
});

it("what the discs turn of one class into another", () => {
  const [name, { turned = [] }] = pages.find(([, page]) => page.turned) as [string, Page];
  const model = new PageModel(read(name));
  for (const { from, to, values } of turned) {
    change(model, "target", from);
    change(model, "against", to);
    const found = model.get("_class_change") as ClassChange;
    if (values === null) expect([found, model.get("against")]).toEqual([{}, null]);
    else expect([bytes(found.values.view), found.classes]).toEqual([decoded(values), [from, to]]);
  }
  // Nothing turns into itself.
  expect(turned.filter(({ values }) => values)).toHaveLength(6);
  change(model, "target", 1);
  change(model, "against", 2);
  change(model, "against", null);
  expect(model.get("_class_change")).toEqual({});
});

function apart(pair: [[number, number], [number, number]] | null | undefined, { sides }: PageData): number {
  return pair ? Math.hypot((pair[0][0] - pair[1][0]) * sides[0], (pair[0][1] - pair[1][1]) * sides[1]) : 0;
}

describe("the model of a page", () => {
  it("has every trait that a view follows", () => {
    const el = document.createElement("div");
    const model = new PageModel(read("plain"));
    const python = pythonState(model, el, [], true);
    const missing = Object.entries(python.traits).filter(([, trait]) => trait.value === undefined);
    expect(missing.map(([name]) => name)).toEqual([]);
    expect(python.gone.value).toBe("");
    python.dispose();
  });

  it("changes map, texts and inspector with the measure, and tells of it", () => {
    const data = read("plain");
    const model = new PageModel(data);
    const told: string[] = [];
    for (const name of ["_map", "_about", "_inspector", "error"]) {
      model.on(`change:${name}`, () => told.push(name));
    }
    change(model, "measure", "iou");
    expect(told.sort()).toEqual(["_about", "_inspector", "_map", "error"]);
    expect(model.get("_about")).toMatchObject({ measure: "iou", label: "1 - IoU", unit: "", height: 10 });
    const iou = data.answers.find((one) => one.measure === "iou" && one.explainBy === "truth");
    expect((model.get("_map") as MapMessage).values).toBe(iou?.map?.values);
  });

  it("says why a question has no answer, and goes on with the last one", () => {
    const data = read("plain");
    const asked = data.answers.find((one) => one.measure === "dice" && one.explainBy === "truth");
    Object.assign(asked as object, { error: "a mask is empty", map: undefined, about: undefined });
    const model = new PageModel(data);
    const map = model.get("_map");
    change(model, "measure", "dice");
    expect([model.get("error"), model.get("measure")]).toEqual(["a mask is empty", "hausdorff"]);
    expect(model.get("_map")).toBe(map);
    change(model, "measure", "area");
    expect([model.get("error"), model.get("measure")]).toEqual(["", "area"]);
  });

  it("keeps what only the screen needs, and forgets listeners that leave", () => {
    const model = new PageModel(read("plain"));
    let heard = 0;
    const listen = () => heard++;
    model.on("change:opacity", listen);
    change(model, "opacity", 0.25);
    model.off("change:opacity", listen);
    change(model, "opacity", 0.5);
    expect([model.get("opacity"), heard]).toEqual([0.5, 1]);
  });
});

// Two patches on an empty mask of 5 x 5 pixels: a square of four, and a row of three; the third cell has no mask.
const FLIPS = {
  numbers: intsMessage(0, 1, -1, 0),
  boxes: intsMessage(1, 1, 3, 3, 4, 0, 5, 3),
  flips: new DataView(Uint8Array.of(0b11110000, 0b11100000).buffer),
};

describe("masks of flipped pixels", () => {
  const plain = new Uint8Array(25);
  plain[6] = 1;
  const masks = new FlippedMasks(FLIPS, plain, 5);

  it("are those without a disc, but for the flips", () => {
    const drawn = (cell: number) => [...(masks.mask(cell) ?? [])].flatMap((one, at) => (one ? [at] : []));
    expect(drawn(0)).toEqual([7, 11, 12]);
    expect(drawn(1)).toEqual([6, 20, 21, 22]);
    expect(masks.mask(2)).toBeNull();
  });

  it("say which fraction of a region each disc flips", () => {
    const region = new Uint8Array(25);
    for (const pixel of [6, 12, 13, 22, 24]) region[pixel] = 1;
    expect([...masks.influence(region)]).toEqual([0.4, 0.2, Number.NaN, 0.4]);
  });
});

describe("the pair of pixels", () => {
  const mask = (...drawn: number[]) =>
    Uint8Array.from({ length: 20 }, (_, at) => (drawn.includes(at) ? 1 : 0));
  const size = { height: 4, width: 5 };

  it.each([
    // Masks of 4 x 5 pixels; the one of the first mask where both are as far.
    ["both are equal", [0, 7], [0, 7], [1, 1], null],
    ["one is empty", [], [3], [1, 1], null],
    [
      "in the first",
      [0, 19],
      [0],
      [1, 1],
      {
        pair: [
          [3, 4],
          [0, 0],
        ],
        from: "a",
        distance: 5,
      },
    ],
    [
      "in the second",
      [2],
      [2, 17],
      [1, 1],
      {
        pair: [
          [3, 2],
          [0, 2],
        ],
        from: "b",
        distance: 3,
      },
    ],
    [
      "first in reading order",
      [2, 10, 14],
      [12, 2],
      [1, 1],
      {
        pair: [
          [2, 0],
          [2, 2],
        ],
        from: "a",
        distance: 2,
      },
    ],
    [
      "with high pixels",
      [6, 9],
      [1, 6],
      [4, 1],
      {
        pair: [
          [0, 1],
          [1, 1],
        ],
        from: "b",
        distance: 4,
      },
    ],
  ] as const)("%s", (_, a, b, sides, expected) => {
    expect(hausdorffPair(mask(...a), mask(...b), size, sides)).toEqual(expected);
  });
});

it("images are whole PNG files", async () => {
  // Larger than one block of what is stored as it is.
  const size = { height: 160, width: 150 };
  const rgb = Uint8Array.from({ length: 3 * 160 * 150 }, (_, at) => (at * 7) % 251);
  const file = pngFile({ ...size, rgb });
  expect([...bytes(file).subarray(0, 8)]).toEqual([137, 80, 78, 71, 13, 10, 26, 10]);
  expect(await pixels(file)).toEqual([...rgb]);
});

describe("the explorer on a page", () => {
  options.requestAnimationFrame = (effect) => queueMicrotask(effect);
  beforeEach(() => {
    FakeResizeObserver.install();
    fakeAddresses();
    fakeCanvases();
  });

  function onPage(name: string) {
    const el = document.createElement("div");
    document.body.append(el);
    const python = pythonState(new PageModel(read(name)), el, [], true);
    show(<Explorer view={viewState(python)} />, el);
    return { el, python };
  }

  it("has no control without an effect, and says why settings are fixed", () => {
    const { el } = onPage("its own discs");
    expect(el.querySelector(".hdm-fixed")?.textContent).toBe(
      "Circle size4 pxOffset3 pxChannelAllThis page shows one scan: other settings need the model.",
    );
    const names = enabled(el);
    for (const gone of ["Circle size", "Offset", "Run again", "Cancel", "Red"])
      expect(names).not.toContain(gone);
    expect(el.querySelectorAll(":disabled:not(.hdm-stat)").length).toBe(0);
    expect(el.querySelector("[role=status]")?.textContent).toBe("Complete · 12 discs");
    expect(el.querySelector("[role=alert]")).toBeNull();
  });

  it("switches measure and class by its lists", async () => {
    const { el, python } = onPage("classes");
    choose(pick(el, "Measure"), "flipped");
    await rest();
    expect(el.querySelector(".hdm-scale")?.textContent).toContain("Area of the mask that flips");
    choose(pick(el, "Class"), "2");
    await rest();
    expect(python.traits.target.value).toBe(2);
    expect(unpackBits(python.traits._truth.value, 140)[139]).toBe(1);
  });

  it("says that there are no masks, and what is not stored", async () => {
    const { el, python } = onPage("no masks");
    python.set("cell", [1, 1]);
    await rest();
    expect(el.querySelector(".hdm-inspector")?.textContent).toContain("The scan keeps no masks to compare");
    expect(el.querySelector(".hdm-question")).toBeNull();
  });
});
