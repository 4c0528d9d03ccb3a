// The model behind a page: it answers from what the page has inside, as Python does from a scan.
import { batch } from "@preact/signals";
import type { Inspection, MapMessage, Prediction, Traits } from "../hdm/python_state";
import { doubles, ints, number, packBits, unpackBits } from "../shared/codec";
import type { Grid } from "../shared/geometry";
import type { Model } from "../shared/traits";
import type { Answer, ClassMasks, PageData } from "./data";
import { pngFile, SeenImages, unpacked } from "./images";
import { FlippedMasks } from "./masks";
import { hausdorffPair } from "./pair";

type Listener = Parameters<Model<Traits>["on"]>[1];
type Name = keyof Traits & string;

/** Measures in which no two pixels are a distance apart. */
const OF_AREAS = ["iou", "dice", "area", "flipped"];
/** Traits that ask something: what is shown follows from them. */
const QUESTION: readonly Name[] = ["target", "measure", "explain_by"];

/** What is known of the class that is shown. */
interface Shown {
  stored: ClassMasks;
  prediction: Uint8Array;
  masks: FlippedMasks | null;
}

export class PageModel implements Model<Traits> {
  private state: Traits;
  private listeners = new Map<string, Set<Listener>>();
  private changed = new Set<Name>();
  private seen: SeenImages | null;
  /** What was answered last. */
  private answered: Answer;
  private shown: Shown;
  private ignored: Uint8Array | null;

  constructor(private data: PageData) {
    const stage = unpacked(data.image);
    const { traits } = data;
    const nothing = new DataView(new ArrayBuffer(0));
    this.state = { ...traits, _image: pngFile(stage), _truth: nothing, _prediction: nothing };
    this.seen = data.seen && new SeenImages(data.seen, stage);
    this.ignored = traits._ignored.byteLength ? this.unpack(traits._ignored) : null;
    this.answered = this.find() as Answer;
    this.shown = this.ofClass();
    this.show();
  }

  get<K extends keyof Traits>(name: K): Traits[K] {
    return this.state[name];
  }

  set<K extends keyof Traits>(name: K, value: Traits[K]): void {
    this.put(name, value);
    this.changed.add(name as Name);
  }

  save_changes(): void {
    const changed = [...this.changed];
    this.changed.clear();
    // One change: no map is drawn with the texts of another measure.
    batch(() => {
      if (changed.some((name) => QUESTION.includes(name))) this.answer();
      else if (changed.includes("cell")) this.inspect();
    });
  }

  on(event: string, listener: Listener): void {
    this.listeners.set(event, (this.listeners.get(event) ?? new Set()).add(listener));
  }

  off(event: string, listener: Listener): void {
    this.listeners.get(event)?.delete(listener);
  }

  send(): void {
    // What a page has no answer to, it has no control for.
  }

  private put<K extends keyof Traits>(name: K, value: Traits[K]) {
    this.state[name] = value;
    for (const listener of [...(this.listeners.get(`change:${name}`) ?? [])]) listener();
  }

  private unpack(mask: DataView): Uint8Array {
    const { height, width } = this.state._about;
    return unpackBits(mask, height * width);
  }

  /** The answer to what is asked now. */
  private find(): Answer | undefined {
    const { target, measure, explain_by } = this.state;
    return this.data.answers.find(
      (one) => one.target === target && one.measure === measure && one.explainBy === explain_by,
    );
  }

  private answer() {
    const found = this.find();
    if (!found?.map) {
      // As Python does: say why, and go on with what was shown.
      this.put("error", found?.error ?? "This page has no answer to that.");
      const { target, measure, explainBy } = this.answered;
      this.put("target", target);
      this.put("measure", measure);
      this.put("explain_by", explainBy);
      return;
    }
    this.answered = found;
    if (this.shown.stored.target !== found.target) this.shown = this.ofClass();
    this.put("error", "");
    this.show();
  }

  private ofClass(): Shown {
    const { target } = this.answered;
    const stored = this.data.classes.find((one) => one.target === target) as ClassMasks;
    const prediction = this.unpack(stored.prediction);
    const masks = stored.masks && new FlippedMasks(stored.masks, prediction, this.state._about.width);
    return { stored, prediction, masks };
  }

  private show() {
    const { stored } = this.shown;
    const map = { ...this.state._map, ...this.answered.map } as MapMessage;
    this.put("_about", { ...this.state._about, ...this.answered.about });
    this.put("_prediction", stored.prediction);
    this.put("_truth", stored.truth);
    this.put("_map", map);
    this.inspect();
  }

  private inspect() {
    const { cell } = this.state;
    this.put("_inspector", cell ? this.inspection(cell) : {});
  }

  /** Figures and images of a cell, as `inspect_cell` in `hdm_widgets/hdm/messages.py` has them. */
  private inspection(cell: [number, number]): Inspection {
    const [row, col] = cell;
    const { _about: about, circle_size: circleSize, offset } = this.state;
    const map = this.state._map as MapMessage;
    const grid: Grid = { height: about.height, width: about.width, circleSize, offset };
    const at = row * Math.floor(about.width / offset) + col;
    const values = doubles(map.values);
    const measured = unpackBits(map.measured, values.length);
    if (!measured[at]) return { cell, pending: true } as Inspection;
    // How far from the truth; less area is as far as more.
    const far = (value: number) => (about.signed ? Math.abs(value) : value);
    const value = values[at];
    const others = values.filter((_, other) => measured[other]);
    return {
      cell,
      pending: false,
      distance: value,
      change: value - number(map.baseline),
      rank: 1 + others.filter((other) => far(other) > far(value)).length,
      of: others.length,
      image: this.seen
        ? pngFile(this.seen.of(row, col, grid, ints(map.disc)))
        : new DataView(new ArrayBuffer(0)),
      prediction: this.predicted(at),
    };
  }

  /** The mask of a cell against what it is compared with; null if masks are not kept. */
  private predicted(at: number): Prediction | null {
    const { stored, prediction, masks } = this.shown;
    const mask = masks?.mask(at);
    if (!mask) return null;
    const about = this.state._about;
    const other = about.comparedWith === "prediction" ? prediction.slice() : this.unpack(stored.truth);
    for (const one of this.ignored ? [mask, other] : []) {
      one.forEach((_, pixel) => {
        if (this.ignored?.[pixel]) one[pixel] = 0;
      });
    }
    let [both, either] = [0, 0];
    mask.forEach((drawn, pixel) => {
      both += drawn & other[pixel];
      either += drawn | other[pixel];
    });
    const paired = !OF_AREAS.includes(about.measure);
    const found = paired ? hausdorffPair(mask, other, about, this.data.sides) : null;
    return {
      mask: packBits(mask),
      empty: !mask.includes(1),
      iou: either ? both / either : 0,
      pair: found?.pair ?? null,
      from: found?.from ?? null,
      distance: found && found.distance * this.data.unit,
    };
  }

  /** The fraction of a region's pixels (one byte each) that each disc flips; null without masks or pixels that count. */
  influence(region: Uint8Array): Float64Array | null {
    const counted = region.map((one, pixel) => (one && !this.ignored?.[pixel] ? 1 : 0));
    return counted.includes(1) ? (this.shown.masks?.influence(counted) ?? null) : null;
  }
}
