"""What a fit found, as objects that never change: a space, its snapshots and its selections share them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hdm_widgets._datasets import Dataset
from hdm_widgets.latent import clusters as grouping
from hdm_widgets.latent.clusters import Cluster, Clustering
from hdm_widgets.latent.collection import BEFORE_CONFIDENCES, Collection
from hdm_widgets.latent.columns_on_demand import ColumnsOnDemand
from hdm_widgets.latent.data_columns import free_names
from hdm_widgets.latent.estimator import FEWEST, Estimator
from hdm_widgets.latent.map_support import MapSupport
from hdm_widgets.latent.mean_intervals import Dependence, dependences
from hdm_widgets.latent.neighbors import distance_scale
from hdm_widgets.latent.projection import Projection
from hdm_widgets.latent.scores import Overlaps
from hdm_widgets.latent.shift import Shift, compare_samples
from hdm_widgets.latent.surface import Regressor, rounded
from hdm_widgets.latent.suspects import SuspectScores, suspect_scores

__all__ = ["FittedMap", "FittedState"]

_SAMPLE = 2000  # figures over all pairs of items are taken from at most this many


@dataclass(frozen=True, eq=False)
class FittedMap:
    """The map that a fit made; everything but the clusters.

    Attributes
    ----------
    collection : Collection
    projection : Projection
    iou_empty : float
        IoU of an item whose truth and prediction are both empty.
    given_regressor : Regressor or None, or "fit"
        Of the surface; "fit" where it has not been trained.
    dataset : Dataset or None
    given_coordinates : numpy.ndarray, float64 (n, k)
        All principal components that were kept; of a space that was opened from a store, what reads them from there.
    n_components, n_cluster_components : int
        How many of them are the embedding, and how many clusters are sought in.
    random_state : int
    model : dict of str to str, or None
        The fingerprint of the model that ran on the items, `content_fingerprint`; None if it is not known.
    progress : bool
        Whether a bar is shown, in the main thread, where learning the surface takes longer than a second.
    """

    collection: Collection
    projection: Projection
    iou_empty: float
    given_regressor: Regressor | Literal["fit"] | None
    dataset: Dataset | None
    given_coordinates: NDArray[np.float64] = field(repr=False)
    n_components: int
    n_cluster_components: int
    random_state: int
    model: dict[str, str] | None = None
    progress: bool = False
    _comparison: list[Clustering] = field(default_factory=list, init=False, repr=False)
    # Indices in the data set of items that were read again as others.
    changed: set[int] = field(default_factory=set, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.collection)

    @cached_property
    def overlaps(self) -> Overlaps:
        """Counts of pixels and scores of every item."""
        return Overlaps(self.collection.tp, self.collection.fn, self.collection.fp, self.iou_empty)

    @cached_property
    def coordinates(self) -> NDArray[np.float64]:
        """All principal components that were kept (n, k), read-only."""
        return read_only(np.asarray(self.given_coordinates))

    @property
    def embedding(self) -> NDArray[np.float64]:
        """Coordinates on the map (n, n_components)."""
        return self.coordinates[:, : self.n_components]

    @property
    def cluster_coordinates(self) -> NDArray[np.float64]:
        """Coordinates that clusters are sought in (n, at most n_cluster_components)."""
        return self.coordinates[:, : self.n_cluster_components]

    @cached_property
    def iou(self) -> NDArray[np.float64]:
        """IoU of every item (n,)."""
        return read_only(self.overlaps.iou)

    @cached_property
    def regressor(self) -> Regressor | None:
        """The network behind the surface, trained when it is first asked for; None if no item has an IoU."""
        if self.given_regressor != "fit":
            return self.given_regressor
        progress = self.progress and threading.current_thread() is threading.main_thread()
        places = rounded(self.coordinates[:, :2])
        return Regressor.fit(places, self.iou, random_state=self.random_state, progress=progress)

    @cached_property
    def expected_iou(self) -> NDArray[np.float64]:
        """IoU of the surface at every item (n,); NaN without a regressor."""
        if self.regressor is None:
            return read_only(np.full(len(self), np.nan))
        return read_only(self.regressor.predict(self.embedding[:, :2]))

    @cached_property
    def estimator(self) -> Estimator:
        """What the map's items tell about the IoU of others; learned when it is first asked for.

        Raises
        ------
        ValueError
            If the space was saved before confidences were kept, or no item has an IoU.
        """
        if self.collection.no_confidences == BEFORE_CONFIDENCES:
            raise ValueError(f"the IoU of new items is estimated from confidences, and {BEFORE_CONFIDENCES}")
        return Estimator.fit(
            self.coordinates,
            self.collection.confidences,
            self.iou,
            self.overlaps.predicted_area,
            iou_empty=self.iou_empty,
            random_state=self.random_state,
        )

    @cached_property
    def dependences(self) -> dict[str, Dependence]:
        """For every column of the data with groups, how much the errors of the items of a group have in common."""
        return dependences(self.collection.columns, self.estimator.errors)

    @property
    def skill_note(self) -> str:
        """For the space's text: that the expected IoU is no better than the mean, or nothing."""
        finite = self.iou[np.isfinite(self.iou)]
        if self.collection.no_confidences == BEFORE_CONFIDENCES or len(finite) < FEWEST or np.ptp(finite) == 0:
            return ""
        estimator = self.estimator
        unskilled = estimator.count >= FEWEST and not estimator.skilled
        return "; expected IoU no better than the mean of the data" if unskilled else ""

    def compare(self, features: NDArray[np.float32], confidences: Mapping[str, NDArray[np.float64]]) -> Shift:
        """Whether other items, with these features (m, d) and confidences, are like those of the map.

        Components are fitted to the map's own items and spread these more than others. They are compared only where
        there are no confidences; the activations are compared in any case.
        """
        collection = self.collection
        names = [] if collection.confidences else ["pc1"]
        components = self.projection.transform(features)
        known = collection.confidences | dict(zip(names, self.coordinates.T, strict=False))
        new = {name: confidences[name] for name in collection.confidences}
        new |= dict(zip(names, components.T, strict=False))
        return compare_samples(known, new, (collection.features, features), random_state=self.random_state)

    @cached_property
    def support(self) -> MapSupport:
        """Where on the map there are items."""
        return MapSupport(self.embedding[:, :2])

    @cached_property
    def distance_scale(self) -> float:
        """95th percentile of the items' distances to the nearest other item, between activations."""
        return distance_scale(self.collection.features, self.sample())

    @cached_property
    def suspect_scores(self) -> SuspectScores:
        """How likely the truth of every item is wrong."""
        return suspect_scores(self.collection, self.coordinates, self.random_state)

    def sample(self) -> NDArray[np.int64]:
        """Positions of all items, or of a random 2000 of more."""
        if len(self) <= _SAMPLE:
            return np.arange(len(self))
        return np.sort(np.random.default_rng(self.random_state).choice(len(self), _SAMPLE, replace=False))

    def comparison(self) -> Iterator[Clustering]:
        """Clusterings over a grid of parameters one by one; once all are found they are kept."""
        if self._comparison:
            yield from tuple(self._comparison)
            return
        found: list[Clustering] = []
        rounding, seed = self.projection.rounding, self.random_state
        for clustering in grouping.compare(self.cluster_coordinates, random_state=seed, rounding=rounding):
            found.append(clustering)
            yield clustering
        if not found:
            raise ValueError(f"{len(self)} items are too few to compare clusterings; give n_clusters")
        self._comparison[:] = found


@dataclass(frozen=True, eq=False)
class FittedState:
    """A fitted map with the clusters that were found in it, if any.

    Attributes
    ----------
    map : FittedMap
    given_clustering : Clustering, callable or None
        How the items are grouped; or what reads it, called when it is first asked for.
    """

    map: FittedMap
    given_clustering: Clustering | Callable[[], Clustering] | None = None

    @cached_property
    def clustering(self) -> Clustering | None:
        """How the items are grouped; None if they are not."""
        return self.given_clustering() if callable(self.given_clustering) else self.given_clustering

    @cached_property
    def clusters(self) -> tuple[Cluster, ...]:
        """The groups."""
        if self.clustering is None:
            return ()
        found = self.map
        return grouping.describe(
            self.clustering.labels,
            found.cluster_coordinates,
            found.iou,
            found.overlaps.truth_area,
            found.projection.rounding,
        )

    @cached_property
    def table(self) -> ColumnsOnDemand:
        """Every column of every item; the arrays are read-only, and each is made when it is first asked for."""
        found = self.map
        own: dict[str, Callable[[], NDArray[Any]]] = {"item": lambda: found.collection.items}
        own |= {f"pc{i + 1}": partial(lambda i: found.embedding[:, i], i) for i in range(found.n_components)}
        own |= _makers(found.overlaps.columns())
        own |= {"iou": lambda: found.iou, "expected_iou": lambda: found.expected_iou}
        own |= _makers(found.collection.confidences)
        if found.collection.label_quality is not None:
            own["label_quality"] = lambda: np.asarray(found.collection.label_quality)
        if self.clustering is not None:
            labels = self.clustering.labels
            own["cluster"] = lambda: labels
        given = _makers(found.collection.columns)
        own |= {free: given[name] for free, name in free_names(own, given).items()}
        return ColumnsOnDemand({name: partial(_made, make) for name, make in own.items()})


def _makers(columns: Mapping[str, NDArray[Any]]) -> dict[str, Callable[[], NDArray[Any]]]:
    """What gives each column."""
    return {name: partial(columns.__getitem__, name) for name in columns}


def _made(make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    return read_only(make())


def read_only(values: NDArray[Any]) -> NDArray[Any]:
    """A view that refuses to be written to."""
    view = values.view()
    view.flags.writeable = False
    return view
