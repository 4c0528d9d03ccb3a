// What Python sends to a view of the HDM explorer: four cells, of which the last is not measured yet.
import { doublesMessage } from "./fake_model";

export const nothing = () => new DataView(new ArrayBuffer(0));
export const bits = (...bytes: number[]) => new DataView(Uint8Array.from(bytes).buffer);
// Whatever Python draws is drawn.
const SQUARE = Array.from({ length: 9 }, () => [0, 9]).flat();
const blues = new DataView(new Uint8Array(768).fill(100).buffer);

export function explorerState(): Record<string, unknown> {
  // The last cell is not measured yet: its value is no more than an estimate.
  return {
    circle_size: 8,
    offset: 8,
    channel: -1,
    fill: "minimum",
    shape: "disc",
    result_type: "raw",
    color_map: "Blues",
    opacity: 0.7,
    cell: null,
    layers: ["picture", "map", "truth"],
    target: null,
    _classes: [],
    measure: "hausdorff",
    explain_by: "truth",
    object: null,
    brush: [],
    _measures: [
      ["hausdorff", "Hausdorff distance", false],
      ["iou", "1 - IoU", false],
      ["rows", "Row distance", true],
    ],
    _explained_by: ["truth", "prediction"],
    _fills: [
      ["minimum", "black (as published)"],
      ["mean", "mean"],
      ["blur", "blur"],
    ],
    status: "running",
    progress: 0.75,
    error: "",
    _about: {
      height: 16,
      width: 16,
      channels: 3,
      hasTruth: true,
      measure: "hausdorff",
      comparedWith: "truth",
      signed: false,
      fromPrediction: false,
      label: "Hausdorff distance",
      unit: "px",
      lengthUnit: "px",
      decimals: 1,
      truthEmpty: false,
      empty: "diagonal",
    },
    _image: nothing(),
    _edges: nothing(),
    _truth: nothing(),
    _ignored: nothing(),
    _prediction: nothing(),
    _color_tables: { Blues: blues, magma: blues, viridis: blues },
    _map: {
      values: doublesMessage(0, 12.5, 3, 40),
      measured: bits(0b11100000),
      drawn: bits(0b11110000),
      oneEmpty: bits(0),
      disc: { view: new DataView(Int32Array.from(SQUARE).buffer), dtype: "int32", shape: [9, 2] },
      plan: "",
      baseline: 1,
      circleSize: 8,
      offset: 8,
      channel: -1,
      fill: "minimum",
      shape: "disc",
      done: 3,
      total: 4,
      stride: 1,
      seconds: 3,
      secondsLeft: 1,
    },
    _inspector: {},
    _fill_panel: {},
    _disc_drawn: {},
    _has_significance: false,
    _influence: {},
    _proposal: {},
    _scanned: { circleSize: 8, offset: 8, channel: -1, fill: "minimum", shape: "disc" },
  };
}
