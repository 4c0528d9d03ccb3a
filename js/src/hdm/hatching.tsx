// What was not measured: hatched on the map, and a line that says so.
import { useComputed } from "@preact/signals";
import { count, distance } from "../shared/format";
import { areas, discs, type Grid } from "../shared/geometry";
import { useId } from "../shared/unique";
import type { ViewState } from "./view_state";

/** In pixels of the screen: the stage's usual width, and from one stripe to the next along it. */
const STAGE = 560;
const STEP = 9;

/** Stripes over the cells that are drawn by an estimate; they are cut out of one sheet, so they go on from cell to cell. */
export function Hatching({ view }: Props) {
  return (
    <Hatched view={view} cells={(view) => view.map.value?.estimated?.map((one) => one & 1) ?? null} kind="" />
  );
}

/** Stripes over the cells that cannot be told from chance; they fall, where those of estimates rise. */
export function ChanceHatching({ view }: Props) {
  return <Hatched view={view} cells={(view) => view.chance.value?.cells ?? null} kind="hdm-chance" />;
}

interface Props {
  view: ViewState;
}

interface HatchedProps extends Props {
  cells(view: ViewState): Uint8Array | null;
  kind: string;
}

function Hatched({ view, cells, kind }: HatchedProps) {
  const id = useId();
  const shape = useComputed(() => {
    const [map, chosen] = [view.map.value, cells(view)];
    return map && chosen ? areas(chosen, map.grid) : "";
  });
  const map = view.map.value;
  if (!map || !shape.value) return null;
  const { height, width } = map.grid;
  return (
    <>
      <svg class="hdm-layer" aria-hidden>
        <clipPath id={id} clipPathUnits="objectBoundingBox">
          <path d={shape.value} transform={`scale(${1 / width} ${1 / height})`} />
        </clipPath>
      </svg>
      <div
        class={`hdm-layer hdm-map hdm-hatching ${kind} ${map.stale ? "hdm-stale" : ""}`}
        style={{
          "--opacity": view.python.traits.opacity.value,
          "--period": `${100 * period(map.grid)}%`,
          clipPath: `url(#${id})`,
        }}
      />
    </>
  );
}

/**
 * From one stripe to the next, as a fraction of the diagonal's length in CSS, width + height.
 *
 * About 6 px on a screen. Every cell has a whole number of stripes, or a stripe a whole number of cells: all cells look
 * alike then, and the stripes do not beat with them.
 */
export function period({ height, width, offset }: Grid): number {
  const stripes = ((offset / width) * STAGE) / STEP;
  const across = stripes >= 1 ? offset / Math.round(stripes) : offset * Math.round(1 / stripes);
  return across / (width + height);
}

/** What the stripes over the image mean, if there are any. */
export function IgnoredLegend({ view }: { view: ViewState }) {
  const ignored = view.ignored.value;
  if (!ignored) return null;
  const fraction = ignored.reduce((sum, one) => sum + one, 0) / ignored.length;
  const percent = fraction < 0.01 ? "less than 1" : Math.round(100 * fraction);
  const { _ignored, _nearer_to_others } = view.python.traits;
  const ofObject = _nearer_to_others.value?.byteLength > 0;
  return (
    <p class="hdm-note">
      Striped: {percent} % of the image counts neither in distances nor in IoU
      {ofObject && `: it is nearer to other objects${_ignored.value.byteLength ? " or ignored" : ""}`}
    </p>
  );
}

/** What the hatching of the map means, while there is any. */
export function HatchingLegend({ view }: { view: ViewState }) {
  const { traits } = view.python;
  const estimated = view.map.value?.estimated;
  if (!estimated?.includes(1) || !traits.layers.value.includes("map")) return null;
  const yet = traits.status.value === "running" ? " yet" : "";
  return (
    <p class="hdm-note hdm-hatched">
      <i class="hdm-hatching" aria-hidden />
      Hatched: {estimated.includes(2) ? "estimated, not certain" : `not measured${yet}, but estimated`}
    </p>
  );
}

/** Outlines of the discs that matter beyond chance: the stripes of those beside them lie on them where they overlap. */
export function SignificantOutlines({ view }: Props) {
  const path = useComputed(() => {
    const [map, chance] = [view.map.value, view.chance.value];
    if (!map || !chance) return "";
    const square = view.python.traits.shape.value === "square";
    return discs(
      map.measured.map((one, cell) => one & ~chance.cells[cell] & 1),
      map.grid,
      square,
    );
  });
  return path.value ? <path class="hdm-significant" d={path.value} /> : null;
}

/** What the stripes of the map of significance mean, and how many cells have none. */
export function ChanceLegend({ view }: Props) {
  const { traits } = view.python;
  const chance = view.chance.value;
  if (!chance || !traits.layers.value.includes("map")) return null;
  const measured = view.map.value?.measured.reduce((sum, one) => sum + one, 0) ?? 0;
  const hatched = chance.cells.reduce((sum, one) => sum + one, 0);
  const most = distance(chance.floor, traits._about.value);
  return (
    <p class="hdm-note hdm-hatched">
      <i class="hdm-hatching hdm-chance" aria-hidden />
      <span>
        {count(measured - hatched)} of {count(measured)} discs matter beyond chance; hatched ones do not
        {chance.floor > 0 && `: chance explains changes of up to ${most}`}
      </span>
    </p>
  );
}
