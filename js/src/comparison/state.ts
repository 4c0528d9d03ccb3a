// What Python sends of several models, and a view of each; a view of their difference.
import { signal } from "@preact/signals";
import {
  differenceView,
  joinedSpan,
  modelView,
  NOTHING,
  trait,
  withoutTools,
  withTraits,
} from "../hdm/model_views";
import type { Inspection, MapMessage, PythonState, Traits } from "../hdm/python_state";
import { type ViewState, viewState } from "../hdm/view_state";
import type { Cell } from "../shared/geometry";

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

export function comparisonState(python: PythonState<ComparisonTraits>): ComparisonState {
  const { traits } = python;
  const cursor = signal<Cell | null>(null);
  const draft: ViewState["draft"] = signal(null);
  const shared = { cursor, draft };
  const own = python as unknown as PythonState;

  const plain = traits._names.value.map((_, index) =>
    modelView(own, () => ({
      map: traits._maps.value[index] ?? {},
      prediction: traits._maps.value[index]?.prediction ?? NOTHING,
      inspection: traits._inspectors.value[index],
    })),
  );
  const span = joinedSpan(plain);
  const models = plain.map((view, index) => ({
    name: traits._names.value[index],
    view: { ...withoutTools(view), ...shared, span },
  }));
  const whole = viewState(
    withTraits(own, {
      _map: trait(() => together(traits._maps.value) as MapMessage | Record<string, never>),
    }),
  );
  const difference = differenceView(
    own,
    [plain[0], plain[1]],
    () => traits._names.value as [string, string],
    () => traits._difference_colors.value,
    shared,
  );
  return {
    python,
    models,
    difference,
    whole: { ...withoutTools(whole), ...shared, span },
    dispose() {
      for (const view of [...plain, whole, difference]) view.dispose();
    },
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
