// The entry of the latent explorer's toolbar.
import { TOOLBAR, Toolbar, type ToolbarTraits } from "./latent/toolbar";
import { part } from "./shared/part";

export default part<ToolbarTraits>(TOOLBAR, (python) => ({ child: <Toolbar python={python} /> }));
