// What the numbers say: the mask without a disc, the most and the least harmful cell.
import { change, distance, isZero } from "../shared/format";
import { type Cell, cols } from "../shared/geometry";
import type { ViewState } from "./view_state";

export function Summary({ view }: { view: ViewState }) {
  const { gone, traits } = view.python;
  const about = traits._about.value;
  const { truthEmpty } = about;
  const map = view.map.value;
  if (!map) return null;
  let worst = -1;
  let best = -1;
  map.raw.forEach((value, index) => {
    if (Number.isNaN(value) || !map.measured[index]) return;
    if (worst < 0 || value > map.raw[worst]) worst = index;
    if (best < 0 || value < map.raw[best]) best = index;
  });
  const cell = (index: number): Cell => [Math.floor(index / cols(map.grid)), index % cols(map.grid)];
  const button = (name: string, none: string, index: number) => {
    const difference = index < 0 ? Number.NaN : map.raw[index] - map.baseline;
    const noChange = Number.isNaN(difference) || isZero(difference, about);
    const hint = !noChange && map.oneEmpty[index] ? emptyText(truthEmpty) : change(difference, about, none);
    return (
      <button
        type="button"
        class="hdm-stat"
        disabled={map.stale || noChange || gone.value !== ""}
        title={`Pin row ${cell(index)[0]}, column ${cell(index)[1]}`}
        onClick={() => view.pin(cell(index))}
      >
        <span class="hdm-note">{name}</span>
        <b>{index < 0 ? "–" : distance(map.raw[index], about)}</b>
        <span class="hdm-note">{Number.isNaN(difference) ? "" : hint}</span>
      </button>
    );
  };
  return (
    <div class="hdm-summary">
      <div class="hdm-stat">
        <span class="hdm-note">Without a disc</span>
        <b>{distance(map.baseline, about)}</b>
        <span class="hdm-note">{truthEmpty ? "the truth is empty" : "from the truth"}</span>
      </div>
      {button("Worst cell", "no disc does harm", worst)}
      {button("Best cell", "no disc improves it", best)}
    </div>
  );
}

/** Why a distance is one that stands for an empty mask. */
export const emptyText = (truthEmpty: boolean): string =>
  truthEmpty ? "something is predicted" : "nothing is predicted";
