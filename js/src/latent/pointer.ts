// What the pointer and the keys do on the figure. bqplot draws the figure and the lasso; added here are thumbnails of
// the point under the pointer, clicks and modifier keys.
import type { Python } from "../shared/traits";
import { mapView } from "./map_view";
import { onceOnPage } from "./on_page";
import {
  type Corner,
  isIn,
  nearest,
  nearestInImage,
  onPage,
  type Points,
  placeOf,
  readPoints,
} from "./points";
import type { LegendTraits, Mode } from "./python_state";
import { tooltip } from "./tooltip";
import { twinRings } from "./twin";

const RADIUS = 12; // px around the pointer in which a point is hit
const STILL = 4; // px that a click may move
const REST = 60; // ms
const MODES: Record<string, Mode> = { r: "replace", a: "add", s: "subtract" };

/** Listen on the explorer that holds `el`, once it is on the page; gives what undoes it. */
export const followPointer = (el: HTMLElement, python: Python<LegendTraits>): (() => void) =>
  onceOnPage(el, (root) => attach(root, python));

function attach(root: HTMLElement, python: Python<LegendTraits>): () => void {
  const frame = root.querySelector<HTMLElement>(".hdm-latent-plot");
  const isAggregated = python.traits._points.peek().items !== undefined;
  const zooms = isAggregated ? ", plus and minus zoom, 0 whole map, arrows pan" : "";
  if (frame) {
    // The figure has keys of its own; the notebook's shortcuts must not act on them.
    frame.tabIndex = 0;
    frame.dataset.lmSuppressShortcuts = "true";
    frame.setAttribute("role", "group");
    frame.setAttribute(
      "aria-label",
      python.traits._points.peek().others
        ? `Both maps of the items. Keys: R replace, A add, S subtract, N new selection, Control Z undo${zooms}`
        : `Map of the items. Keys: R replace, A add, S subtract, N new selection, W mark the truth as wrong, Control Z undo${zooms}`,
    );
  }
  // Of each figure, in their order.
  let points: Points[] = [];
  const stopReading = python.traits._points.subscribe((message) => {
    points = [message, ...(message.others ?? [])].map(readPoints);
  });
  const figures = () => [...root.querySelectorAll(".hdm-latent-plot .bqplot")];
  const tip = tooltip(root, python);
  const view = frame && isAggregated ? mapView(frame, python, (figure) => plotBox(figure ?? frame)) : null;
  const twins = twinRings(root);
  const stopForgetting = python.traits.legend.subscribe(() => tip.forget());
  // bqplot and ipywidgets know nothing of it: the style sheet takes their lasso and buttons away.
  const stopFollowing = python.gone.subscribe((gone) => root.classList.toggle("hdm-no-kernel", gone !== ""));
  let pressed: { x: number; y: number; figure: Element; mode: Mode | null; moved: number } | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  // The card that the pointer came to or that got the focus, whichever was later.
  let card: HTMLElement | null = null;

  const cardOf = ({ target }: Event) => {
    card = (target as Element).closest?.<HTMLElement>(".hdm-card") ?? null;
  };
  /** The item that a key is about; null: the highlighted one. Cards of new items have no number here. */
  const meant = () => {
    const focused = document.activeElement?.closest<HTMLElement>(".hdm-card");
    const chosen = card?.isConnected ? card : tip.item === null ? focused : null;
    return chosen ? Number(chosen.dataset.item ?? python.traits.total.peek()) : tip.item;
  };
  const plot = (event: Event) => (event.target as Element).closest?.(".bqplot");
  const under = (figure: Element, x: number, y: number) => {
    const box = plotBox(figure);
    const drawn = points[Math.max(0, figures().indexOf(figure))];
    if (!box?.width || !drawn) return null;
    const point = nearest(drawn, x, y, box, RADIUS);
    if (point < 0) return nearestInImage(drawn, x, y, box, RADIUS);
    return { item: drawn.rows[point], ...onPage(drawn.bounds, placeOf(drawn, point), box) };
  };
  /** Show where an item is on the figures beside this one, as far as it is in view there. */
  const showBeside = async (figure: Element, item: number) => {
    const shown = figures();
    if (shown.length < 2) return;
    const { places } = await python.ask("places", { item });
    if (!places || tip.item !== item) return;
    twins.show(
      shown.flatMap((other, i) => {
        const box = plotBox(other);
        if (other === figure || !box?.width || !points[i]) return [];
        const place = onPage(points[i].bounds, (places as Corner[])[i], box);
        return isIn(box, place) ? [place] : [];
      }),
    );
  };
  const hide = () => {
    tip.hide();
    twins.show([]);
  };
  const moved = (event: PointerEvent) => {
    clearTimeout(timer);
    if (pressed) pressed.moved = Math.max(pressed.moved, distance(pressed, event));
    const figure = plot(event);
    if (!figure || event.buttons || python.gone.value) return hide();
    const { clientX, clientY } = event;
    timer = setTimeout(() => {
      const found = under(figure, clientX, clientY);
      if (!found) return hide();
      tip.show(found);
      twins.show([]);
      void showBeside(figure, found.item);
    }, REST);
  };
  const left = () => {
    clearTimeout(timer);
    hide();
    card = null;
  };
  const down = (event: PointerEvent) => {
    const figure = plot(event);
    const selects = !figure || !view || view.begin(event, figure);
    pressed =
      figure && selects && event.button === 0 && !python.gone.value
        ? { x: event.clientX, y: event.clientY, figure, mode: modifier(event), moved: 0 }
        : null;
    left();
    if (!figure || !frame) return;
    frame.dataset.byPointer = "true";
    frame.focus({ preventScroll: true });
  };
  const up = (event: PointerEvent) => {
    const lasso = { figure: Math.max(0, figures().indexOf(pressed?.figure as Element)), ...view?.end() };
    if (!pressed) return;
    const start = pressed;
    pressed = null;
    // A lasso may end where it began: what counts is how far the pointer moved.
    if (Math.max(start.moved, distance(start, event)) >= STILL) {
      void python.ask("gesture", { kind: "lasso", mode: modifier(event) ?? start.mode, ...lasso });
      return;
    }
    const figure = plot(event);
    const found = figure && under(figure, start.x, start.y);
    void python.ask("gesture", { kind: "click", item: found ? found.item : null });
  };
  const key = (event: KeyboardEvent) => {
    delete frame?.dataset.byPointer;
    if (python.gone.value || (event.target as Element).closest("input, select, textarea, .hdm-latent-below"))
      return;
    const pressedKey = event.key.toLowerCase();
    if ((event.ctrlKey || event.metaKey) && !event.shiftKey && pressedKey === "z") void python.ask("undo");
    else if (event.ctrlKey || event.metaKey || event.altKey) return;
    else if (pressedKey in MODES) python.set("mode", MODES[pressedKey]);
    else if (pressedKey === "n") void python.ask("begin");
    else if (pressedKey === "w" && !python.traits._points.peek().others)
      void python.ask("mark", { item: meant() });
    else if (pressedKey === "escape") hide();
    else if (view?.key(pressedKey)) hide();
    else return;
    event.preventDefault();
    event.stopPropagation();
  };

  const ended = new AbortController();
  const { signal } = ended;
  root.addEventListener("pointermove", moved, { signal });
  root.addEventListener("pointerleave", left, { signal });
  root.addEventListener("pointerover", cardOf, { signal });
  root.addEventListener("focusin", cardOf, { signal });
  // In the capture phase, before bqplot, so that Python gets the gesture before the lasso.
  root.addEventListener("pointerdown", down, { capture: true, signal });
  window.addEventListener("pointerup", up, { capture: true, signal });
  if (view) {
    window.addEventListener("pointermove", view.move, { signal });
    root.addEventListener("wheel", (event) => view.wheel(event, plot(event)), { passive: false, signal });
    root.addEventListener("dblclick", (event) => view.double(event, plot(event)), { signal });
  }
  root.addEventListener("keydown", key, { signal });
  return () => {
    ended.abort();
    clearTimeout(timer);
    stopReading();
    stopForgetting();
    stopFollowing();
    tip.dispose();
    view?.dispose();
    twins.dispose();
  };
}

/** Where a figure's plot is on the page. */
const plotBox = (figure: Element) =>
  (figure.querySelector(".plotarea_background") ?? figure.querySelector("svg"))?.getBoundingClientRect();

const distance = (from: { x: number; y: number }, to: PointerEvent) =>
  Math.hypot(to.clientX - from.x, to.clientY - from.y);

export function modifier({ shiftKey, altKey }: { shiftKey: boolean; altKey: boolean }): Mode | null {
  if (shiftKey) return "add";
  return altKey ? "subtract" : null;
}
