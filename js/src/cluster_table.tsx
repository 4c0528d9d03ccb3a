// The entry of the table of clusters.
import { CLUSTERS, Clusters, type ClusterTraits } from "./latent/clusters";
import { part } from "./shared/part";

export default part<ClusterTraits>(CLUSTERS, (python) => ({ child: <Clusters python={python} /> }));
