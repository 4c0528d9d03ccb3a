// How values are told in each measure.
import { distance, isZero } from "../shared/format";
import type { ResultType } from "../shared/paint";
import type { About } from "./python_state";

interface Texts {
  /** Over a color bar of raw values. */
  raw: string;
  better: string;
  worse: string;
  noneBetter: string;
  noneWorse: string;
  /** Behind a value that says what was measured. */
  note: string;
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

const EXPLAINED: Record<string, string> = { truth: "the truth", prediction: "the prediction" };
/** What may be explained, in words: annotators go by their names. */
export const explainedText = (name: string): string => EXPLAINED[name] ?? name;

/** What masks are compared with, in words. */
export const comparedWith = ({ comparedWith, ofObject }: About): string => {
  if (ofObject) return "object";
  return ["truth", "prediction"].includes(comparedWith) ? comparedWith : `truth of ${comparedWith}`;
};

/** Of a measure that is neither better nor worse. */
const only = (raw: string): Texts => ({
  raw,
  better: "",
  worse: "",
  noneBetter: "",
  noneWorse: "",
  note: "",
});

function texts(about: About): Texts {
  const other = comparedWith(about);
  const label = about.label || "distance";
  switch (about.measure) {
    case "iou":
    case "dice": {
      const overlap = `the overlap with the ${other}`;
      return {
        raw: `${label} with the ${other}`,
        better: `How much a disc here raises ${overlap}`,
        worse: `How much a disc here lowers ${overlap}`,
        noneBetter: `No disc raises ${overlap}`,
        noneWorse: `No disc lowers ${overlap}`,
        note: `with the ${other}`,
      };
    }
    case "area":
      return {
        raw: `Area of the mask less that of the ${other}`,
        better: `How much nearer to the ${other}'s area a disc here brings that of the mask`,
        worse: `How much farther from the ${other}'s area a disc here takes that of the mask`,
        noneBetter: `No disc brings the mask's area nearer to that of the ${other}`,
        noneWorse: `No disc takes the mask's area farther from that of the ${other}`,
        note: `against that of the ${other}`,
      };
    case "influence":
      return only("How much of the brushed area flips");
    case "class_change":
      return only(`How much of ${about.label}`);
    case "flipped":
      return {
        raw: "Area of the mask that flips",
        better: "Every change counts as worse: masks are compared with the one without a disc",
        worse: "Area of the mask that flips when a disc covers this cell",
        noneBetter: "Nothing is better: masks are compared with the one without a disc",
        noneWorse: "No disc flips a pixel",
        note: "",
      };
    case "difference":
      // It has names of models, which stay as they are given.
      return only(label);
    default:
      return {
        raw: `${capital(label)} to the ${other}`,
        better: `How much nearer to the ${other} a disc here brings the mask`,
        worse: `How much farther from the ${other} a disc here brings the mask`,
        noneBetter: `No disc brings the mask nearer to the ${other}`,
        noneWorse: `No disc takes the mask farther from the ${other}`,
        note: `from the ${other}`,
      };
  }
}

/** What the colors of a map mean. */
export function meaning(about: About, type: ResultType): string {
  const { raw, better, worse } = texts(about);
  if (about.measure === "difference") return raw;
  const sides = about.signed ? ": less left of 0, more right of it" : "";
  return { raw: `${raw} when a disc covers this cell${sides}`, better, worse }[type];
}

/** What a map says that has one value. */
export function constantMap(about: About, type: ResultType, value: number): string {
  const { noneBetter, noneWorse } = texts(about);
  return { raw: `The same everywhere: ${told(value, about)}`, better: noneBetter, worse: noneWorse }[type];
}

/** Why a map has no colors: no measured cell has a finite value; empty where one has. */
export function withoutValues(about: About, values: Float64Array, oneEmpty: Uint8Array): string {
  if (!values.length || values.some(Number.isFinite)) return "";
  const none = values.every(Number.isNaN) ? "is not defined" : "has no finite value";
  const infinite = values.every((value) => value === Number.POSITIVE_INFINITY);
  const found = infinite ? "is infinite in every measured cell" : `${none} in any measured cell`;
  const other = about.truthEmpty ? `, and the ${comparedWith(about)} is empty` : "";
  const why = oneEmpty.every(Boolean) ? `: ${emptyText(about)}${other}` : "";
  return `No colors, as the ${about.label || "distance"} ${found}${why}`;
}

/** Why a distance is one that stands for an empty mask. */
export function emptyText({ truthEmpty, ofObject }: About): string {
  if (truthEmpty) return "something is predicted";
  return ofObject ? "nothing of the object is predicted" : "nothing is predicted";
}

/** What a value is measured from, to stand behind what `told` says. */
export const valueNote = (about: About): string => texts(about).note;

/** A value that says by itself what was measured; distances are what is expected. */
export function told(value: number, about: About): string {
  const text = distance(value, about);
  switch (about.measure) {
    case "iou":
    case "dice":
      return `${about.label} ${text}`;
    case "area":
      return `area ${value > 0 && !isZero(value, about) ? "+" : ""}${text}`;
    case "flipped":
      return `${text} flipped`;
    case "difference":
      return `${value > 0 && !isZero(value, about) ? "+" : ""}${text}`;
    case "class_change":
      return `${text} of ${about.label}`;
    case "influence":
      return `flips ${text} of the brushed area`;
    default:
      return text;
  }
}

/** How much farther from the truth a value is than the baseline; nearer below 0. */
export const worsening = (value: number, baseline: number, { signed }: About): number =>
  // Infinite ones may be equal too.
  value === baseline ? 0 : signed ? Math.abs(value) - Math.abs(baseline) : value - baseline;

/** Result types that differ: nothing is better or worse where masks are compared with the one without a disc. */
export function resultTypes(about: About, chosen: ResultType): [ResultType, string][] {
  if (about.fromPrediction && chosen === "raw") return [];
  const overlap = about.measure && ["iou", "dice", "area", "flipped"].includes(about.measure);
  return [
    ["raw", overlap ? "Raw value" : "Raw distance"],
    ["better", "Better"],
    ["worse", "Worse"],
  ];
}
