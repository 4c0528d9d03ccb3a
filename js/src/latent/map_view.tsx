// Views of a map of very many items: Python draws what is in view as an image. Zoom, pan, and a lasso of our own, as
// bqplot's selects points only.
import { effect } from "@preact/signals";
import { render } from "preact";
import { Button } from "../shared/button";
import type { Python } from "../shared/traits";
import type { Box, Corner } from "./points";
import type { Bounds, LegendTraits } from "./python_state";

const ZOOM = 1.6; // by a button or a key
const WHEEL = 0.0015; // per pixel that the wheel scrolls, on a scale of powers of e
const WHOLE = 1e9; // more than the closest view is smaller than the map
const PAN = 0.2; // of the view, by an arrow key
const APART = 3; // px between corners of a lasso
const MOST_CORNERS = 1000;
const PIXEL = 2; // px of the screen for one of the image
const ARROWS: Record<string, [number, number]> = {
  arrowleft: [-1, 0],
  arrowright: [1, 0],
  arrowup: [0, 1],
  arrowdown: [0, -1],
};

/** The view that is larger by `factor` around a position, given as fractions from the lower left corner. */
export function zoomed([x0, x1, y0, y1]: Bounds, factor: number, [across, up]: Corner = [0.5, 0.5]): Bounds {
  const [x, y] = [x0 + across * (x1 - x0), y0 + up * (y1 - y0)];
  return [x + (x0 - x) * factor, x + (x1 - x) * factor, y + (y0 - y) * factor, y + (y1 - y) * factor];
}

/** The view that is moved by fractions of itself. */
export const panned = ([x0, x1, y0, y1]: Bounds, [across, up]: Corner): Bounds => {
  const [x, y] = [across * (x1 - x0), up * (y1 - y0)];
  return [x0 + x, x1 + x, y0 + y, y1 + y];
};

/** A position on the page as fractions of a plot, from its lower left corner. */
export const fractions = ({ left, top, width, height }: Box, x: number, y: number): Corner => [
  (x - left) / width,
  1 - (y - top) / height,
];

/**
 * Follow zoom, pan and lasso on the maps in `frame`, which all have one view; `plot` gives the place on the page of a
 * figure, without one of the first.
 */
export function mapView(
  frame: HTMLElement,
  python: Python<LegendTraits>,
  plot: (figure?: Element) => Box | undefined,
) {
  const message = () => python.traits._points.peek();
  const buttons = document.createElement("div");
  buttons.className = "hdm hdm-map-zoom";
  const line = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  line.classList.add("hdm-map-lasso");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  line.append(path);
  line.ariaHidden = "true";

  // The view that is asked for; the next is asked for when this one is there.
  let wanted: Bounds | null = null;
  let asked = false;
  let size = "";
  const shape = (box: Box) => ({
    rows: Math.max(1, Math.round(box.height / PIXEL)),
    cols: Math.max(1, Math.round(box.width / PIXEL)),
  });
  const look = async (bounds: Bounds) => {
    wanted = bounds;
    if (asked || python.gone.peek()) return;
    asked = true;
    for (let box = plot(); wanted && box; box = plot()) {
      const next: Bounds = wanted;
      const reply = await python.ask("view", { bounds: next, ...shape(box) });
      if (wanted === next || reply.error) wanted = null;
    }
    asked = false;
  };
  const view = () => wanted ?? message().bounds;
  const zoom = (factor: number, at?: Corner) => void look(zoomed(view(), factor, at));
  // Python keeps views on the map.
  const showWhole = () => zoom(WHOLE);

  const stopFollowing = effect(() => {
    const gone = python.gone.value !== "";
    buttons.hidden = gone;
    const entries = [
      ["Zoom in", "+", () => zoom(1 / ZOOM)],
      ["Zoom out", "−", () => zoom(ZOOM)],
      ["Show the whole map", "⤢", showWhole],
    ] as const;
    render(
      entries.map(([name, sign, act]) => (
        <Button key={name} title={name} aria-label={name} onClick={act}>
          {sign}
        </Button>
      )),
      buttons,
    );
  });
  frame.append(buttons, line);

  // bqplot draws the plot some time after the page, and again when its size has changed.
  const resize = () => {
    const box = plot();
    if (!box?.width) return;
    const now = JSON.stringify(shape(box));
    if (now !== size) {
      size = now;
      void look(view());
    }
  };
  const drawn = new MutationObserver(resize);
  drawn.observe(frame, { childList: true, subtree: true, attributeFilter: ["width", "height"] });
  resize();

  let corners: Corner[] = [];
  let pressed: Element | undefined;
  let panning: { x: number; y: number; from: Bounds } | null = null;
  const draw = () => {
    const { left, top } = frame.getBoundingClientRect();
    path.setAttribute("d", corners.map(([x, y], i) => `${i ? "L" : "M"}${x - left} ${y - top}`).join(""));
  };
  return {
    /** Begin to pan, or a lasso; whether it is a lasso. */
    begin(event: PointerEvent, figure: Element): boolean {
      if (python.gone.peek()) return true;
      pressed = figure;
      if (event.button === 1 || event.ctrlKey || event.metaKey) {
        event.preventDefault();
        panning = { x: event.clientX, y: event.clientY, from: view() };
        return false;
      }
      corners = event.button === 0 ? [[event.clientX, event.clientY]] : [];
      return true;
    },
    move({ clientX, clientY }: PointerEvent) {
      const box = plot(pressed);
      if (!box?.width) return;
      if (panning) {
        const across = (panning.x - clientX) / box.width;
        void look(panned(panning.from, [across, (clientY - panning.y) / box.height]));
      }
      const last = corners.at(-1);
      if (!last || corners.length >= MOST_CORNERS) return;
      if (Math.hypot(last[0] - clientX, last[1] - clientY) < APART) return;
      corners.push([clientX, clientY]);
      draw();
    },
    /** End what has begun: the lasso's corners in the map's coordinates, x and y in turns; null without one. */
    end(): { polygon: number[] } | null {
      const box = plot(pressed);
      const done = corners;
      corners = [];
      panning = null;
      path.setAttribute("d", "");
      if (!box?.width || !done.length) return null;
      const [x0, x1, y0, y1] = message().bounds;
      const placed = done.map(([x, y]) => fractions(box, x, y));
      return { polygon: placed.flatMap(([x, y]) => [x0 + x * (x1 - x0), y0 + y * (y1 - y0)]) };
    },
    /** Zoom where the wheel turns: on a map that has the focus, or with Control. */
    wheel(event: WheelEvent, figure?: Element | null) {
      const box = figure && plot(figure);
      const meant = event.ctrlKey || frame.contains(document.activeElement);
      if (!box?.width || !meant || python.gone.peek()) return;
      event.preventDefault();
      const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 16 : 1;
      zoom(Math.exp(event.deltaY * lines * WHEEL), fractions(box, event.clientX, event.clientY));
    },
    double(event: MouseEvent, figure?: Element | null) {
      const box = figure && plot(figure);
      if (box?.width) zoom(event.shiftKey ? ZOOM : 1 / ZOOM, fractions(box, event.clientX, event.clientY));
    },
    /** Zoom or pan by a key in lower case; whether it means that. */
    key(key: string): boolean {
      if (key === "+" || key === "=") zoom(1 / ZOOM);
      else if (key === "-") zoom(ZOOM);
      else if (key === "0") showWhole();
      else if (key in ARROWS)
        void look(panned(view(), ARROWS[key].map((direction) => PAN * direction) as Corner));
      else return false;
      return true;
    },
    dispose() {
      drawn.disconnect();
      stopFollowing();
      render(null, buttons);
      buttons.remove();
      line.remove();
    },
  };
}
