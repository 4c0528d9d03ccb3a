// A scroll bar for rows that may be higher, all together, than a browser lets an element be.
import { useLayoutEffect, useRef, useState } from "preact/hooks";

/** Firefox draws nothing beyond 17.9 million px, and half pixels are told apart up to 8.4 million. */
export const HIGHEST = 8_000_000; // px
// The wheel, a finger and keys scroll by less at once; where it matters, the bar moves by more for each px of a drag.
const FINE = 3000; // px
const OVERSCAN = 2; // rows

export interface Scrolled {
  /** Within all rows, in px. */
  at: number;
  /** Of the element, in px. */
  top: number;
}

/** The element's scroll position that shows the rows from `at` on; in proportion where it is not high enough. */
export function placed(at: number, total: number, view: number): Scrolled {
  const end = Math.max(0, total - view);
  const kept = Math.min(Math.max(at, 0), end);
  return { at: kept, top: end && (kept * (Math.min(total, HIGHEST) - view)) / end };
}

/**
 * Where the rows are when the element was scrolled to `top`.
 *
 * The bar shows where in all rows the view is. Small steps move the rows by as much, so that no row is jumped over; when
 * such a step reaches an end of the bar before the rows' own, the bar is put where it belongs.
 */
export function scrolledTo(before: Scrolled, top: number, total: number, view: number): Scrolled {
  const end = Math.max(0, total - view);
  const last = Math.min(total, HIGHEST) - view;
  if (total <= HIGHEST) return { at: Math.min(Math.max(top, 0), end), top };
  if (Math.abs(top - before.top) > FINE) return { at: Math.min(1, Math.max(0, top / last)) * end, top };
  const at = Math.min(Math.max(before.at + top - before.top, 0), end);
  if (top > 0 && top < last - 1) return { at, top };
  const left = top > 0 ? end - at : at;
  // The end cut the step off: half a view is not worth another one.
  return placed(left < view / 2 ? (top > 0 ? end : 0) : at, total, view);
}

interface Rows {
  count: number;
  /** Of one row with the gap below it, in px. */
  height: number;
  /** Cards in a row, which stay in view when these change. */
  perRow: number;
  /** Height of the frame in px. */
  view: number;
  /** Other rows when this changes: they are shown from the first on. */
  version: number;
}

/** The rows in view and where they are, for a frame that calls `follow` when it is scrolled. */
export function useRows(frame: { current: HTMLElement | null }, rows: Rows) {
  const { count, height, perRow, view, version } = rows;
  const total = count * height;
  const [, redraw] = useState(0);
  const now = useRef<Scrolled>({ at: 0, top: 0 });
  const before = useRef(rows);
  const show = (next: Scrolled) => {
    const element = frame.current;
    if (!element) return;
    if (next.top !== element.scrollTop) element.scrollTop = next.top;
    now.current = { at: next.at, top: element.scrollTop };
    redraw((n) => n + 1);
  };
  useLayoutEffect(() => {
    const was = before.current;
    before.current = rows;
    const row = Math.floor((Math.round(now.current.at / was.height) * was.perRow) / perRow);
    const same = was.version === version && was.height === height && was.perRow === perRow;
    show(placed(was.version !== version ? 0 : same ? now.current.at : row * height, total, view));
  }, [count, height, perRow, view, version]);
  const { at, top } = now.current;
  const first = Math.max(0, Math.floor(at / height) - OVERSCAN);
  const last = Math.min(count, Math.ceil((at + view) / height) + OVERSCAN);
  return {
    total: Math.min(total, HIGHEST),
    at,
    rows: Array.from({ length: Math.max(0, last - first) }, (_, i) => ({
      row: first + i,
      start: Math.round((first + i) * height + top - at),
    })),
    follow: () => frame.current && show(scrolledTo(now.current, frame.current.scrollTop, total, view)),
    /** Scroll no farther than it takes to see a row. */
    reveal(row: number, gap: number) {
      const { at } = now.current;
      show(placed(Math.min(Math.max(at, (row + 1) * height - gap - view), row * height), total, view));
    },
  };
}
