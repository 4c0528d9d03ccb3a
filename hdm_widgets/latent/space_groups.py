"""Groups of the items of a fitted latent space: clusters, and where the model fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from hdm_widgets._validation import brief, check_whole
from hdm_widgets.latent import clusters as grouping
from hdm_widgets.latent.batches import Progress
from hdm_widgets.latent.clusters import Cluster, Clustering, Method
from hdm_widgets.latent.data_columns import merge_columns
from hdm_widgets.latent.failure_search import find_failures
from hdm_widgets.latent.failures import Failures
from hdm_widgets.latent.fitted import FittedState
from hdm_widgets.latent.fitted_space import FittedSpace

if TYPE_CHECKING:
    import pandas

__all__ = ["SpaceWithGroups"]


class SpaceWithGroups(FittedSpace):
    """The part of a LatentSpace that groups its items."""

    @property
    def clustering_(self) -> Clustering:
        """How the clusters were found."""
        return self._clustered("clustering_")[0]

    @property
    def clusters_(self) -> tuple[Cluster, ...]:
        """The clusters, the largest first."""
        return self._clustered("clusters_")[1]

    @property
    def labels_(self) -> NDArray[np.int64]:
        """Cluster of every item, int64 (n,), read-only; -1 for none."""
        return self._clustered("labels_")[0].labels

    def _clustered(self, wanted: str) -> tuple[Clustering, tuple[Cluster, ...]]:
        state = self._state(wanted)
        if state.clustering is None:
            raise AttributeError("there are no clusters yet; call cluster()")
        return state.clustering, state.clusters

    # -- clusters ---------------------------------------------------------------------------------

    def cluster(
        self,
        n_clusters: int | None = None,
        *,
        method: Method | None = None,
        eps: float | None = None,
        min_samples: int | None = None,
    ) -> tuple[Cluster, ...]:
        """Group the items by their leading `n_cluster_components` principal components.

        Parameters
        ----------
        n_clusters : int, optional
            That many groups by KMeans, as in the paper with 14. Without it and without `method`, the best of
            `compare_clusterings` is taken.
        method : {"kmeans", "dbscan"}, optional
            `"dbscan"` takes `eps` and `min_samples`.
        eps : float, optional
            DBSCAN's radius of a neighborhood, in units of the components.
        min_samples : int, optional
            Items in a neighborhood that make its center a core point of DBSCAN; 5 by default.

        Returns
        -------
        tuple of Cluster
            The largest first; also `clusters_`, with `labels_` and `clustering_` beside it.

        Notes
        -----
        Of more than 50,000 items, KMeans seeks its first centers among a random 20,000, and all items move them to rest
        (Lloyd's algorithm). Silhouettes are of a random 2,000 at most. The same `random_state` gives the same clusters.
        """
        state = self._state("clusters_")
        method = grouping.check_request(n_clusters, method, eps, min_samples, len(state.map))
        if method is None:
            chosen = grouping.best(list(state.map.comparison()))
        else:
            chosen = grouping.fit_clusters(
                state.map.cluster_coordinates,
                method,
                n_clusters=n_clusters,
                eps=eps,
                min_samples=5 if min_samples is None else min_samples,
                random_state=state.map.random_state,
                rounding=state.map.projection.rounding,
            )
        clustered = FittedState(state.map, chosen)
        # Described here: this may be a thread, and who asks for them later need not wait.
        clusters = clustered.clusters
        # Clusters that a thread sought in an older map are not those of a newer one.
        if self._fitted is not None and self._fitted.map is state.map:
            self._fitted = clustered
        return clusters

    def compare_clusterings(self, *, progress: bool = True) -> pandas.DataFrame:
        """KMeans and DBSCAN over a grid of parameters: one row each, the best silhouette first.

        Clusters are sought in the leading `n_cluster_components` principal components, not in the two drawn. The
        columns are those of `Clustering`. Above 10,000 items only KMeans is tried.

        Parameters
        ----------
        progress : bool
            Show a tqdm bar.

        Returns
        -------
        pandas.DataFrame
        """
        import pandas

        shown = tqdm(self.comparison(), disable=not progress, unit="clustering", desc="comparing clusterings")
        rows = [clustering.row() for clustering in shown]
        frame = pandas.DataFrame(rows)
        # Of several clusterings that are equal but for rounding, the first comes first.
        order = frame["silhouette"].round(6).sort_values(ascending=False, kind="stable").index
        return frame.loc[order].reset_index(drop=True)

    def comparison(self) -> Iterator[Clustering]:
        """The clusterings of `compare_clusterings` one by one; a finished comparison is kept.

        Returns
        -------
        iterator of Clustering
            KMeans with the fewest clusters first, then DBSCAN.
        """
        return self._map("clusters_").comparison()

    # -- failures ---------------------------------------------------------------------------------

    def failures(
        self,
        columns: str | Sequence[str] | None = None,
        *,
        coverage: float = 0.9,
        least: int | None = None,
        progress: Progress = True,
    ) -> Failures:
        """Where the model fails: groups of items whose IoU is far below that of all others.

        Groups are sought over the data set's columns (a value, a range, or two of them together), the area of the
        ground truth, and in components and confidences together. Items without an IoU are left out, and so are those
        where there is nothing to find and nothing was drawn: the model is right there, whatever `iou_empty` says.

        Parameters
        ----------
        columns : str or sequence of str, optional
            The data set's columns to look at, these alone; by default all columns, areas, components and confidences.
            One that has a name of ours, such as `objects`, is told with `data_` before it, as in `table`.
        coverage : float
            Of the intervals, in (0, 1).
        least : int, optional
            Items in a group at least, 4 or more; by default 10, or 1 % of the items. Among fewer than 4 times as many
            items, none are sought.
        progress : bool or callable
            Show a tqdm bar if it lasts longer than a second; or a function (done, total) that is called after every
            step. An error of it ends the search.

        Returns
        -------
        Failures
            A sequence of groups, the largest harm first: size times how far its mean IoU is below that of all others.

        Raises
        ------
        ValueError
            If there is no such column, or an argument is wrong.

        Notes
        -----
        Many groups are tried. To tell them from chance, they are sought in two thirds of the items and tested in the
        other third, against random groups of the same size, each third in its turn; p values are adjusted for all tests
        (Holm). Where the IoU depends on nothing, any group is listed in about one of twenty data sets. Of groups that
        have most items in common, the clearest is listed.

        Examples
        --------
        >>> import hdm_widgets as hw
        >>> model, scenes = hw.demo.aerial(200)
        >>> space = hw.LatentSpace(model).fit(scenes, progress=False)
        >>> failures = space.failures()
        >>> worst = space.select(failures[0].indices, name=failures[0].text)
        """
        state = self._map("failures")
        own = state.collection.columns
        columns = [columns] if isinstance(columns, str) else columns
        if columns is not None and not len(columns):
            raise ValueError("columns is empty: give names of columns, or None for all that is known of the items")
        unknown = [name for name in columns or () if name not in own]
        if unknown:
            known = ", ".join(map(repr, own)) or "none"
            raise ValueError(f"the data set has no column {unknown[0]!r}; its columns are: {known}")
        if not 0 < coverage < 1:
            raise ValueError(f"coverage must be between 0 and 1, got {brief(coverage)}")
        if least is not None:
            check_whole("least", least, 4)
        area = state.overlaps.truth_area
        found = merge_columns({"truth_area": area}, {name: own[name] for name in (own if columns is None else columns)})
        if columns is not None:
            del found["truth_area"]
        return find_failures(
            state.iou,
            state.cluster_coordinates[:, : 0 if columns is not None else None],
            {} if columns is not None else state.collection.confidences,
            found,
            counted=(area > 0) | (state.overlaps.predicted_area > 0),
            coverage=coverage,
            least=least,
            random_state=state.random_state,
            progress=progress,
        )
