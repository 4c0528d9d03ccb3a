// One new item: image and prediction, its expected IoU with the interval, and whether that can be relied on.
import { number } from "../shared/codec";
import { score } from "../shared/format";
import { type CardProps, Masks } from "./card";
import { RangeBar } from "./range_bar";

/** Narrower cards, in px, have no room for the ends of the interval; the bar shows them. */
const ROOM = 112;

export function NewCard({ item, side, found, python, theme }: CardProps) {
  const { traits } = python;
  const about = traits._about.value;
  const gone = python.gone.value !== "";
  const two = traits.layers.value === "three";
  const highlighted = traits.highlighted.value === item;
  const name = `New item ${item - about.total}`;
  const frame = { width: `${side}px`, height: `${Math.round((side * about.height) / about.width)}px` };
  const doubtful = found?.interval?.reliable === false;
  const [low, high] = [found?.interval?.low, found?.interval?.high].map(number);
  const spoken =
    found &&
    [
      `expected IoU ${score(found.iou)}`,
      `${Math.round(100 * (about.coverage ?? 0.9))} % interval ${score(low)} to ${score(high)}`,
      ...(doubtful ? ["not reliable"] : []),
    ].join(", ");
  return (
    <div class={`hdm-card ${highlighted ? "hdm-highlighted" : ""} ${two ? "hdm-wide" : ""}`}>
      <button
        type="button"
        class="hdm-layers"
        aria-pressed={highlighted}
        disabled={gone}
        aria-label={`${name}${spoken ? `, ${spoken}` : ""}: highlight its point on the map`}
        title={found?.error || `${name}${spoken ? `: ${spoken}` : ""}`}
        onClick={() => python.set("highlighted", highlighted ? null : item)}
      >
        <span class="hdm-frame" style={frame}>
          {found ? <img src={found.url} alt="" /> : <span class={`hdm-wait ${gone ? "hdm-never" : ""}`} />}
          {found && !two && <Masks found={found} kind="tint" theme={theme} />}
        </span>
        {two && (
          <span class="hdm-frame" style={frame}>
            {found && <Masks found={found} kind="prediction" theme={theme} />}
          </span>
        )}
      </button>
      <div class="hdm-card-range">{found && <RangeBar value={found.iou} low={low} high={high} />}</div>
      <div class="hdm-caption">
        {found ? <b>{score(found.iou)}</b> : <span>{gone ? "image not saved" : "…"}</span>}
        {found && side * (two ? 2 : 1) >= ROOM && (
          <span class="hdm-note">
            {score(low)}–{score(high)}
          </span>
        )}
        {doubtful && (
          <span
            class="hdm-doubtful"
            title="Not reliable: unlike the data of the map, or nothing is known of its error"
          >
            ?
          </span>
        )}
      </div>
    </div>
  );
}
