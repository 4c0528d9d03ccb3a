// Which items are shown, and their images and masks: asked for when they come into view, kept for a while.
import { computed, effect, signal } from "@preact/signals";
import { ints, number, unpackBits, type WireNumber } from "../shared/codec";
import type { Size } from "../shared/geometry";
import { pngAddress } from "../shared/png";
import type { Python, Reply } from "../shared/traits";
import type { GalleryTraits, Interval } from "./python_state";
import { afterReply, newest, type RequestErrors } from "./request_errors";

export interface Item {
  url: string;
  /** Of the masks. */
  size: Size;
  truth: Uint8Array;
  predicted: Uint8Array;
  /** Pixels that do not count; null if all do. */
  ignored: Uint8Array | null;
  /** NaN where it is not defined. */
  iou: number;
  /** Of a new item, whose IoU is the expected one. */
  interval?: Interval;
  /** Of two models: the prediction of the second, and the IoU with it. */
  second?: Uint8Array;
  after?: number;
  caption: string;
  error: string;
  /** How likely its truth is wrong, and why; where it is known. */
  suspicion?: string;
  reason?: string;
}

interface Entry extends Pick<Item, "interval" | "caption" | "error" | "suspicion" | "reason"> {
  index: number;
  iou: WireNumber;
  after?: WireNumber;
}

interface Parts {
  image: DataView;
  truth: DataView;
  predicted: DataView;
  ignored?: DataView | undefined;
  second?: DataView | undefined;
}

const AT_ONCE = 6;
const MOST_KEPT = 600;
const PAGE = 512; // items whose numbers are asked for together
const MOST_PAGES = 64;
const SLOW = 1500; // ms
// A reply is taken whenever it comes: the kernel may be busy with another cell for long.
const PATIENCE = 2 ** 31 - 1; // ms

const pageKey = (version: number, page: number) => `${version} ${page}`;

export interface ImageStore {
  /** Changes whenever images arrive. */
  arrived: { readonly value: number };
  /** Changes whenever images that are on screen must be asked for again. */
  round: { readonly value: number };
  /** What went wrong last with a request that has not succeeded since, empty otherwise. */
  error: { readonly value: string };
  /** Nothing has come for a while. */
  slow: { readonly value: boolean };
  get(item: number): Item | undefined;
  /** Which item has a rank; undefined where that has not come. */
  item(rank: number): number | undefined;
  /** Make sure that the items of these ranks are there with their images, or on their way. */
  want(ranks: number[]): void;
  /** Ask again for what has not come. */
  retry(): void;
  /** What is kept is out of date. */
  forget(): void;
  /** Take the reply to another request about an item: what went wrong, or nothing. */
  report(request: string, error: string | null): void;
  dispose(): void;
}

export function imageStore(python: Python<GalleryTraits>): ImageStore {
  const kept = new Map<number, Item>();
  // Items in their order, as far as they are known.
  const pages = new Map<number, Int32Array>();
  const asked = new Set<number | string>();
  const failed = new Set<number | string>();
  const arrived = signal(0);
  const errors = signal<RequestErrors>([]);
  const error = computed(() => newest(errors.value));
  const slow = signal(false);
  const round = signal(0);
  let version = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const wait = () => {
    clearTimeout(timer);
    slow.value = false;
    if (asked.size && !python.gone.value) timer = setTimeout(() => (slow.value = true), SLOW);
  };

  const drop = (item: number) => {
    URL.revokeObjectURL(kept.get(item)?.url ?? "");
    kept.delete(item);
  };
  const keep = ({ after, ...entry }: Entry, { height, width }: Size, parts: Parts) => {
    drop(entry.index);
    const mask = (packed: DataView) => unpackBits(packed, height * width);
    kept.set(entry.index, {
      ...entry,
      size: { height, width },
      iou: number(entry.iou),
      url: pngAddress(parts.image),
      truth: mask(parts.truth),
      predicted: mask(parts.predicted),
      ignored: parts.ignored?.byteLength ? mask(parts.ignored) : null,
      ...(parts.second && { second: mask(parts.second), after: number(after) }),
    });
  };
  const answered = (reply: Reply, keys: (number | string)[]) => {
    for (const key of keys) {
      asked.delete(key);
      if (reply.error) failed.add(key);
      else failed.delete(key);
    }
    wait();
    // Of several requests for images, one may fail.
    if (reply.error || !failed.size) report("images", reply.error);
  };
  const report = (request: string, text: string | null) => {
    // The toolbar says once for all parts that there is no kernel.
    errors.value = python.gone.peek() ? [] : afterReply(errors.peek(), request, text);
  };
  const fetchPage = async (page: number) => {
    const { version, count } = python.traits._shown.peek();
    const key = pageKey(version, page);
    const [start, stop] = [page * PAGE, Math.min(count, (page + 1) * PAGE)];
    asked.add(key);
    const reply = await python.ask("items", { start, stop }, PATIENCE);
    answered(reply, [key]);
    // Of another order, as this one was asked for or answered too late.
    if (!reply.buffers.length || reply.version !== python.traits._shown.peek().version) return;
    pages.set(page, ints({ view: reply.buffers[0], dtype: "int32", shape: [stop - start] }));
    for (const old of pages.keys()) {
      if (pages.size <= MOST_PAGES) break;
      if (old) pages.delete(old);
    }
    arrived.value++;
  };
  const fetchSome = async (items: number[]) => {
    const started = version;
    const reply = await python.ask("images", { items }, PATIENCE);
    // From before the last forgetting: the same items may have been asked for again.
    if (started !== version) return;
    answered(reply, items);
    const size = python.traits._about.value;
    const each = (size.ignored ? 4 : 3) + (size.compared ? 1 : 0);
    ((reply.images as Entry[] | undefined) ?? []).forEach((entry, i) => {
      const [image, truth, predicted, ...more] = reply.buffers.slice(each * i, each * (i + 1));
      const second = size.compared && more.pop();
      keep(entry, size, { image, truth, predicted, ignored: more[0], second });
    });
    for (const item of kept.keys()) {
      if (kept.size <= MOST_KEPT) break;
      drop(item);
    }
    arrived.value++;
  };
  const askAgain = () => {
    asked.clear();
    failed.clear();
    report("images", null);
    wait();
    round.value++;
  };
  const forget = () => {
    version++;
    for (const item of [...kept.keys()]) drop(item);
    askAgain();
    arrived.value++;
  };
  const stop = python.traits.captions_version.subscribe(forget);
  const stopOrder = python.traits._shown.subscribe(({ first }) => {
    pages.clear();
    pages.set(0, ints(first));
  });
  const item = (rank: number) => pages.get(Math.floor(rank / PAGE))?.[rank % PAGE];
  const stopSaved = effect(() => {
    if (!python.gone.value) return;
    wait();
    for (const { index, iou, after, caption, interval, suspicion, reason, ...saved } of python.traits._saved
      .value) {
      const entry = {
        index,
        iou,
        after,
        caption,
        error: "",
        ...(interval && { interval }),
        ...(suspicion && { suspicion, reason }),
      };
      if (!kept.has(index)) keep(entry, saved, saved);
    }
    arrived.value = arrived.peek() + 1;
  });
  return {
    arrived,
    round,
    slow,
    error,
    get(item) {
      const found = kept.get(item);
      if (found) {
        // Put last: the first in the map, looked at longest ago, is dropped first.
        kept.delete(item);
        kept.set(item, found);
      }
      return found;
    },
    item,
    want(ranks) {
      if (python.gone.value) return;
      const { version } = python.traits._shown.peek();
      for (const page of new Set(ranks.map((rank) => Math.floor(rank / PAGE))))
        if (!pages.has(page) && !asked.has(pageKey(version, page))) void fetchPage(page);
      const items = ranks.map(item).filter((one) => one !== undefined);
      const missing = items.filter((item) => !kept.has(item) && !asked.has(item));
      for (const item of missing) asked.add(item);
      for (let i = 0; i < missing.length; i += AT_ONCE) void fetchSome(missing.slice(i, i + AT_ONCE));
      if (missing.length) wait();
    },
    retry() {
      errors.value = [];
      askAgain();
    },
    forget,
    report,
    dispose() {
      stop();
      stopOrder();
      stopSaved();
      forget();
    },
  };
}
