// A widget's traits as signals, and requests that Python answers.
import type { AnyModel } from "@anywidget/types";
import { type ReadonlySignal, type Signal, signal } from "@preact/signals";

export type Signals<T> = { readonly [K in keyof T]: Signal<T[K]> };

export interface Reply {
  error: string | null;
  buffers: DataView[];
  [more: string]: unknown;
}

export interface Python<T> {
  traits: Signals<T>;
  /** Why there is no Python to ask, in a sentence; empty while there is. */
  gone: ReadonlySignal<string>;
  /** Change a trait, here and in Python. */
  set<K extends keyof T>(name: K, value: T[K]): void;
  /** Change several at once: Python sees one change. */
  change(values: Partial<T>): void;
  /**
   * Ask for something that is no trait; the reply comes when Python has done it.
   *
   * There always is a reply: its `error` says so where Python gives none within `patience` milliseconds, is gone, or
   * the view ends.
   */
  ask(request: string, more?: Record<string, unknown>, patience?: number): Promise<Reply>;
  dispose(): void;
}

// biome-ignore lint/suspicious/noExplicitAny: what an event brings depends on its name
type Listener = (...args: any[]) => void;

/** What a view needs of the model behind it: the notebook's, or a page's own, which has no Python. */
export interface Model<T extends object> {
  get<K extends keyof T>(name: K): T[K];
  set<K extends keyof T>(name: K, value: T[K]): void;
  on(event: string, listener: Listener): void;
  off(event: string, listener: Listener): void;
  save_changes(): void;
  send(content: unknown): void;
}

type Untyped = Model<Record<string, unknown>> & { widget_manager?: unknown };

/** As far as it is looked at here; other notebooks may have other kernels. */
interface Kernel {
  statusChanged?: KernelEvent;
  disposed?: KernelEvent;
}
interface KernelEvent {
  connect(listener: (kernel: unknown, status?: string) => void): unknown;
  disconnect(listener: (kernel: unknown, status?: string) => void): unknown;
}

const ENDED_KERNEL = ["restarting", "autorestarting", "terminating", "dead"];
const PATIENCE = 60_000; // ms
/** The class that Jupyter gives to a widget that has no Python on this page when it is drawn. */
export const DISCONNECTED = "jupyter-widgets-disconnected";
export const SILENT =
  "Python does not answer. Another cell may be running, or the kernel may have stopped; try again later.";
export const GONE = "The kernel was restarted: run this cell again.";
/** An exported page has no cells to run. */
export const EXPORTED = "There is no kernel: this page shows what was saved.";
const ENDED = "This view was closed.";

/** Signals that follow the traits of a model until they are disposed of; `el` is the element of its view. */
export function connect<T extends object>(
  model: AnyModel<T> | Model<T>,
  names: readonly (keyof T & string)[],
  el: Element,
): Python<T> {
  const raw = model as unknown as Untyped;
  const stops: (() => void)[] = [];
  const on = (event: string, listener: Listener) => {
    raw.on(event, listener);
    stops.push(() => raw.off(event, listener));
  };
  // Notebooks and Voila have a manager with a kernel, even if that is null; exported pages do not.
  const manager = (raw.widget_manager ?? {}) as { kernel?: Kernel | null };
  const why = "kernel" in manager ? GONE : EXPORTED;
  const gone = signal(el.classList.contains(DISCONNECTED) ? why : "");
  const follow = (name: string) => {
    const value = signal(raw.get(name));
    on(`change:${name}`, () => {
      value.value = raw.get(name);
    });
    return [name, value] as const;
  };
  const traits = Object.fromEntries(names.map(follow)) as unknown as Signals<T>;

  // Every view of a widget hears all replies: ids begin at a number of the view's own.
  let id = Math.floor(Math.random() * 1e9) * 1000;
  const waiting = new Map<number, (reply: Reply) => void>();
  const settle = (id: number, reply: Reply) => {
    waiting.get(id)?.(reply);
    waiting.delete(id);
  };
  const failed = (id: number, error: string) => settle(id, { id, error, buffers: [] });
  const failAll = (error: string) => {
    for (const id of [...waiting.keys()]) failed(id, error);
  };
  on("msg:custom", (content: Record<string, unknown>, buffers: DataView[]) => {
    gone.value = "";
    settle(content.id as number, { ...content, error: (content.error as string | null) ?? null, buffers });
  });
  const lose = () => {
    gone.value = why;
    failAll(why);
  };
  // The widget manager's word for a kernel that restarts; the class of an anywidget stays as it was.
  on("comm_live_update", lose);
  // It has none for a kernel that died, which is replaced by a new one, or that was shut down.
  const { kernel } = manager;
  const ended = (_kernel: unknown, status?: string) => {
    if (status === undefined || ENDED_KERNEL.includes(status)) lose();
  };
  for (const event of [kernel?.statusChanged, kernel?.disposed]) {
    event?.connect(ended);
    stops.push(() => event?.disconnect(ended));
  }
  return {
    traits,
    gone,
    set(name, value) {
      raw.set(name as string, value);
      raw.save_changes();
    },
    change(values) {
      for (const [name, value] of Object.entries(values)) raw.set(name, value);
      raw.save_changes();
    },
    ask(request, more = {}, patience = PATIENCE) {
      const own = ++id;
      return new Promise<Reply>((resolve) => {
        const timer = setTimeout(() => failed(own, SILENT), patience);
        waiting.set(own, (reply) => {
          clearTimeout(timer);
          resolve(reply);
        });
        if (gone.value) failed(own, gone.value);
        else raw.send({ ...more, request, id: own });
      });
    },
    dispose() {
      for (const stop of stops) stop();
      failAll(ENDED);
    },
  };
}
