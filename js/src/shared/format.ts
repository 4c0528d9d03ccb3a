// Numbers and times as texts.
import { number, type WireNumber } from "./codec";

/** A number with commas between thousands, a minus sign, and at least and at most so many digits after the point. */
const written = (value: number, least?: number, most = 3): string =>
  (isZero(value, { decimals: most }) ? 0 : value)
    .toLocaleString("en", { minimumFractionDigits: least, maximumFractionDigits: most })
    .replace("-", "−");

export const count = (value: number): string => written(value);

/** A score in [0, 1]; a dash where it is not defined. */
export function score(value: WireNumber): string {
  const score = number(value);
  return Number.isNaN(score) ? "–" : score.toFixed(2);
}

/** By how much a score changed, with its sign; a dash where that is not defined. */
export function signed(change: number): string {
  if (Number.isNaN(change)) return "–";
  const text = Math.abs(change).toFixed(2);
  return text === "0.00" ? "±0" : `${change < 0 ? "−" : "+"}${text}`;
}

/** The class of a change of a score, by what `signed` says of it: none where that is nothing. */
export const changeClass = (change: number): string =>
  ({ "+": "hdm-better", "−": "hdm-worse" })[signed(change)[0]] ?? "";

/** A fraction as a percentage; what is more than nothing is not told as 0 %. */
export function percent(fraction: number): string {
  if (Number.isNaN(fraction)) return "–";
  if (fraction > 0 && fraction < 0.01) return "< 1 %";
  return `${Math.round(100 * fraction)} %`;
}

/** What distances are in, and how many digits after the point show them. */
export interface Unit {
  unit: string;
  decimals: number;
}

/** Whether a distance would be shown as 0. */
export const isZero = (value: number, { decimals }: Pick<Unit, "decimals">): boolean =>
  Math.abs(value) < 0.5 * 10 ** -decimals;

export function distance(value: number, unit: Unit): string {
  if (Number.isNaN(value)) return "not defined";
  const text = written(value, unit.decimals, unit.decimals);
  return unit.unit && Number.isFinite(value) ? `${text} ${unit.unit}` : text;
}

/** A distance as it is shown: what two of them differ by is the difference of their texts. */
export const rounded = (value: number, { decimals }: Unit): number => Number(value.toFixed(decimals));

/** How a distance differs from the one without a disc; `none` where that is too little to show. */
export function change(difference: number, unit: Unit, none: string): string {
  if (Number.isNaN(difference)) return "not defined";
  if (isZero(difference, unit)) return none;
  return `${distance(Math.abs(difference), unit)} ${difference < 0 ? "better" : "worse"}`;
}

export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

/** A number at a color bar. */
export const tick = (value: number, decimals: number): string => written(value, 0, decimals);

/** Digits after the point that tell these marks, at least `decimals`: no label is off by more than 2 % of their range. */
export function tickDecimals(marks: number[], decimals: number): number {
  const tolerance = 0.02 * (Math.max(...marks) - Math.min(...marks));
  let digits = decimals;
  const off = (mark: number) => Math.abs(mark - Number(mark.toFixed(digits))) > tolerance;
  while (digits < decimals + 3 && marks.some(off)) digits++;
  return digits;
}

/** The two ends of a range and a few round numbers between them, none so near an end that labels would touch. */
export function ticks(low: number, high: number): number[] {
  const raw = (high - low) / 4;
  if (!(raw > 0)) return [low];
  const room = 0.2 * (high - low);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((m) => m >= raw) ?? 10 * power;
  const marks: number[] = [];
  for (let k = Math.ceil((low + room) / step); k * step <= high - room; k++) marks.push(k * step);
  return [low, ...marks, high];
}
