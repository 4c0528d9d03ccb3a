// What Python sees too: the widget's traits, one signal each.
import { type Signal, signal } from "@preact/signals";
import type { ArrayMessage, WireNumber } from "../shared/codec";
import type { Size } from "../shared/geometry";
import type { PaintingOrder, ResultType } from "../shared/paint";
import { connect, type Model, type Python } from "../shared/traits";
import type { Shown } from "./large";

/** -1: all channels; several as a list. */
export type Channel = number | number[];

/** What a class is called. */
export const className = (classes: [number, string][], number: number): string =>
  classes.find(([one]) => one === number)?.[1] ?? String(number);

export const sameChannel = (a: Channel | undefined, b: Channel): boolean => String(a) === String(b);

/** What covers the image. */
export type Shape = "disc" | "square";

export type Layer = "picture" | "edges" | "map" | "truth" | "prediction";

export interface About extends Shown {
  channels: number;
  /** (row0, col0, row1, col1), half open: discs that touch it are scanned; missing where all are. */
  region?: [number, number, number, number];
  /** Whether there is a ground truth. */
  hasTruth: boolean;
  /** As the trait, once the map has it. */
  measure: string;
  /** What masks are compared with: "truth", "prediction", the mask without a disc, or an annotator's name. */
  comparedWith: string;
  /** One object of it alone. */
  ofObject?: boolean;
  /** Values below 0 are as far from the truth as those above. */
  signed: boolean;
  /** Values are changes of the mask without a disc, which itself has 0. */
  fromPrediction: boolean;
  label: string;
  /** Of distances; empty where they have none. */
  unit: string;
  /** Of lengths in the image. */
  lengthUnit: string;
  /** Digits after the point that show a distance. */
  decimals: number;
  /** Of what masks are compared with. */
  truthEmpty: boolean;
  /** The distance where one of the two masks is empty. */
  empty: "diagonal" | "inf" | "nan" | "raise";
}

export interface MapMessage {
  /** Distance of every cell; where a cell is not measured yet, an estimate, or that of the nearest cell with either. */
  values: ArrayMessage;
  /** One bit per cell, as in what follows. */
  measured: DataView;
  /** Estimates that are certain: these are not hatched. */
  certain: DataView;
  /** What is measured or estimated by the model: what the colors range over. */
  valued: DataView;
  /** Others are outside the scan's region and have the baseline's distance. */
  drawn: DataView;
  /** Exactly one of truth and prediction is empty. */
  oneEmpty: DataView;
  /** First and past-the-last pixel of every row of the disc, (rows, 2). */
  disc: ArrayMessage;
  /** How the scan is computed, in words; may be empty. */
  plan: string;
  /** What was understood of the model's output, in words; may be empty. */
  reading: string;
  /** How far apart a random model's masks are without any disc; null for any other model. */
  noise: { distance: WireNumber; pixels: number } | null;
  baseline: WireNumber;
  circleSize: number;
  offset: number;
  channel: Channel;
  /** As the traits. */
  fill: string;
  shape: Shape;
  done: number;
  total: number;
  stride: number;
  seconds: number;
  secondsLeft: number | null;
}

/** What is compared in a panel that is open. */
export interface PanelMessage {
  status: "running" | "done" | "cancelled" | "error";
  error: string;
  done: number;
  total: number;
  secondsLeft: number | null;
}

/** The map of one fill; a note says in how many cells it is left out, empty for none. */
export interface FillMap {
  fill: string;
  map: MapMessage;
  note: string;
}

/** The comparison of fills. */
export interface FillPanel extends PanelMessage {
  fills: FillMap[];
  /** Two fills, their rank correlation, and its interval. */
  agreement: [string, string, WireNumber, WireNumber, WireNumber][];
  text: string;
  noiseFloor: number;
  /** One bit per cell. */
  significant: DataView;
  count: number;
  of: number;
}

/** The comparison of models. */
export interface ModelPanel extends PanelMessage {
  /** The explorer's own first. */
  models: { name: string; map: MapMessage; prediction: DataView }[];
  /** Of differences. */
  colors: DataView;
  text: string;
}

/** How much covering one object changes the mask on another. */
export interface ObjectPanel extends PanelMessage {
  /** What the objects are of, as the trait `explain_by` has it: those that are covered, and those that change. */
  by: string;
  on: string;
  /** Fraction of a changed object that flips, at most: (covered, changed). NaN where no disc covers the object. */
  values: ArrayMessage;
  /** The disc that does it: (covered, changed, 2); -1 where there is none. */
  cells: ArrayMessage;
  /** A pixel (row, col) of each object. */
  covered: [number, number][];
  changed: [number, number][];
  text: string;
}

export interface Inspection {
  cell: [number, number];
  pending: boolean;
  distance: WireNumber;
  baseline: WireNumber;
  /** Null where the distance is not defined. */
  rank: number | null;
  of: number;
  image: DataView;
  /** Null if the scan keeps no masks. */
  prediction: Prediction | null;
  /** Of a large image: what `image` and masks are of, at a halved size. */
  part?: Size & { top: number; left: number; step: number };
}

export interface Prediction {
  mask: DataView;
  /** With a part: what the mask is compared with, and what does not count, there. */
  compared?: DataView;
  ignored?: DataView;
  empty: boolean;
  iou: number;
  /** The two pixels that make the Hausdorff distance; null where the masks are equal or one is empty. */
  pair: [[number, number], [number, number]] | null;
  from: "a" | "b" | null;
  /** Of the pair. */
  distance: WireNumber;
}

/** What the discs change on the brushed region. */
export interface Influence {
  /** Fraction of the region's pixels that flip, of every cell; NaN where it is not measured. */
  values: ArrayMessage;
  /** Fraction of the map's change that lies on the region; null while the scan runs, or where nothing changes. */
  change: WireNumber;
}

/** What the discs turn of one class into another. */
export interface ClassChange {
  /** Fraction of its pixels, of every cell; NaN where it is not measured. */
  values: ArrayMessage;
  classes: [from: number, to: number];
}

/** A measure that would show more than the present one. */
export interface Proposal {
  measure: string;
  /** In words. */
  reason: string;
  /** The mask that has the object that is the reason, and a pixel of it; null where the whole map is. */
  of: string;
  pixel: [row: number, col: number] | null;
}

/** What a scan is made with, as Python names it when it starts one. */
export interface Settings {
  circleSize: number;
  offset: number;
  channel: Channel;
  fill: string;
  shape: Shape;
}

export interface Traits {
  circle_size: number;
  offset: number;
  channel: Channel;
  /** What the discs show: a name, a number, or several numbers with commas between them. */
  fill: string;
  shape: Shape;
  /** "significant": raw values, hatched where they may be chance. */
  result_type: ResultType | "significant";
  /** What a pixel of the map shows of the discs over it. */
  order: PaintingOrder;
  color_map: string;
  opacity: number;
  cell: [number, number] | null;
  layers: Layer[];
  /** The class that is shown; null where there is no choice and none was named. */
  target: number | null;
  /** Number and name of each class on offer; empty if there is one. */
  _classes: [number, string][];
  measure: string;
  /** "truth", "prediction", or the name of one of several ground truths. */
  explain_by: string;
  /** A pixel (row, col) of the one object that is explained; null for all. */
  object: [number, number] | null;
  /** The brushed region as its runs: row, first and past-the-last pixel of each; empty for none. */
  brush: number[];
  /** Name and label of each measure on offer, and whether it is for the scan's own truth only. */
  _measures: [string, string, boolean][];
  /** Value and label of each fill on offer; empty where there is no choice. */
  _fills: [string, string][];
  /** What masks may be compared with. */
  _explained_by: string[];
  status: "idle" | "running" | "done" | "cancelled" | "error";
  progress: number;
  error: string;
  _about: About;
  _image: DataView;
  _edges: DataView;
  /** Gray level of the image's ground, 0 to 255. */
  _ground: number;
  _truth: DataView;
  /** Pixels that do not count; no byte if all do. */
  _ignored: DataView;
  /** Where one object is explained, pixels nearer to others, which do not count either; no byte if there are none. */
  _nearer_to_others: DataView;
  _prediction: DataView;
  _color_tables: Record<string, DataView>;
  _map: MapMessage | Record<string, never>;
  _inspector: Inspection | Record<string, never>;
  /** Empty where nothing is brushed, or no pixel of what is brushed counts. */
  _influence: Influence | Record<string, never>;
  /** The class that the shown one turns into; null where that is not asked. */
  against: number | null;
  /** Empty where it is not asked. */
  _class_change: ClassChange | Record<string, never>;
  /** Empty where there is none. */
  _proposal: Proposal | Record<string, never>;
  _scanned: Settings | Record<string, never>;
  /** Of the panels below the map; empty while one is closed. */
  _fill_panel: Partial<FillPanel>;
  /** Of fills that are scanned already, while the others are. */
  _fill_maps: { fills?: FillMap[] };
  _model_panel: Partial<ModelPanel>;
  _object_panel: Partial<ObjectPanel>;
  /** Names of the models that the explorer's may be compared with. */
  _other_models: string[];
  /** Whether there are two objects or more. */
  _several_objects: boolean;
  /** That the model draws the disc itself, and the fill to try; empty where it does not. */
  _disc_drawn: { finding?: string; fill?: string | null };
  /** Whether the comparison of fills is of what the map shows. */
  _has_significance: boolean;
}

type Compared = "fills" | "models" | "objects";
type Request = "run" | "cancel" | `${"compare" | "cancel" | "hide"}_${Compared}`;

const NAMES = [
  "circle_size",
  "offset",
  "channel",
  "fill",
  "shape",
  "result_type",
  "order",
  "color_map",
  "opacity",
  "cell",
  "layers",
  "target",
  "_classes",
  "measure",
  "explain_by",
  "object",
  "brush",
  "_measures",
  "_fills",
  "_explained_by",
  "status",
  "progress",
  "error",
  "_about",
  "_image",
  "_edges",
  "_ground",
  "_truth",
  "_ignored",
  "_nearer_to_others",
  "_prediction",
  "_color_tables",
  "_map",
  "_inspector",
  "_influence",
  "against",
  "_class_change",
  "_proposal",
  "_scanned",
  "_fill_panel",
  "_fill_maps",
  "_model_panel",
  "_object_panel",
  "_other_models",
  "_several_objects",
  "_disc_drawn",
  "_has_significance",
] as const;

export interface PythonState<T extends Traits = Traits> extends Python<T> {
  /** Ask Python to start or stop the scan, or a comparison. */
  request(request: Request): void;
  /** Why the last request failed, empty otherwise. */
  failure: Signal<string>;
  /** A page without Python shows one scan: what needs the model is fixed there. */
  oneScan: boolean;
}

/** The traits of a widget that scans, with those that it has besides. */
export function pythonState<T extends Traits = Traits>(
  model: Model<T>,
  el: Element,
  more: readonly (keyof T & string)[] = [],
  oneScan = false,
): PythonState<T> {
  const python = connect<T>(model, [...NAMES, ...more], el);
  const { circle_size, offset, channel, fill, shape } = python.traits;
  const failure = signal("");
  return {
    ...python,
    failure,
    oneScan,
    async request(request) {
      // A change of settings may still be on its way when the request arrives: say which scan is meant.
      const settings: Settings = {
        circleSize: circle_size.value,
        offset: offset.value,
        channel: channel.value,
        fill: fill.value,
        shape: shape.value,
      };
      failure.value = (await python.ask(request, { settings })).error ?? "";
    },
  };
}
