// The entry of the latent explorer's toolbar.
import type { RenderProps } from "@anywidget/types";
import { TOOLBAR, Toolbar, type ToolbarTraits } from "./latent/toolbar";
import { show } from "./shared/show";
import { connect } from "./shared/traits";

function render({ model, el }: RenderProps<ToolbarTraits>): () => void {
  const python = connect(model, TOOLBAR);
  const hide = show(<Toolbar python={python} />, el);
  return () => {
    hide();
    python.dispose();
  };
}

export default { render };
