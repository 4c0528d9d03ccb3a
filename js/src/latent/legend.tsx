// What the colors mean, and what happened.
import { number } from "../shared/codec";
import { count } from "../shared/format";
import type { Python } from "../shared/traits";
import type { Categories, LegendTraits, Scale, Surface } from "./python_state";

export function Legend({ python }: { python: Python<LegendTraits> }) {
  const { legend, surface, sample, notice, background } = python.traits;
  const { drawn, total } = sample.value;
  const behind = surface.value as Partial<Surface>;
  const score = number(behind.score);
  return (
    <section class="hdm hdm-legend" aria-label="Legend">
      {legend.value.kind === "scale" && <ScaleBar scale={legend.value as Scale} />}
      {legend.value.kind === "categories" && <Chips legend={legend.value as Categories} />}
      {behind.colors && background.value !== "none" && (
        <div class="hdm-legend-row">
          <span class="hdm-swatch" style={{ background: gradient(behind.colors) }} aria-hidden="true" />
          <span class="hdm-note">
            Background: expected IoU
            {behind.learnedFrom != null && <>, learned from {count(behind.learnedFrom)} items</>}
            {!Number.isNaN(score) && (
              <>
                , cross-validated R² {score.toFixed(2).replace("-", "−")}
                {score <= 0 && ": no better than the mean"}
              </>
            )}
          </span>
        </div>
      )}
      {drawn < total && (
        <p class="hdm-sample">
          {count(drawn)} of {count(total)} points are drawn, chosen at random. A lasso selects drawn points
          only; a cluster selects all its items.
        </p>
      )}
      <p class="hdm-notice" role="status">
        {notice.value}
      </p>
    </section>
  );
}

const gradient = (colors: string[]) => `linear-gradient(90deg, ${colors.join(",")})`;

function ScaleBar({ scale }: { scale: Scale }) {
  const whole = scale.high - scale.low > 10;
  const text = (value: number) => (whole ? count(Math.round(value)) : String(+value.toPrecision(3)));
  return (
    <div class="hdm-legend-row">
      <b>{scale.title}</b>
      <span class="hdm-number">{text(scale.low)}</span>
      <span class="hdm-ramp" style={{ background: gradient(scale.colors) }} aria-hidden="true" />
      <span class="hdm-number">{text(scale.high)}</span>
      {scale.missing > 0 && (
        <span class="hdm-chip-entry">
          <i style={{ background: "#9aa4b2" }} />
          not defined <span class="hdm-note">{count(scale.missing)}</span>
        </span>
      )}
      {scale.bothEmpty !== undefined && (
        <span class="hdm-note">
          {scale.bothEmptyValue} also where truth and prediction are empty: {count(scale.bothEmpty)} items
        </span>
      )}
    </div>
  );
}

function Chips({ legend }: { legend: Categories }) {
  return (
    <div class="hdm-legend-row">
      <b>{legend.title}</b>
      {legend.entries.map(({ color, label, count: number }) => (
        <span class="hdm-chip-entry" key={label}>
          <i style={{ background: color }} />
          {label} <span class="hdm-note">{count(number)}</span>
        </span>
      ))}
      {legend.more > 0 && <span class="hdm-note">and {count(legend.more)} more</span>}
    </div>
  );
}
