// The entry of the latent explorer's toolbar.
import { TOOLBAR, type ToolbarTraits } from "./latent/python_state";
import { Toolbar } from "./latent/toolbar";
import { part } from "./shared/part";
import { tellOfView } from "./shared/presence";

// The explorer is on the page as long as its toolbar is.
export default part<ToolbarTraits>(TOOLBAR, (python, el, model) => ({
  child: <Toolbar python={python} />,
  end: tellOfView(model, el),
}));
