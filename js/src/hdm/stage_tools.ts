// What the pointer and the keys do on the stage: pin a disc, brush a region, choose an object.
import { computed, effect, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import { floats, number } from "../shared/codec";
import { type Cell, center, type Grid, outline, radius } from "../shared/geometry";
import { coarseRuns, enlargedShape, fineRuns, isLarge, maskGrid, scaledPoint, stepOf } from "./large";
import { largeObjects } from "./large_objects";
import type { Influence, PythonState } from "./python_state";
import {
  brushed,
  countPixels,
  type FoundObject,
  fromRuns,
  middle,
  nearestPixel,
  objectAt,
  type Point,
  type Shape,
  toRuns,
} from "./region";
import { explainedText } from "./texts";

export type Tool = "pin" | "brush" | "object";

const PAUSE = 80; // ms between two regions that are sent

/** An object that something else on the screen points at, by one of its pixels. */
export interface Highlighted {
  of: string;
  pixel: [row: number, col: number];
  kind: "covered" | "changed";
}

export interface StageTools {
  tool: Signal<Tool>;
  /** Whether the scan keeps masks, of which regions and objects are asked. */
  kept: ReadonlySignal<boolean>;
  /** Whether Python can be asked. */
  available: ReadonlySignal<boolean>;
  /** Some measures are of the whole truth only. */
  objects: ReadonlySignal<boolean>;
  /** Diameter in pixels of the image. */
  brushSize: Signal<number>;
  /** Where the pointer is on the image. */
  pointer: Signal<Point | null>;
  region: ReadonlySignal<Shape | null>;
  /** Fraction of the region that flips, of every cell; null while it is not known. */
  influence: ReadonlySignal<Float32Array | null>;
  /** Fraction of the map's change that lies on the region; NaN where it is not known. */
  change: ReadonlySignal<number>;
  brush(from: Point, to: Point): void;
  /** Add a cell's disc to the region. */
  brushCell(cell: Cell): void;
  clear(): void;
  /** The one object that is explained. */
  object: ReadonlySignal<FoundObject | null>;
  /** The object under the pointer, of what is explained rather than of the other mask. */
  objectUnder(point: Point): FoundObject | null;
  /** The object that a cell's disc touches, nearest to its center. */
  objectIn(cell: Cell): FoundObject | null;
  /** Outline and middle of the objects that have these pixels. */
  objectsAt(of: string, pixels: [row: number, col: number][]): (Point & { path: string })[];
  highlighted: Signal<Highlighted[]>;
  /** Their outlines. */
  outlines: ReadonlySignal<{ path: string; kind: Highlighted["kind"] }[]>;
  /** Explain the object at a point. */
  choose(point: Point): void;
  /** Explain the object that a cell's disc touches. */
  chooseIn(cell: Cell): void;
  /** Explain all again, and what was explained before an object of another mask was chosen. */
  chooseAll(): void;
  /** What the last choice did besides, or why it did nothing; empty where there is nothing to say. */
  notice: Signal<string>;
  dispose(): void;
}

interface Masks {
  grid: ReadonlySignal<Grid>;
  truth: ReadonlySignal<{ mask: Uint8Array }>;
  prediction: ReadonlySignal<{ mask: Uint8Array }>;
  ignored: ReadonlySignal<Uint8Array | null>;
}

export function stageTools(python: PythonState, { grid, truth, prediction, ignored }: Masks): StageTools {
  const { traits, gone } = python;
  const shape = (mask: Uint8Array): Shape => {
    const { height, width } = maskGrid(traits._about.value);
    const found = { mask, path: outline(mask, height, width), pixels: countPixels(mask) };
    return LARGE ? enlargedShape(found, traits._about.value) : found;
  };
  const kept = computed(() => traits._measures.value.filter(([, , only]) => !only).length > 1);
  const available = computed(() => kept.value && !gone.value);
  const tool = signal<Tool>("pin");
  const stop = effect(() => {
    if (!available.value) tool.value = "pin";
  });
  const notice = signal("");
  const stopNotice = effect(() => {
    // It is about the choice with the tool that there is.
    if (tool.value) notice.value = "";
  });

  // What is brushed is seen at once, and sent now and then.
  const draft = signal<Uint8Array | null>(null);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const send = () => {
    timer = undefined;
    if (!draft.value) return;
    const runs = toRuns(draft.value, maskGrid(traits._about.value));
    python.set("brush", LARGE ? fineRuns(runs, traits._about.value) : runs);
    draft.value = null;
  };
  const mask = computed(
    () =>
      draft.value ??
      (traits.brush.value.length
        ? fromRuns(
            LARGE ? coarseRuns(traits.brush.value, traits._about.value) : traits.brush.value,
            maskGrid(traits._about.value),
          )
        : null),
  );
  const region = computed(() => mask.value && shape(mask.value));
  const add = (from: Point, to: Point, size: number) => {
    const { height, width } = maskGrid(traits._about.value);
    draft.value = brushed(mask.peek() ?? new Uint8Array(height * width), { height, width }, from, to, size);
    timer ??= setTimeout(send, PAUSE);
  };
  const coarse = (point: Point) => scaledPoint(point, 1 / stepOf(traits._about.value));
  const answer = computed(() =>
    region.value && "values" in traits._influence.value ? (traits._influence.value as Influence) : null,
  );

  const counted = (mask: Uint8Array) =>
    ignored.value ? mask.map((one, pixel) => (ignored.value?.[pixel] ? 0 : one)) : mask;
  const sent = (of: string) => (of === "prediction" ? prediction : truth).value.mask;
  const large = LARGE && isLarge(traits._about.value) ? largeObjects(python, grid, sent) : null;
  const find = (of: string, row: number, col: number, passing = false): FoundObject | null => {
    if (LARGE && large) return large.find(of, [row, col, 1], passing);
    if (!SMALL) return null;
    const all = of === "prediction" ? counted(sent(of)) : sent(of);
    const one = objectAt(all, traits._about.value, row, col);
    return one && { ...shape(one), of, pixel: [row, col] };
  };
  const near = (of: string, cell: Cell): FoundObject | null => {
    if (LARGE && large) return large.near(of, cell);
    if (!SMALL) return null;
    const { x, y } = center(grid.value, cell);
    const all = of === "prediction" ? counted(sent(of)) : sent(of);
    const pixel = nearestPixel(
      all,
      grid.value,
      { x, y },
      radius(grid.value),
      traits.shape.value === "square",
    );
    return find(of, Math.floor(y), Math.floor(x)) ?? (pixel && find(of, ...pixel));
  };
  /** What is found of what is explained, else of the other mask that the stage shows. */
  const first = (found: (of: string) => FoundObject | null): FoundObject | null => {
    const explained = traits.explain_by.value;
    const others = traits._explained_by.value;
    // The stage shows one truth: that which is explained, or the scan's.
    const other = explained === "prediction" ? others.find((one) => one !== explained) : "prediction";
    return found(explained) ?? (other && others.includes(other) ? found(other) : null);
  };
  /** From and to which mask a choice has switched; what is explained may have been changed since. */
  let switched: { from: string; to: string } | null = null;
  const lasting = () =>
    traits.object.value && switched?.to === traits.explain_by.value ? switched.from : null;
  const explain = (found: FoundObject | null, none: string) => {
    notice.value = found ? "" : none;
    if (!found) return;
    const explained = traits.explain_by.value;
    const from = lasting() ?? explained;
    switched = from === found.of ? null : { from, to: found.of };
    if (explained !== found.of)
      notice.value = `Only ${explainedText(found.of)} has an object here: it is explained now`;
    python.change({ explain_by: found.of, object: found.pixel });
  };
  const choose = (find: () => FoundObject | null, none: string) => {
    // Python may have to be asked.
    if (LARGE && large) large.settled(find).then((found) => explain(found, none));
    else explain(find(), none);
  };
  const objects = computed(() => {
    const named = traits._measures.value.find(([name]) => name === traits.measure.value);
    // Of one object, a page without Python has no values.
    return kept.value && !python.oneScan && !named?.[2];
  });
  const highlighted = signal<Highlighted[]>([]);
  const outlines = computed(() =>
    highlighted.value.map(({ of, pixel, kind }) => ({
      path: find(of, pixel[0], pixel[1])?.path ?? "",
      kind,
    })),
  );
  const tools: StageTools = {
    objectsAt: (of, pixels) =>
      pixels.flatMap(([row, col]) => {
        const found = find(of, row, col);
        return found
          ? [
              {
                path: found.path,
                ...(LARGE && found.middle
                  ? found.middle
                  : SMALL
                    ? middle(found.mask, traits._about.value)
                    : { x: 0, y: 0 }),
              },
            ]
          : [];
      }),
    highlighted,
    outlines,
    tool,
    kept,
    available,
    objects,
    brushSize: signal(Math.max(3, Math.round(Math.min(grid.value.height, grid.value.width) / 16))),
    pointer: signal(null),
    region,
    influence: computed(() => answer.value && floats(answer.value.values)),
    change: computed(() => (answer.value ? number(answer.value.change) : Number.NaN)),
    brush(from, to) {
      const size = tools.brushSize.value / 2;
      if (LARGE) add(coarse(from), coarse(to), size / stepOf(traits._about.value));
      else add(from, to, size);
    },
    brushCell(cell) {
      const middle = center(grid.value, cell);
      if (LARGE) add(coarse(middle), coarse(middle), radius(grid.value) / stepOf(traits._about.value));
      else add(middle, middle, radius(grid.value));
    },
    clear() {
      clearTimeout(timer);
      timer = undefined;
      draft.value = null;
      python.set("brush", []);
    },
    object: computed(() => {
      const pixel = traits.object.value;
      return pixel && find(traits.explain_by.value, pixel[0], pixel[1]);
    }),
    objectUnder: ({ x, y }) => first((of) => find(of, Math.floor(y), Math.floor(x), true)),
    objectIn: (cell) => first((of) => near(of, cell)),
    choose: (point) => choose(() => tools.objectUnder(point), "No object here"),
    chooseIn: (cell) => choose(() => tools.objectIn(cell), "This disc touches no object"),
    chooseAll() {
      const before = lasting();
      switched = null;
      notice.value = "";
      if (before) python.change({ explain_by: before, object: null });
      else python.set("object", null);
    },
    notice,
    dispose() {
      stop();
      stopNotice();
      if (LARGE) large?.dispose();
      clearTimeout(timer);
    },
  };
  return tools;
}
