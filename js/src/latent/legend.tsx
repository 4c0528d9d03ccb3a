// What the colours mean, and what happened.
import { count } from "../shared/format";
import type { Python } from "../shared/traits";
import type { MapName } from "./names";
import type { PointsMessage } from "./points";
import type { Mode } from "./toolbar";

interface Scale {
  kind: "scale";
  title: string;
  low: number;
  high: number;
  colors: string[];
  missing: number;
  /** Items with nothing to find and nothing drawn, and the score that they are given. */
  blank?: number;
  blankValue?: number;
}

interface Categories {
  kind: "categories";
  title: string;
  entries: { color: string; label: string; count: number }[];
  more: number;
}

interface Surface {
  colors: string[];
  score: number | null;
  learnedFrom: number | null;
}

export interface LegendTraits {
  mode: Mode;
  background: string;
  legend: Scale | Categories | Record<string, never>;
  surface: Surface | Record<string, never>;
  sample: { drawn: number; total: number };
  notice: string;
  names: MapName[];
  _points: PointsMessage;
}

export const LEGEND = [
  "mode",
  "background",
  "legend",
  "surface",
  "sample",
  "notice",
  "names",
  "_points",
] as const;

export function Legend({ python }: { python: Python<LegendTraits> }) {
  const { legend, surface, sample, notice, background } = python.traits;
  const { drawn, total } = sample.value;
  const behind = surface.value as Partial<Surface>;
  return (
    <section class="hdm hdm-legend" aria-label="Legend">
      {legend.value.kind === "scale" && <ScaleBar scale={legend.value as Scale} />}
      {legend.value.kind === "categories" && <Chips legend={legend.value as Categories} />}
      {behind.colors && background.value !== "none" && (
        <div class="hdm-legend-row">
          <span class="hdm-swatch" style={{ background: gradient(behind.colors) }} aria-hidden="true" />
          <span class="hdm-note">
            Background: the IoU to expect there
            {behind.learnedFrom != null && <>, learned from {count(behind.learnedFrom)} items</>}
            {behind.score != null && (
              <>
                , R² {behind.score.toFixed(2).replace("-", "−")} on items left out
                {behind.score <= 0 && ": no better than the mean"}
              </>
            )}
          </span>
        </div>
      )}
      {drawn < total && (
        <p class="hdm-sample">
          {count(drawn)} of {count(total)} points are drawn, chosen at random. A lasso takes those drawn;
          clusters have all their members.
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
      {scale.blank !== undefined && (
        <span class="hdm-note">
          {scale.blankValue} also where there is nothing to find and nothing drawn: {count(scale.blank)} items
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
