// One pinned disc: what the model saw, what it predicted, and the two pixels that make the distance.
import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { Button } from "../shared/button";
import { maskSize, putPixels, resized, striped } from "../shared/canvas";
import { number, unpackBits } from "../shared/codec";
import { compared, palette } from "../shared/errors";
import { change, count, distance, rounded } from "../shared/format";
import type { Size } from "../shared/geometry";
import { usePng } from "../shared/png";
import { useTheme } from "../shared/theme";
import { maskGrid } from "./large";
import type { About, Inspection, Prediction } from "./python_state";
import { comparedWith, told, worsening } from "./texts";
import type { ViewState } from "./view_state";

/** Measures in which no two pixels are a distance apart. */
const OF_AREAS = ["iou", "dice", "area", "flipped"];

/** Along the longer side, over pixels that do not count. */
const STRIPES = 20;

export function Inspector({ view }: { view: ViewState }) {
  const { gone, traits } = view.python;
  const inspection = traits._inspector.value as Partial<Inspection>;
  const pinned = traits.cell.value;
  if (!pinned && !view.map.value) return null;
  if (!pinned) {
    return (
      <div class="hdm-inspector hdm-empty">
        <p class="hdm-note">
          {gone.value
            ? "No disc is pinned."
            : "Click a disc, or press Enter on it, to see what the model saw and predicted there."}
        </p>
      </div>
    );
  }
  const [row, col] = pinned;
  const waiting =
    inspection.pending !== false || inspection.cell?.[0] !== row || inspection.cell?.[1] !== col;
  if (waiting) {
    const ended = gone.value !== "" || (traits.status.value !== "running" && !view.at(pinned)?.measured);
    return (
      <div class="hdm-inspector hdm-empty" aria-busy={!ended}>
        <p class="hdm-note">
          Row {row}, column {col} is pinned;{" "}
          {view.outside(pinned)
            ? "it is outside the region."
            : ended
              ? "the scan ended before it was measured."
              : "it is shown as soon as its masks are there."}
        </p>
      </div>
    );
  }
  return <Found view={view} found={inspection as Inspection} />;
}

interface FoundProps {
  view: ViewState;
  found: Inspection;
}

/** Of a large image there is a part. */
const ratioOf = ({ part }: Inspection, size: Size) => {
  const { height, width } = LARGE && part ? part : size;
  return { aspectRatio: `${width} / ${height}` };
};

function Found({ view, found }: FoundProps) {
  const about = view.asked.value;
  const { height, width } = about;
  const { prediction } = found;
  const url = usePng(found.image);
  const value = number(found.distance);
  const baseline = number(found.baseline);
  const ratio = ratioOf(found, { height, width });
  return (
    <div class="hdm-inspector">
      <Figure
        caption={
          view.python.oneScan && !found.image.byteLength
            ? "What the model saw was not stored"
            : "What the model saw"
        }
      >
        <div class="hdm-thumb" style={ratio}>
          {url && <img class="hdm-layer" src={url} alt="With the disc" />}
        </div>
      </Figure>
      {prediction && <Predicted view={view} found={found} />}
      <div class="hdm-numbers">
        <p class="hdm-big">{told(value, about)}</p>
        <p class="hdm-note">
          at row {found.cell[0]}, column {found.cell[1]}
          {view.at(found.cell)?.measured === false && ", estimated"}
        </p>
        <dl>
          {!about.fromPrediction && (
            <>
              <dt>Without the disc</dt>
              <dd>{distance(baseline, about)}</dd>
              <dt>Change</dt>
              <dd>
                {change(worsening(rounded(value, about), rounded(baseline, about), about), about, "none")}
              </dd>
            </>
          )}
          {prediction && (
            <>
              <dt>{about.fromPrediction ? `IoU with the ${comparedWith(about)}` : "IoU"}</dt>
              <dd>{prediction.iou.toFixed(2)}</dd>
            </>
          )}
          <dt>Rank</dt>
          <dd>{found.rank === null ? "none" : `${count(found.rank)} of ${count(found.of)}`}</dd>
        </dl>
        {!prediction && <p class="hdm-note">The scan keeps no masks to compare (keep_outputs=False).</p>}
        <Button disabled={view.python.gone.value !== ""} onClick={() => view.pin(null)}>
          Release
        </Button>
      </div>
    </div>
  );
}

/** The new mask against the truth, and the pair of pixels between which the distance is measured. */
function Predicted({ view, found }: FoundProps) {
  const prediction = found.prediction as Prediction;
  const about = view.asked.value;
  const ratio = ratioOf(found, about);
  const [hit, missed, added] = changed(about) ? ["Kept", "lost", "gained"] : ["Hit", "missed", "added"];
  return (
    <>
      <Figure
        caption={
          <>
            <b class="hdm-hit">{hit}</b> · <b class="hdm-missed">{missed}</b> ·{" "}
            <b class="hdm-added">{added}</b>
          </>
        }
      >
        <div class="hdm-thumb" style={ratio}>
          <Errors view={view} found={found} />
        </div>
      </Figure>
      {!OF_AREAS.includes(about.measure) && (
        <Figure caption={pairCaption(prediction, about)}>
          <div class="hdm-thumb" style={ratio}>
            <Errors view={view} found={found} muted />
            {prediction.pair && <Pair pair={prediction.pair} size={(LARGE && found.part) || about} />}
          </div>
        </Figure>
      )}
    </>
  );
}

/** Whether the mask is compared with the one without a disc. */
const changed = ({ comparedWith, measure }: About): boolean =>
  comparedWith === "prediction" || measure === "flipped";

function pairCaption(prediction: Prediction, about: About): string {
  const { truthEmpty, empty, unit, lengthUnit, decimals, measure, ofObject } = about;
  if (prediction.pair) {
    const [added, missed] = changed(about)
      ? ["Gained pixel and the nearest one before", "Lost pixel and the nearest one left"]
      : ["Added pixel and the nearest true one", "Missed pixel and the nearest predicted one"];
    const where = prediction.from === "a" ? added : missed;
    const apart = distance(number(prediction.distance), { unit: lengthUnit, decimals });
    // Other measures are not the distance of two pixels.
    return measure === "hausdorff"
      ? `${where}: ${apart} apart`
      : `Plain Hausdorff distance, ${apart}: ${where[0].toLowerCase()}${where.slice(1)}`;
  }
  if (truthEmpty === prediction.empty) return truthEmpty ? "Both masks are empty" : "The two masks are equal";
  const why = truthEmpty
    ? `The ${comparedWith(about)} is empty`
    : `The model predicts nothing${ofObject ? " of the object" : ""}`;
  const diagonal = unit && empty === "diagonal" ? "; the distance is the image's diagonal" : "";
  return `${why}, so there is no pair${diagonal}`;
}

function Figure({ caption, children }: { caption: ComponentChildren; children: ComponentChildren }) {
  return (
    <figure>
      {children}
      <figcaption>{caption}</figcaption>
    </figure>
  );
}

interface ErrorsProps extends FoundProps {
  muted?: boolean;
}

/** The new mask against the truth, over the dimmed image. */
function Errors({ view, found, muted = false }: ErrorsProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { traits } = view.python;
  const url = usePng(LARGE && found.part ? found.image : traits._image.value);
  const about = view.asked.value;
  const truth = SMALL && view.compared.value;
  const ignored = SMALL && view.ignored.value;
  const theme = useTheme();
  useLayoutEffect(() => {
    if (!canvas.current) return;
    if (LARGE && found.part) putPart(canvas.current, found);
    if (!SMALL || (LARGE && found.part)) return;
    const size = maskSize(about);
    const sent = maskGrid(about);
    const predicted = unpackBits((found.prediction as Prediction).mask, sent.height * sent.width);
    const [first, second] = [truth as Uint8Array, predicted].map((one) => resized(one, sent, size));
    const pixels = compared(first, second, palette(canvas.current));
    if (ignored) striped(pixels, resized(ignored, sent, size), size, STRIPES);
    putPixels(canvas.current, pixels, size);
  }, [about, truth, found, ignored, theme]);
  return (
    <>
      {url && <img class="hdm-layer hdm-dim" src={url} alt="" />}
      <canvas
        ref={canvas}
        class={`hdm-layer ${muted ? "hdm-muted" : ""}`}
        role="img"
        aria-label={
          changed(about)
            ? "The model's mask against the one without a disc: kept, lost and gained pixels"
            : "The model's mask against the truth: hit, missed and added pixels"
        }
      />
    </>
  );
}

/** The same of the part of a large image that Python has sent. */
function putPart(canvas: HTMLCanvasElement, { part, prediction }: Inspection) {
  if (!part || !prediction) return;
  const { step, ...sides } = part;
  const [height, width] = [Math.ceil(sides.height / step), Math.ceil(sides.width / step)];
  const unpack = (mask: DataView) => unpackBits(mask, height * width);
  const pixels = compared(unpack(prediction.compared as DataView), unpack(prediction.mask), palette(canvas));
  if (prediction.ignored?.byteLength) striped(pixels, unpack(prediction.ignored), { height, width }, STRIPES);
  putPixels(canvas, pixels, { height, width });
}

function Pair({
  pair,
  size,
}: {
  pair: NonNullable<Prediction["pair"]>;
  size: Size & { top?: number; left?: number };
}) {
  const { height, width, top = 0, left = 0 } = size;
  const [from, to] = pair.map(([row, col]) => ({ x: col + 0.5, y: row + 0.5 }));
  const dot = Math.max(height, width) / 60;
  return (
    <svg class="hdm-lines" viewBox={`${left} ${top} ${width} ${height}`} aria-hidden>
      <line class="hdm-pair-halo" x1={from.x} y1={from.y} x2={to.x} y2={to.y} />
      <line class="hdm-pair" x1={from.x} y1={from.y} x2={to.x} y2={to.y} />
      <circle class="hdm-end" cx={from.x} cy={from.y} r={dot} />
      <circle class="hdm-end" cx={to.x} cy={to.y} r={dot} />
    </svg>
  );
}
