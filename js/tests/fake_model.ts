// A stand-in for the notebook's model, and what jsdom lacks.
import type { AnyModel } from "@anywidget/types";
import { vi } from "vitest";
import { DISCONNECTED } from "../src/shared/traits";

type Listener = (...args: never[]) => void;

/** A model that knows who listens and what was sent. */
export class FakeModel {
  listeners = new Map<string, Set<Listener>>();
  sent: Record<string, unknown>[] = [];
  saved = 0;
  /** A notebook's manager has a kernel, or none at present; an exported page's has no such property. */
  widget_manager: object = { kernel: null };
  private classes = new Set<string>();
  /** A view's element, as far as the connection to Python looks at it: without a page. */
  el = { classList: { contains: (name: string) => this.classes.has(name) } } as unknown as Element;
  constructor(public state: Record<string, unknown>) {}
  get(name: string) {
    return this.state[name];
  }
  set(name: string, value: unknown) {
    this.state[name] = value;
    this.tell(`change:${name}`);
  }
  save_changes() {
    this.saved++;
  }
  on(event: string, listener: Listener) {
    if (!this.listeners.has(event)) this.listeners.set(event, new Set());
    this.listeners.get(event)?.add(listener);
  }
  off(event: string, listener: Listener) {
    this.listeners.get(event)?.delete(listener);
  }
  /** What views told of themselves. */
  views: unknown[] = [];
  send({ ...message }: Record<string, unknown>) {
    if (message.request === "view") this.views.push(message.event);
    else this.sent.push(message);
  }
  /** What Jupyter does when the kernel of a widget has gone: later views have a class from the beginning. */
  disconnect() {
    this.classes.add(DISCONNECTED);
    this.tell("comm_live_update");
  }
  tell(event: string, ...args: unknown[]) {
    for (const listener of [...(this.listeners.get(event) ?? [])]) listener(...(args as never[]));
  }
  /** All that listen, to anything. */
  get listening() {
    return [...this.listeners.values()].reduce((sum, set) => sum + set.size, 0);
  }
  /** What was asked for, without the ids, since this was called last. */
  asked() {
    return this.sent.splice(0).map(({ id: _, ...rest }) => rest);
  }
  /** Answer a request as Python does. */
  async reply(request: Record<string, unknown>, content: object = {}, buffers: DataView[] = []) {
    this.tell("msg:custom", { id: request.id, error: null, ...content }, buffers);
    await rest();
  }
  as<T extends object>() {
    return this as unknown as AnyModel<T>;
  }
}

/** Until what was started has ended: effects, redrawing, promises. */
export const rest = () => new Promise<void>((done) => setTimeout(done));

export interface Widget<T extends object> {
  // biome-ignore lint/suspicious/noExplicitAny: anywidget gives a view more than these tests do
  render(props: any): () => void;
  readonly _?: T;
}

/** A view of a widget on the page. */
export function show<T extends object>(widget: Widget<T>, model: FakeModel) {
  const el = document.createElement("div");
  document.body.append(el);
  if (model.el.classList.contains(DISCONNECTED)) el.classList.add(DISCONNECTED);
  const leave = widget.render({ model: model.as<T>(), el });
  const stop = () => {
    leave();
    el.remove();
  };
  return { el, stop };
}

/** A view with room for images. */
export async function open<T extends object>(widget: Widget<T>, model: FakeModel) {
  const view = show(widget, model);
  await rest();
  FakeResizeObserver.resize(700, 300);
  await rest();
  return view;
}

/** A button by its text. */
export function button(el: ParentNode, text: string): HTMLButtonElement {
  const found = [...el.querySelectorAll("button")].find((one) => one.textContent?.trim() === text);
  if (!found) throw new Error(`there is no button ${text}`);
  return found;
}

/** A drop-down list by its label. */
export function pick(el: ParentNode, label: string): HTMLSelectElement {
  const found = [...el.querySelectorAll("select")].find((one) => one.labels[0]?.textContent === label);
  if (!found) throw new Error(`there is no list ${label}`);
  return found;
}

/** What a person does with a drop-down list. */
export function choose(list: HTMLSelectElement, value: string) {
  list.value = value;
  list.dispatchEvent(new Event("change", { bubbles: true }));
}

/** The names of all controls that can be used. */
export function enabled(el: ParentNode): string[] {
  const controls = [...el.querySelectorAll<HTMLInputElement>("input, select, button, summary")];
  const name = (control: HTMLInputElement) =>
    control.getAttribute("aria-label") || control.labels?.[0]?.textContent || control.textContent;
  return controls.filter((control) => !control.disabled).map((control) => name(control)?.trim() ?? "");
}

/** All that has no name for a screen reader. */
export function nameless(el: ParentNode): string[] {
  const controls = [...el.querySelectorAll<HTMLInputElement>("input, select, button, summary")];
  const unnamed = controls.filter((control) => {
    const labels = control.labels ? [...control.labels].map((label) => label.textContent).join("") : "";
    return !(control.getAttribute("aria-label") || labels || control.textContent);
  });
  return unnamed.map((control) => control.outerHTML);
}

/** Addresses of pictures, which jsdom does not make: those in use, and what they were made of. */
export function fakeAddresses() {
  const used = new Map<string, Blob>();
  let made = 0;
  URL.createObjectURL = vi.fn((blob: Blob) => {
    const address = `blob:${++made}`;
    used.set(address, blob);
    return address;
  });
  URL.revokeObjectURL = vi.fn((address: string) => {
    used.delete(address);
  });
  return used;
}

/** In place of the page's own observer, which jsdom lacks: it tells of a size when it is told to. */
export class FakeResizeObserver {
  static all = new Set<FakeResizeObserver>();
  elements = new Set<Element>();
  constructor(private callback: ResizeObserverCallback) {}
  observe(element: Element) {
    this.elements.add(element);
    FakeResizeObserver.all.add(this);
  }
  unobserve(element: Element) {
    this.elements.delete(element);
    if (!this.elements.size) this.disconnect();
  }
  disconnect() {
    this.elements.clear();
    FakeResizeObserver.all.delete(this);
  }
  /** Every element that is observed now has this size. */
  static resize(width: number, height: number) {
    for (const one of [...FakeResizeObserver.all]) {
      const entries = [...one.elements].map((target) => ({
        target,
        contentRect: { width, height },
        borderBoxSize: [{ inlineSize: width, blockSize: height }],
      }));
      if (entries.length) {
        one.callback(entries as unknown as ResizeObserverEntry[], one as unknown as ResizeObserver);
      }
    }
  }
  static install() {
    FakeResizeObserver.all.clear();
    window.ResizeObserver = FakeResizeObserver as unknown as typeof ResizeObserver;
    globalThis.ResizeObserver = window.ResizeObserver;
  }
}

/** In place of the page's own, which jsdom lacks: what is put on a canvas. */
export class FakeImageData {
  constructor(
    readonly data: Uint8ClampedArray,
    readonly width: number,
    readonly height: number,
  ) {}
}

/** All that is put on canvases from now on. */
export function fakeCanvases() {
  const put: { canvas: HTMLCanvasElement; image: FakeImageData }[] = [];
  vi.stubGlobal("ImageData", FakeImageData);
  HTMLCanvasElement.prototype.getContext = function (this: HTMLCanvasElement) {
    return { putImageData: (image: FakeImageData) => put.push({ canvas: this, image }) };
  } as unknown as HTMLCanvasElement["getContext"];
  return put;
}

export const text = (content: string) => new DataView(new TextEncoder().encode(content).buffer);

export const intsMessage = (...values: number[]) => ({
  view: new DataView(Int32Array.from(values).buffer),
  dtype: "int32",
  shape: [values.length],
});

/** What a gallery is told of its items: the first of them, of as many as there are. */
export const shownItems = (first: number[], count = first.length, version = 1) => ({
  version,
  count,
  first: intsMessage(...first),
});

export const floatsMessage = (...values: number[]) => ({
  view: new DataView(Float32Array.from(values).buffer),
  dtype: "float32",
  shape: [values.length],
});

export const doublesMessage = (...values: number[]) => ({
  view: new DataView(Float64Array.from(values).buffer),
  dtype: "float64",
  shape: [values.length],
});

/** jsdom lays nothing out and paints nothing: what is painted is tested in errors.test.ts and in a real browser. */
export function layOut() {
  HTMLCanvasElement.prototype.getContext = () => null;
  globalThis.ImageData = class {} as unknown as typeof ImageData;
  Element.prototype.scrollTo = () => {};
  for (const [name, value] of [
    ["clientWidth", 700],
    ["clientHeight", 300],
  ] as const) {
    Object.defineProperty(HTMLElement.prototype, name, { configurable: true, get: () => value });
  }
}
