// One tree in one place of the page.
import { type ComponentChild, render } from "preact";

/** Draw into an element, and keep the notebook's shortcuts away from the keys used in it; gives what undoes it. */
export function show(child: ComponentChild, el: HTMLElement): () => void {
  // The notebook asks the focused element first.
  const keepKeys = ({ target }: FocusEvent) => {
    (target as HTMLElement).dataset.lmSuppressShortcuts = "true";
  };
  el.addEventListener("focusin", keepKeys);
  el.classList.add("hdm-view");
  render(child, el);
  return () => {
    render(null, el);
    el.removeEventListener("focusin", keepKeys);
  };
}
