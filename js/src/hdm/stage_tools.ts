// What the pointer and the keys do on the stage: pin a disc, brush a region, choose an object.
import { computed, effect, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import { floats, number } from "../shared/codec";
import { type Cell, center, type Grid, outline, radius } from "../shared/geometry";
import type { Influence, PythonState } from "./python_state";
import { brushed, countPixels, fromRuns, middle, objectAt, type Point, toRuns } from "./region";

export type Tool = "pin" | "brush" | "object";

const PAUSE = 80; // ms between two regions that are sent

export interface Shape {
  mask: Uint8Array;
  path: string;
  pixels: number;
}

export interface FoundObject extends Shape {
  /** What it is an object of, as the trait `explain_by` has it. */
  of: string;
}

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
  /** Outline and middle of the objects that have these pixels. */
  objectsAt(of: string, pixels: [row: number, col: number][]): (Point & { path: string })[];
  highlighted: Signal<Highlighted[]>;
  /** Their outlines. */
  outlines: ReadonlySignal<{ path: string; kind: Highlighted["kind"] }[]>;
  /** Explain the object at a point, or all again; false if there is none. */
  choose(point: Point | null): boolean;
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
    const { height, width } = traits._about.value;
    return { mask, path: outline(mask, height, width), pixels: countPixels(mask) };
  };
  const kept = computed(() => traits._measures.value.filter(([, , only]) => !only).length > 1);
  const available = computed(() => kept.value && !gone.value);
  const tool = signal<Tool>("pin");
  const stop = effect(() => {
    if (!available.value) tool.value = "pin";
  });

  // What is brushed is seen at once, and sent now and then.
  const draft = signal<Uint8Array | null>(null);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const send = () => {
    timer = undefined;
    if (!draft.value) return;
    python.set("brush", toRuns(draft.value, traits._about.value));
    draft.value = null;
  };
  const mask = computed(
    () =>
      draft.value ?? (traits.brush.value.length ? fromRuns(traits.brush.value, traits._about.value) : null),
  );
  const region = computed(() => mask.value && shape(mask.value));
  const add = (from: Point, to: Point, size: number) => {
    const { height, width } = traits._about.value;
    draft.value = brushed(mask.peek() ?? new Uint8Array(height * width), { height, width }, from, to, size);
    timer ??= setTimeout(send, PAUSE);
  };
  const answer = computed(() =>
    region.value && "values" in traits._influence.value ? (traits._influence.value as Influence) : null,
  );

  const counted = (mask: Uint8Array) =>
    ignored.value ? mask.map((one, pixel) => (ignored.value?.[pixel] ? 0 : one)) : mask;
  const find = (of: string, row: number, col: number): FoundObject | null => {
    const all = of === "prediction" ? counted(prediction.value.mask) : truth.value.mask;
    const one = objectAt(all, traits._about.value, row, col);
    return one && { ...shape(one), of };
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
        return found ? [{ path: found.path, ...middle(found.mask, traits._about.value) }] : [];
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
    brush: (from, to) => add(from, to, tools.brushSize.value / 2),
    brushCell(cell) {
      const middle = center(grid.value, cell);
      add(middle, middle, radius(grid.value));
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
    objectUnder({ x, y }) {
      const explained = traits.explain_by.value;
      const others = traits._explained_by.value;
      // The stage shows one truth: that which is explained, or the scan's.
      const other = explained === "prediction" ? others.find((one) => one !== explained) : "prediction";
      const found = find(explained, Math.floor(y), Math.floor(x));
      return found ?? (other && others.includes(other) ? find(other, Math.floor(y), Math.floor(x)) : null);
    },
    choose(point) {
      if (!point) {
        python.set("object", null);
        return true;
      }
      const found = tools.objectUnder(point);
      if (!found) return false;
      python.change({ explain_by: found.of, object: [Math.floor(point.y), Math.floor(point.x)] });
      return true;
    },
    dispose() {
      stop();
      clearTimeout(timer);
    },
  };
  return tools;
}
