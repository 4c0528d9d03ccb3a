// The picture with everything drawn over it, and the pointer and keys on it.
import { useComputed, useSignalEffect } from "@preact/signals";
import { useRef } from "preact/hooks";
import { unpackBits } from "../shared/codec";
import { distance, noMask } from "../shared/format";
import { type Cell, cellAt, centre, cols, neighbour, radius, rows, sameCell } from "../shared/geometry";
import { colourise, emphasis, paintingScale, topmostCells } from "../shared/paint";
import { usePicture } from "../shared/picture";
import { Hatching } from "./hatching";
import type { ViewState } from "./view_state";

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

export function Stage({ view, helpId }: { view: ViewState; helpId: string }) {
  const { traits } = view.python;
  const { height, width } = traits._about.value;
  const box = useRef<HTMLDivElement>(null);
  const shown = new Set(traits.layers.value);
  const cursor = view.cursor.value;

  const cellUnder = (event: PointerEvent | MouseEvent): Cell => {
    const bounds = (box.current as HTMLDivElement).getBoundingClientRect();
    const x = ((event.clientX - bounds.left) / bounds.width) * width;
    const y = ((event.clientY - bounds.top) / bounds.height) * height;
    return cellAt(view.grid.value, x, y);
  };
  const point = (cell: Cell | null) => {
    if (!sameCell(cell, view.cursor.value)) view.cursor.value = cell;
  };
  const pin = (cell: Cell | null) => view.python.set("cell", cell ? [cell[0], cell[1]] : null);

  const keyed = (event: KeyboardEvent) => {
    const step = STEPS[event.key];
    const here = view.cursor.value ?? traits.cell.value;
    if (step) {
      const grid = view.grid.value;
      const middle: Cell = [Math.floor(rows(grid) / 2), Math.floor(cols(grid) / 2)];
      point(here ? neighbour(grid, here, step[0], step[1]) : middle);
    } else if (event.key === "Enter" || event.key === " ") {
      if (here) pin(here);
    } else if (event.key === "Escape") {
      point(null);
      pin(null);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  };

  return (
    <div class="hdm-stage">
      {/* The grid is one control with its own keys, as a slider with two directions would be. */}
      <div
        ref={box}
        class="hdm-picture"
        style={{ aspectRatio: `${width} / ${height}`, "--ratio": width / height }}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: role="application" takes the focus and the keys
        tabIndex={0}
        role="application"
        aria-roledescription="circle map"
        aria-label="Circle map: choose a disc with the arrow keys, pin it with Enter"
        aria-describedby={helpId}
        onPointerMove={(event) => point(cellUnder(event))}
        onPointerLeave={() => point(null)}
        onClick={(event) => pin(cellUnder(event))}
        onKeyDown={keyed}
        onBlur={() => point(null)}
      >
        <PictureLayer view={view} on={shown.has("picture")} />
        <EdgesLayer view={view} on={shown.has("edges")} />
        <MapLayer view={view} on={shown.has("map")} />
        {shown.has("map") && <Hatching view={view} />}
        <svg
          class="hdm-lines"
          viewBox={`0 0 ${width} ${height}`}
          preserveAspectRatio="none"
          aria-hidden="true"
        >
          {shown.has("prediction") && <Outline path={view.prediction.value.path} kind="prediction" />}
          {shown.has("truth") && <Outline path={view.truth.value.path} kind="truth" />}
          <Rings view={view} />
        </svg>
        {cursor && <Tip view={view} cell={cursor} />}
      </div>
      <div class="hdm-sr" aria-live="polite">
        {cursor && tipText(view, cursor)}
      </div>
    </div>
  );
}

function PictureLayer({ view, on }: { view: ViewState; on: boolean }) {
  const { traits } = view.python;
  const url = usePicture(traits._picture.value);
  return url && on ? <img class="hdm-layer" src={url} alt="What is explained" /> : null;
}

function EdgesLayer({ view, on }: { view: ViewState; on: boolean }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { traits } = view.python;
  useSignalEffect(() => {
    const { height, width } = traits._about.value;
    const mask = unpackBits(traits._edges.value, height * width);
    const pixels = new Uint32Array(mask.length);
    for (let i = 0; i < mask.length; i++) if (mask[i]) pixels[i] = 0xffe6e1dc;
    put(canvas.current, new Uint8ClampedArray(pixels.buffer), width, height);
  });
  return <canvas ref={canvas} class="hdm-layer" hidden={!on} role="img" aria-label="Edges" />;
}

function MapLayer({ view, on }: { view: ViewState; on: boolean }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { traits } = view.python;
  // Two steps: which disc is on top depends on the values alone, so a new colour map is quick.
  const painted = useComputed(() => {
    const map = view.map.value;
    const values = view.values.value;
    if (!map || !values) return null;
    // While a scan runs it is painted often, and the browser and the model share the machine.
    const scale = paintingScale(map.grid, traits.status.value === "running" ? 512 : 1024);
    const weights = emphasis(values, map.baseline, traits.result_type.value);
    return { top: topmostCells(weights, map.grid, scale, values), values, weights, scale, grid: map.grid };
  });
  useSignalEffect(() => {
    const current = painted.value;
    if (!current) return;
    const { top, values, weights, scale, grid } = current;
    const pixels = colourise(top, values, view.span.value, view.table.value, weights);
    put(canvas.current, pixels, grid.width * scale, grid.height * scale);
  });
  return (
    <canvas
      ref={canvas}
      class={`hdm-layer hdm-map ${view.map.value?.stale ? "hdm-stale" : ""}`}
      style={{ "--opacity": traits.opacity.value }}
      hidden={!on}
      role="img"
      aria-label="Distances"
    />
  );
}

function put(
  canvas: HTMLCanvasElement | null,
  pixels: Uint8ClampedArray<ArrayBuffer>,
  width: number,
  height: number,
) {
  const context = canvas?.getContext("2d");
  if (!canvas || !context || pixels.length !== 4 * width * height || !pixels.length) return;
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  context.putImageData(new ImageData(pixels, width, height), 0, 0);
}

function Outline({ path, kind }: { path: string; kind: "truth" | "prediction" }) {
  return (
    <>
      <path class="hdm-halo" d={path} />
      <path class={`hdm-${kind}`} d={path} />
    </>
  );
}

function Rings({ view }: { view: ViewState }) {
  const { traits } = view.python;
  const grid = view.grid.value;
  const draft = view.draft.value;
  const ring = (cell: Cell, kind: string) => {
    const { x, y } = centre(grid, cell);
    return (
      <>
        <circle class="hdm-ring-halo" cx={x} cy={y} r={radius(grid)} />
        <circle class={`hdm-ring hdm-${kind}`} cx={x} cy={y} r={radius(grid)} />
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

/** While a slider moves: the disc and its neighbours in their new size and distance. */
function Draft({ grid }: { grid: ViewState["grid"]["value"] }) {
  const middle: Cell = [Math.floor(rows(grid) / 2), Math.floor(cols(grid) / 2)];
  const discs = [-1, 0, 1].flatMap((down) =>
    [-1, 0, 1].map((across) => neighbour(grid, middle, down, across)),
  );
  return (
    <>
      {discs.map((cell) => {
        const { x, y } = centre(grid, cell);
        const kind = sameCell(cell, middle) ? "hdm-draft" : "hdm-draft hdm-faint";
        return <circle key={cell.join()} class={kind} cx={x} cy={y} r={radius(grid)} />;
      })}
    </>
  );
}

/** A cell's value in words, which say so where it is an estimate, and where there is none. */
function known(view: ViewState, cell: Cell): { value: string; note: string } {
  const found = view.at(cell);
  const value = found ? distance(found.value, view.python.traits._about.value.unit) : "";
  if (found?.measured) return { value, note: "" };
  const yet = view.python.traits.status.value === "running" ? " yet" : "";
  return { value: value && `about ${value}`, note: `not measured${yet}` };
}

function tipText(view: ViewState, cell: Cell): string {
  const { value, note } = known(view, cell);
  return `row ${cell[0]}, column ${cell[1]}: ${[value, note].filter(Boolean).join(", ")}`;
}

function Tip({ view, cell }: { view: ViewState; cell: Cell }) {
  const { traits } = view.python;
  const { height, width, unit, truthEmpty } = traits._about.value;
  const grid = view.grid.value;
  const { x, y } = centre(grid, cell);
  const { value, note } = known(view, cell);
  const found = view.at(cell);
  const raw = found?.measured ? found.value : Number.NaN;
  const leftHalf = x < width / 2;
  const edge = leftHalf ? x + radius(grid) : x - radius(grid);
  const change = raw - (view.map.value?.baseline ?? Number.NaN);
  const type = traits.result_type.value;
  return (
    <div
      class="hdm-tip"
      style={{
        // It has the room on this side of the disc, and breaks into lines where that is too little.
        [leftHalf ? "left" : "right"]: `${(100 * (leftHalf ? edge : width - edge)) / width}%`,
        top: `clamp(1.5em, ${(100 * y) / height}%, 100% - 1.5em)`,
      }}
      aria-hidden="true"
    >
      {value && <b>{value}</b>}
      {value && note && " · "}
      {note}
      {noMask({ height, width }, raw, unit) && <span> {truthEmpty ? "something" : "nothing"} is drawn</span>}
      {type !== "raw" && Number.isFinite(change) && (
        <span>
          {" "}
          {change === 0
            ? "no change"
            : `${distance(Math.abs(change), unit)} ${change < 0 ? "better" : "worse"}`}
        </span>
      )}
    </div>
  );
}
