import type { ComponentChildren } from "preact";
import { useRef } from "preact/hooks";
import { Button } from "../shared/button";
import { Choice } from "../shared/choice";
import { count, duration } from "../shared/format";
import { cols, rows, touching } from "../shared/geometry";
import type { PaintingOrder } from "../shared/paint";
import { Slider } from "../shared/slider";
import { useId } from "../shared/unique";
import { ColorBar } from "./color_bar";
import { FixedSettings } from "./fixed";
import { ChanceLegend } from "./hatching";
import type { Layer, Shape } from "./python_state";
import { resultTypes } from "./texts";
import { Keys } from "./tools";
import { discsOverlap, type ViewState } from "./view_state";

const FAVORITES = ["Blues", "magma"];
const SHAPES: [Shape, string][] = [
  ["disc", "Disc"],
  ["square", "Square"],
];
const ORDERS: [PaintingOrder, string][] = [
  ["mean", "Averaged"],
  ["change", "Largest on top"],
];
const LAYERS: [Layer, string][] = [
  ["picture", "Image"],
  ["edges", "Edges"],
  ["map", "Circle map"],
  ["truth", "Truth"],
  ["prediction", "Prediction"],
];

interface Props {
  view: ViewState;
}

export function Controls({ view, helpId }: Props & { helpId: string }) {
  return (
    <div class="hdm-panel">
      {view.python.oneScan ? <FixedSettings view={view} /> : <DiscControls view={view} comparison />}
      <ShowControls view={view}>
        <ColorBar view={view} />
      </ShowControls>
      <LookControls view={view} />
      <LayerControls view={view} />
      <Keys view={view} id={helpId} />
    </div>
  );
}

/** What a scan is made with; with buttons that compare it with others. */
export function DiscControls({ view, comparison = false }: Props & { comparison?: boolean }) {
  const { gone, traits, set } = view.python;
  const { height, width } = traits._about.value;
  const side = Math.min(height, width);
  return (
    <div class="hdm-group">
      <Slider
        label="Circle size"
        unit="px"
        min={1}
        max={Math.max(Math.floor(side / 2), traits.circle_size.value)}
        value={traits.circle_size.value}
        disabled={gone.value !== ""}
        onDraft={(circleSize) => {
          view.draft.value = circleSize === null ? null : { circleSize };
        }}
        onCommit={(value) => set("circle_size", value)}
      />
      <Slider
        label="Offset"
        unit="px"
        min={1}
        max={Math.max(Math.floor(side / 4), traits.offset.value)}
        value={traits.offset.value}
        disabled={gone.value !== ""}
        onDraft={(offset) => {
          view.draft.value = offset === null ? null : { offset };
        }}
        onCommit={(value) => set("offset", value)}
      />
      <ChannelChoice view={view} />
      <FillChoice view={view} />
      <ShapeChoice view={view} />
      <Cost view={view} />
      {comparison && <Comparisons view={view} />}
    </div>
  );
}

/** What of it the map shows; the children stand below. */
export function ShowControls({ view, children }: Props & { children?: ComponentChildren }) {
  const { traits, set } = view.python;
  const chosen = traits.result_type.value;
  const types: [typeof chosen, string][] = resultTypes(view.about.value, view.resultType.value);
  if (traits._has_significance.value) {
    if (!types.length) types.push(["raw", "Raw value"]);
    types.push(["significant", "Beyond chance"]);
  }
  return (
    <div class="hdm-group">
      <h3>Show</h3>
      <ClassChoice view={view} />
      {types.length > 0 && (
        <Choice
          label="Result type"
          options={types}
          value={traits.result_type.value}
          onChange={(value) => set("result_type", value)}
        />
      )}
      {children}
      <ChanceLegend view={view} />
    </div>
  );
}

/** How the map looks. */
export function LookControls({ view }: Props) {
  const { traits, set } = view.python;
  return (
    <div class="hdm-group">
      <Slider
        label="Opacity"
        unit="%"
        min={0}
        max={100}
        value={Math.round(traits.opacity.value * 100)}
        onCommit={(value) => set("opacity", value / 100)}
        live
      />
      <Colors view={view} />
      <OrderChoice view={view} />
    </div>
  );
}

export function LayerControls({ view }: Props) {
  return (
    <div class="hdm-group">
      <h3>Layers</h3>
      <Layers view={view} />
    </div>
  );
}

function Cost({ view }: { view: ViewState }) {
  const { traits } = view.python;
  const grid = { ...view.grid.value, ...view.draft.value };
  const map = traits._map.value;
  const { region } = traits._about.value;
  const all = rows(grid) * cols(grid);
  const runs = region ? (!view.draft.value && map.total) || touching(grid, region) : all;
  const each = map.done ? map.seconds / map.done : Number.NaN;
  const time = Number.isFinite(each) ? ` · about ${duration(each * runs)}` : "";
  const long = each * runs > 60;
  const gaps = grid.offset > grid.circleSize + 1 ? " · discs leave gaps" : "";
  return (
    <p class={`hdm-note ${long ? "hdm-long" : ""}`} data-testid="cost">
      {rows(grid)} × {cols(grid)} grid · {count(runs)}
      {region && ` of ${count(all)}`} discs
      {time}
      {gaps}
    </p>
  );
}

/** What is seen where discs lie over one another; where none do, there is nothing to choose. */
function OrderChoice({ view }: Props) {
  const { traits, set } = view.python;
  const id = useId();
  if (!discsOverlap(view.grid.value)) return null;
  return (
    <div class="hdm-row">
      <span id={id}>Discs</span>
      <Choice
        labelledBy={id}
        options={ORDERS}
        value={traits.order.value}
        onChange={(order) => set("order", order)}
      />
    </div>
  );
}

function Colors({ view }: { view: ViewState }) {
  const { traits, set } = view.python;
  const chosen = traits.color_map.value;
  const others = Object.keys(traits._color_tables.value).filter((name) => !FAVORITES.includes(name));
  const id = useId();
  return (
    <div class="hdm-row">
      <span id={id}>Colors</span>
      <div class="hdm-colors">
        <Choice
          labelledBy={id}
          options={FAVORITES.map((name) => [name, titled(name)])}
          value={chosen}
          onChange={(name) => set("color_map", name)}
        />
        <select
          aria-label="More color maps"
          class={others.includes(chosen) ? "hdm-on" : ""}
          value={others.includes(chosen) ? chosen : ""}
          onChange={(event) => event.currentTarget.value && set("color_map", event.currentTarget.value)}
        >
          <option value="">More…</option>
          {others.map((name) => (
            <option key={name} value={name}>
              {titled(name)}
            </option>
          ))}
        </select>
      </div>
    </div>
  );
}

const titled = (name: string): string => name[0].toUpperCase() + name.slice(1);

function ChannelChoice({ view }: { view: ViewState }) {
  const { gone, traits, set } = view.python;
  const { channels } = traits._about.value;
  const id = useId();
  // A list comes from Python; it stays on offer after another choice.
  const several = useRef<number[] | null>(null);
  // One channel leaves nothing to choose.
  if (channels === 1) return null;
  const chosen = traits.channel.value;
  if (Array.isArray(chosen)) several.current = chosen;
  const name = (index: number) => (channels === 3 ? ["Red", "Green", "Blue"][index] : String(index));
  const options = [-1, ...Array(channels).keys()].map(
    (index) => [String(index), index < 0 ? "All" : name(index)] as [string, string],
  );
  if (several.current) options.push([String(several.current), several.current.map(name).join(" + ")]);
  const value = String(chosen);
  const disabled = gone.value !== "";
  const choose = (text: string) =>
    set("channel", text === String(several.current) ? (several.current ?? -1) : Number(text));
  return (
    <div class="hdm-row">
      <span id={id}>Channel</span>
      {options.length <= 5 ? (
        <Choice labelledBy={id} options={options} value={value} disabled={disabled} onChange={choose} />
      ) : (
        <select
          aria-labelledby={id}
          value={value}
          disabled={disabled}
          onChange={(event) => choose(event.currentTarget.value)}
        >
          {options.map(([option, text]) => (
            <option key={option} value={option}>
              {text}
            </option>
          ))}
        </select>
      )}
    </div>
  );
}

function FillChoice({ view }: Props) {
  const { gone, traits, set } = view.python;
  const fills = traits._fills.value;
  const id = useId();
  if (fills.length < 2) return null;
  return (
    <div class="hdm-row">
      <label for={id}>Fill</label>
      <select
        id={id}
        value={traits.fill.value}
        title="What the disc shows"
        disabled={gone.value !== ""}
        onChange={(event) => set("fill", event.currentTarget.value)}
      >
        {fills.map(([fill, label]) => (
          <option key={fill} value={fill}>
            {label}
          </option>
        ))}
      </select>
    </div>
  );
}

/** Scans that a comparison of fills takes: one of each of five fills, and four repeats. */
const SCANS = 9;

/** How long a comparison of fills takes, from the scan on screen; empty if not long, or that has not ended. */
function estimate({ map, python }: ViewState): string {
  const seconds = map.value && python.traits.status.value === "done" ? python.traits._map.value.seconds : 0;
  return seconds && SCANS * seconds >= 2 ? `about ${duration(SCANS * seconds)}` : "";
}

/** What opens a panel below the map. */
function Comparisons({ view }: Props) {
  const { gone, traits, request } = view.python;
  const disabled = gone.value !== "" || !view.map.value;
  const running = traits.status.value === "running";
  const models = traits._other_models.value;
  const fills = traits._fills.value.length > 1;
  if (!fills && !models.length && !traits._several_objects.value) return null;
  return (
    <div class="hdm-comparisons">
      {fills && (
        <Button
          title="Does the map depend on what the disc shows?"
          disabled={disabled || traits._fill_panel.value.status === "running"}
          onClick={() => request("compare_fills")}
        >
          Compare fills
        </Button>
      )}
      {fills && !traits._fill_panel.value.status && estimate(view) && (
        <span class="hdm-note">{estimate(view)}</span>
      )}
      {models.length > 0 && (
        <Button
          title={`The same scan with ${models.join(", ")}`}
          disabled={disabled || running || traits._model_panel.value.status === "running"}
          onClick={() => request("compare_models")}
        >
          Compare models
        </Button>
      )}
      {traits._several_objects.value && (
        <Button
          title="How much does covering one object change the mask on another?"
          disabled={disabled || running}
          onClick={() => request("compare_objects")}
        >
          Objects on objects
        </Button>
      )}
    </div>
  );
}

function ShapeChoice({ view }: Props) {
  const { gone, traits, set } = view.python;
  const id = useId();
  // Without a choice of fills the image is covered in the user's own way.
  if (traits._fills.value.length < 2) return null;
  return (
    <div class="hdm-row">
      <span id={id}>Shape</span>
      <Choice
        labelledBy={id}
        options={SHAPES}
        value={traits.shape.value}
        disabled={gone.value !== ""}
        onChange={(shape) => set("shape", shape)}
      />
    </div>
  );
}

function ClassChoice({ view }: { view: ViewState }) {
  const { gone, traits, set } = view.python;
  const classes = traits._classes.value;
  const id = useId();
  if (!classes.length) return null;
  return (
    <div class="hdm-row">
      <label for={id}>Class</label>
      <select
        id={id}
        value={String(traits.target.value)}
        disabled={gone.value !== ""}
        onChange={(event) => set("target", Number(event.currentTarget.value))}
      >
        {classes.map(([number, name]) => (
          <option key={number} value={String(number)}>
            {name}
          </option>
        ))}
      </select>
    </div>
  );
}

function Layers({ view }: { view: ViewState }) {
  const { traits, set } = view.python;
  const on = traits.layers.value;
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset brings a frame and a legend that nobody needs here
    <div class="hdm-chips" role="group" aria-label="Layers">
      {LAYERS.filter(([layer]) => layer !== "truth" || traits._about.value.hasTruth).map(([layer, text]) => (
        <button
          key={layer}
          type="button"
          class="hdm-chip"
          aria-pressed={on.includes(layer)}
          onClick={() =>
            set("layers", on.includes(layer) ? on.filter((other) => other !== layer) : [...on, layer])
          }
        >
          <i class={`hdm-dot hdm-dot-${layer}`} />
          {text}
        </button>
      ))}
    </div>
  );
}
