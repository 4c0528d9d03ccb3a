"""Groups of items to choose in a latent explorer: its clusters, and where the model fails."""

from __future__ import annotations

import re
from functools import partial

from hdm_widgets.latent.failures import Failures
from hdm_widgets.latent.space import LatentSpace
from hdm_widgets.widgets.latent.cluster_table import ClusterTable
from hdm_widgets.widgets.latent.truth_checks import ExplorerWithTruthChecks
from hdm_widgets.widgets.shared.on_demand import OnDemand

__all__ = ["ExplorerWithGroups"]

_CLUSTER_NAME = re.compile(r"cluster \d+")


class ExplorerWithGroups(ExplorerWithTruthChecks):
    """The part of a latent explorer that has tables of groups."""

    _table: ClusterTable
    _failures: OnDemand[Failures]

    @property
    def failures(self) -> Failures | None:
        """What `LatentSpace.failures` found; None before it was asked for on screen, and without success."""
        return self._failures.value

    def find_failures(self) -> None:
        """Look for groups of items where the model fails, in the background, and show them beside the clusters.

        `wait` waits for it.
        """
        self._check_open()
        self._failures.start()
        with self._lock:
            self._show_failures()

    def _prepare_groups(self, space: LatentSpace) -> None:
        self._failures = OnDemand("failures", partial(space.failures, progress=False), self._failures_ended)

    def _connect_groups(self) -> None:
        self._table.on_found(self._clustered)
        self._table.on_request("choose", lambda asked: self._choose_cluster(asked["label"]))
        self._table.on_request("failures", lambda _: self.find_failures())
        self._table.on_request("choose_failure", lambda asked: self._choose_failure(asked["position"]))

    def _end_groups(self) -> None:
        self._failures.close()

    def _clustered(self) -> None:
        """Show the clusters that were found."""
        with self._lock:
            if self._ended:
                return
            if self.color_by == "cluster":
                self._recolor()
            self._mark_groups()

    def _failures_ended(self) -> None:
        with self._lock:
            if not self._ended:
                self._errors.tell("failures", self._failures.error)
                self._show_failures()
                self._mark_groups()

    def _show_failures(self) -> None:
        failures = self._failures
        self._table.tell_failures(failures.state, failures.error, failures.value)

    def _mark_groups(self) -> None:
        """Mark the rows of the tables whose items are selected."""
        current = self._history.current
        self._table.mark(None if current is None else current.items)

    def _choose_cluster(self, label: int) -> None:
        self._choose(self._table.members(label), f"cluster {label}", self._is_group)

    def _choose_failure(self, position: int) -> None:
        group = self._table.failure_at(position)
        self._choose(group.indices, group.text, self._is_group)

    def _is_group(self, name: str) -> bool:
        return bool(_CLUSTER_NAME.fullmatch(name)) or name in (group.text for group in self.failures or ())
