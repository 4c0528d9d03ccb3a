// The model behind a page: it answers from what the page has inside, as Python does from a scan.
import { batch } from "@preact/signals";
import type { Inspection, MapMessage, Prediction, Traits } from "../hdm/python_state";
import { fromRuns } from "../hdm/region";
import { doubles, ints, number, packBits, unpackBits } from "../shared/codec";
import type { Grid } from "../shared/geometry";
import { painting, relative } from "../shared/paint";
import type { Model } from "../shared/traits";
import type { Answer, ClassMasks, Compared, PageData } from "./data";
import { pngFile, SeenImages, unpacked } from "./images";
import { FlippedMasks } from "./masks";
import { hausdorffPair } from "./pair";

type Listener = Parameters<Model<Traits>["on"]>[1];
type Name = keyof Traits & string;

/** Measures in which no two pixels are a distance apart. */
const OF_AREAS = ["iou", "dice", "area", "flipped"];
/** Traits that ask something: what is shown follows from them. */
const QUESTION: readonly Name[] = ["target", "measure", "explain_by"];

/** Traits that say what is told of the brushed region. */
const OF_BRUSH: readonly Name[] = ["brush", "result_type", "order"];

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

  constructor(private data: PageData) {
    const stage = unpacked(data.image);
    const { traits } = data;
    const nothing = new DataView(new ArrayBuffer(0));
    this.state = {
      ...traits,
      _image: pngFile(stage),
      _truth: nothing,
      _prediction: nothing,
      _ignored: nothing,
      _inspector: {},
      _influence: {},
      _class_change: {},
      _proposal: {},
      _disc_drawn: {},
    };
    this.seen = data.seen && new SeenImages(data.seen, stage);
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
      if (changed.includes("against")) this.classChange();
      if (OF_BRUSH.some((name) => changed.includes(name))) this.influence();
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

  private compared(explainBy: string): Compared {
    const { target } = this.answered;
    return this.data.compared.find((one) => one.target === target && one.explainBy === explainBy) as Compared;
  }

  /** A mask without pixels that do not count. */
  private counted(mask: Uint8Array, ignored: DataView): Uint8Array {
    if (!ignored.byteLength) return mask;
    const not = this.unpack(ignored);
    return mask.map((one, pixel) => (not[pixel] ? 0 : one));
  }

  private ofClass(): Shown {
    const { target } = this.answered;
    return this.ofStored(this.data.classes.find((one) => one.target === target) as ClassMasks);
  }

  private ofStored(stored: ClassMasks): Shown {
    const prediction = this.unpack(stored.prediction);
    const masks = stored.masks && new FlippedMasks(stored.masks, prediction, this.state._about.width);
    return { stored, prediction, masks };
  }

  private show() {
    const { truth, ignored } = this.compared(this.answered.explainBy);
    const map = { ...this.state._map, ...this.answered.map } as MapMessage;
    this.put("_about", { ...this.state._about, ...this.answered.about });
    this.put("_prediction", this.shown.stored.prediction);
    this.put("_disc_drawn", this.shown.stored.discDrawn);
    this.put("_truth", truth);
    this.put("_ignored", ignored);
    this.put("_map", map);
    this.put("_proposal", this.answered.proposal ?? {});
    this.influence();
    this.classChange();
    this.inspect();
  }

  /** What each disc turns of the shown class into another one, as `widgets/hdm/class_change.py` tells it. */
  private classChange() {
    const { target, against } = this.state;
    const other = against === null ? undefined : this.data.classes.find((one) => one.target === against);
    const { masks, prediction } = other ? this.ofStored(other) : {};
    const turns = prediction && this.shown.prediction.map((one, pixel) => one & ~prediction[pixel]);
    const counted = turns && this.counted(turns, this.compared(this.state._explained_by[0]).ignored);
    const fractions = counted?.includes(1) && target !== against ? masks?.influence(counted) : null;
    if (!fractions || target === null || against === null) {
      if (against !== null) this.put("against", null);
      this.put("_class_change", {});
      return;
    }
    const view = new DataView(Float32Array.from(fractions).buffer);
    const { shape } = (this.state._map as MapMessage).values;
    this.put("_class_change", { values: { view, dtype: "float32", shape }, classes: [target, against] });
  }

  /** What each disc changes on the brushed region, as `widgets/hdm/brush.py` tells it. */
  private influence() {
    const { brush, _about: about, _explained_by } = this.state;
    const region = brush.length ? fromRuns(brush, about) : null;
    // Pixels that the scan ignores, whatever is compared.
    const counted = region && this.counted(region, this.compared(_explained_by[0]).ignored);
    const fractions = counted?.includes(1) ? this.shown.masks?.influence(counted) : null;
    if (!region || !fractions) {
      this.put("_influence", {});
      return;
    }
    const { shape } = (this.state._map as MapMessage).values;
    const view = new DataView(Float32Array.from(fractions).buffer);
    this.put("_influence", { values: { view, dtype: "float32", shape }, change: this.changeOn(region) });
  }

  /** The fraction of what the map shows to change that lies on a region; null where nothing changes. */
  private changeOn(region: Uint8Array): number | null {
    const { _about: about, result_type, order, circle_size: circleSize, offset } = this.state;
    const type = result_type === "significant" ? "raw" : result_type;
    const map = this.state._map as MapMessage;
    const raw = doubles(map.values);
    const measured = unpackBits(map.measured, raw.length);
    const drawn = raw.map((value, cell) => (measured[cell] ? value : Number.NaN));
    const baseline = number(map.baseline);
    const shown = relative(drawn, baseline, type, about.signed);
    const values = type === "raw" ? shown.map((value) => Math.abs(value - baseline)) : shown;
    const grid: Grid = { height: about.height, width: about.width, circleSize, offset };
    let [total, inside] = [0, 0];
    // Changes of changes, whose largest lie on top.
    const drawnChange = { grid, disc: ints(map.disc), baseline: 0 };
    const painted = painting(order, values, drawnChange, "raw", about);
    painted.top.forEach((index, pixel) => {
      const value = painted.values[index];
      if (index < 0 || Number.isNaN(value)) return;
      total += value;
      if (region[pixel]) inside += value;
    });
    return total && Number.isFinite(total) ? inside / total : null;
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
    const others = values.filter((other, nth) => measured[nth] && !Number.isNaN(other));
    const baseline = number(map.baseline);
    // Of discs that change nothing none is before another.
    const ranked = !Number.isNaN(value) && value !== baseline;
    return {
      cell,
      pending: false,
      distance: value,
      baseline,
      rank: ranked ? 1 + others.filter((other) => far(other) > far(value)).length : null,
      of: others.length,
      image: this.seen
        ? pngFile(this.seen.of(row, col, grid, ints(map.disc)))
        : new DataView(new ArrayBuffer(0)),
      prediction: this.predicted(at),
    };
  }

  /** The mask of a cell against what it is compared with; null if masks are not kept. */
  private predicted(at: number): Prediction | null {
    const { prediction, masks } = this.shown;
    const drawn = masks?.mask(at);
    if (!drawn) return null;
    const about = this.state._about;
    const { truth, ignored, explainBy } = this.compared(this.answered.explainBy);
    const mask = this.counted(drawn, ignored);
    const other = this.counted(explainBy === "prediction" ? prediction : this.unpack(truth), ignored);
    let [both, either] = [0, 0];
    mask.forEach((one, pixel) => {
      both += one & other[pixel];
      either += one | other[pixel];
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
}
