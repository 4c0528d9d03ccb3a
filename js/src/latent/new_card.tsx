// One new item: image, truth and prediction, its expected IoU with the interval, and whether that can be relied on.
import { number } from "../shared/codec";
import { score } from "../shared/format";
import { type CardProps, Explain, Masks } from "./card";
import type { Item } from "./image_store";
import { RangeBar } from "./range_bar";

/** Narrower cards, in px, have no room for the ends of the interval or the measured IoU; the bar shows them. */
const ROOM = 112;
/** In narrower ones, the button is over the caption, and there only while the pointer is. */
const ROOM_FOR_BUTTON = 230;

export function NewCard({ item, side, found, python, report, theme }: CardProps) {
  const { traits } = python;
  const about = traits._about.value;
  const gone = python.gone.value !== "";
  const layers = traits.layers.value !== "three" ? 1 : about.truths ? 3 : 2;
  const highlighted = traits.highlighted.value === item;
  const name = `New item ${item - about.total}`;
  const frame = { width: `${side}px`, height: `${Math.round((side * about.height) / about.width)}px` };
  const interval = found?.interval;
  const [low, high] = [interval?.low, interval?.high].map(number);
  const measured = interval?.measured === undefined ? undefined : number(interval.measured);
  const outside = measured !== undefined && (measured < low || measured > high);
  const unreliable = interval?.reliable === false;
  const spoken =
    found &&
    [
      `expected IoU ${score(found.iou)}`,
      `${Math.round(100 * (about.coverage ?? 0.9))} % interval ${score(low)} to ${score(high)}`,
      ...(measured === undefined ? [] : [`measured ${score(measured)}${outside ? " outside of it" : ""}`]),
      ...(unreliable ? ["not reliable"] : []),
    ].join(", ");
  const wide = side * layers >= ROOM_FOR_BUTTON;
  return (
    <div class={`hdm-card ${highlighted ? "hdm-highlighted" : ""} ${wide ? "hdm-wide" : ""}`}>
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
          {found && layers === 1 && (
            <Masks found={found} kind={measured === undefined ? "tint" : "overlay"} theme={theme} />
          )}
        </span>
        {layers === 3 && (
          <span class="hdm-frame" style={frame}>
            {found && <Truth found={found} known={measured !== undefined} theme={theme} />}
          </span>
        )}
        {layers > 1 && (
          <span class="hdm-frame" style={frame}>
            {found && (
              <Masks found={found} kind={measured === undefined ? "prediction" : "errors"} theme={theme} />
            )}
          </span>
        )}
      </button>
      <div class="hdm-card-range">
        {found && <RangeBar value={found.iou} low={low} high={high} measured={measured} />}
      </div>
      <div class="hdm-caption">
        {found ? <b>{score(found.iou)}</b> : <span>{gone ? "image not saved" : "…"}</span>}
        {found && side * layers >= ROOM && (
          <span class={`hdm-note ${outside ? "hdm-outside" : ""}`}>
            {measured === undefined ? `${score(low)}–${score(high)}` : `measured ${score(measured)}`}
          </span>
        )}
        {found && unreliable && (
          <span class="hdm-doubtful" title={`Not reliable: ${about.unreliable}`}>
            ?
          </span>
        )}
        {found && !found.error && <Explain item={item} python={python} report={report} />}
      </div>
    </div>
  );
}

function Truth({ found, known, theme }: { found: Item; known: boolean; theme: string | null }) {
  return known ? (
    <Masks found={found} kind="truth" theme={theme} />
  ) : (
    <span class="hdm-no-truth">no truth</span>
  );
}
