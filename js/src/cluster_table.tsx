// The entry of the tables of groups.
import { Groups } from "./latent/groups";
import { CLUSTERS, type ClusterTraits } from "./latent/python_state";
import { part } from "./shared/part";

export default part<ClusterTraits>(CLUSTERS, (python) => ({ child: <Groups python={python} /> }));
