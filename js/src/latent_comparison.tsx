// The entry of the toolbar and the verdict of a comparison of two latent spaces.
import { COMPARISON, type ComparisonTraits } from "./latent/comparison_state";
import type { ToolbarTraits } from "./latent/python_state";
import { Toolbar } from "./latent/toolbar";
import { Verdict } from "./latent/verdict";
import { part } from "./shared/part";
import { tellOfView } from "./shared/presence";
import type { Python } from "./shared/traits";

export default part<ComparisonTraits>(COMPARISON, (python, el, model) => ({
  child: (
    <>
      <Toolbar python={python as unknown as Python<ToolbarTraits>} />
      <Verdict python={python} />
    </>
  ),
  end: tellOfView(model, el),
}));
