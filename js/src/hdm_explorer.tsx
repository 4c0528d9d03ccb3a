// The HDM explorer's entry: one state and one tree per view.
import type { RenderProps } from "@anywidget/types";
import { Explorer } from "./hdm/explorer";
import { pythonState, type Traits } from "./hdm/python_state";
import { viewState } from "./hdm/view_state";
import { tellOfView } from "./shared/presence";
import { show } from "./shared/show";

function render({ model, el }: RenderProps<Traits>): () => void {
  const python = pythonState(model, el);
  const view = viewState(python);
  const hide = show(<Explorer view={view} />, el);
  const leave = tellOfView(model, el);
  return () => {
    leave();
    hide();
    view.dispose();
    python.dispose();
  };
}

export default { render };
