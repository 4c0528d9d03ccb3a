// The entry of the latent explorer's legend, which also follows the pointer on the figure above it.
import { LEGEND, Legend, type LegendTraits } from "./latent/legend";
import { followPointer } from "./latent/pointer";
import { part } from "./shared/part";

export default part<LegendTraits>(LEGEND, (python, el) => ({
  child: <Legend python={python} />,
  end: followPointer(el, python),
}));
