// The entry of the panel of new data.
import { NewData } from "./latent/new_data";
import { NEW_DATA, type NewDataTraits } from "./latent/python_state";
import { part } from "./shared/part";

export default part<NewDataTraits>(NEW_DATA, (python) => ({ child: <NewData python={python} /> }));
