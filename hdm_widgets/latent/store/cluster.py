"""A fit whose shards are collected by the workers of a Dask cluster."""

from __future__ import annotations

import queue
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from hdm_widgets._datasets import Dataset
from hdm_widgets.latent.collection import CollectionError
from hdm_widgets.latent.item_pass import Bar, ItemPass
from hdm_widgets.latent.items import MaskNotes
from hdm_widgets.latent.store.builder import ShardedBuilder, ShardWriter
from hdm_widgets.latent.store.worker import (
    PARCELS,
    ClusterError,
    Parcel,
    ShardJob,
    ShardReport,
    collect_shard,
    forget,
)
from hdm_widgets.models.segmenter import Segmenter

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["ClusterRun", "check_client"]

# How often a shard is tried.
_TRIES = 3
# Seconds from one look at the workers to the next.
_LOOK = 1.0
# Failed shards that an error lists.
_LISTED = 5


def check_client(client: object, store: object, num_workers: int) -> Client:
    """A client of a running cluster that can be used with these arguments of `fit`.

    Raises
    ------
    TypeError
        If it is no `distributed.Client`.
    ValueError
        If there is no store, or the client is closed or asynchronous.
    ImportError
        If Dask is not installed.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ImportError("client= needs dask and distributed: pip install 'hdm-widgets[scale]'") from error
    if not isinstance(client, Client):
        raise TypeError(
            "client must be a distributed.Client, such as Client(LocalCluster()) of dask.distributed, got "
            f"{type(client).__name__}"
        )
    if store is None:
        raise ValueError("client= needs store=: workers write what they collect to a store that all of them see")
    if num_workers:
        raise ValueError(
            "num_workers are processes that read for this one; with client= the workers of the cluster read their items"
        )
    if client.asynchronous:
        raise ValueError("client must not be asynchronous: make it without asynchronous=True")
    if client.status != "running":
        raise ValueError(f"client must be connected to a running cluster, its status is {client.status!r}")
    return client


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
        from distributed import KilledWorker

        start, stop = self.bounds
        if isinstance(self.error, KilledWorker):
            died = self.error.allowed_failures + 1
            reason = f"{died} workers died while they had it; their logs tell why, as when memory runs out"
        else:
            kind = "" if isinstance(self.error, CollectionError) else f"{type(self.error).__name__}: "
            text = str(self.error).strip().splitlines() or [""]
            reason = f"failed {_TRIES} times: {kind}{text[0]}"
        return f"items {start} to {stop - 1} ({reason})"


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
        self._writer, self._check_lock = writer, check_lock
        # Few of its methods have types.
        self._client: Any = client
        self._lost: set[str] = set()
        self._seen: set[str] = set()

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
        model, data = _pickled(items, "the model, or an option beside it,"), _pickled(dataset, "the data set")
        writer = self._writer()
        parcels: list[Parcel] = []
        try:
            parcels.append(Parcel.write(writer.files, model, "the model, or an option beside it"))
            parcels.append(Parcel.write(writer.files, data, "the data set"))
            del model, data
            job = ShardJob(writer, parcels[0], parcels[1], len(dataset))
            with builder.keeping(tables, lambda: None):
                notes, failed = self._collect(job, builder, bar, items.first[0])
        finally:
            writer.files.remove(PARCELS)
            if self._client.status == "running":
                self._client.run(forget, parcels, on_error="ignore")
        notes.warn()
        if not builder.any_ignored:
            notes.warn_if_unmarked(items.reading["ignore"])
        if failed:
            raise self._failed(failed, builder) from failed[0].error

    def _collect(self, job: ShardJob, builder: ShardedBuilder, bar: Bar, first: int) -> tuple[MaskNotes, list[_Failed]]:
        """Collect what is missing, as the workers have time; what could not be is returned."""
        done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        name = uuid.uuid4().hex
        missing = dict(builder.missing)
        waiting: dict[str, int] = {}
        futures: list[Any] = []
        notes, failed = MaskNotes(), []
        try:
            for number, bounds in missing.items():
                key = f"collect-shard-{name}-{number}"
                future = self._client.submit(
                    collect_shard, job, number, bounds, key=key, retries=_TRIES - 1, pure=False
                )
                waiting[key] = number
                futures.append(future)
                future.add_done_callback(done.put)
            while waiting:
                self._show_workers(bar)
                try:
                    future = done.get(timeout=_LOOK)
                except queue.Empty:
                    continue
                number = waiting.pop(future.key)
                self._check_lock()
                report = self._report(future)
                # The scheduler lets go of what no future refers to.
                future.release()
                bar.update(missing[number][1] - missing[number][0])
                if isinstance(report, Exception):
                    failed.append(_Failed(missing[number], report))
                    continue
                builder.add_record(report.record)
                notes.merge(report.notes)
                if report.record.random and not builder.random:
                    builder.random = True
                    builder.warn_of_randomness(first)
        finally:
            if waiting:
                self._client.cancel([future for future in futures if future.key in waiting])
        return notes, sorted(failed, key=lambda one: one.bounds)

    def _report(self, future: Any) -> ShardReport | Exception:
        """What a task returned, or the error with which it failed the last time."""
        if future.status == "cancelled":
            raise ClusterError("the cluster has cancelled the fit: its scheduler was closed, or the client")
        try:
            # Where its worker died meanwhile, the shard is collected again first.
            report: ShardReport = future.result()
        except ClusterError:
            raise
        except Exception as error:  # noqa: BLE001 - of anything that ran on a worker
            return error
        return report

    @staticmethod
    def _failed(failed: list[_Failed], builder: ShardedBuilder) -> CollectionError:
        listed = "; ".join(map(str, failed[:_LISTED]))
        more = f"; and {len(failed) - _LISTED} more" if len(failed) > _LISTED else ""
        count = "1 shard" if len(failed) == 1 else f"{len(failed)} shards"
        return CollectionError(
            f"{count} could not be collected: {listed}{more}{builder.kept_advice}", failed[0].index, None
        )

    def _show_workers(self, bar: Any) -> None:
        """Show beside the bar how many workers there are."""
        if not hasattr(bar, "set_postfix_str") or bar.disable:
            return
        running = {address: len(tasks) for address, tasks in self._client.processing().items()}
        self._lost = (self._lost | (self._seen - running.keys())) - running.keys()
        self._seen |= running.keys()
        busy = sum(1 for tasks in running.values() if tasks)
        lost = f", {len(self._lost)} lost" if self._lost else ""
        bar.set_postfix_str(f"{len(running)} workers, {busy} busy{lost}")


def _pickled(value: object, what: str) -> bytes:
    """A pickle of it, or an error that says what cannot be sent."""
    import cloudpickle

    try:
        data: bytes = cloudpickle.dumps(value)
    except Exception as error:
        raise TypeError(
            f"{what} cannot be sent to workers ({type(error).__name__}: {error}): open files and connections where an "
            "item is read, not before"
        ) from error
    return data
