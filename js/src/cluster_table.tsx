// The entry of the table of clusters.
import type { RenderProps } from "@anywidget/types";
import { CLUSTERS, Clusters, type ClusterTraits } from "./latent/clusters";
import { show } from "./shared/show";
import { connect } from "./shared/traits";

function render({ model, el }: RenderProps<ClusterTraits>): () => void {
  const python = connect(model, CLUSTERS);
  const hide = show(<Clusters python={python} />, el);
  return () => {
    hide();
    python.dispose();
  };
}

export default { render };
