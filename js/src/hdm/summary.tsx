// What the numbers say: the mask without a disc, the most and the least harmful cell.
import { Button } from "../shared/button";
import { change, count, distance, isZero, percent } from "../shared/format";
import { type Cell, cols, type Grid } from "../shared/geometry";
import { comparedWith, emptyText, told, valueNote, worsening } from "./texts";
import type { ViewState } from "./view_state";

export function Summary({ view }: { view: ViewState }) {
  const about = view.asked.value;
  const { truthEmpty } = about;
  const map = view.distances.value;
  if (!map) return null;
  const far = (index: number) => (about.signed ? Math.abs(map.raw[index]) : map.raw[index]);
  let worst = -1;
  let best = -1;
  map.raw.forEach((value, index) => {
    if (Number.isNaN(value) || !map.drawn[index]) return;
    if (worst < 0 || far(index) > far(worst)) worst = index;
    if (best < 0 || far(index) < far(best)) best = index;
  });
  // Worse and better are told by the change; where there is none, the value says what it is.
  const value = (raw: number) => (about.fromPrediction ? told : distance)(raw, about);
  const button = (name: string, none: string, index: number) => {
    const difference = index < 0 ? Number.NaN : worsening(map.raw[index], map.baseline, about);
    const noChange = Number.isNaN(difference) || isZero(difference, about);
    const changed = about.fromPrediction ? valueNote(about) : change(difference, about, none);
    const hint = noChange ? none : map.oneEmpty[index] ? emptyText(about) : changed;
    const roughly = map.estimated?.[index] === 1 ? "about " : "";
    const text = index < 0 ? "–" : roughly + value(map.raw[index]);
    const note = !Number.isNaN(difference) && hint;
    return stat(view, map.grid, index, map.stale || noChange, name, text, note);
  };
  return (
    <div class="hdm-summary">
      {about.fromPrediction ? (
        button("Most changed", "no disc changes the mask", worst)
      ) : (
        <>
          <div class="hdm-stat">
            <span class="hdm-note">Without a disc</span>
            <b>{told(map.baseline, about)}</b>
            <span class="hdm-note">
              {truthEmpty ? `the ${comparedWith(about)} is empty` : valueNote(about)}
            </span>
          </div>
          {button("Worst cell", "no disc does harm", worst)}
          {button("Best cell", "no disc improves it", best)}
        </>
      )}
      <Brushed view={view} />
    </div>
  );
}

/** A number of a cell, which a click pins; a negative index where there is none. */
function stat(
  view: ViewState,
  grid: Grid,
  index: number,
  disabled: boolean,
  name: string,
  value: string,
  note: string | false,
) {
  const cell: Cell = [Math.floor(index / cols(grid)), index % cols(grid)];
  return (
    <button
      type="button"
      class="hdm-stat"
      disabled={disabled || view.python.gone.value !== ""}
      title={index < 0 ? undefined : `Pin row ${cell[0]}, column ${cell[1]}`}
      onClick={() => view.pin(cell)}
    >
      <span class="hdm-note">{name}</span>
      <b>{value}</b>
      {note && <span class="hdm-note">{note}</span>}
    </button>
  );
}

/** What of a map lies on the brushed region, by the result type. */
const CHANGES = {
  raw: "the change",
  significant: "the change",
  better: "what gets better",
  worse: "what gets worse",
};

/** What the brushed region is, and which disc changes it most. */
function Brushed({ view }: { view: ViewState }) {
  const { influence, change, region } = view.tools;
  const brushed = region.value;
  const map = view.map.value;
  if (!brushed || !map) return null;
  let most = -1;
  influence.value?.forEach((value, cell) => {
    if (value > (most < 0 ? 0 : (influence.value?.[most] ?? 0))) most = cell;
  });
  const part = brushed.pixels / brushed.mask.length;
  const flipped = most < 0 ? 0 : (influence.value?.[most] ?? 0);
  const flips = most < 0 ? "no disc flips a pixel of it" : "flips";
  const { gone, traits } = view.python;
  const unknown = traits.status.value === "running" ? "" : "none of its pixels counts";
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset brings a frame and a legend that nobody needs here
    <div class="hdm-brushed" role="group" aria-label="Brushed area">
      <div class="hdm-stat">
        <span class="hdm-note">Brushed area</span>
        <b>{count(brushed.pixels)} px</b>
        <span class="hdm-note">
          {Number.isNaN(change.value)
            ? !influence.value && unknown
            : `${percent(change.value)} of ${CHANGES[traits.result_type.value]} on ${percent(part)} of the image`}
        </span>
      </div>
      {influence.value && stat(view, map.grid, most, most < 0, "Changed most", percent(flipped), flips)}
      <Button disabled={gone.value !== ""} onClick={() => view.tools.clear()}>
        Clear
      </Button>
    </div>
  );
}
