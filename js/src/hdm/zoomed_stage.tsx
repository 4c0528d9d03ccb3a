// The stage of a large image: zoomed and dragged, with tiles of what is in view.
import { type Signal, signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Button } from "../shared/button";
import { center } from "../shared/geometry";
import { pngAddress } from "../shared/png";
import { stepOf } from "./large";
import type { ViewState } from "./view_state";
import { panned, RecentlyUsed, showing, TILE, type Tile, tilesOf, WHOLE, type Zoom, zoomed } from "./zoom";

const FACTOR = 1.5;
/** Less is a click. */
const MOVED = 4;
const CACHE = 64 * 2 ** 20;
/** Of a tile while it is shown. */
const BYTES = 4 * TILE ** 2;

export const zoomState = (): Signal<Zoom> => signal(WHOLE);

interface Props {
  view: ViewState;
  zoom: Signal<Zoom>;
}

export function ZoomedStage({ view, zoom, children }: Props & { children: ComponentChildren }) {
  const box = useRef<HTMLDivElement>(null);
  const drag = useRef<{ x: number; y: number; moved: boolean } | null>(null);
  const about = view.python.traits._about.value;
  const { height, width } = about;
  const { scale, x, y } = zoom.value;
  const fractions = (event: MouseEvent) => {
    const bounds = (box.current as HTMLDivElement).getBoundingClientRect();
    return {
      x: (event.clientX - bounds.left) / bounds.width,
      y: (event.clientY - bounds.top) / bounds.height,
    };
  };
  const by = (factor: number, at = { x: 0.5, y: 0.5 }) => {
    zoom.value = zoomed(zoom.value, factor, at.x, at.y, about);
  };
  useEffect(() => {
    const element = box.current as HTMLDivElement;
    const wheeled = (event: WheelEvent) => {
      // The page goes on scrolling where there is nothing to zoom out of.
      if (event.deltaY > 0 && zoom.value.scale === 1) return;
      event.preventDefault();
      by(2 ** (-Math.max(-100, Math.min(100, event.deltaY)) / 200), fractions(event));
    };
    element.addEventListener("wheel", wheeled, { passive: false });
    return () => element.removeEventListener("wheel", wheeled);
  }, [about]);
  const keyed = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "+" || event.key === "=") by(FACTOR);
    else if (event.key === "-") by(1 / FACTOR);
    else if (event.key === "0") zoom.value = WHOLE;
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  // The cursor of the keys stays in view.
  const followed = () => {
    const cell = view.cursor.value;
    if (!cell) return;
    const at = center(view.grid.value, cell);
    zoom.value = showing(zoom.value, at.x / width, at.y / height);
  };
  const pressed = (event: PointerEvent) => {
    if (event.button !== 0 || view.tools.tool.value === "brush") return;
    drag.current = { ...fractions(event), moved: false };
  };
  const moved = (event: PointerEvent) => {
    const from = drag.current;
    if (!from) return;
    if (!event.buttons) {
      drag.current = null;
      return;
    }
    const here = fractions(event);
    const bounds = (box.current as HTMLDivElement).getBoundingClientRect();
    const far = Math.hypot((here.x - from.x) * bounds.width, (here.y - from.y) * bounds.height);
    if (!from.moved && far < MOVED) return;
    zoom.value = panned(zoom.value, here.x - from.x, here.y - from.y);
    drag.current = { ...here, moved: true };
    event.stopPropagation();
  };
  const clicked = (event: MouseEvent) => {
    if (drag.current?.moved) event.stopPropagation();
    drag.current = null;
  };
  const button = (label: string, text: string, disabled: boolean, act: () => void) => (
    <Button aria-label={label} title={label} disabled={disabled} onClick={act}>
      {text}
    </Button>
  );
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: the stage inside has the role and the focus
    <div
      ref={box}
      class={`hdm-window ${scale > 1 ? "hdm-zoomed" : ""}`}
      style={{
        aspectRatio: `${width} / ${height}`,
        "--ratio": width / height,
        "--scale": scale,
        "--x": `${-100 * x * scale}%`,
        "--y": `${-100 * y * scale}%`,
      }}
      onKeyDown={keyed}
      onKeyUp={(event) => {
        if (/^(Arrow|Page|Home|End)/.test(event.key)) followed();
      }}
      onPointerDown={pressed}
      onPointerMoveCapture={moved}
      onClickCapture={clicked}
    >
      {children}
      <div class="hdm-zoom">
        {button("Zoom in (+)", "+", false, () => by(FACTOR))}
        {button("Zoom out (-)", "−", scale === 1, () => by(1 / FACTOR))}
        {button("Whole image (0)", "Whole", scale === 1, () => {
          zoom.value = WHOLE;
        })}
      </div>
    </div>
  );
}

/** The tiles in view over the first image. */
export function Tiles({ view, zoom, on }: Props & { on: boolean }) {
  const layer = useRef<HTMLDivElement>(null);
  const [, draw] = useState(0);
  const cache = useMemo(() => new RecentlyUsed<string>(CACHE, (address) => URL.revokeObjectURL(address)), []);
  const asked = useMemo(() => new Set<string>(), []);
  const about = view.python.traits._about.value;
  const { height, width } = about;
  const stage = layer.current?.parentElement?.parentElement?.clientWidth || 600;
  const pixels = stage * (globalThis.devicePixelRatio || 1);
  const tiles = on ? tilesOf(zoom.value, about, stepOf(about), pixels) : [];
  const name = ({ level, row, col }: Tile) => `${level} ${row} ${col}`;
  const gone = view.python.gone.value;
  useEffect(() => {
    for (const tile of tiles) {
      const key = name(tile);
      if (cache.get(key) || asked.has(key) || gone) continue;
      asked.add(key);
      view.python.ask("tile", { ...tile }).then(({ error, buffers }) => {
        asked.delete(key);
        // Nobody would give back the address of a picture that comes after the end.
        if (error || !buffers.length || !layer.current) return;
        cache.put(key, pngAddress(buffers[0]), BYTES);
        draw((count) => count + 1);
      });
    }
  });
  useEffect(() => () => cache.clear(), []);
  return (
    <div ref={layer} class="hdm-layer hdm-tiles">
      {tiles.map((tile) => {
        const address = cache.get(name(tile));
        const side = TILE * 2 ** tile.level;
        const [left, top] = [tile.col * side, tile.row * side];
        return (
          address && (
            <img
              key={name(tile)}
              src={address}
              alt=""
              style={{
                left: `${(100 * left) / width}%`,
                top: `${(100 * top) / height}%`,
                width: `${(100 * Math.min(side, width - left)) / width}%`,
                height: `${(100 * Math.min(side, height - top)) / height}%`,
              }}
            />
          )
        );
      })}
    </div>
  );
}
