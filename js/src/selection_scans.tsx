// The entry of the panel that explains a selection.
import { SCANS, type ScansTraits } from "./latent/scans_state";
import { SelectionScans } from "./latent/selection_scans";
import { part } from "./shared/part";

export default part<ScansTraits>(SCANS, (python) => ({ child: <SelectionScans python={python} /> }));
