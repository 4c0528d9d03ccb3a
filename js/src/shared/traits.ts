// A widget's traits as signals, and requests that Python answers.
import type { AnyModel } from "@anywidget/types";
import { type Signal, signal } from "@preact/signals";

export type Signals<T> = { readonly [K in keyof T]: Signal<T[K]> };

export interface Reply {
  error: string | null;
  buffers: DataView[];
  [more: string]: unknown;
}

export interface Python<T> {
  traits: Signals<T>;
  /** Change a trait, here and in Python. */
  set<K extends keyof T>(name: K, value: T[K]): void;
  /** Ask for something that is no trait; the reply comes when Python has done it. */
  ask(request: string, more?: Record<string, unknown>): Promise<Reply>;
  dispose(): void;
}

type Model = AnyModel<Record<string, unknown>>;

/** Signals that follow the traits of a model until they are disposed of. */
export function connect<T extends object>(
  model: AnyModel<T>,
  names: readonly (keyof T & string)[],
): Python<T> {
  const raw = model as unknown as Model;
  const stops: (() => void)[] = [];
  const follow = (name: string) => {
    const value = signal(raw.get(name));
    const changed = () => {
      value.value = raw.get(name);
    };
    raw.on(`change:${name}`, changed);
    stops.push(() => raw.off(`change:${name}`, changed));
    return [name, value] as const;
  };
  const traits = Object.fromEntries(names.map(follow)) as unknown as Signals<T>;
  // Every view of a widget hears all replies: ids begin at a number of the view's own.
  let id = Math.floor(Math.random() * 1e9) * 1000;
  const waiting = new Map<number, (reply: Reply) => void>();
  const heard = (content: Record<string, unknown>, buffers: DataView[]) => {
    const settle = waiting.get(content.id as number);
    waiting.delete(content.id as number);
    settle?.({ ...content, error: (content.error as string | null) ?? null, buffers });
  };
  raw.on("msg:custom", heard);
  return {
    traits,
    set(name, value) {
      raw.set(name as string, value);
      raw.save_changes();
    },
    ask(request, more = {}) {
      const own = ++id;
      const reply = new Promise<Reply>((resolve) => waiting.set(own, resolve));
      raw.send({ ...more, request, id: own });
      return reply;
    },
    dispose() {
      raw.off("msg:custom", heard);
      for (const stop of stops) stop();
      waiting.clear();
    },
  };
}
