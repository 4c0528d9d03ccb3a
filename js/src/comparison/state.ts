// What Python sends of several models, and a view of each; a view of their difference.
import { computed, type Signal, signal } from "@preact/signals";
import type { About, Inspection, MapMessage, PythonState, Traits } from "../hdm/python_state";
import { type ShownMap, type ViewState, viewState } from "../hdm/view_state";
import { bytes } from "../shared/codec";
import { type Cell, cols, rows } from "../shared/geometry";
import type { Range } from "../shared/paint";

export interface ComparisonTraits extends Traits {
  _names: string[];
  /** Of each model; empty before its first update. */
  _maps: ((MapMessage & { prediction: DataView }) | Record<string, never>)[];
  _inspectors: (Inspection | Record<string, never>)[];
  _difference_colors: DataView;
  /** There are no models to scan with. */
  _ready_made: boolean;
}

export const OWN_NAMES = ["_names", "_maps", "_inspectors", "_difference_colors", "_ready_made"] as const;

export interface ComparisonState {
  python: PythonState<ComparisonTraits>;
  models: { name: string; view: ViewState }[];
  /** Second model less the first. */
  difference: ViewState;
  /** For what is the same for all: the controls, and the progress of all scans. */
  whole: ViewState;
  dispose(): void;
}

const NOTHING = new DataView(new ArrayBuffer(0));
/** Derived traits stand where signals of Python's stand; nothing here writes to them. */
const trait = <T>(value: () => T) => computed(value) as unknown as Signal<T>;

export function comparisonState(python: PythonState<ComparisonTraits>): ComparisonState {
  const { traits } = python;
  const cursor = signal<Cell | null>(null);
  const draft: ViewState["draft"] = signal(null);
  const of = (changes: Partial<ViewState["python"]["traits"]>): PythonState =>
    ({ ...python, traits: { ...traits, ...changes } }) as unknown as PythonState;

  const plain = traits._names.value.map((_, index) =>
    viewState(
      of({
        _map: trait(() => traits._maps.value[index] ?? {}),
        _prediction: trait(() => traits._maps.value[index]?.prediction ?? NOTHING),
        _inspector: trait(() => traits._inspectors.value[index] ?? {}),
      }),
    ),
  );
  const span = computed(() => joined(plain.map((view) => view.span.value)));
  const models = plain.map((view, index) => ({
    name: traits._names.value[index],
    view: { ...withoutTools(view), cursor, draft, span },
  }));

  const whole = viewState(
    of({ _map: trait(() => together(traits._maps.value) as MapMessage | Record<string, never>) }),
  );
  const [first, second] = plain;
  const map = computed(() => less(first, second));
  const difference: ViewState = {
    ...withoutTools(
      viewState(
        of({
          _about: trait(() => differenceAbout(traits._about.value, traits._names.value)),
          _map: signal({}),
          _prediction: signal(NOTHING),
          result_type: signal("raw" as const),
        }),
      ),
    ),
    cursor,
    draft,
    map,
    values: computed(() => map.value?.raw ?? null),
    span: computed(() => map.value && around0(map.value.raw)),
    table: computed(() => bytes(traits._difference_colors.value)),
    at([row, col]) {
      const shown = map.value;
      if (!shown || shown.stale || row >= rows(shown.grid) || col >= cols(shown.grid)) return null;
      const cell = row * cols(shown.grid) + col;
      return shown.measured[cell] ? { value: shown.raw[cell], measured: true, oneEmpty: false } : null;
    },
  };
  return {
    python,
    models,
    difference,
    whole: { ...withoutTools(whole), cursor, draft, span },
    dispose() {
      for (const view of [...plain, whole, difference]) view.dispose();
    },
  };
}

/** A click pins a disc in all maps. */
const withoutTools = (view: ViewState): ViewState => ({
  ...view,
  tools: { ...view.tools, kept: signal(false), available: signal(false), objects: signal(false) },
});

/** The range that all values lie in. */
export function joined(spans: (Range | null)[]): Range | null {
  const found = spans.filter((span) => span !== null);
  if (!found.length) return null;
  return {
    low: Math.min(...found.map(({ low }) => low)),
    high: Math.max(...found.map(({ high }) => high)),
  };
}

/** As far below 0 as above it. */
export function around0(values: Float64Array): Range {
  let farthest = 0;
  for (const value of values) if (Number.isFinite(value)) farthest = Math.max(farthest, Math.abs(value));
  return { low: -farthest, high: farthest };
}

/** The difference of two maps where both are measured; null before that. */
export function less(first: ViewState, second: ViewState): ShownMap | null {
  const [before, after] = [first.map.value, second.map.value];
  const [a, b] = [first.values.value, second.values.value];
  if (!before || !after || !a || !b || a.length !== b.length) return null;
  const measured = before.measured.map((one, cell) => one & after.measured[cell]);
  // Two masks that are empty for the same disc do not differ, although their distance may be infinite.
  const raw = a.map((value, cell) => {
    if (!measured[cell]) return Number.NaN;
    return value === b[cell] ? 0 : b[cell] - value;
  });
  return {
    ...after,
    raw,
    filled: raw,
    measured,
    estimated: null,
    oneEmpty: new Uint8Array(raw.length),
    baseline: 0,
    noise: 0,
    stale: before.stale || after.stale,
  };
}

/** The progress of all scans as that of one. */
export function together(maps: ComparisonTraits["_maps"]): Partial<MapMessage> {
  const begun = maps.filter((map): map is MapMessage & { prediction: DataView } => "total" in map);
  if (!begun.length) return {};
  const sum = (get: (map: MapMessage) => number) => begun.reduce((total, map) => total + get(map), 0);
  const [done, seconds] = [sum((map) => map.done), sum((map) => map.seconds)];
  // Scans of the same discs; those that have not begun take as long as the others.
  const total = maps.length * begun[0].total;
  return {
    done,
    total,
    seconds,
    stride: begun[begun.length - 1].stride,
    secondsLeft: done > 0 ? (seconds / done) * (total - done) : null,
    plan: begun.every((map) => map.plan === begun[0].plan) ? begun[0].plan : "",
    reading: "",
    noise: null,
  };
}

function differenceAbout(about: About, [first, second]: string[]): About {
  return {
    ...about,
    measure: "difference",
    label: `${second} less ${first}`,
    signed: true,
    fromPrediction: false,
  };
}
