// The HDM explorer's entry: one state and one tree per view.
import type { RenderProps } from "@anywidget/types";
import { render as draw } from "preact";
import { Explorer } from "./hdm/explorer";
import { pythonState, type Traits } from "./hdm/python_state";
import { viewState } from "./hdm/view_state";

function render({ model, el }: RenderProps<Traits>): () => void {
  const python = pythonState(model);
  const view = viewState(python);
  // The notebook's shortcuts would take the keys of the grid and the sliders. It asks the focused element first.
  const keepKeys = ({ target }: FocusEvent) => {
    (target as HTMLElement).dataset.lmSuppressShortcuts = "true";
  };
  el.addEventListener("focusin", keepKeys);
  draw(<Explorer view={view} />, el);
  return () => {
    draw(null, el);
    el.removeEventListener("focusin", keepKeys);
    view.dispose();
    python.dispose();
  };
}

export default { render };
