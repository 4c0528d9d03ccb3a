// The image with everything drawn over it, and the pointer and keys on it.
import { type Signal, useComputed, useSignalEffect } from "@preact/signals";
import { useMemo, useRef } from "preact/hooks";
import { maskSize, putPixels, resized, striped, stripedSize } from "../shared/canvas";
import { unpackBits } from "../shared/codec";
import { change, count } from "../shared/format";
import { type Cell, cellAt, center, cols, neighbor, radius, rows, sameCell } from "../shared/geometry";
import { colorize, type Painting } from "../shared/paint";
import { usePng } from "../shared/png";
import { ChanceHatching, Hatching, SignificantOutlines } from "./hatching";
import { maskGrid, stepOf } from "./large";
import { useMasksInView } from "./masks_in_view";
import { Outline } from "./outline";
import { paintedInView } from "./part_in_view";
import { nextMeasure } from "./question";
import type { Point } from "./region";
import type { Tool } from "./stage_tools";
import { emptyText, told, worsening } from "./texts";
import { TOOL_KEYS, Tools } from "./tools";
import type { ViewState } from "./view_state";
import { besideDisc, type Zoom } from "./zoom";
import { Tiles, ZoomedStage, zoomState } from "./zoomed_stage";

/** Along the longer side, over pixels that do not count. */
const STRIPES = 60;

const STEPS: Record<string, readonly [down: number, across: number]> = {
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
  PageUp: [-5, 0],
  PageDown: [5, 0],
  Home: [0, -1e9],
  End: [0, 1e9],
};

const ENTER: Record<Tool, string> = { pin: "pin it", brush: "brush it", object: "choose the object there" };

interface Props {
  view: ViewState;
  helpId: string;
  /** Which map this is, where there are several. */
  name?: string;
}

export function Stage({ view, helpId, name = "" }: Props) {
  const { traits } = view.python;
  const { tools } = view;
  const { height, width } = traits._about.value;
  const box = useRef<HTMLDivElement>(null);
  const last = useRef<Point | null>(null);
  const shown = new Set(traits.layers.value);
  const cursor = view.cursor.value;
  const tool = tools.tool.value;
  const zoom = LARGE ? useMemo(zoomState, []) : null;
  const sharp = LARGE && zoom ? useMasksInView(view, zoom, box.current) : null;

  const pointUnder = (event: PointerEvent | MouseEvent): Point => {
    const bounds = (box.current as HTMLDivElement).getBoundingClientRect();
    const x = ((event.clientX - bounds.left) / bounds.width) * width;
    const y = ((event.clientY - bounds.top) / bounds.height) * height;
    return { x, y };
  };
  const point = (cell: Cell | null) => {
    if (sameCell(cell, view.cursor.value)) return;
    view.cursor.value = cell;
    if (cell) tools.notice.value = "";
  };
  const pressed = (event: PointerEvent) => {
    if (tool !== "brush" || event.button !== 0) return;
    box.current?.setPointerCapture?.(event.pointerId);
    last.current = pointUnder(event);
    tools.brush(last.current, last.current);
  };
  const moved = (event: PointerEvent) => {
    const here = pointUnder(event);
    tools.pointer.value = here;
    if (last.current) {
      tools.brush(last.current, here);
      last.current = here;
    }
    point(cellAt(view.grid.value, here.x, here.y));
  };
  const clicked = (event: MouseEvent) => {
    const here = pointUnder(event);
    if (tool === "object") tools.choose(here);
    else if (tool === "pin") view.pin(cellAt(view.grid.value, here.x, here.y));
  };

  const enter = (cell: Cell) => {
    if (tool === "brush") tools.brushCell(cell);
    else if (tool === "object") tools.chooseIn(cell);
    else view.pin(cell);
  };
  // What was done last is undone first.
  const undo = () => {
    point(null);
    if (tools.region.value) tools.clear();
    else if (traits.object.value) tools.chooseAll();
    else view.pin(null);
  };
  const keyed = (event: KeyboardEvent) => {
    const step = STEPS[event.key];
    const here = view.cursor.value ?? traits.cell.value;
    const chosen = TOOL_KEYS[event.key.toLowerCase()];
    const measure = nextMeasure(view);
    if (step) {
      const grid = view.grid.value;
      const middle: Cell = [Math.floor(rows(grid) / 2), Math.floor(cols(grid) / 2)];
      const next = here ? neighbor(grid, here, step[0], step[1]) : middle;
      point(next);
      if (event.shiftKey && tool === "brush") tools.brushCell(next);
    } else if (event.key === "Enter" || event.key === " ") {
      if (here) enter(here);
    } else if (event.key === "Escape") {
      undo();
    } else if (event.ctrlKey || event.metaKey || event.altKey) {
      return;
    } else if (chosen && tools.available.value) {
      if (chosen !== "object" || tools.objects.value) tools.tool.value = chosen;
    } else if (event.key.toLowerCase() === "m" && measure && !view.python.gone.value) {
      view.python.set("measure", measure);
    } else if (tool === "brush" && (event.key === "[" || event.key === "]")) {
      tools.brushSize.value = Math.max(1, tools.brushSize.value + (event.key === "]" ? 2 : -2));
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  };

  // The grid is one control with its own keys, as a slider with two directions would be.
  const picture = (
    <div
      ref={box}
      class={`hdm-picture hdm-tool-${tool}`}
      style={{ aspectRatio: `${width} / ${height}`, "--ratio": width / height }}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: role="application" takes the focus and the keys
      tabIndex={0}
      role="application"
      aria-roledescription="circle map"
      aria-label={`Circle map${name && ` of ${name}`}: choose a disc with the arrow keys, ${ENTER[tool]} with Enter`}
      aria-describedby={helpId}
      onPointerDown={pressed}
      onPointerMove={moved}
      onPointerUp={() => {
        last.current = null;
      }}
      onPointerCancel={() => {
        last.current = null;
      }}
      onPointerLeave={() => {
        tools.pointer.value = null;
        point(null);
      }}
      onClick={clicked}
      onKeyDown={keyed}
      onBlur={() => point(null)}
    >
      <ImageLayer view={view} on={shown.has("picture")} />
      {LARGE && zoom && <Tiles view={view} zoom={zoom} on={shown.has("picture")} />}
      <MapLayer view={view} on={shown.has("map")} zoom={zoom} />
      <EdgesLayer view={view} on={shown.has("edges")} />
      {shown.has("map") && <Hatching view={view} />}
      {shown.has("map") && <ChanceHatching view={view} />}
      <IgnoredLayer view={view} />
      <svg class="hdm-lines" viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" aria-hidden>
        {shown.has("map") && <SignificantOutlines view={view} />}
        {shown.has("prediction") && (
          <Outline
            path={
              LARGE && sharp ? (sharp.prediction ?? view.prediction.value.path) : view.prediction.value.path
            }
            kind="prediction"
          />
        )}
        {shown.has("truth") && (
          <Outline
            path={LARGE && sharp ? (sharp.truth ?? view.truth.value.path) : view.truth.value.path}
            kind="truth"
          />
        )}
        <ChosenLayer view={view} sharp={LARGE ? sharp?.object : undefined} />
        <Rings view={view} />
      </svg>
      {cursor && (LARGE ? <Tip view={view} cell={cursor} zoom={zoom} /> : <Tip view={view} cell={cursor} />)}
    </div>
  );
  return (
    <div class="hdm-stage">
      <Tools view={view} />
      {LARGE && zoom && stepOf(traits._about.value) > 1 ? (
        <ZoomedStage view={view} zoom={zoom}>
          {picture}
        </ZoomedStage>
      ) : (
        picture
      )}
      <div class="hdm-sr" aria-live="polite">
        {cursor ? [name, tipText(view, cursor)].filter(Boolean).join(", ") : chosenText(view)}
      </div>
    </div>
  );
}

/** The object that is explained, or would be by a click, and the brushed region with its brush. */
function ChosenLayer({ view, sharp }: { view: ViewState; sharp?: string | undefined }) {
  const { tool, pointer, object, objectUnder, objectIn, outlines, region, brushSize } = view.tools;
  const here = pointer.value;
  const cursor = view.cursor.value;
  const choosing = tool.value === "object";
  const under = !choosing ? null : here ? objectUnder(here) : cursor && objectIn(cursor);
  return (
    <>
      {object.value && <Outline path={sharp ?? object.value.path} kind="object" />}
      {under && under.path !== object.value?.path && <Outline path={under.path} kind="object hdm-faint" />}
      {outlines.value.map(({ path, kind }) => (
        <Outline key={kind} path={path} kind={`object hdm-${kind}`} />
      ))}
      {region.value && <Outline path={region.value.path} kind="region" />}
      {tool.value === "brush" && here && (
        <circle class="hdm-region hdm-faint" cx={here.x} cy={here.y} r={brushSize.value / 2} />
      )}
    </>
  );
}

function ImageLayer({ view, on }: { view: ViewState; on: boolean }) {
  const { traits } = view.python;
  const url = usePng(traits._image.value);
  return url && on ? <img class="hdm-layer" src={url} alt="What is explained" /> : null;
}

// On the image or on the stage alone, and on an image that is lightened under the map.
const LIGHT_EDGES = 0xffe6e1dc;
const DARK_EDGES = 0xff36302a;

function EdgesLayer({ view, on }: { view: ViewState; on: boolean }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { traits } = view.python;
  // As in the authors' figure, where edges lie over the map on white.
  const lightened = useComputed(() => traits.layers.value.includes("map") && traits.opacity.value > 0);
  useSignalEffect(() => {
    const about = traits._about.value;
    const [size, sent] = [maskSize(about), maskGrid(about)];
    const mask = resized(unpackBits(traits._edges.value, sent.height * sent.width), sent, size, true);
    const pixels = new Uint32Array(mask.length);
    const color = lightened.value ? DARK_EDGES : LIGHT_EDGES;
    for (let i = 0; i < mask.length; i++) if (mask[i]) pixels[i] = color;
    if (canvas.current) putPixels(canvas.current, pixels, size);
  });
  return <canvas ref={canvas} class="hdm-layer" hidden={!on} role="img" aria-label="Edges" />;
}

/** Stripes over the pixels that do not count; which these are may be known only when the model has run. */
function IgnoredLayer({ view }: { view: ViewState }) {
  return view.ignored.value ? <Stripes view={view} /> : null;
}

function Stripes({ view }: { view: ViewState }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useSignalEffect(() => {
    const ignored = view.ignored.value;
    if (!canvas.current || !ignored) return;
    const about = view.python.traits._about.value;
    const size = stripedSize(about);
    const pixels = new Uint32Array(size.height * size.width);
    putPixels(canvas.current, striped(pixels, resized(ignored, maskGrid(about), size), size, STRIPES), size);
  });
  return <canvas ref={canvas} class="hdm-layer" role="img" aria-label="Pixels that do not count" />;
}

/** The map of the part in view, in whose place the canvas is put; null where the whole map is drawn. */
function fineMap(view: ViewState, zoom: Zoom, canvas: HTMLCanvasElement): Painting | null {
  const { height, width } = view.grid.value;
  const stage = canvas.parentElement?.parentElement?.clientWidth || 600;
  const fine = paintedInView(view, zoom, stage * (globalThis.devicePixelRatio || 1));
  const { top, left, ...size } = fine?.part ?? { top: 0, left: 0, height, width };
  canvas.style.top = `${(100 * top) / height}%`;
  canvas.style.left = `${(100 * left) / width}%`;
  canvas.style.width = `${(100 * size.width) / width}%`;
  canvas.style.height = `${(100 * size.height) / height}%`;
  return fine;
}

function MapLayer({ view, on, zoom }: { view: ViewState; on: boolean; zoom: Signal<Zoom> | null }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { traits } = view.python;
  useSignalEffect(() => {
    // Two steps: what is painted depends on the values alone, so a new color map is quick.
    const painted = view.painted.value;
    if (!painted || !canvas.current) return;
    const fine = LARGE && zoom ? fineMap(view, zoom.value, canvas.current) : null;
    const shown = fine ?? painted;
    const pixels = colorize(shown, view.span.value, view.table.value, traits.opacity.value);
    putPixels(canvas.current, pixels, shown.size);
  });
  return (
    <canvas
      ref={canvas}
      class={`hdm-layer hdm-map ${view.map.value?.stale ? "hdm-stale" : ""}`}
      hidden={!on}
      role="img"
      aria-label="Distances"
    />
  );
}

function Rings({ view }: { view: ViewState }) {
  const { traits } = view.python;
  const grid = view.grid.value;
  const draft = view.draft.value;
  const ring = (cell: Cell, kind: string) => {
    const { x, y } = center(grid, cell);
    const r = radius(grid);
    // Of a square there are four corners, of a disc none.
    const corner = traits.shape.value === "square" ? 0 : r;
    const box = { x: x - r, y: y - r, width: 2 * r, height: 2 * r, rx: corner };
    return (
      <>
        <rect class="hdm-ring-halo" {...box} />
        <rect class={`hdm-ring hdm-${kind}`} {...box} />
      </>
    );
  };
  return (
    <>
      {traits.cell.value && ring(traits.cell.value, "pinned")}
      {view.cursor.value && ring(view.cursor.value, "cursor")}
      {draft && <Draft grid={{ ...grid, ...draft }} />}
    </>
  );
}

/** While a slider moves: the disc and its neighbors in their new size and distance. */
function Draft({ grid }: { grid: ViewState["grid"]["value"] }) {
  const middle: Cell = [Math.floor(rows(grid) / 2), Math.floor(cols(grid) / 2)];
  const discs = [-1, 0, 1].flatMap((down) =>
    [-1, 0, 1].map((across) => neighbor(grid, middle, down, across)),
  );
  return (
    <>
      {discs.map((cell) => {
        const { x, y } = center(grid, cell);
        const kind = sameCell(cell, middle) ? "hdm-draft" : "hdm-draft hdm-faint";
        return <circle key={cell.join()} class={kind} cx={x} cy={y} r={radius(grid)} />;
      })}
    </>
  );
}

/** A cell's value in words, which say so where it is an estimate, and where there is none. */
function described(view: ViewState, cell: Cell): { value: string; note: string } {
  const found = view.at(cell);
  const value = found ? told(found.value, view.about.value) : "";
  if (found?.measured) return { value, note: influenceNote(view, cell) };
  const { gone, traits } = view.python;
  const yet = traits.status.value === "running" && !gone.value ? " yet" : "";
  if (found?.certain) return { value, note: "certain, not measured" };
  const note = view.outside(cell) ? "outside the region" : `not measured${yet}`;
  return { value: value && `about ${value}`, note };
}

/** The distance, where the map shows what a disc changes on the brushed region. */
function influenceNote(view: ViewState, [row, col]: Cell): string {
  const shown = view.distances.value;
  if (!shown || view.about.value === view.asked.value) return "";
  return told(shown.raw[row * cols(shown.grid) + col], view.asked.value);
}

/** What is asked on the stage, while no disc is looked at. */
function chosenText(view: ViewState): string {
  const { object, region } = view.tools;
  const parts = [
    object.value && `explained: an object of ${count(object.value.pixels)} px`,
    region.value && `brushed: ${count(region.value.pixels)} px`,
  ];
  return parts.filter(Boolean).join(", ");
}

function tipText(view: ViewState, cell: Cell): string {
  const { value, note } = described(view, cell);
  const { tool, pointer, objectUnder, objectIn, region } = view.tools;
  const parts = [value, note];
  if (tool.value === "object") {
    const under = pointer.value ? objectUnder(pointer.value) : objectIn(cell);
    parts.push(under ? `object of ${count(under.pixels)} px` : "no object");
  }
  if (tool.value === "brush" && region.value) parts.push(`${count(region.value.pixels)} px brushed`);
  return `row ${cell[0]}, column ${cell[1]}: ${parts.filter(Boolean).join(", ")}`;
}

function Tip({ view, cell, zoom }: { view: ViewState; cell: Cell; zoom?: Signal<Zoom> | null }) {
  const about = view.about.value;
  const { height, width } = about;
  const grid = view.grid.value;
  const { x, y } = center(grid, cell);
  const { value, note } = described(view, cell);
  const found = view.at(cell);
  const beside = LARGE && zoom && besideDisc(zoom.value, x / width, radius(grid) / width);
  const leftHalf = LARGE && beside ? beside[0] : x < width / 2;
  const edge = LARGE && beside ? beside[1] * width : leftHalf ? x + radius(grid) : x - radius(grid);
  const baseline = view.map.value?.baseline ?? Number.NaN;
  const difference = found?.measured ? worsening(found.value, baseline, about) : Number.NaN;
  return (
    <div
      class="hdm-tip"
      style={{
        // It has the room on this side of the disc, and breaks into lines where that is too little.
        [leftHalf ? "left" : "right"]: `${(100 * (leftHalf ? edge : width - edge)) / width}%`,
        top: `clamp(1.5em, ${(100 * y) / height}%, 100% - 1.5em)`,
      }}
      aria-hidden
    >
      {value && <b>{value}</b>}
      {value && note && " · "}
      {note}
      {found?.oneEmpty && <span> {emptyText(about)}</span>}
      {view.resultType.value !== "raw" && !about.fromPrediction && Number.isFinite(difference) && (
        <span> {change(difference, about, "no change")}</span>
      )}
    </div>
  );
}
