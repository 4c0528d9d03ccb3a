// The entry of the latent explorer's legend, which also follows the pointer on the figure above it.
import type { RenderProps } from "@anywidget/types";
import { LEGEND, Legend, type LegendTraits } from "./latent/legend";
import { followPointer } from "./latent/pointer";
import { show } from "./shared/show";
import { connect } from "./shared/traits";

function render({ model, el }: RenderProps<LegendTraits>): () => void {
  const python = connect(model, LEGEND);
  const hide = show(<Legend python={python} />, el);
  const leave = followPointer(el, python);
  return () => {
    leave();
    hide();
    python.dispose();
  };
}

export default { render };
