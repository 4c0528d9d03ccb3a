// Maps of several models side by side, and their difference, with one set of controls.
import { ColorBar } from "../hdm/color_bar";
import { DiscControls, LayerControls, LookControls, ShowControls } from "../hdm/controls";
import { Inspector } from "../hdm/inspector";
import { OneMap, withoutDisc } from "../hdm/one_map";
import { Progress } from "../hdm/progress";
import { QuestionRow } from "../hdm/question";
import { Keys } from "../hdm/tools";
import type { ViewState } from "../hdm/view_state";
import { count } from "../shared/format";
import { cols, rows } from "../shared/geometry";
import { useId } from "../shared/unique";
import type { ComparisonState } from "./state";

export function Comparison({ state }: { state: ComparisonState }) {
  const { models, difference, whole } = state;
  const help = useId();
  const pinned = state.python.traits.cell.value;
  const fixed = state.python.traits._ready_made.value;
  const [first, second] = models;
  return (
    <section class="hdm hdm-explorer hdm-comparison" aria-label="Comparison of models">
      <QuestionRow view={whole} />
      <div class="hdm-maps">
        {models.map(({ name, view }) => (
          <OneMap key={name} name={name} note={withoutDisc(view)} view={view} helpId={help} />
        ))}
        <OneMap
          name={`${second.name} − ${first.name}`}
          note={difference.map.value ? "" : "when both are measured"}
          view={difference}
          helpId={help}
        />
      </div>
      <div class="hdm-settings">
        {fixed ? <Fixed view={whole} /> : <DiscControls view={whole} />}
        <ShowControls view={whole}>
          <ColorBar view={whole} />
          <ColorBar view={difference} />
        </ShowControls>
        <div class="hdm-group">
          <LookControls view={whole} />
          <LayerControls view={whole} />
          <Keys view={whole} id={help} />
        </div>
      </div>
      <Progress view={whole} fixed={fixed} />
      {pinned ? (
        models.map(({ name, view }) => (
          <section key={name} class="hdm-of-model" aria-label={`Pinned disc: ${name}`}>
            <h3>{name}</h3>
            <Inspector view={view} />
          </section>
        ))
      ) : (
        <Inspector view={models[0].view} />
      )}
    </section>
  );
}

/** In place of the controls of a scan, where there is nothing to scan with. */
function Fixed({ view }: { view: ViewState }) {
  const { circleSize, offset, ...size } = view.grid.value;
  const grid = { circleSize, offset, ...size };
  return (
    <div class="hdm-group">
      <h3>Discs</h3>
      <p class="hdm-note">
        {rows(grid)} × {cols(grid)} grid · {count(rows(grid) * cols(grid))} discs of {circleSize} px, {offset}{" "}
        px apart. Made of results: there are no models to scan with other discs.
      </p>
    </div>
  );
}
