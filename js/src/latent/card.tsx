// One item: image, truth and prediction, or one image with hit, missed and added pixels.
import { useLayoutEffect, useRef } from "preact/hooks";
import { maskSize, putPixels, resized, striped } from "../shared/canvas";
import { compared, palette } from "../shared/errors";
import type { Python } from "../shared/traits";
import type { ImageStore, Item } from "./image_store";
import { isMarked, Mark } from "./marks";
import type { GalleryTraits } from "./python_state";

/** Narrower images, in px, have no room for a reason in words. */
export const REASON_ROOM = 140;
const EDGE = 8; // px between the mark and the edge of the truth's mask

export interface CardProps {
  item: number;
  /** Width of an image in px. */
  side: number;
  found: Item | undefined;
  python: Python<GalleryTraits>;
  report: ImageStore["report"];
  /** Of the notebook. */
  theme: string | null;
}

export function Card({ item, side, found, python, report, theme }: CardProps) {
  const { traits } = python;
  const about = traits._about.value;
  const gone = python.gone.value !== "";
  const three = traits.layers.value === "three";
  const highlighted = traits.highlighted.value === item;
  const frame = { width: `${side}px`, height: `${Math.round((side * about.height) / about.width)}px` };
  const iou = found && (Number.isNaN(found.iou) ? "IoU not defined" : `IoU ${found.iou.toFixed(2)}`);
  const looks = [
    highlighted && "hdm-highlighted",
    three && "hdm-wide",
    isMarked(python, item) && "hdm-marked",
  ].filter(Boolean);
  const why = found?.suspicion && `Suspicion of the truth ${found.suspicion}: ${found.reason}`;
  return (
    <div class={["hdm-card", ...looks].join(" ")} data-item={item}>
      <button
        type="button"
        class="hdm-layers"
        aria-pressed={highlighted}
        disabled={gone}
        aria-label={`Item ${item}${iou ? `, ${iou}` : ""}: highlight its point on the map`}
        title={
          found?.error || [`Item ${item}: highlight its point on the map`, why].filter(Boolean).join("\n")
        }
        onClick={() => python.set("highlighted", highlighted ? null : item)}
      >
        <span class="hdm-frame" style={frame}>
          {found ? <img src={found.url} alt="" /> : <span class={`hdm-wait ${gone ? "hdm-never" : ""}`} />}
          {found && !three && <Masks found={found} kind="overlay" theme={theme} />}
        </span>
        {three && (
          <>
            <span class="hdm-frame" style={frame}>
              {found && <Masks found={found} kind="truth" theme={theme} />}
            </span>
            <span class="hdm-frame" style={frame}>
              {found && <Masks found={found} kind="errors" theme={theme} />}
            </span>
          </>
        )}
      </button>
      <div class="hdm-caption">
        {found?.error ? (
          <span class="hdm-missed">not readable</span>
        ) : (
          <span>{iou ?? (gone ? "image not saved" : "…")}</span>
        )}
        {found?.caption && (
          <span class="hdm-note" title={`${traits.caption_by.value}: ${found.caption}`}>
            {found.caption}
          </span>
        )}
        {found && !found.error && <Explain item={item} python={python} report={report} />}
      </div>
      {traits.with_reasons.value && (
        <p class="hdm-reason" title={why}>
          {found?.suspicion && (
            <>
              <b>{found.suspicion}</b> {side * (three ? 3 : 1) >= REASON_ROOM && found.reason}
            </>
          )}
        </p>
      )}
      <Mark item={item} right={three ? side + EDGE : EDGE} python={python} report={report} />
    </div>
  );
}

/** Opens the explanation of an item, where there are a model and images. */
export function Explain({ item, python, report }: Pick<CardProps, "item" | "python" | "report">) {
  if (!python.traits.can_explain.value) return null;
  return (
    <button
      type="button"
      class="hdm-explain"
      title="Which parts of this image does the mask depend on?"
      disabled={python.gone.value !== ""}
      onClick={async (event) => {
        const root = event.currentTarget.closest(".hdm-latent");
        const { error } = await python.ask("explain", { item });
        report("explain", error);
        if (!error && root) bringIntoView(root);
      }}
    >
      Explain
    </button>
  );
}

const FRAMES = 180;

/** Scroll to the explanation below as soon as it is there. */
function bringIntoView(root: Element, frames = FRAMES) {
  const explanation = root.querySelector(".hdm-latent-below .hdm-explorer");
  if (explanation) explanation.scrollIntoView({ block: "nearest", behavior: "smooth" });
  else if (frames > 0) requestAnimationFrame(() => bringIntoView(root, frames - 1));
}

/** Along the longer side, over pixels that do not count. */
const STRIPES = 10;

type Kind = "truth" | "errors" | "overlay" | "prediction" | "tint";

interface MasksProps {
  found: Item;
  kind: Kind;
  theme: string | null;
  /** Of another model than the item's own. */
  predicted?: Uint8Array | undefined;
  /** Whose the prediction is. */
  of?: string;
}

const NAMES: Record<Kind, string> = {
  truth: "True mask",
  errors: "Prediction: hit, missed and added",
  overlay: "Hit, missed and added",
  prediction: "Prediction",
  tint: "Prediction over the image",
};

export function Masks({ found, kind, theme, predicted: drawn = found.predicted, of }: MasksProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { size } = found;
  useLayoutEffect(() => {
    if (!canvas.current) return;
    const colors = palette(canvas.current, kind === "overlay" || kind === "tint" ? 165 : 255);
    if (kind === "truth" || kind === "prediction") colors.hit = colors.mask;
    if (kind === "tint") colors.hit = colors.added;
    const shown = maskSize(size);
    const compare = kind === "truth" ? found.truth : drawn;
    const [truth, predicted] = [found.truth, compare].map((mask) => resized(mask, size, shown));
    const pixels = compared(truth, predicted, colors);
    if (found.ignored) striped(pixels, resized(found.ignored, size, shown), shown, STRIPES);
    putPixels(canvas.current, pixels, shown);
  }, [found, drawn, size, kind, theme]);
  const name = of ? `${of}: ${NAMES[kind]}` : NAMES[kind];
  const label = found.ignored ? `${name}; striped pixels do not count` : name;
  return <canvas ref={canvas} role="img" aria-label={label} />;
}
