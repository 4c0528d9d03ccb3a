// What only this screen needs: where the pointer is, what is derived for drawing.
import { computed, effect, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import { bytes, doubles, floats, ints, number, unpackBits } from "../shared/codec";
import { type Cell, cols, type Grid, outline, rows, type Size, sameGrid } from "../shared/geometry";
import {
  canvasSize,
  diverging,
  type Painting,
  type PaintingOrder,
  painting,
  type Range,
  type ResultType,
  range,
  relative,
} from "../shared/paint";
import { maskGrid, placed, stepOf } from "./large";
import {
  type About,
  type ClassChange,
  className,
  type FillPanel,
  type MapMessage,
  type PythonState,
  sameChannel,
} from "./python_state";
import { type StageTools, stageTools } from "./stage_tools";

const PATIENCE = 700; // ms

export interface ShownMap {
  grid: Grid;
  /** First and past-the-last pixel of every row of the disc, in pairs. */
  disc: Int32Array;
  /** Distances that the model has measured or estimated, and the baseline outside the scan's region; else NaN. */
  raw: Float64Array;
  /** What is drawn: measured distances, and estimates where a cell is not measured yet. */
  filled: Float64Array;
  measured: Uint8Array;
  /** 1 for cells that are drawn by an estimate, 2 for those whose estimate is certain; null if there are none. */
  estimated: Uint8Array | null;
  /** Others are outside the scan's region. */
  drawn: Uint8Array;
  /** Measured cells where one of truth and prediction is empty. */
  oneEmpty: Uint8Array;
  baseline: number;
  /** How far apart a random model's distances are without any disc; 0 for any other model. */
  noise: number;
  /** A map of other settings than the present ones, until theirs has something to show. */
  stale: boolean;
}

export interface Found {
  value: number;
  measured: boolean;
  /** An estimate that is certain to equal the measurement. */
  certain?: boolean;
  oneEmpty: boolean;
}

export interface ViewState {
  python: PythonState;
  tools: StageTools;
  /** The grid of the settings on screen. */
  grid: ReadonlySignal<Grid>;
  /** The map of distances, whatever is shown. */
  distances: ReadonlySignal<ShownMap | null>;
  /** What is shown: distances, or in percent what each disc changes on the brushed region. */
  map: ReadonlySignal<ShownMap | null>;
  /** How values of `distances` are told, and those of `map`. */
  asked: ReadonlySignal<About>;
  about: ReadonlySignal<About>;
  resultType: ReadonlySignal<ResultType>;
  /** What is drawn, as the result type has it, and the range of what was measured. */
  values: ReadonlySignal<Float64Array | null>;
  span: ReadonlySignal<Range | null>;
  /** What the stage shows of the values: which disc is on top, or the means of discs. */
  painted: ReadonlySignal<Painting | null>;
  table: ReadonlySignal<Uint8Array>;
  /** Measured cells that cannot be told from chance, and the change up to which that is so; null where nobody asked. */
  chance: ReadonlySignal<{ cells: Uint8Array; floor: number } | null>;
  truth: ReadonlySignal<{ mask: Uint8Array; path: string }>;
  prediction: ReadonlySignal<{ mask: Uint8Array; path: string }>;
  /** What a cell's mask is compared with pixel by pixel. */
  compared: ReadonlySignal<Uint8Array>;
  /** Pixels that do not count, one byte per pixel; null if all do. With one object, others are nearer to some. */
  ignored: ReadonlySignal<Uint8Array | null>;
  /** The cell under the pointer or the keyboard's cursor. */
  cursor: Signal<Cell | null>;
  /** A slider's value while it is dragged, before Python has it. */
  draft: Signal<{ circleSize?: number; offset?: number } | null>;
  /** Python has not started the scan of these settings for a while. */
  unanswered: ReadonlySignal<boolean>;
  /** Pin a cell, or none; nothing happens without a kernel, which alone can look into a cell. */
  pin(cell: Cell | null): void;
  /** What the map has for a cell; null where it has nothing. */
  at(cell: Cell): Found | null;
  /** Whether a cell is outside the region that is scanned. */
  outside(cell: Cell): boolean;
  dispose(): void;
}

export function viewState(python: PythonState): ViewState {
  const { traits } = python;
  const draft: ViewState["draft"] = signal(null);
  const cursor = signal<Cell | null>(null);
  const last = signal<MapMessage | null>(null);

  const message = computed(() => ("values" in traits._map.value ? (traits._map.value as MapMessage) : null));
  const stop = effect(() => {
    if (message.value && message.value.done > 0) last.value = message.value;
  });

  const unanswered = signal(false);
  const stopWaiting = effect(() => {
    const scanned = traits._scanned.value;
    const same =
      scanned.circleSize === traits.circle_size.value &&
      scanned.offset === traits.offset.value &&
      sameChannel(scanned.channel, traits.channel.value) &&
      scanned.fill === traits.fill.value &&
      scanned.shape === traits.shape.value;
    unanswered.value = false;
    const timer =
      same || python.gone.value ? undefined : setTimeout(() => (unanswered.value = true), PATIENCE);
    return () => clearTimeout(timer);
  });

  const grid = computed<Grid>(() => ({
    height: traits._about.value.height,
    width: traits._about.value.width,
    circleSize: traits.circle_size.value,
    offset: traits.offset.value,
  }));
  const distances = computed<ShownMap | null>(() => {
    const fresh = message.value && message.value.done > 0;
    const shown = fresh ? message.value : last.value;
    if (!shown) return null;
    const made = shownMap(shown, traits._about.value);
    const stale =
      !fresh ||
      !sameChannel(shown.channel, traits.channel.value) ||
      shown.fill !== traits.fill.value ||
      shown.shape !== traits.shape.value ||
      !sameGrid(made.grid, grid.value);
    return { ...made, stale };
  });
  const significant = signal<FillPanel | null>(null);
  const stopFills = effect(() => {
    // A panel that is closed, or compares again, leaves the last comparison on the map.
    if (traits._fill_panel.value.significant) significant.value = traits._fill_panel.value as FillPanel;
  });
  const masked = (name: "_truth" | "_prediction") =>
    computed(() => {
      const { height, width } = maskGrid(traits._about.value);
      const mask = unpackBits(traits[name].value, height * width);
      const path = outline(mask, height, width);
      return { mask, path: LARGE ? placed(path, stepOf(traits._about.value)) : path };
    });
  const pixels = (name: "_ignored" | "_nearer_to_others") =>
    computed(() => {
      const { height, width } = maskGrid(traits._about.value);
      return traits[name].value?.byteLength ? unpackBits(traits[name].value, height * width) : null;
    });
  const [ignoredOfAll, nearerToOthers] = [pixels("_ignored"), pixels("_nearer_to_others")];
  const ignored = computed(() => {
    const [of, nearer] = [ignoredOfAll.value, nearerToOthers.value];
    return of && nearer ? of.map((one, pixel) => one | nearer[pixel]) : (of ?? nearer);
  });
  const truth = masked("_truth");
  const prediction = masked("_prediction");
  const tools = stageTools(python, { grid, truth, prediction, ignored: ignoredOfAll });

  const turned = computed(() => {
    const message = traits._class_change.value;
    if (!("values" in message)) return null;
    const { values, classes } = message as ClassChange;
    const [from, to] = classes.map((number) => className(traits._classes.value, number));
    return { values: floats(values), label: `${from} becomes ${to}` };
  });
  // What is shown in place of distances: what discs change on the brushed region, or turn into another class.
  const influence = computed(() => {
    const shown = distances.value;
    const values = tools.influence.value ?? turned.value?.values;
    return shown && !shown.stale && values?.length === shown.raw.length ? values : null;
  });
  const map = computed<ShownMap | null>(() => {
    const shown = distances.value;
    if (!shown || !influence.value) return shown;
    const values = Float64Array.from(influence.value, (value) => 100 * value);
    const oneEmpty = new Uint8Array(values.length);
    return { ...shown, raw: values, filled: values, estimated: null, oneEmpty, baseline: 0, noise: 0 };
  });
  const asked = computed<About>(() => ({
    ...traits._about.value,
    // Of a page that is of one object, the trait is null.
    ofObject: traits._about.value.ofObject || traits.object.value !== null,
  }));
  const about = computed<About>(() => {
    if (!influence.value) return asked.value;
    const label = tools.influence.value ? "the brushed area" : (turned.value?.label ?? "");
    const measure = tools.influence.value ? "influence" : "class_change";
    return { ...asked.value, measure, label, unit: "%", decimals: 0, signed: false, fromPrediction: true };
  });
  const resultType = computed<ResultType>(() => {
    const chosen = traits.result_type.value;
    return influence.value || chosen === "significant" ? "raw" : chosen;
  });
  const chance = computed(() => {
    const [shown, found] = [distances.value, significant.value];
    if (traits.result_type.value !== "significant" || !shown || !found || shown.stale || influence.value)
      return null;
    const matters = unpackBits(found.significant, shown.measured.length);
    return { cells: shown.measured.map((one, cell) => one & ~matters[cell] & 1), floor: found.noiseFloor };
  });
  const typed = (kind: "raw" | "filled") =>
    map.value && relative(map.value[kind], map.value.baseline, resultType.value, about.value.signed);
  const values = computed(() => typed("filled"));
  // Less area and more are told apart by their colors.
  const signed = computed(() => about.value.signed && resultType.value === "raw");
  const span = computed(() => {
    const measured = typed("raw");
    const found = measured && range(measured);
    if (!found) return found;
    if (influence.value) return { low: 0, high: found.high };
    if (!signed.value) return found;
    const farthest = Math.max(-found.low, found.high);
    return { low: -farthest, high: farthest };
  });
  const table = computed(() => {
    const colors = traits._color_tables.value[traits.color_map.value];
    const table = colors ? bytes(colors) : new Uint8Array(768);
    return signed.value ? diverging(table) : table;
  });
  const painted = computed(() => {
    const [shown, drawn] = [map.value, values.value];
    return shown && drawn && paintedOn(python, shown, drawn, resultType.value);
  });
  const compared = computed(() => {
    if (!SMALL) return new Uint8Array(0);
    const { comparedWith, measure } = traits._about.value;
    if (tools.object.value && measure !== "flipped") return tools.object.value.mask;
    if (comparedWith !== "prediction" && measure !== "flipped") return truth.value.mask;
    const { mask } = prediction.value;
    return ignored.value ? mask.map((one, pixel) => (ignored.value?.[pixel] ? 0 : one)) : mask;
  });

  return {
    python,
    tools,
    grid,
    distances,
    map,
    asked,
    about,
    resultType,
    values,
    span,
    painted,
    table,
    chance,
    truth,
    prediction,
    compared,
    ignored,
    cursor,
    draft,
    unanswered,
    pin(cell) {
      if (!python.gone.value) python.set("cell", cell && [cell[0], cell[1]]);
    },
    at([row, col]) {
      const shown = map.value;
      if (!shown || shown.stale || row >= rows(shown.grid) || col >= cols(shown.grid)) return null;
      const cell = row * cols(shown.grid) + col;
      const measured = shown.measured[cell] === 1;
      const estimated = shown.estimated?.[cell];
      if (!measured && !estimated) return null;
      return {
        value: shown.filled[cell],
        measured,
        certain: estimated === 2,
        oneEmpty: shown.oneEmpty[cell] === 1,
      };
    },
    outside([row, col]) {
      const shown = map.value;
      return !!shown && !shown.stale && !shown.drawn[row * cols(shown.grid) + col];
    },
    dispose() {
      stop();
      stopWaiting();
      stopFills();
      tools.dispose();
    },
  };
}

/** What the stage shows of the values of a map. */
export function paintedOn(
  { traits }: PythonState,
  map: ShownMap,
  values: Float64Array,
  type: ResultType,
): Painting {
  // While a scan runs it is painted often, and the browser and the model share the machine.
  const size = canvasSize(map.grid, traits.status.value === "running" ? 512 : 1024);
  return painting(shownOrder(traits.order.value, map.grid), values, map, type, size);
}

/** Where discs do not overlap, their means are their values, and the cells themselves are painted. */
export const shownOrder = (order: PaintingOrder, grid: Grid): PaintingOrder =>
  discsOverlap(grid) ? order : "change";

export const discsOverlap = ({ circleSize, offset }: Grid): boolean => offset <= circleSize;

/** A message as what is drawn of it. */
export function shownMap(shown: MapMessage, { height, width }: Size): ShownMap {
  const values = doubles(shown.values);
  const bits = (view: DataView) => unpackBits(view, values.length);
  const measured = bits(shown.measured);
  const drawn = bits(shown.drawn);
  const valued = bits(shown.valued);
  const certain = bits(shown.certain);
  const estimated = drawn.map((is, cell) =>
    is && !measured[cell] && !Number.isNaN(values[cell]) ? 1 + certain[cell] : 0,
  );
  return {
    grid: { height, width, circleSize: shown.circleSize, offset: shown.offset },
    disc: ints(shown.disc),
    raw: values.map((value, cell) => (drawn[cell] && !valued[cell] ? Number.NaN : value)),
    filled: values.map((value, cell) => (drawn[cell] ? value : Number.NaN)),
    measured,
    drawn,
    estimated: estimated.some(Boolean) ? estimated : null,
    oneEmpty: bits(shown.oneEmpty),
    baseline: number(shown.baseline),
    noise: shown.noise ? number(shown.noise.distance) : 0,
    stale: false,
  };
}
