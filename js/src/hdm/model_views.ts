// Views of maps of several models, and of the difference of two.
import { computed, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import { bytes } from "../shared/codec";
import { cols, rows } from "../shared/geometry";
import type { Range } from "../shared/paint";
import type { About, Inspection, MapMessage, PythonState, Traits } from "./python_state";
import { paintedOn, type ShownMap, type ViewState, viewState } from "./view_state";

export const NOTHING = new DataView(new ArrayBuffer(0));

/** Derived traits stand where signals of Python's stand; nothing here writes to them. */
export const trait = <T>(value: () => T) => computed(value) as unknown as Signal<T>;

/** What Python sends, with other values for some of it. */
export const withTraits = (
  python: PythonState,
  changes: Partial<{ [K in keyof Traits]: unknown }>,
): PythonState => ({ ...python, traits: { ...python.traits, ...changes } }) as unknown as PythonState;

export interface MapOfModel {
  map: MapMessage | Record<string, never>;
  prediction: DataView;
  inspection?: Inspection | Record<string, never>;
}

/** The map of one model: what is brushed, and what may be chance, is known of the explorer's own only. */
export const modelView = (python: PythonState, get: () => MapOfModel): ViewState =>
  viewState(
    withTraits(python, {
      _map: trait(() => get().map),
      _prediction: trait(() => get().prediction),
      _inspector: trait(() => get().inspection ?? {}),
      _influence: signal({}),
      _class_change: signal({}),
      _fill_panel: signal({}),
    }),
  );

/** What all maps share: where the pointer is, and what a slider will be. */
type Shared = Pick<ViewState, "cursor" | "draft">;

/** The second model's map less the first's. */
export function differenceView(
  python: PythonState,
  [first, second]: [ViewState, ViewState],
  names: () => [string, string],
  colors: () => DataView,
  shared: Shared,
): ViewState {
  const map = computed(() => less(first, second));
  return {
    ...withoutTools(
      viewState(
        withTraits(python, {
          _about: trait(() => differenceAbout(python.traits._about.value, names())),
          _map: signal({}),
          _prediction: signal(NOTHING),
          result_type: signal("raw" as const),
        }),
      ),
    ),
    ...shared,
    map,
    values: computed(() => map.value?.raw ?? null),
    span: computed(() => map.value && around0(map.value.raw)),
    painted: computed(() => map.value && paintedOn(python, map.value, map.value.raw, "raw")),
    table: computed(() => bytes(colors())),
    at([row, col]) {
      const shown = map.value;
      if (!shown || shown.stale || row >= rows(shown.grid) || col >= cols(shown.grid)) return null;
      const cell = row * cols(shown.grid) + col;
      return shown.measured[cell] ? { value: shown.raw[cell], measured: true, oneEmpty: false } : null;
    },
  };
}

/** One range of colors for the maps of all models. */
export const joinedSpan = (views: ViewState[]): ReadonlySignal<Range | null> =>
  computed(() => joined(views.map((view) => view.span.value)));

/** A click pins a disc in all maps. */
export const withoutTools = (view: ViewState): ViewState => ({
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

function differenceAbout(about: About, [first, second]: string[]): About {
  return {
    ...about,
    measure: "difference",
    label: `red: ${second} is larger; blue: ${first} is larger`,
    signed: true,
    fromPrediction: false,
  };
}
