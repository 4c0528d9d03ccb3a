// Pictures and masks of items: asked for when they come into view, kept for a while.
import { signal } from "@preact/signals";
import { bytes, unpackBits } from "../shared/codec";
import type { Python } from "../shared/traits";
import type { GalleryTraits } from "./gallery";

export interface Item {
  url: string;
  truth: Uint8Array;
  predicted: Uint8Array;
  iou: number | null;
  caption: string;
  error: string;
}

interface Entry {
  index: number;
  iou: number | null;
  caption: string;
  error: string;
}

const AT_ONCE = 6;
const MOST_KEPT = 600;
const PATIENCE = 1500; // ms

export interface PictureStore {
  /** Changes whenever pictures arrive. */
  arrived: { readonly value: number };
  /** Changes whenever all pictures are forgotten. */
  round: { readonly value: number };
  /** What went wrong with the last request, empty otherwise. */
  error: { readonly value: string };
  /** Nothing has come for a while. */
  slow: { readonly value: boolean };
  get(item: number): Item | undefined;
  /** Make sure that these are there, or on their way. */
  want(items: number[]): void;
  /** What is kept is out of date. */
  forget(): void;
  /** Say that something went wrong. */
  report(message: string): void;
  dispose(): void;
}

export function pictureStore(python: Python<GalleryTraits>): PictureStore {
  const kept = new Map<number, Item>();
  const asked = new Set<number>();
  const arrived = signal(0);
  const error = signal("");
  const slow = signal(false);
  const round = signal(0);
  let patience: ReturnType<typeof setTimeout> | undefined;

  const wait = () => {
    clearTimeout(patience);
    slow.value = false;
    if (asked.size) patience = setTimeout(() => (slow.value = true), PATIENCE);
  };

  const drop = (item: number) => {
    URL.revokeObjectURL(kept.get(item)?.url ?? "");
    kept.delete(item);
  };
  const fetchSome = async (items: number[]) => {
    const started = round.peek();
    const reply = await python.ask("pictures", { items });
    // Of before the last forgetting: the same items may have been asked for again.
    if (started !== round.peek()) return;
    for (const item of items) asked.delete(item);
    wait();
    error.value = reply.error ?? "";
    const { height, width } = python.traits._about.value;
    ((reply.pictures as Entry[] | undefined) ?? []).forEach((entry, i) => {
      const [picture, truth, predicted] = reply.buffers.slice(3 * i, 3 * i + 3);
      drop(entry.index);
      kept.set(entry.index, {
        ...entry,
        url: URL.createObjectURL(new Blob([bytes(picture)], { type: "image/png" })),
        truth: unpackBits(truth, height * width),
        predicted: unpackBits(predicted, height * width),
      });
    });
    for (const item of kept.keys()) {
      if (kept.size <= MOST_KEPT) break;
      drop(item);
    }
    arrived.value++;
  };
  const forget = () => {
    round.value++;
    asked.clear();
    for (const item of [...kept.keys()]) drop(item);
    arrived.value++;
  };
  const stop = python.traits.caption_round.subscribe(forget);
  return {
    arrived,
    round,
    slow,
    error,
    get(item) {
      const found = kept.get(item);
      if (found) {
        // The oldest in the map goes first: what is looked at is young.
        kept.delete(item);
        kept.set(item, found);
      }
      return found;
    },
    want(items) {
      const missing = items.filter((item) => !kept.has(item) && !asked.has(item));
      for (const item of missing) asked.add(item);
      for (let i = 0; i < missing.length; i += AT_ONCE) void fetchSome(missing.slice(i, i + AT_ONCE));
      if (missing.length) wait();
    },
    forget,
    report(message) {
      error.value = message;
    },
    dispose() {
      stop();
      forget();
      wait();
    },
  };
}
