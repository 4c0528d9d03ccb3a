// A panel below the map: what Python compares in the background, how far that is, and what it found.
import type { ComponentChildren } from "preact";
import { Button } from "../shared/button";
import { number } from "../shared/codec";
import { count, duration } from "../shared/format";
import { useId } from "../shared/unique";
import type { PanelMessage } from "./python_state";
import type { ViewState } from "./view_state";

interface Props {
  view: ViewState;
  /** As requests name it. */
  kind: "fills" | "models" | "objects";
  panel: Partial<PanelMessage>;
  heading: string;
  note: string | null;
  /** What is done in the background. */
  working: string;
  /** What of it is there already. */
  partly?: ComponentChildren;
  /** What was found. */
  children: ComponentChildren;
}

export function Below({ view, kind, panel, heading, note, working, partly, children }: Props) {
  const { request } = view.python;
  const id = useId();
  if (!panel.status) return null;
  return (
    <section class={`hdm-below hdm-${kind}`} aria-labelledby={id}>
      <header>
        <h4 id={id}>{heading}</h4>
        <p class="hdm-note">{panel.status === "done" && note}</p>
        <Button onClick={() => request(`hide_${kind}`)}>Close</Button>
      </header>
      {panel.status === "running" && (
        <Running panel={panel} working={working} cancel={() => request(`cancel_${kind}`)} />
      )}
      {panel.status === "running" && partly}
      {panel.status === "cancelled" && <p class="hdm-note">Cancelled; nothing was compared.</p>}
      {panel.status === "error" && (
        <div class="hdm-error" role="alert">
          <b>There is nothing to compare</b>
          <p>{panel.error}</p>
        </div>
      )}
      {panel.status === "done" && children}
    </section>
  );
}

interface RunningProps {
  panel: Partial<PanelMessage>;
  working: string;
  cancel(): void;
}

function Running({ panel, working, cancel }: RunningProps) {
  const { done = 0, total = 0, secondsLeft = null } = panel;
  const fraction = total ? done / total : 0;
  return (
    <div class="hdm-running">
      <span role="status">{total ? `${working} · ${count(done)} of ${count(total)} discs` : "Starting"}</span>
      <div
        class="hdm-progress"
        role="progressbar"
        aria-label={working}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={Math.round(100 * fraction)}
      >
        <i style={{ width: `${100 * fraction}%` }} />
      </div>
      {secondsLeft !== null && <span class="hdm-left">{duration(number(secondsLeft))} left</span>}
      <Button onClick={cancel}>Cancel</Button>
    </div>
  );
}
