// What the colors mean, and what happened.
import { useEffect, useRef, useState } from "preact/hooks";
import { number } from "../shared/codec";
import { count } from "../shared/format";
import type { Python } from "../shared/traits";
import { Busy } from "./busy";
import { SEARCHING, UNFINISHED } from "./marks";
import type { Categories, Density, LegendTraits, NewItems, Scale, Surface } from "./python_state";

export function Legend({ python }: { python: Python<LegendTraits> }) {
  const { legend, surface, total, density, notice, background } = python.traits;
  const fresh = python.traits.new.value as Partial<NewItems>;
  const behind = surface.value as Partial<Surface>;
  const score = number(behind.score);
  return (
    <section class="hdm hdm-legend" aria-label="Legend">
      {legend.value.kind === "scale" && (
        <ScaleBar scale={legend.value as Scale} gone={python.gone.value !== ""} />
      )}
      {legend.value.kind === "categories" && <Chips legend={legend.value as Categories} />}
      {legend.value.kind === "search" && <Search legend={legend.value as Categories} python={python} />}
      {behind.colors && background.value !== "none" && (
        <div class="hdm-legend-row">
          <span class="hdm-swatch" style={{ background: gradient(behind.colors) }} aria-hidden />
          <span class="hdm-note">
            Background: IoU by place
            {behind.learnedFrom != null && <>, learned from {count(behind.learnedFrom)} items</>}
            {!Number.isNaN(score) && (
              <>
                , cross-validated R² {score.toFixed(2).replace("-", "−")}
                {score <= 0 && ": no better than the mean"}
              </>
            )}
            . A picture of the map, not the estimate for an image.
          </span>
        </div>
      )}
      {fresh.colors && (
        <NewRow items={fresh as NewItems} shown={density.value?.new} withScale={!isScores(legend.value)} />
      )}
      {density.value?.inView !== undefined && (
        <DensityNote density={density.value as Density} total={total.value} />
      )}
      <p class="hdm-notice" role="status">
        {notice.value}
      </p>
    </section>
  );
}

const ORDINALS = ["first", "second"];

/** What the images of very many items show. */
function DensityNote({ density, total }: { density: Density; total: number }) {
  const maps = [density, ...(density.others ?? [])];
  const named = (key: "inView" | "most") => {
    const values = maps.map((map) => map[key]);
    if (values.every((value) => value === values[0])) return count(values[0]);
    const shown = values.map((value, i) => (value ? `${count(value)} (${ORDINALS[i]} map)` : ""));
    return shown.filter(Boolean).join(", ") || "0";
  };
  const seen = maps.some(({ inView }) => inView < total)
    ? `${named("inView")} of ${count(total)} items are in view`
    : `${count(total)} items`;
  return (
    <p class="hdm-note hdm-density">
      {maps.every(({ most }) => !most) ? (
        <>{seen}, one point each.</>
      ) : (
        <>
          {seen}. A pixel has the mean color of its items. Opacity:
          <span class="hdm-scale">
            <span class="hdm-number">1</span>
            <span class="hdm-ramp hdm-short hdm-density-ramp" aria-hidden />
            <span class="hdm-number">{named("most")}</span>
          </span>
          items, on a logarithmic scale. Zoom in to see points.
        </>
      )}
    </p>
  );
}

/** Whether the colors of the points are those of the expected IoU. */
const isScores = (legend: LegendTraits["legend"]) => legend.kind === "scale" && /IoU$/.test(legend.title);

/** New items, and what their colors mean where the scale above does not say so. */
function NewRow({
  items,
  shown,
  withScale,
}: {
  items: NewItems;
  shown: Density | undefined;
  withScale: boolean;
}) {
  return (
    <>
      <div class="hdm-legend-row">
        <span class="hdm-note">
          <i class="hdm-diamond" aria-hidden />
          {count(items.count)} new {items.count === 1 ? "item" : "items"}, by expected IoU
          {!withScale && ", on the same scale"}
        </span>
        {withScale && (
          <span class="hdm-scale">
            <span class="hdm-number">0</span>
            <span class="hdm-ramp hdm-short" style={{ background: gradient(items.colors) }} aria-hidden />
            <span class="hdm-number">1</span>
          </span>
        )}
        {items.outside > 0 && (
          <span class="hdm-note">
            {count(items.outside)} lie farther out than the map and are at its edge
          </span>
        )}
        {shown && (
          <span class="hdm-note">
            {shown.inView < items.count && `${count(shown.inView)} are in view. `}
            {shown.most > 0 &&
              `A diamond has the mean color of 1 (faint) to ${count(shown.most)} (opaque) of them.`}
          </span>
        )}
      </div>
      {items.skill && <p class="hdm-sample">{items.skill}</p>}
    </>
  );
}

const gradient = (colors: string[]) => `linear-gradient(90deg, ${colors.join(",")})`;

function ScaleBar({ scale, gone }: { scale: Scale; gone: boolean }) {
  const whole = scale.high - scale.low > 10;
  const text = (value: number) => (whole ? count(Math.round(value)) : String(+value.toPrecision(3)));
  const ticks = scale.dates?.ticks ?? [];
  return (
    <div class="hdm-legend-row">
      <Title text={scale.title} />
      <span class={`hdm-scale ${scale.dates ? "hdm-dates" : ""}`}>
        <span class="hdm-number">{scale.ends?.[0] ?? scale.dates?.low ?? text(scale.low)}</span>
        <span class="hdm-ramp" style={{ background: gradient(scale.colors) }} aria-hidden>
          {ticks.map(({ at, label }) => (
            <span class="hdm-tick" key={label} style={{ left: `${100 * at}%` }}>
              {label}
            </span>
          ))}
        </span>
        <span class="hdm-number">{scale.ends?.[1] ?? scale.dates?.high ?? text(scale.high)}</span>
      </span>
      {scale.note && <span class="hdm-note">{scale.note}</span>}
      {scale.missing > 0 && <Chip color="#9aa4b2" label={scale.missingLabel} items={scale.missing} />}
      {scale.state === "running" && (
        <div class="hdm-suspects-note" role="status" aria-busy={!gone}>
          <p class="hdm-note">{gone ? UNFINISHED : SEARCHING}</p>
          {!gone && <Busy />}
        </div>
      )}
      {scale.state === "error" && (
        <span class="hdm-notice" role="alert">
          <b>Suspicion is not available</b>: {scale.error}
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
    <div class="hdm-legend-row hdm-chips">
      <Title text={legend.title} />
      {legend.entries.map(({ color, label, count: items }, position) => (
        // A category may be called like "missing" or "other (3)".
        <Chip key={position} color={color} label={label} items={items} />
      ))}
    </div>
  );
}

const Title = ({ text }: { text: string }) => (
  <b class="hdm-ellipsis" title={text}>
    {text}
  </b>
);

/** A color, what it stands for, shortened where there is no room for it, and for how many items. */
const Chip = ({ color, label, items }: { color: string; label: string; items: number }) => (
  <span class="hdm-chip-entry" title={`${label}: ${count(items)} items`}>
    <i style={{ background: color }} />
    <span class="hdm-ellipsis">{label}</span> <span class="hdm-note">{count(items)}</span>
  </span>
);

const REST = 250; // ms without a key until what was typed is searched

function Search({ legend, python }: { legend: Categories; python: Python<LegendTraits> }) {
  const asked = python.traits.search.value;
  const [typed, setTyped] = useState(asked);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  // Another search may come from Python, and none with another column.
  useEffect(() => setTyped(asked), [asked, legend.title]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const search = (text: string, rest: number) => {
    setTyped(text);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => python.set("search", text), rest);
  };
  return (
    <>
      <input
        class="hdm-search"
        type="search"
        aria-label={`Search ${legend.title}`}
        placeholder={`Search ${legend.title}`}
        value={typed}
        disabled={Boolean(python.gone.value)}
        onInput={(event) => search(event.currentTarget.value, REST)}
        onKeyDown={(event) => event.key === "Enter" && search(event.currentTarget.value, 0)}
      />
      <Chips legend={legend} />
    </>
  );
}
