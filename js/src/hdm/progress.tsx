// How far the scan is, and what can be done about it.
import { Button } from "../shared/button";
import { number } from "../shared/codec";
import { count, distance, duration } from "../shared/format";
import { HatchingLegend, IgnoredLegend } from "./hatching";
import type { MapMessage } from "./python_state";
import type { ViewState } from "./view_state";

/** `fixed`: there is no model to run. */
export function Progress({ view, fixed = false }: { view: ViewState; fixed?: boolean }) {
  const { traits, request, failure, gone } = view.python;
  const status = traits.status.value;
  const map = traits._map.value as Partial<MapMessage>;
  const { done = 0, total = 0, stride = 1, seconds = 0, secondsLeft = null } = map;
  // A scan without its kernel has ended, whatever Python said last.
  const running = status === "running" && !gone.value;
  const reached = done === 0 ? "before the first disc" : `at ${count(done)} of ${count(total)}`;
  const text = {
    idle: done === 0 ? "Not started" : `Paused ${reached}`,
    running: gone.value ? `Stopped ${reached}` : runningText(done, total, stride),
    // Of a scan that was read from a file no time is known.
    done: `Complete · ${count(total)} discs${seconds ? ` in ${duration(seconds)}` : ""}`,
    cancelled: `Cancelled ${reached}${done ? "; what was measured stays" : ""}`,
    error: `Stopped ${reached}`,
  }[status];
  const percent = Math.round(100 * traits.progress.value);
  return (
    <>
      {status === "error" && (
        <div class="hdm-error" role="alert">
          <b>The scan stopped</b>
          <p>{traits.error.value}</p>
          <p class="hdm-note">
            In the notebook, <code>raise explorer.exception</code> (with your name for the explorer) shows
            where it came from.
          </p>
        </div>
      )}
      {status !== "error" && traits.error.value && (
        <div class="hdm-error" role="alert">
          <b>What was asked for cannot be shown</b>
          <p>{traits.error.value}</p>
        </div>
      )}
      {failure.value && !gone.value && (
        <div class="hdm-error" role="alert">
          <b>Python could not do that</b>
          <p>{failure.value}</p>
        </div>
      )}
      <div class="hdm-foot" data-status={status}>
        <span class="hdm-status" role="status">
          {view.unanswered.value ? "Waiting for the kernel: another cell is running" : text}
        </span>
        {/* In the place of the bar, so that nothing moves. */}
        {gone.value ? (
          <span class="hdm-gone" role="alert">
            {gone.value}
          </span>
        ) : (
          <div
            class="hdm-progress"
            role="progressbar"
            aria-label="Scan"
            aria-valuemin={0}
            aria-valuemax={100}
            aria-valuenow={percent}
          >
            <i style={{ width: `${100 * traits.progress.value}%` }} />
          </div>
        )}
        {running && secondsLeft !== null && <span class="hdm-left">{duration(secondsLeft)} left</span>}
        {running ? (
          <Button onClick={() => request("cancel")}>Cancel</Button>
        ) : (
          !fixed && (
            <Button disabled={gone.value !== ""} onClick={() => request("run")}>
              {status === "error" ? "Try again" : "Run again"}
            </Button>
          )
        )}
      </div>
      <Fine view={view} />
    </>
  );
}

function runningText(done: number, total: number, stride: number): string {
  if (done === 0) return "Starting";
  return `${stride > 1 ? "Coarse map" : "Refining"} · ${count(done)} of ${count(total)}`;
}

/** Small print: how the scan is computed, and what the hatching means. */
function Fine({ view }: { view: ViewState }) {
  const { plan = "", reading = "", noise } = view.python.traits._map.value as Partial<MapMessage>;
  const about = view.python.traits._about.value;
  return (
    <div class="hdm-fine">
      {plan && !reading && (
        <p class="hdm-note hdm-plan" title={plan}>
          {plan}
        </p>
      )}
      {plan && reading && (
        <details class="hdm-note hdm-plan">
          <summary title="How the model's output is read">{plan}</summary>
          <p class="hdm-reading">{reading}</p>
        </details>
      )}
      {noise && (
        <p class="hdm-note hdm-noise">
          The model is random: without any disc its mask changes by up to {count(noise.pixels)} px, its{" "}
          {about.label || "distance"} by {distance(number(noise.distance), about)}. Smaller differences in the
          map say nothing.
        </p>
      )}
      <HatchingLegend view={view} />
      <IgnoredLegend view={view} />
    </div>
  );
}
