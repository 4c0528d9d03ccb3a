// What Python sees too: the widget's traits, one signal each.
import type { AnyModel } from "@anywidget/types";
import type { ArrayMessage } from "../shared/codec";
import type { ResultType } from "../shared/paint";
import { connect, type Signals } from "../shared/traits";

export type Layer = "picture" | "edges" | "map" | "truth" | "prediction";

export interface About {
  height: number;
  width: number;
  channels: number;
  label: string;
  unit: string;
  truthEmpty: boolean;
}

export interface MapMessage {
  /** Of every cell that is drawn; where it is not measured yet, that of the nearest measured one. */
  values: ArrayMessage;
  /** One bit per cell. */
  measured: DataView;
  /** Which way the scan is computed, in words; may be empty. */
  plan: string;
  baseline: number | string;
  circleSize: number;
  offset: number;
  channel: number;
  done: number;
  total: number;
  stride: number;
  seconds: number;
  secondsLeft: number | null;
}

export interface Inspection {
  cell: [number, number];
  pending: boolean;
  distance: number | string;
  change: number | string;
  iou: number;
  rank: number;
  of: number;
  empty: boolean;
  pair: [[number, number], [number, number]] | null;
  from: "a" | "b" | null;
  pairDistance: number | string;
  picture: DataView;
  mask: DataView;
}

/** What a scan is made with, as Python names it when it starts one. */
export interface Settings {
  circleSize: number;
  offset: number;
  channel: number;
}

export interface Traits {
  circle_size: number;
  offset: number;
  channel: number;
  result_type: ResultType;
  color_map: string;
  opacity: number;
  cell: [number, number] | null;
  layers: Layer[];
  status: "idle" | "running" | "done" | "cancelled" | "error";
  progress: number;
  error: string;
  _about: About;
  _picture: DataView;
  _edges: DataView;
  _truth: DataView;
  _prediction: DataView;
  _palettes: Record<string, DataView>;
  _map: MapMessage | Record<string, never>;
  _inspector: Inspection | Record<string, never>;
  _scanned: Settings | Record<string, never>;
}

const NAMES = [
  "circle_size",
  "offset",
  "channel",
  "result_type",
  "color_map",
  "opacity",
  "cell",
  "layers",
  "status",
  "progress",
  "error",
  "_about",
  "_picture",
  "_edges",
  "_truth",
  "_prediction",
  "_palettes",
  "_map",
  "_inspector",
  "_scanned",
] as const;

export interface PythonState {
  traits: Signals<Traits>;
  /** Change a trait, here and in Python. */
  set<K extends keyof Traits>(name: K, value: Traits[K]): void;
  /** Ask Python for something that is no trait. */
  request(request: "run" | "cancel"): void;
  dispose(): void;
}

export function pythonState(model: AnyModel<Traits>): PythonState {
  const { traits, set, ask, dispose } = connect(model, NAMES);
  return {
    traits,
    set,
    request(request) {
      // A change of settings may still be on its way when the request arrives: say which scan is meant.
      const settings: Settings = {
        circleSize: traits.circle_size.value,
        offset: traits.offset.value,
        channel: traits.channel.value,
      };
      void ask(request, { settings });
    },
    dispose,
  };
}
