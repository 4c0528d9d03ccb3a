// One item: picture, truth and prediction, or one picture with what was hit, missed and added.
import { useLayoutEffect, useRef } from "preact/hooks";
import { compared, paint, palette } from "../shared/errors";
import type { Python } from "../shared/traits";
import type { GalleryTraits } from "./gallery";
import type { Item } from "./picture_store";

interface Props {
  item: number;
  /** Width of a picture in px. */
  side: number;
  found: Item | undefined;
  python: Python<GalleryTraits>;
  /** What went wrong with a request, or that nothing did. */
  report(message: string): void;
  /** Of the notebook. */
  theme: string | null;
}

export function Card({ item, side, found, python, report, theme }: Props) {
  const { traits } = python;
  const { height, width } = traits._about.value;
  const three = traits.layers.value === "three";
  const ringed = traits.ring.value === item;
  const frame = { width: `${side}px`, height: `${Math.round((side * height) / width)}px` };
  const iou = found && (found.iou === null ? "IoU not defined" : `IoU ${found.iou.toFixed(2)}`);
  return (
    <div class={`hdm-card ${ringed ? "hdm-ringed" : ""} ${three ? "hdm-wide" : ""}`}>
      <button
        type="button"
        class="hdm-layers"
        aria-pressed={ringed}
        aria-label={`Item ${item}${iou ? `, ${iou}` : ""}: ring its point on the map`}
        title={found?.error || `Item ${item}: ring its point on the map`}
        onClick={() => python.set("ring", ringed ? null : item)}
      >
        <span class="hdm-frame" style={frame}>
          {found ? <img src={found.url} alt="" /> : <span class="hdm-wait" />}
          {found && !three && (
            <Masks found={found} height={height} width={width} kind="overlay" theme={theme} />
          )}
        </span>
        {three && (
          <>
            <span class="hdm-frame" style={frame}>
              {found && <Masks found={found} height={height} width={width} kind="truth" theme={theme} />}
            </span>
            <span class="hdm-frame" style={frame}>
              {found && <Masks found={found} height={height} width={width} kind="errors" theme={theme} />}
            </span>
          </>
        )}
      </button>
      <div class="hdm-caption">
        {found?.error ? <span class="hdm-missed">not readable</span> : <span>{iou ?? "…"}</span>}
        {found?.caption && (
          <span class="hdm-note" title={`${traits.caption_by.value}: ${found.caption}`}>
            {found.caption}
          </span>
        )}
        {traits.can_explain.value && found && !found.error && (
          <button
            type="button"
            class="hdm-explain"
            title="Which parts of this picture does the mask depend on?"
            onClick={async (event) => {
              const root = event.currentTarget.closest(".hdm-latent");
              const { error } = await python.ask("explain", { item });
              report(error ?? "");
              if (!error && root) bringIntoView(root);
            }}
          >
            Explain
          </button>
        )}
      </div>
    </div>
  );
}

const FRAMES = 180;

/** Scroll to the explanation below as soon as it is there. */
function bringIntoView(root: Element, frames = FRAMES) {
  const explanation = root.querySelector(".hdm-latent-below .hdm-explorer");
  if (explanation) explanation.scrollIntoView({ block: "nearest", behavior: "smooth" });
  else if (frames > 0) requestAnimationFrame(() => bringIntoView(root, frames - 1));
}

type Kind = "truth" | "errors" | "overlay";

interface MasksProps {
  found: Item;
  height: number;
  width: number;
  kind: Kind;
  theme: string | null;
}

const NAMES: Record<Kind, string> = {
  truth: "True mask",
  errors: "Prediction: hit, missed and added",
  overlay: "Hit, missed and added",
};

function Masks({ found, height, width, kind, theme }: MasksProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => {
    if (!canvas.current) return;
    const colours = palette(canvas.current, kind === "overlay" ? 165 : 255);
    const drawn = kind === "truth" ? found.truth : found.predicted;
    if (kind === "truth") colours.hit = colours.mask;
    paint(canvas.current, compared(found.truth, drawn, colours), height, width);
  }, [found, height, width, kind, theme]);
  return <canvas ref={canvas} role="img" aria-label={NAMES[kind]} />;
}
