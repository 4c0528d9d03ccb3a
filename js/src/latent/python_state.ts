// What Python sees too: the traits of toolbar, legend, gallery and table of clusters.
import type { ArrayMessage, WireNumber } from "../shared/codec";
import type { Size } from "../shared/geometry";

export type Mode = "replace" | "add" | "subtract";
export type Layers = "three" | "overlay";
/** Of what is computed in the background when it is first asked for. */
export type SearchState = "idle" | "running" | "done" | "error";
/** Items of the map, or of new data. */
export type Source = "map" | "new";

export interface ToolbarTraits {
  mode: Mode;
  color_by: string;
  background: string;
  colors: [string, string][];
  /** Wished for; `color_modes` are those that the column can be shown in, the default first, if there are several. */
  color_as: string;
  color_modes: [string, string][];
  backgrounds: [string, string][];
  /** Whose points are drawn, where there is new data. */
  points: "both" | Source;
  has_new: boolean;
  can_undo: boolean;
  count: number;
}

export const TOOLBAR = [
  "mode",
  "color_by",
  "background",
  "colors",
  "color_as",
  "color_modes",
  "backgrounds",
  "points",
  "has_new",
  "can_undo",
  "count",
] as const;

export interface Scale {
  kind: "scale";
  title: string;
  low: number;
  high: number;
  colors: string[];
  missing: number;
  missingLabel: string;
  /** Of a scale of dates: its ends, and round dates between them as fractions of its length. */
  dates?: { low: string; high: string; ticks: { at: number; label: string }[] };
  /** Items with an empty truth and an empty prediction, and the score that they are given. */
  bothEmpty?: number;
  bothEmptyValue?: number;
  /** What kind of scale it is, where that is not plain. */
  note?: string;
  /** Of a column whose values are computed when they are asked for. */
  state?: SearchState;
  error?: string;
  /** What is written at the ends in place of the numbers. */
  ends?: [string, string];
}

export interface Categories {
  /** `search`: texts of many values, of which those that hold a text are colored. */
  kind: "categories" | "search";
  title: string;
  entries: { color: string; label: string; count: number }[];
}

export interface Surface {
  colors: string[];
  /** Cross-validated R² of the expected IoU. */
  score: WireNumber;
  /** How many items it was learned from, where that is a sample. */
  learnedFrom: number | null;
}

/** x0, x1, y0, y1 of a plot. */
export type Bounds = [number, number, number, number];

export interface PointsMessage {
  positions: ArrayMessage;
  rows: ArrayMessage;
  bounds: Bounds;
  /** On a map of very many items, which item is in each pixel of its image, (rows, cols); -1 where there is none. */
  items?: ArrayMessage;
  /** The same of further figures beside this one. */
  others?: PointsMessage[];
}

/** A selection's name and the point that it belongs to. */
export interface MapName {
  text: string;
  color: string;
  /** Fractions of the plot's width and height, from its top left corner. */
  x: number;
  y: number;
  /** Which figure it is on; without one, the only one. */
  figure?: number;
}

/** What the legend says of new items; they are numbered after those of the map. */
export interface NewItems {
  count: number;
  /** So far from the map's items that they are drawn at its edge. */
  outside: number;
  colors: string[];
  /** Why all have one estimate, empty where they do not. */
  skill: string;
}

/** What a map of very many items shows: how many are in view, and in the fullest pixel; 0 where they are points. */
export interface Density {
  inView: number;
  most: number;
  /** The same of further figures beside this one. */
  others?: Density[];
  /** The same of new items that are drawn as an image. */
  new?: Density;
}

export interface LegendTraits {
  mode: Mode;
  background: string;
  legend: Scale | Categories | Record<string, never>;
  search: string;
  surface: Surface | Record<string, never>;
  total: number;
  density: Partial<Density>;
  notice: string;
  names: MapName[];
  new: NewItems | Record<string, never>;
  _points: PointsMessage;
}

export const LEGEND = [
  "mode",
  "background",
  "legend",
  "search",
  "surface",
  "total",
  "density",
  "notice",
  "names",
  "new",
  "_points",
] as const;

export interface SelectionRow {
  name: string;
  color: string;
  count: number;
  mean: WireNumber;
  median: WireNumber;
  /** Of two models: the mean IoU with the second. */
  after?: WireNumber;
}

/** Where the IoU of a new item is expected to be, whether that can be relied on, and where it is. */
export interface Interval {
  low: WireNumber;
  high: WireNumber;
  reliable: boolean;
  /** Of an item with a true mask. */
  measured?: WireNumber;
}

/** An item as it is saved with the notebook: a thumbnail, and its masks in the size of the thumbnail. */
export interface SavedItem extends Size {
  index: number;
  iou: WireNumber;
  caption: string;
  image: DataView;
  truth: DataView;
  predicted: DataView;
  /** No byte if all pixels count. */
  ignored: DataView;
  /** Of a new item. */
  interval?: Interval;
  /** How likely the truth of an item of the map is wrong, as a text, and why; where it is known. */
  suspicion?: string;
  reason?: string;
  /** Of two models: the prediction of the second, and the IoU with it. */
  second?: DataView;
  after?: WireNumber;
}

/** What is said of new items only. */
export interface AboutNew {
  coverage: number;
  /** Some have a true mask. */
  truths: boolean;
  /** Why those estimates that are not reliable are not. */
  unreliable: string;
}

export interface GalleryTraits {
  source: Source;
  /** 0: no new data. */
  new_count: number;
  new_status: NewDataTraits["state"];
  sort: string;
  sorts: string[];
  layers: Layers;
  size: number;
  highlighted: number | null;
  selections: SelectionRow[];
  active: number | null;
  can_explain: boolean;
  caption_by: string;
  captions_version: number;
  suspects: { state: SearchState; error: string };
  /** Whether cards have a line on how likely their truth is wrong. */
  with_reasons: boolean;
  /** Items whose truth was marked as wrong. */
  _marked: ArrayMessage;
  /**
   * `ignored`: a mask of the pixels that do not count comes with every item.
   * `compared`: the names of two models; what the second one predicts comes with every item, too.
   */
  _about: Size & {
    total: number;
    full: boolean;
    ignored?: boolean;
    compared?: [string, string];
  } & Partial<AboutNew>;
  /** How many items there are, the first of them, and a number that changes with their order. */
  _shown: { version: number; count: number; first: ArrayMessage };
  /** The first of the items, for pages without a kernel. */
  _saved: SavedItem[];
}

export const GALLERY = [
  "source",
  "new_count",
  "new_status",
  "sort",
  "sorts",
  "layers",
  "size",
  "highlighted",
  "selections",
  "active",
  "can_explain",
  "caption_by",
  "captions_version",
  "suspects",
  "with_reasons",
  "_marked",
  "_about",
  "_shown",
  "_saved",
] as const;

export interface ClusterRow {
  label: number;
  color: string;
  size: number;
  mean: WireNumber;
  median: WireNumber;
  empty: WireNumber;
  count: number;
  holds: string;
}

/** A group of items where the model fails. */
export interface FailureRow {
  text: string;
  mostly: string;
  size: number;
  mean: WireNumber;
  low: WireNumber;
  high: WireNumber;
  rest: WireNumber;
  harm: WireNumber;
  harmLow: WireNumber;
  harmHigh: WireNumber;
}

export interface ClusterTraits {
  rows: ClusterRow[];
  chosen: number | null;
  n_clusters: number;
  most: number;
  about: string;
  busy: string;
  error: string;
  failures: { state: SearchState; error: string; about: string; rows: FailureRow[] };
  /** Position of the group that is selected. */
  failure: number | null;
  _thumbnails: DataView[];
}

export const CLUSTERS = [
  "rows",
  "chosen",
  "n_clusters",
  "most",
  "about",
  "busy",
  "error",
  "failures",
  "failure",
  "_thumbnails",
] as const;

/** A column on the map and in new data: fractions of the items in bins from `low` to `high`. */
export interface ComparedColumn {
  title: string;
  /** How it moved, empty if it did not. */
  moved: string;
  low: WireNumber;
  high: WireNumber;
  map: number[];
  new: number[];
  mapMedian: WireNumber;
  newMedian: WireNumber;
}

/** Expected beside measured IoU of the new items that have one, and how many have it inside their interval. */
export interface Measured {
  count: number;
  mean: WireNumber;
  expected: WireNumber;
  held: number;
}

export interface Findings {
  count: number;
  mean: WireNumber;
  low: WireNumber;
  high: WireNumber;
  coverage: number;
  mapMean: WireNumber;
  reliable: number;
  shift: string;
  shifted: boolean;
  skill: string;
  skilled: boolean;
  measured: Measured | Record<string, never>;
  columns: ComparedColumn[];
}

export interface NewDataTraits {
  /** How far the estimates are; "idle" without new data. */
  state: "idle" | "running" | "done" | "cancelled" | "error";
  done: number;
  total: number;
  error: string;
  findings: Findings | Record<string, never>;
  to_label: number;
}

export const NEW_DATA = ["state", "done", "total", "error", "findings", "to_label"] as const;
