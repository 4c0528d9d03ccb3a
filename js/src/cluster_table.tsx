// The entry of the table of clusters.
import { Clusters } from "./latent/clusters";
import { CLUSTERS, type ClusterTraits } from "./latent/python_state";
import { part } from "./shared/part";

export default part<ClusterTraits>(CLUSTERS, (python) => ({ child: <Clusters python={python} /> }));
