// Up to millions of items as cards in rows; only the rows in view are in the page.
import { type ReadonlySignal, useComputed, useSignal } from "@preact/signals";
import type { VNode } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Button } from "../shared/button";
import { count } from "../shared/format";
import { useTheme } from "../shared/theme";
import type { Python } from "../shared/traits";
import { Card, type CardProps, REASON_ROOM } from "./card";
import { rankByKey } from "./card_keys";
import type { ImageStore } from "./image_store";
import { NewCard } from "./new_card";
import type { GalleryTraits } from "./python_state";
import { useRows } from "./virtual_rows";

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
  compared?: CardOfTwo | undefined;
}

const REST = 80; // ms after a leap until images are asked for: whoever drags the scroll bar leaps on
const MANY = 500; // items, of which it is said which are in view

export function ImageGrid({ python, store, compared }: Props) {
  const frame = useRef<HTMLElement>(null);
  const theme = useTheme();
  const { traits } = python;
  const { height, width, truths } = traits._about.value;
  const shown = traits._shown.value;
  const fresh = traits.source.value === "new";
  const overlay = traits.layers.value === "overlay";
  const layers = (compared ? 2 : 1) * (overlay ? 1 : (fresh && !truths) || compared ? 2 : 3);
  const label = fresh ? "Images of new items" : "Images of the selection";
  const [room, setRoom] = useState({ width: 0, height: 0 });
  useLayoutEffect(() => {
    if (!frame.current) return;
    const watch = new ResizeObserver(([{ contentRect }]) => setRoom(contentRect));
    watch.observe(frame.current);
    return () => watch.disconnect();
  }, []);
  const { perRow, side } = layout(room.width, traits.size.value, layers, height / width);
  const reason = !traits.with_reasons.value ? 0 : layers * side >= REASON_ROOM ? 2 * LINE + 4 : LINE + 4;
  const below = CAPTION + (fresh ? RANGE : reason);
  const { height: rowHeight } = layout(room.width, traits.size.value, layers, height / width, below);
  const Shown = compared ?? (fresh ? NewCard : Card);
  const { rows, total, at, follow, reveal } = useRows(frame, {
    count: room.width ? Math.ceil(shown.count / perRow) : 0,
    height: rowHeight,
    perRow,
    view: room.height,
    version: shown.version,
  });

  // Draw anew when images arrive, and ask for those that are missing.
  store.arrived.value;
  const ranks = ({ row }: { row: number }) =>
    Array.from({ length: Math.min(perRow, shown.count - row * perRow) }, (_, i) => row * perRow + i);
  const inView = rows.flatMap(ranks);
  const seen = inView.map(store.item);
  const asked = useRef(0);
  useEffect(() => {
    const ask = () => store.want(inView);
    const leap = Math.abs(at - asked.current) > room.height;
    asked.current = at;
    if (!leap) return ask();
    const timer = setTimeout(ask, REST);
    return () => clearTimeout(timer);
  }, [seen.join(), inView.join(), store.round.value]);

  const first = Math.min(Math.ceil(at / rowHeight) * perRow, shown.count - 1);
  const end = Math.min(shown.count, Math.floor((at + room.height + GAP) / rowHeight) * perRow);
  // Where no card is whole, those of which a part is in view.
  const [from, to] =
    end > first
      ? [first, end]
      : [
          Math.floor(at / rowHeight) * perRow,
          Math.min(shown.count, Math.ceil((at + room.height) / rowHeight) * perRow),
        ];
  // The card that a key leads to gets the focus as soon as it is in the page.
  const goal = useRef<number | null>(null);
  const pointed = useSignal<number | null>(null);
  const focused = useSignal<number | null>(null);
  const told = useComputed(() => pointed.value ?? focused.value ?? traits.highlighted.value);
  useLayoutEffect(() => {
    if (goal.current === null) return;
    const row = frame.current?.querySelector(`[data-row="${Math.floor(goal.current / perRow)}"]`);
    const card = row?.children[goal.current % perRow]?.querySelector<HTMLElement>(".hdm-layers");
    (card ?? frame.current)?.focus({ preventScroll: true });
    if (card) goal.current = null;
  });
  const key = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const row = (event.target as Element).closest<HTMLElement>("[data-row]");
    const column = row ? [...row.children].findIndex((card) => card.contains(event.target as Node)) : 0;
    const from = goal.current ?? (row ? Number(row.dataset.row) * perRow + column : null);
    const page = Math.max(1, Math.floor(room.height / rowHeight)) * perRow;
    const next = rankByKey(event.key, from, { first, perRow, page, count: shown.count });
    if (next === null) return;
    event.preventDefault();
    // The map beside it has such keys, too.
    event.stopPropagation();
    goal.current = next;
    reveal(Math.floor(goal.current / perRow), GAP);
  };

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
      <section
        class="hdm-grid"
        ref={frame}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region must be reachable by keyboard
        tabIndex={0}
        aria-label={label}
        onScroll={follow}
        onKeyDown={key}
        onPointerOver={(event) => (pointed.value = itemAt(event.target))}
        onPointerLeave={() => (pointed.value = null)}
        onFocusIn={(event) => (focused.value = itemAt(event.target))}
        onFocusOut={() => (focused.value = null)}
      >
        <div class="hdm-rows" style={{ height: `${total}px` }}>
          {rows.map(({ row, start }) => (
            <div
              class="hdm-cards"
              key={row}
              data-row={row}
              style={{ transform: `translateY(${start}px)`, height: `${rowHeight - GAP}px` }}
            >
              {ranks({ row }).map((rank) => {
                const item = store.item(rank);
                return item === undefined ? (
                  <div
                    class="hdm-blank"
                    key={-1 - rank}
                    style={{ width: `${layers * side + 2 * PADDING}px` }}
                  >
                    {python.gone.value ? "image not saved" : "…"}
                  </div>
                ) : (
                  <Shown
                    key={item}
                    item={item}
                    side={side}
                    found={store.get(item)}
                    python={python}
                    report={store.report}
                    theme={theme}
                  />
                );
              })}
            </div>
          ))}
        </div>
      </section>
      {reason > 0 && <WholeReason item={told} store={store} />}
      {shown.count > MANY && to > from && (
        <p class="hdm-note hdm-position">
          {count(from + 1)} to {count(to)} of {count(shown.count)}
        </p>
      )}
    </>
  );
}

function Retry({ store }: { store: ImageStore }) {
  return <Button onClick={store.retry}>Try again</Button>;
}

/** The item of the card that a pointer or the focus is on. */
function itemAt(target: EventTarget | null): number | null {
  const item = (target as Element).closest<HTMLElement>("[data-item]")?.dataset.item;
  return item === undefined ? null : Number(item);
}

interface WholeReasonProps {
  /** The one that is pointed at, focused or highlighted. */
  item: ReadonlySignal<number | null>;
  store: ImageStore;
}

/** All of the reason that a card has room for the beginning of only. */
function WholeReason({ item, store }: WholeReasonProps) {
  store.arrived.value;
  const found = item.value === null ? undefined : store.get(item.value);
  return (
    <p class="hdm-note hdm-whole-reason" role="status">
      {found?.suspicion ? (
        <>
          Item {item.value}: <b>{found.suspicion}</b> {found.reason}
        </>
      ) : (
        "Point at an image or tap it to read why its truth is suspicious."
      )}
    </p>
  );
}
