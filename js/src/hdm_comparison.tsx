// The entry of the comparison of models: one state and one tree per view.
import type { RenderProps } from "@anywidget/types";
import { Comparison } from "./comparison/comparison";
import { type ComparisonTraits, comparisonState, OWN_NAMES } from "./comparison/state";
import { pythonState } from "./hdm/python_state";
import { tellOfView } from "./shared/presence";
import { show } from "./shared/show";

function render({ model, el }: RenderProps<ComparisonTraits>): () => void {
  const python = pythonState<ComparisonTraits>(model, el, OWN_NAMES);
  const state = comparisonState(python);
  const hide = show(<Comparison state={state} />, el);
  const leave = tellOfView(model, el);
  return () => {
    leave();
    hide();
    state.dispose();
    python.dispose();
  };
}

export default { render };
