// One item and what two models predict: image, truth and both predictions, or two images with hit, missed and added.
import { changeClass, score, signed } from "../shared/format";
import { type CardProps, Masks } from "./card";

/** Narrower cards, in px, have room for the numbers only. */
const ROOM = 136;

export function ComparedCard({ item, side, found, python, theme }: CardProps) {
  const { traits } = python;
  const about = traits._about.value;
  const [first, second] = about.compared ?? ["", ""];
  const gone = python.gone.value !== "";
  const four = traits.layers.value === "three";
  const roomy = side * (four ? 4 : 2) >= ROOM;
  const highlighted = traits.highlighted.value === item;
  const frame = { width: `${side}px`, height: `${Math.round((side * about.height) / about.width)}px` };
  const change = found?.after === undefined ? Number.NaN : found.after - found.iou;
  const spoken =
    found &&
    `IoU ${score(found.iou)} with ${first}, ${score(found.after)} with ${second}, change ${signed(change)}`;
  const image = found ? (
    <img src={found.url} alt="" />
  ) : (
    <span class={`hdm-wait ${gone ? "hdm-never" : ""}`} />
  );
  const kind = four ? "errors" : "overlay";
  return (
    <div class={`hdm-card hdm-compared ${highlighted ? "hdm-highlighted" : ""}`}>
      <button
        type="button"
        class="hdm-layers"
        aria-pressed={highlighted}
        disabled={gone}
        aria-label={`Item ${item}${spoken ? `, ${spoken}` : ""}: highlight its points on both maps`}
        title={found?.error || `Item ${item}${spoken ? `: ${spoken}` : ""}`}
        onClick={() => python.set("highlighted", highlighted ? null : item)}
      >
        {four && (
          <>
            <span class="hdm-frame" style={frame}>
              {image}
            </span>
            <span class="hdm-frame" style={frame}>
              {found && <Masks found={found} kind="truth" theme={theme} />}
            </span>
          </>
        )}
        {[first, second].map((name, i) => (
          <span class="hdm-frame" style={frame} key={i}>
            {!four && image}
            {found && (
              <Masks
                found={found}
                kind={kind}
                theme={theme}
                predicted={i ? found.second : found.predicted}
                of={name}
              />
            )}
          </span>
        ))}
      </button>
      <div class="hdm-caption">
        {found ? (
          <>
            <span>
              {roomy && "IoU "}
              {score(found.iou)} → {score(found.after)}
            </span>
            <b class={changeClass(change)}>{signed(change)}</b>
          </>
        ) : (
          <span>{gone ? "image not saved" : "…"}</span>
        )}
        {found?.error && <span class="hdm-missed">not readable</span>}
        {found?.caption && roomy && (
          <span class="hdm-note" title={`${traits.caption_by.value}: ${found.caption}`}>
            {found.caption}
          </span>
        )}
      </div>
    </div>
  );
}
