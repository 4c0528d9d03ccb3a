// Tells Python which views of a widget are on the page: work that nobody sees can pause.
import type { AnyModel } from "@anywidget/types";
import { uniqueId } from "./unique";

/** Tell of a view from when it is first seen until it ends; gives what ends it. */
export function tellOfView<T extends object>(model: AnyModel<T>, el: Element): () => void {
  const view = uniqueId();
  let told = false;
  const tell = (event: "shown" | "removed" | "closed") => {
    try {
      model.send({ request: "view", view, event });
    } catch {
      // Where the kernel has gone, nobody needs to know.
    }
  };
  // The notebook makes views that never get onto the page, where an output is replaced at once.
  const arrived = new ResizeObserver(() => {
    if (told || !el.isConnected) return;
    told = true;
    tell("shown");
  });
  arrived.observe(el);
  const page = new AbortController();
  const { signal } = page;
  // The page is closed or loaded again: another one may show the widget later.
  window.addEventListener("pagehide", () => told && tell("closed"), { signal });
  // It comes back as it was.
  window.addEventListener("pageshow", ({ persisted }) => persisted && told && tell("shown"), { signal });
  return () => {
    page.abort();
    arrived.disconnect();
    if (told) tell("removed");
  };
}
