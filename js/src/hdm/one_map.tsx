// One of several maps side by side, with its name.
import { Stage } from "./stage";
import { told } from "./texts";
import type { ViewState } from "./view_state";

interface MapProps {
  name: string;
  note: string;
  view: ViewState;
  helpId: string;
}

export function OneMap({ name, note, view, helpId }: MapProps) {
  return (
    <figure class="hdm-one">
      <figcaption>
        <b title={name}>{name}</b> <span class="hdm-note">{note}</span>
      </figcaption>
      <Stage view={view} helpId={helpId} name={name} />
    </figure>
  );
}

/** What a model gives without a disc. */
export function withoutDisc(view: ViewState): string {
  const map = view.map.value;
  const { fromPrediction, ...about } = view.python.traits._about.value;
  if (!map) return "waits";
  if (fromPrediction || map.stale) return "";
  return `without a disc ${told(map.baseline, { ...about, fromPrediction })}`;
}
