// Below the map: the same scan with other fills, and what of it could be chance.
import { useSignalEffect } from "@preact/signals";
import { useRef } from "preact/hooks";
import { Button } from "../shared/button";
import { putPixels } from "../shared/canvas";
import { number } from "../shared/codec";
import { score } from "../shared/format";
import { canvasSize, colorize, painting, type Range, range } from "../shared/paint";
import { usePng } from "../shared/png";
import { Below } from "./below";
import type { FillMap, MapMessage, FillPanel as Message } from "./python_state";
import { shownMap, shownOrder, type ViewState } from "./view_state";

/** Pixels of a small map's longer side. */
const SMALL = 264;

interface Props {
  view: ViewState;
}

/** That the model draws the disc itself as segment, with another fill to try. */
export function DiscDrawnNotice({ view }: Props) {
  const { gone, traits, set } = view.python;
  const { finding, fill } = traits._disc_drawn.value;
  if (!finding || view.map.value?.stale) return null;
  return (
    <p class="hdm-proposal" role="note">
      <span>{finding}.</span>
      {fill && (
        <Button disabled={gone.value !== ""} onClick={() => set("fill", fill)}>
          Try {labelOf(view, fill)} as fill
        </Button>
      )}
    </p>
  );
}

export function FillPanel({ view }: Props) {
  const panel = view.python.traits._fill_panel.value;
  const done = panel.status === "done" ? (panel as Message) : null;
  const { fills } = view.python.traits._fill_maps.value;
  return (
    <Below
      view={view}
      kind="fills"
      panel={panel}
      heading="Do other fills agree?"
      note={done && `Rank correlation with ${labelOf(view, reference(view, done))}, 95 % interval`}
      working="Comparing fills"
      partly={
        fills && (
          <div class="hdm-found">
            <SmallMaps view={view} fills={fills} note={() => ""} />
          </div>
        )
      }
    >
      {done && <Found view={view} panel={done} />}
    </Below>
  );
}

function Found({ view, panel }: Props & { panel: Message }) {
  const { traits, set } = view.python;
  const against = reference(view, panel);
  const shows = traits.result_type.value === "significant";
  return (
    <div class="hdm-found">
      <SmallMaps view={view} fills={panel.fills} note={(fill) => agreement(panel, against, fill)} />
      <div class="hdm-verdict">
        {traits._has_significance.value ? (
          <>
            <Sentence text={panel.text} />
            <Button aria-pressed={shows} onClick={() => set("result_type", shows ? "raw" : "significant")}>
              {shows ? "Show all discs" : "Show what matters beyond chance"}
            </Button>
          </>
        ) : (
          <p class="hdm-note">
            The map shows something else now. Compare again to see what matters there. Before: {panel.text}
          </p>
        )}
      </div>
    </div>
  );
}

interface MapsProps extends Props {
  fills: FillMap[];
  /** What is said of a fill. */
  note(fill: string): string;
}

/** One map for each fill; a click explains with it. */
function SmallMaps({ view, fills, note }: MapsProps) {
  const { gone, traits, set } = view.python;
  const size = traits._about.value;
  // One range of colors: maps are compared.
  const span = range(Float64Array.from(fills.flatMap(({ map }) => [...shownMap(map, size).raw])));
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset brings a frame and a legend that nobody needs here
    <div class="hdm-small-maps" role="group" aria-label="Fills" style={{ "--count": fills.length }}>
      {fills.map(({ fill, map, note: leftOut }) => (
        <button
          key={fill}
          type="button"
          aria-pressed={fill === traits.fill.value}
          disabled={gone.value !== ""}
          title={`Explain with this fill: ${labelOf(view, fill)}`}
          onClick={() => set("fill", fill)}
        >
          <SmallMap view={view} map={map} span={span} />
          <b>{labelOf(view, fill)}</b>
          <span class="hdm-note">{note(fill)}</span>
          {leftOut && <span class="hdm-note">{leftOut}</span>}
        </button>
      ))}
    </div>
  );
}

/** What was found, with its count in bold. */
function Sentence({ text }: { text: string }) {
  const count = /^[\d,]+ of [\d,]+ discs/.exec(text)?.[0] ?? "";
  return (
    <p>
      <b>{count}</b>
      {text.slice(count.length)}
    </p>
  );
}

/** The fill that others are compared with: the present one, or the first where that was not compared. */
function reference(view: ViewState, { fills }: Message): string {
  const present = view.python.traits.fill.value;
  return fills.some(({ fill }) => fill === present) ? present : (fills[0]?.fill ?? "");
}

function labelOf(view: ViewState, fill: string): string {
  const known = view.python.traits._fills.value.find(([name]) => name === fill);
  return (known?.[1] ?? fill).replace(" (as published)", "");
}

function agreement(panel: Message, a: string, b: string): string {
  if (a === b) return "";
  const found = panel.agreement.find(
    ([one, other]) => (one === a && other === b) || (one === b && other === a),
  );
  if (!found || Number.isNaN(number(found[2]))) return "a map is constant";
  const [value, low, high] = [found[2], found[3], found[4]].map((one) => score(one).replace("-", "−"));
  return `ρ ${value} (${low} to ${high})`;
}

function SmallMap({ view, map, span }: Props & { map: MapMessage; span: Range | null }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { traits } = view.python;
  const url = usePng(traits._image.value);
  const { height, width } = traits._about.value;
  useSignalEffect(() => {
    if (!canvas.current) return;
    const shown = shownMap(map, traits._about.value);
    const size = canvasSize(shown.grid, SMALL);
    const order = shownOrder(traits.order.value, shown.grid);
    const painted = painting(order, shown.raw, shown, "raw", size);
    putPixels(canvas.current, colorize(painted, span, view.table.value, traits.opacity.value), size);
  });
  return (
    <span class="hdm-thumb" aria-hidden style={{ aspectRatio: `${width} / ${height}` }}>
      {url && <img class="hdm-layer" src={url} alt="" />}
      <canvas ref={canvas} class="hdm-layer" />
    </span>
  );
}
