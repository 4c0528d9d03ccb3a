// The HDM explorer's entry: one state and one tree per view.
import type { RenderProps } from "@anywidget/types";
import { render as draw } from "preact";
import { Explorer } from "./hdm/explorer";
import { pythonState, type Traits } from "./hdm/python_state";
import { viewState } from "./hdm/view_state";

function render({ model, el }: RenderProps<Traits>): () => void {
  const python = pythonState(model);
  const view = viewState(python);
  // JupyterLab's shortcuts (arrow keys, Enter) would take the keys of the grid and the sliders.
  el.dataset.lmSuppressShortcuts = "true";
  draw(<Explorer view={view} />, el);
  return () => {
    draw(null, el);
    view.dispose();
    python.dispose();
  };
}

export default { render };
