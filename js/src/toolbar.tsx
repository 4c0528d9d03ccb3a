// The entry of the latent explorer's toolbar.
import { TOOLBAR, type ToolbarTraits } from "./latent/python_state";
import { Toolbar } from "./latent/toolbar";
import { part } from "./shared/part";

export default part<ToolbarTraits>(TOOLBAR, (python) => ({ child: <Toolbar python={python} /> }));
