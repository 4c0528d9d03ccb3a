"""The tables of groups: clusters, which are sought in the background, and where the model fails."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import traitlets
from numpy.typing import NDArray

from hdm_widgets._validation import brief, is_whole
from hdm_widgets._wire import MESSAGE, png
from hdm_widgets._wording import quantity
from hdm_widgets.latent.clusters import Cluster
from hdm_widgets.latent.failures import Failure, Failures
from hdm_widgets.latent.item_set import ItemSet
from hdm_widgets.latent.space import LatentSpace
from hdm_widgets.widgets.latent.palette import category_color
from hdm_widgets.widgets.shared.jobs import LatestJob
from hdm_widgets.widgets.shared.on_demand import State
from hdm_widgets.widgets.shared.part import Part, read_static

__all__ = ["ClusterTable"]

_MOST_CLUSTERS = 14
_MOST_KINDS = 24
_GAP = 3  # px between representatives


class ClusterTable(Part):
    """Clusters of a latent space with their IoU and representatives.

    Parameters
    ----------
    space : LatentSpace
        A snapshot; the clusters that are found are set in it.

    Attributes
    ----------
    rows : list of dict
        One for each cluster, the lowest mean IoU first.
    chosen : int or None
        The cluster whose members are selected.
    n_clusters : int
        How many were asked for; 0: the best clustering found.
    busy, error : str
        What is being done and what went wrong, empty otherwise.
    failures : dict
        `state` and `error` of the search for groups where the model fails, as in `OnDemand`; what was searched, as
        `about`; and `rows`, one for each group, the largest harm first.
    failure : int or None
        Position of the group whose items are selected.
    """

    _changing = ("n_clusters", "about", "busy", "error", "_thumbnails")
    _esm = read_static("cluster_table.js")
    _css = read_static("latent_explorer.css")

    rows: Any = traitlets.List().tag(**MESSAGE)
    chosen = traitlets.Int(None, allow_none=True).tag(sync=True)
    n_clusters = traitlets.Int(0).tag(sync=True)
    most = traitlets.Int(_MOST_CLUSTERS).tag(sync=True)
    about = traitlets.Unicode("").tag(sync=True)
    busy = traitlets.Unicode("").tag(sync=True)
    error = traitlets.Unicode("").tag(sync=True)
    failures: Any = traitlets.Dict({"state": "idle", "error": "", "about": "", "rows": []}).tag(**MESSAGE)
    failure = traitlets.Int(None, allow_none=True).tag(sync=True)
    _thumbnails: Any = traitlets.List(traitlets.Bytes()).tag(sync=True)

    def __init__(self, space: LatentSpace) -> None:
        self._space: LatentSpace | None = space
        self._lock = threading.RLock()
        self._worker = LatestJob("clusters")
        self._found: Callable[[], None] | None = None
        self._paused = False  # because nobody sees the table
        self._clusters: tuple[Cluster, ...] = ()
        self._failures: tuple[Failure, ...] = ()
        super().__init__(most=min(_MOST_CLUSTERS, len(space) - 1))
        self.on_request("cluster", lambda asked: self.find(asked["count"] or None))

    def on_found(self, callback: Callable[[], None]) -> None:
        """Call this whenever the table has new clusters."""
        self._found = callback

    def start(self) -> None:
        """Show the space's clusters, or look for the best clustering if it has none yet."""
        space = self._space
        if space is None or not hasattr(space, "clusters_"):
            self.find(None)
            return
        self.n_clusters = space.clustering_.n_clusters if space.clustering_.method == "kmeans" else 0
        self._show()

    def find(self, count: int | None) -> None:
        """Cluster the items anew, in the background; None: the best clustering found."""
        with self._lock:
            self._paused = False
            self.error = ""
            self.n_clusters = count or 0
            self.busy = "Comparing clusterings …" if count is None else f"Looking for {count} clusters …"
        self._worker.submit(lambda stop: self._search(count, stop))

    def members(self, label: int) -> NDArray[np.int64]:
        """The items of a cluster in the table."""
        if not is_whole(label) or not 0 <= label < len(self._clusters):
            raise ValueError(f"there are clusters 0 to {len(self._clusters) - 1}, got {brief(label)}")
        return self._clusters[label].indices

    def failure_at(self, position: int) -> Failure:
        """A group in the table of failures."""
        if not is_whole(position) or not 0 <= position < len(self._failures):
            raise ValueError(f"there are groups 0 to {len(self._failures) - 1}, got {brief(position)}")
        return self._failures[position]

    def tell_failures(self, state: State, error: str, failures: Failures | None) -> None:
        """Show the groups where the model fails, or how far the search for them is."""
        self._failures = () if failures is None else tuple(failures)
        self.failures = {
            "state": state,
            "error": error,
            "about": "" if failures is None else _searched(failures),
            "rows": [_failure_row(one) for one in self._failures],
        }

    def mark(self, items: ItemSet | None) -> None:
        """Mark the rows whose members these are, if there are any."""

        def same(group: Cluster | Failure) -> bool:
            return items is not None and group.size == len(items) and np.array_equal(group.indices, items.indices)

        self.chosen = next((one.label for one in self._clusters if same(one)), None)
        self.failure = next((position for position, one in enumerate(self._failures) if same(one)), None)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is sought; False if that took longer than `timeout` seconds."""
        self.resume()
        return self._worker.wait(timeout)

    def pause(self) -> None:
        """Stop a search that nobody sees and nobody waits for."""
        with self._lock:
            self._paused = self._paused or (self.busy != "" and self._worker.pause())

    def resume(self) -> None:
        """Begin a search anew that was paused."""
        with self._lock:
            paused = self._paused
        if paused:
            self.find(self.n_clusters or None)

    def close(self) -> None:
        """Stop the search, remove the widget and free the space."""
        self._worker.close()
        with self._lock:
            self._space = self._found = None
            self._clusters = self._failures = ()
        super().close()

    def _search(self, count: int | None, stop: threading.Event) -> None:
        space = self._space
        if space is None:
            return
        try:
            if count is None:
                for done, _ in enumerate(space.comparison(), start=1):
                    if stop.is_set():
                        return
                    self.busy = f"Comparing clusterings: {done} done …"
            if stop.is_set():
                return
            space.cluster(count)
            if not stop.is_set():
                self._show()
        except Exception as error:  # noqa: BLE001 - shown in the widget
            with self._lock:
                if not stop.is_set():
                    self.busy = ""
                    self.error = str(error) or type(error).__name__

    def _show(self) -> None:
        space = self._space
        if space is None:
            return
        clusters = sorted(space.clusters_, key=lambda one: (np.nan_to_num(one.mean_iou, nan=2.0), one.label))
        kinds = _kinds(space.columns_)
        with self._lock, self.hold_sync():
            self._clusters = space.clusters_
            self.rows = [_row(one, kinds) for one in clusters]
            self._thumbnails = [_strip(space.collection_.thumbnails[list(one.representatives)]) for one in clusters]
            self.about = f"{space.clustering_} in {space.cluster_coordinates_.shape[1]} principal components"
            self.busy = ""
        # Call back without the lock: the callback may ask this table for other clusters.
        found = self._found
        if found is not None:
            found()


def _row(cluster: Cluster, kinds: NDArray[Any] | None) -> dict[str, Any]:
    return {
        "label": cluster.label,
        "color": category_color(cluster.label),
        "size": cluster.size,
        "mean": cluster.mean_iou,
        "median": cluster.median_iou,
        "empty": cluster.empty_truths,
        "count": len(cluster.representatives),
        "holds": "" if kinds is None else _mostly(kinds[cluster.indices]),
    }


def _searched(failures: Failures) -> str:
    """What was searched, and what was found if that is nothing."""
    if not failures:
        return failures.text
    left_out = f", {failures.left_out:,} left out" if failures.left_out else ""
    return (
        f"{quantity(failures.n_items, 'item')} with a mean IoU of {failures.mean_iou:.2f} searched{left_out}; "
        f"{quantity(failures.tested, 'group')} tested; intervals at {100 * failures.coverage:g}%"
    )


def _failure_row(group: Failure) -> dict[str, Any]:
    names = ("text", "mostly", "size", "low", "high", "harm", "harm_low", "harm_high")
    return {name: getattr(group, name) for name in names} | {"mean": group.mean_iou, "rest": group.rest_iou}


def _kinds(columns: dict[str, NDArray[Any]]) -> NDArray[Any] | None:
    """The column that says what kind of thing an item is: the column of texts with the fewest values, 2 to 24."""
    counts = {
        name: len(np.unique(values[values != ""])) for name, values in columns.items() if values.dtype.kind == "U"
    }
    few = {name: count for name, count in counts.items() if 2 <= count <= _MOST_KINDS}
    return columns[min(few, key=few.__getitem__)] if few else None


def _mostly(values: NDArray[Any]) -> str:
    """The up to three most common texts, each in at least a tenth of the items."""
    names, counts = np.unique(values[values != ""], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:3]
    return ", ".join(str(names[i]) for i in order if counts[i] >= 0.1 * len(values))


def _strip(thumbnails: NDArray[np.uint8]) -> bytes:
    """Thumbnails (n, h, w, 3) side by side, with transparent gaps."""
    count, height, width, _ = thumbnails.shape
    strip = np.zeros((height, count, width + _GAP, 4), np.uint8)
    strip[:, :, :width, :3] = thumbnails.transpose(1, 0, 2, 3)
    strip[:, :, :width, 3] = 255
    return png(strip.reshape(height, -1, 4)[:, :-_GAP])
