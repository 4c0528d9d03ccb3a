// What the colors mean: distances, in pixels or another unit.
import { distance, tick, tickDecimals, ticks } from "../shared/format";
import { blended, changes, fraction } from "../shared/paint";
import { useId } from "../shared/unique";
import type { About } from "./python_state";
import { constantMap, meaning, withoutValues } from "./texts";
import type { ShownMap, ViewState } from "./view_state";

export function ColorBar({ view }: { view: ViewState }) {
  const { traits } = view.python;
  const about = view.about.value;
  const { unit, decimals } = about;
  const span = view.span.value;
  const note = useId();
  const type = view.resultType.value;
  const floor = view.chance.value?.floor ?? 0;
  const constant = span && span.high <= span.low;
  const cursor = view.cursor.value;
  const value = cursor ? valueAt(view, cursor[0], cursor[1]) : Number.NaN;
  const baseline = view.map.value?.baseline ?? Number.NaN;
  const noise = view.map.value?.noise ?? 0;
  const none = view.map.value && whyNone(about, view.map.value);
  // As on the stage, where what hardly changes has hardly a color.
  const largest = view.painted.value?.largest ?? 0;
  const weight = (value: number) =>
    largest > 0 ? Math.min(1, changes(Float64Array.of(value), baseline, type)[0] / largest) : 1;
  const colors = blended(
    view.table.value,
    traits.opacity.value,
    weight,
    span ?? undefined,
    traits._ground.value,
  );
  const marks = span && !constant ? ticks(span.low, span.high) : [];
  const digits = tickDecimals(marks, span && span.high - span.low > 20 ? 0 : decimals);
  return (
    <div class="hdm-scale" role="img" aria-labelledby={note}>
      <div class="hdm-bar" style={{ background: gradient(colors) }}>
        {span && !constant && floor > 0 && Number.isFinite(baseline) && (
          <b
            style={band(baseline - floor, baseline + floor, span)}
            title={`Noise floor: chance explains changes of up to ${distance(floor, about)}`}
          />
        )}
        {type === "raw" && span && !constant && noise > 0 && Number.isFinite(baseline) && (
          <b
            style={band(baseline - noise, baseline + noise, span)}
            title={`Noise of the model: ${distance(noise, about)}`}
          />
        )}
        {type === "raw" && span && !constant && Number.isFinite(baseline) && (
          <em
            style={{ left: `${100 * fraction(baseline, span)}%` }}
            title={`Without a disc: ${distance(baseline, about)}`}
          />
        )}
        {!Number.isNaN(value) && !constant && <i style={{ left: `${100 * fraction(value, span)}%` }} />}
      </div>
      <div class="hdm-ticks" aria-hidden>
        {marks.map((mark, index) => (
          <span key={mark} style={{ left: `${100 * fraction(mark, span)}%` }}>
            {tick(mark, digits)}
            {index === marks.length - 1 && unit ? ` ${unit}` : ""}
          </span>
        ))}
      </div>
      <p class="hdm-note" id={note}>
        {none || (constant ? constantMap(about, type, span.low) : meaning(about, type))}
      </p>
    </div>
  );
}

/** Why the measured cells of a map have no colors; empty where they have. */
function whyNone(about: About, { raw, measured, oneEmpty }: ShownMap): string {
  const [values, empty] = [
    raw.filter((_, cell) => measured[cell]),
    oneEmpty.filter((_, cell) => measured[cell]),
  ];
  return withoutValues(about, values, empty);
}

/** Where on the bar values from `low` to `high` lie. */
function band(low: number, high: number, span: { low: number; high: number }) {
  const [left, right] = [low, high].map((value) => 100 * Math.min(1, Math.max(0, fraction(value, span))));
  return { left: `${left}%`, width: `${right - left}%` };
}

function valueAt(view: ViewState, row: number, col: number): number {
  const map = view.map.value;
  const values = view.values.value;
  if (!map || !values || !view.at([row, col])?.measured) return Number.NaN;
  return values[row * Math.floor(map.grid.width / map.grid.offset) + col];
}

function gradient(table: Uint8Array): string {
  const stops: string[] = [];
  for (let i = 0; i <= 32; i++) {
    const entry = 3 * Math.min(255, i * 8);
    stops.push(`rgb(${table[entry]} ${table[entry + 1]} ${table[entry + 2]})`);
  }
  return `linear-gradient(90deg, ${stops.join(",")})`;
}
