// What Python sees too: the traits of the panel that explains a selection.
import type { WireNumber } from "../shared/codec";

export type Kind = "worse" | "better" | "raw";
export type Frame = "image" | "segment" | "scaled";
export type Order = "fragility" | "improvability";

export interface Failed {
  item: number;
  error: string;
}

/** What was scanned, and what the map shows. */
export interface ScansAbout {
  /** Of the selection, and how many items it has. */
  name: string;
  of: number;
  /** That are finished. */
  images: number;
  circleSize: number;
  offset: number;
  label: string;
  unit: string;
  decimals: number;
  /** What masks are compared with. */
  truth: string;
  failed: Failed[];
  /** Why there is no map. */
  problem?: string;
  low: WireNumber;
  high: WireNumber;
  colors: string[];
  width: number;
  height: number;
  /** In the segments' frame: how many images, how many with an empty segment, and where the centroid is. */
  aligned?: number;
  leftOut?: number;
  /** Fractions of the map's width and height. */
  center?: [number, number];
  /** The side of a square with a segment's area, as fractions. */
  size?: [number, number];
}

export interface ScannedImage {
  item: number;
  fragility: WireNumber;
  improvability: WireNumber;
  baseline: WireNumber;
  iou: WireNumber;
}

export interface ScansTraits {
  state: "idle" | "running" | "done" | "cancelled" | "error";
  done: number;
  total: number;
  seconds_left: number | null;
  error: string;
  selection: { name: string; color: string; count: number } | Record<string, never>;
  wanted: number;
  kind: Kind;
  frame: Frame;
  order: Order;
  about: ScansAbout | { failed?: Failed[] };
  rows: ScannedImage[];
  _map: DataView;
  _counts: DataView;
  _thumbnails: DataView[];
}

export const SCANS = [
  "state",
  "done",
  "total",
  "seconds_left",
  "error",
  "selection",
  "wanted",
  "kind",
  "frame",
  "order",
  "about",
  "rows",
  "_map",
  "_counts",
  "_thumbnails",
] as const;
