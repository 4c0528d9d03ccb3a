"""A fit whose shards are collected by the workers of a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from hdm_widgets._cluster import ClusterError, Workers, why_failed
from hdm_widgets._datasets import Dataset
from hdm_widgets.latent.cluster_pass import error_text, shared_objects
from hdm_widgets.latent.collection import CollectionError
from hdm_widgets.latent.item_pass import Bar, ItemPass
from hdm_widgets.latent.items import MaskNotes
from hdm_widgets.latent.store.builder import ShardedBuilder, ShardWriter
from hdm_widgets.latent.store.worker import ShardReport, collect_shard
from hdm_widgets.models.segmenter import Segmenter

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["ClusterRun"]

# Failed shards that an error lists.
_LISTED = 5


@dataclass(frozen=True, eq=False)
class _Failed:
    """A shard that could not be collected."""

    bounds: list[int]
    error: Exception

    @property
    def index(self) -> int:
        """The item that an error names, else the first of the shard."""
        return self.error.index if isinstance(self.error, CollectionError) else self.bounds[0]

    def __str__(self) -> str:
        start, stop = self.bounds
        return f"items {start} to {stop - 1} ({why_failed(self.error, error_text(self.error))})"


class ClusterRun:
    """Runs the missing shards of a store on the workers of a cluster.

    Parameters
    ----------
    client : distributed.Client
    writer : function
        Gives the ShardWriter that workers write with, once the store has been looked at.
    check_lock : function
        Raises an error once another process writes to the store.
    """

    def __init__(self, client: Client, writer: Callable[[], ShardWriter], check_lock: Callable[[], None]) -> None:
        self._client, self._writer, self._check_lock = client, writer, check_lock

    def run(
        self,
        items: ItemPass,
        segmenter: Segmenter,  # noqa: ARG002 - workers have their own
        dataset: Dataset,
        builder: ShardedBuilder,
        tables: dict[str, NDArray[Any]],
        bar: Bar,
    ) -> None:
        """As `ItemPass.run`, for a builder that stores shards.

        Raises
        ------
        CollectionError
            If shards failed three times; all others are in the store then.
        ClusterError
            If a worker does not see the store, or cannot load the model or the data set.
        TypeError
            If the model or the data set cannot be pickled.
        """
        if not builder.missing:
            return
        writer, missing, first = self._writer(), dict(builder.missing), items.first[0]
        tasks = {number: (writer, len(dataset), number, bounds) for number, bounds in missing.items()}
        notes, failed = MaskNotes(), []
        with (
            builder.keeping(tables, lambda: None),
            closing(
                Workers(self._client, writer.files).run(collect_shard, shared_objects(items, dataset), tasks, bar)
            ) as reports,
        ):
            report: ShardReport | Exception | None
            for number, report in reports:
                self._check_lock()
                if report is None:
                    raise ClusterError(
                        f"the files that workers read in the store {writer.files.address!r} were removed while they "
                        f"worked{builder.kept_advice}"
                    )
                bar.update(missing[number][1] - missing[number][0])
                if isinstance(report, Exception):
                    failed.append(_Failed(missing[number], report))
                    continue
                builder.add_record(report.record)
                notes.merge(report.notes)
                if report.record.random and not builder.random:
                    builder.random = True
                    builder.warn_of_randomness(first)
        notes.warn()
        if not builder.any_ignored:
            notes.warn_if_unmarked(items.reading["ignore"])
        if failed:
            failed.sort(key=lambda one: one.bounds)
            raise self._failed(failed, builder) from failed[0].error

    @staticmethod
    def _failed(failed: list[_Failed], builder: ShardedBuilder) -> CollectionError:
        listed = "; ".join(map(str, failed[:_LISTED]))
        more = f"; and {len(failed) - _LISTED} more" if len(failed) > _LISTED else ""
        count = "1 shard" if len(failed) == 1 else f"{len(failed)} shards"
        return CollectionError(
            f"{count} could not be collected: {listed}{more}{builder.kept_advice}", failed[0].index, None
        )
