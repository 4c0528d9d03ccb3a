// Thousands of items as cards in rows; only the rows in view are in the page.
import {
  elementScroll,
  observeElementOffset,
  observeElementRect,
  type VirtualItem,
  Virtualizer,
} from "@tanstack/virtual-core";
import type { VNode } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Button } from "../shared/button";
import { useTheme } from "../shared/theme";
import type { Python } from "../shared/traits";
import { Card, type CardProps, REASON_ROOM } from "./card";
import type { ImageStore } from "./image_store";
import { NewCard } from "./new_card";
import type { GalleryTraits } from "./python_state";

const GAP = 8;
const PADDING = 6; // of a card
const CAPTION = 22;
const RANGE = 11; // the bar of an expected IoU
const LINE = 16; // of a reason, which has two where there is room for words

/** Cards in a row, how wide an image is so that they fill the row, and how high a row is. */
export function layout(width: number, size: number, layers: number, ratio: number, below = CAPTION) {
  const around = 2 * PADDING;
  const perRow = Math.max(1, Math.round((width + GAP) / (layers * size + around + GAP)));
  const side = Math.max(16, Math.floor(((width + GAP) / perRow - GAP - around) / layers));
  return { perRow, side, height: Math.round(side * ratio) + below + around + GAP };
}

/** The card of an item with two predictions, where two models are compared. */
export type CardOfTwo = (props: CardProps) => VNode;

interface Props {
  python: Python<GalleryTraits>;
  store: ImageStore;
  items: Int32Array;
  compared?: CardOfTwo | undefined;
}

export function ImageGrid({ python, store, items, compared }: Props) {
  const frame = useRef<HTMLElement>(null);
  const theme = useTheme();
  const { traits } = python;
  const { height, width, truths } = traits._about.value;
  const fresh = traits.source.value === "new";
  const overlay = traits.layers.value === "overlay";
  const layers = (compared ? 2 : 1) * (overlay ? 1 : (fresh && !truths) || compared ? 2 : 3);
  const label = fresh ? "Images of new items" : "Images of the selection";
  const [room, setRoom] = useState(0);
  useLayoutEffect(() => {
    if (!frame.current) return;
    const watch = new ResizeObserver(([entry]) => setRoom(entry.contentRect.width));
    watch.observe(frame.current);
    return () => watch.disconnect();
  }, []);
  const { perRow, side } = layout(room, traits.size.value, layers, height / width);
  const reason = !traits.with_reasons.value ? 0 : layers * side >= REASON_ROOM ? 2 * LINE + 4 : LINE + 4;
  const below = CAPTION + (fresh ? RANGE : reason);
  const { height: rowHeight } = layout(room, traits.size.value, layers, height / width, below);
  const Shown = compared ?? (fresh ? NewCard : Card);
  const { rows, total } = useRows(frame, room ? Math.ceil(items.length / perRow) : 0, rowHeight);
  useLayoutEffect(() => {
    frame.current?.scrollTo({ top: 0 });
  }, [items]);

  // Draw anew when images arrive, and ask for those that are missing.
  store.arrived.value;
  const inView = rows.flatMap((row) => [...items.slice(row.index * perRow, (row.index + 1) * perRow)]);
  useEffect(() => store.want(inView), [inView.join(), store.round.value]);

  return (
    <>
      {store.slow.value && (
        <p class="hdm-notice" role="status">
          Waiting for the kernel: another cell may be running. <Retry store={store} />
        </p>
      )}
      {store.error.value && (
        <p class="hdm-notice" role="alert">
          {store.error.value} <Retry store={store} />
        </p>
      )}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard */}
      <section class="hdm-grid" ref={frame} tabIndex={0} aria-label={label}>
        <div class="hdm-rows" style={{ height: `${total}px` }}>
          {rows.map((row) => (
            <div
              class="hdm-cards"
              key={row.key}
              style={{ transform: `translateY(${row.start}px)`, height: `${rowHeight - GAP}px` }}
            >
              {[...items.slice(row.index * perRow, (row.index + 1) * perRow)].map((item) => (
                <Shown
                  key={item}
                  item={item}
                  side={side}
                  found={store.get(item)}
                  python={python}
                  report={store.report}
                  theme={theme}
                />
              ))}
            </div>
          ))}
        </div>
      </section>
    </>
  );
}

function Retry({ store }: { store: ImageStore }) {
  return <Button onClick={store.retry}>Try again</Button>;
}

/** The rows in view, and the height of all. */
function useRows(frame: { current: HTMLElement | null }, count: number, rowHeight: number) {
  const [, redraw] = useState(0);
  const options = {
    count,
    getScrollElement: () => frame.current,
    estimateSize: () => rowHeight,
    overscan: 2,
    scrollToFn: elementScroll,
    observeElementRect,
    observeElementOffset,
    onChange: () => redraw((n) => n + 1),
  };
  const [virtualizer] = useState(() => new Virtualizer<HTMLElement, Element>(options));
  virtualizer.setOptions({ ...options });
  useLayoutEffect(() => virtualizer._didMount(), [virtualizer]);
  useLayoutEffect(() => virtualizer._willUpdate());
  // Sizes are computed, not measured: new ones when the cards change.
  useLayoutEffect(() => virtualizer.measure(), [virtualizer, rowHeight]);
  return { rows: virtualizer.getVirtualItems() as VirtualItem[], total: virtualizer.getTotalSize() };
}
