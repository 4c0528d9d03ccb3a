// One pinned disc: what the model saw, what it drew, and the two pixels that make the distance.
import { useSignalEffect } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useRef } from "preact/hooks";
import { number, unpackBits } from "../shared/codec";
import { compared, paint, palette } from "../shared/errors";
import { count, distance, noMask } from "../shared/format";
import { usePicture } from "../shared/picture";
import type { Inspection } from "./python_state";
import type { ViewState } from "./view_state";

export function Inspector({ view }: { view: ViewState }) {
  const { traits } = view.python;
  const inspection = traits._inspector.value as Partial<Inspection>;
  const pinned = traits.cell.value;
  if (!pinned && !view.map.value) return null;
  if (!pinned) {
    return (
      <div class="hdm-inspector hdm-empty">
        <p class="hdm-note">
          Click a disc, or press Enter on it, to see what the model saw there and what it drew.
        </p>
      </div>
    );
  }
  const [row, col] = pinned;
  const waiting =
    inspection.pending !== false || inspection.cell?.[0] !== row || inspection.cell?.[1] !== col;
  if (waiting) {
    const ended = traits.status.value !== "running" && !view.at(pinned)?.measured;
    return (
      <div class="hdm-inspector hdm-empty" aria-busy={!ended}>
        <p class="hdm-note">
          Row {row}, column {col} is pinned;{" "}
          {ended ? "the scan ended before it was measured." : "it is shown as soon as it is measured."}
        </p>
      </div>
    );
  }
  return <Found view={view} found={inspection as Inspection} />;
}

function Found({ view, found }: { view: ViewState; found: Inspection }) {
  const { traits } = view.python;
  const { height, width, unit } = traits._about.value;
  const url = usePicture(found.picture);
  const value = number(found.distance);
  const change = number(found.change);
  const ratio = { aspectRatio: `${width} / ${height}` };
  return (
    <div class="hdm-inspector">
      <Figure caption="What the model saw">
        <div class="hdm-thumb" style={ratio}>
          {url && <img class="hdm-layer" src={url} alt="With the disc" />}
        </div>
      </Figure>
      <Figure
        caption={
          <>
            <b class="hdm-hit">Hit</b> · <b class="hdm-missed">missed</b> · <b class="hdm-added">added</b>
          </>
        }
      >
        <div class="hdm-thumb" style={ratio}>
          <Errors view={view} colours />
        </div>
      </Figure>
      <Figure caption={pairCaption(found, height, width)}>
        <div class="hdm-thumb" style={ratio}>
          <Errors view={view} colours={false} />
          {found.pair && <Pair pair={found.pair} height={height} width={width} />}
        </div>
      </Figure>
      <div class="hdm-numbers">
        <p class="hdm-big">{distance(value, unit)}</p>
        <p class="hdm-note">
          pinned cell row {found.cell[0]}, column {found.cell[1]}
        </p>
        <dl>
          <dt>Without the disc</dt>
          <dd>{distance(value - change, unit)}</dd>
          <dt>Change</dt>
          <dd>{changeText(change, unit)}</dd>
          <dt>IoU</dt>
          <dd>{found.iou.toFixed(2)}</dd>
          <dt>Rank</dt>
          <dd>
            {count(found.rank)} of {count(found.of)}
          </dd>
        </dl>
        <button type="button" class="hdm-button" onClick={() => view.python.set("cell", null)}>
          Release
        </button>
      </div>
    </div>
  );
}

function changeText(change: number, unit: string): string {
  if (Number.isNaN(change)) return "not defined";
  if (Math.abs(change) < 0.05) return "none";
  return `${distance(Math.abs(change), unit)} ${change > 0 ? "worse" : "better"}`;
}

function pairCaption(found: Inspection, height: number, width: number): string {
  if (found.pair) {
    const where =
      found.from === "a" ? "Added pixel and the nearest true one" : "Missed pixel and the nearest drawn one";
    return `${where}: ${distance(number(found.pairDistance), "px")} apart`;
  }
  if (!found.empty) return "The two masks are equal";
  const diagonal = noMask({ height, width }, number(found.distance), "px");
  return `The model draws nothing, so there is no pair${diagonal ? "; the distance is the picture's diagonal" : ""}`;
}

function Figure({ caption, children }: { caption: ComponentChildren; children: ComponentChildren }) {
  return (
    <figure>
      {children}
      <figcaption>{caption}</figcaption>
    </figure>
  );
}

/** The new mask against the truth, over the dimmed picture. */
function Errors({ view, colours }: { view: ViewState; colours: boolean }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { traits } = view.python;
  const url = usePicture(traits._picture.value);
  useSignalEffect(() => {
    const { height, width } = traits._about.value;
    const found = traits._inspector.value as Partial<Inspection>;
    if (!canvas.current || !found.mask) return;
    const drawn = unpackBits(found.mask, height * width);
    paint(canvas.current, compared(view.truth.value.mask, drawn, palette(canvas.current)), height, width);
  });
  return (
    <>
      {url && <img class="hdm-layer hdm-dim" src={url} alt="" />}
      <canvas
        ref={canvas}
        class={`hdm-layer ${colours ? "" : "hdm-muted"}`}
        role="img"
        aria-label="The model's mask against the truth: hit, missed and added pixels"
      />
    </>
  );
}

function Pair({
  pair,
  height,
  width,
}: {
  pair: NonNullable<Inspection["pair"]>;
  height: number;
  width: number;
}) {
  const [from, to] = pair.map(([row, col]) => ({ x: col + 0.5, y: row + 0.5 }));
  const dot = Math.max(height, width) / 60;
  return (
    <svg class="hdm-lines" viewBox={`0 0 ${width} ${height}`} aria-hidden="true">
      <line class="hdm-pair-halo" x1={from.x} y1={from.y} x2={to.x} y2={to.y} />
      <line class="hdm-pair" x1={from.x} y1={from.y} x2={to.x} y2={to.y} />
      <circle class="hdm-end" cx={from.x} cy={from.y} r={dot} />
      <circle class="hdm-end" cx={to.x} cy={to.y} r={dot} />
    </svg>
  );
}
