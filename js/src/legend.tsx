// The entry of the latent explorer's legend, which also writes on the map above it and follows the pointer there.
import { Legend } from "./latent/legend";
import { showNames } from "./latent/names";
import { followPointer } from "./latent/pointer";
import { LEGEND, type LegendTraits } from "./latent/python_state";
import { part } from "./shared/part";

export default part<LegendTraits>(LEGEND, (python, el) => {
  const ends = [showNames(el, python), followPointer(el, python)];
  return {
    child: <Legend python={python} />,
    end() {
      for (const end of ends) end();
    },
  };
});
