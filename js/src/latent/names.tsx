// The names of the selections, over the map. Only the browser knows how wide a text is, so they are placed here.
import { effect } from "@preact/signals";
import { render } from "preact";
import type { Size } from "../shared/geometry";
import type { Python } from "../shared/traits";
import { onceOnPage } from "./on_page";
import type { LegendTraits, MapName } from "./python_state";

interface Corner {
  left: number;
  top: number;
}

const GAP = 3; // px

/** Write the names over the map of the explorer that holds `el`, once it is on the page; gives what undoes it. */
export const showNames = (el: HTMLElement, python: Python<LegendTraits>): (() => void) =>
  onceOnPage(el, (root) => attach(root, python));

function attach(root: HTMLElement, python: Python<LegendTraits>): () => void {
  const frame = root.querySelector<HTMLElement>(".hdm-latent-plot");
  if (!frame) return () => {};
  const layers: HTMLElement[] = [];
  const on = (names: MapName[], figure: number) => names.filter((name) => (name.figure ?? 0) === figure);

  const place = () => {
    const plots = frame.querySelectorAll(".bqplot");
    const origin = frame.getBoundingClientRect();
    layers.forEach((layer, figure) => {
      const plot = plots[figure]?.querySelector(".plotarea_background")?.getBoundingClientRect();
      layer.hidden = !plot?.width;
      if (!plot) return;
      move(layer, { left: plot.left - origin.left, top: plot.top - origin.top });
      layer.style.width = `${plot.width}px`;
      layer.style.height = `${plot.height}px`;
      const labels = [...layer.children] as HTMLElement[];
      const sizes = labels.map((label) => label.getBoundingClientRect());
      const corners = arrange(on(python.traits.names.peek(), figure), sizes, plot, taken(frame, plot));
      labels.forEach((label, i) => {
        move(label, corners[i]);
      });
    });
  };
  // bqplot draws the plot some time after the page, and again some time after its size has changed.
  const drawn = new MutationObserver(place);
  drawn.observe(frame, { childList: true, subtree: true, attributeFilter: ["width", "height"] });
  // A font that arrives late makes a name wider.
  const resized = new ResizeObserver(place);
  const stopFollowing = effect(() => {
    const names = python.traits.names.value;
    const figures = 1 + Math.max(0, ...names.map((name) => name.figure ?? 0));
    while (layers.length < figures) layers.push(newLayer(frame));
    resized.disconnect();
    layers.forEach((layer, figure) => {
      render(
        on(names, figure).map(({ text, color }) => (
          <span class="hdm-map-name" key={text} style={{ borderColor: color }}>
            {text}
          </span>
        )),
        layer,
      );
      for (const label of layer.children) resized.observe(label);
    });
    place();
  });
  return () => {
    stopFollowing();
    resized.disconnect();
    drawn.disconnect();
    for (const layer of layers) {
      render(null, layer);
      layer.remove();
    }
  };
}

function newLayer(frame: HTMLElement): HTMLElement {
  const layer = document.createElement("div");
  layer.className = "hdm hdm-map-names";
  // The list of selections says the same.
  layer.ariaHidden = "true";
  frame.append(layer);
  return layer;
}

function move({ style }: HTMLElement, { left, top }: Corner) {
  style.left = `${left}px`;
  style.top = `${top}px`;
}

/** What of a plot the buttons cover that zoom it. */
function taken(frame: HTMLElement, plot: DOMRect): (Corner & Size)[] {
  const box = frame.querySelector(".hdm-map-zoom")?.getBoundingClientRect();
  if (!box?.width || box.right <= plot.left || box.bottom <= plot.top || box.top >= plot.bottom) return [];
  return [{ left: box.left - plot.left, top: box.top - plot.top, width: box.width, height: box.height }];
}

/** Where names stand on a plot: above their points, within the plot, beside each other and beside what is `taken`. */
export function arrange(
  names: readonly { x: number; y: number }[],
  sizes: readonly Size[],
  plot: Size,
  taken: readonly (Corner & Size)[] = [],
): Corner[] {
  const placed = [...taken];
  return names.map(({ x, y }, i) => {
    const { width, height } = sizes[i];
    const left = clamp(x * plot.width - width / 2, plot.width - width);
    const wanted = clamp(y * plot.height - height - GAP, plot.height - height);
    const beside = placed.filter((other) => left < other.left + other.width && other.left < left + width);
    const free = (top: number) =>
      top === clamp(top, plot.height - height) &&
      beside.every((other) => top >= other.top + other.height || other.top >= top + height);
    const tops = [wanted, ...beside.flatMap((other) => [other.top - height, other.top + other.height])];
    const nearest = tops.filter(free).sort((a, b) => Math.abs(a - wanted) - Math.abs(b - wanted));
    // On a map that is full of names they may overlap.
    const top = nearest[0] ?? wanted;
    placed.push({ left, top, width, height });
    return { left, top };
  });
}

const clamp = (value: number, high: number) => Math.max(0, Math.min(value, high));
