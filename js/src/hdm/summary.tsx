// What the numbers say: the mask without a disc, the most and the least harmful place.
import { distance, noMask } from "../shared/format";
import { type Cell, cols } from "../shared/geometry";
import type { ViewState } from "./view_state";

export function Summary({ view }: { view: ViewState }) {
  const { traits } = view.python;
  const { unit, truthEmpty } = traits._about.value;
  const map = view.map.value;
  if (!map) return null;
  let worst = -1;
  let best = -1;
  map.raw.forEach((value, index) => {
    if (Number.isNaN(value)) return;
    if (worst < 0 || value > map.raw[worst]) worst = index;
    if (best < 0 || value < map.raw[best]) best = index;
  });
  const cell = (index: number): Cell => [Math.floor(index / cols(map.grid)), index % cols(map.grid)];
  const go = (name: string, hint: string, index: number) => (
    <button
      type="button"
      class="hdm-stat"
      disabled={index < 0 || map.stale || !(Math.abs(map.raw[index] - map.baseline) >= 0.05)}
      title={`Pin row ${cell(index)[0]}, column ${cell(index)[1]}`}
      onClick={() => view.python.set("cell", [...cell(index)])}
    >
      <span class="hdm-note">{name}</span>
      <b>{index < 0 ? "–" : distance(map.raw[index], unit)}</b>
      <span class="hdm-note">{hint}</span>
    </button>
  );
  const change = (index: number, none: string): string => {
    const difference = index < 0 ? Number.NaN : map.raw[index] - map.baseline;
    if (Number.isNaN(difference)) return "";
    if (Math.abs(difference) < 0.05) return none;
    if (noMask(map.grid, map.raw[index], unit)) return truthEmpty ? "something is drawn" : "nothing is drawn";
    return `${distance(Math.abs(difference), unit)} ${difference < 0 ? "better" : "worse"}`;
  };
  return (
    <div class="hdm-summary">
      <div class="hdm-stat">
        <span class="hdm-note">Without a disc</span>
        <b>{distance(map.baseline, unit)}</b>
        <span class="hdm-note">{truthEmpty ? "the truth is empty" : "from the truth"}</span>
      </div>
      {go("Worst place", change(worst, "no disc does harm"), worst)}
      {go("Best place", change(best, "no disc improves it"), best)}
    </div>
  );
}
