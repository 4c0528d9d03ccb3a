"""What a worker of a Dask cluster does for a fit: collect one shard, and write it to the store.

A worker reads the model and the data set from files of the store, which the fit removes when it ends. So neither passes
through the scheduler, and a worker that joins late, or in place of one that was lost, finds them too.
"""

from __future__ import annotations

import hashlib
import pickle
import socket
import threading
from dataclasses import dataclass
from typing import Any

from hdm_widgets._datasets import Dataset
from hdm_widgets._store_files import StoreError, StoreFiles
from hdm_widgets.latent.item_pass import ItemPass
from hdm_widgets.latent.items import MaskNotes
from hdm_widgets.latent.store.builder import ShardedBuilder, ShardWriter
from hdm_widgets.latent.store.shards import ShardRecord

__all__ = ["PARCELS", "ClusterError", "Parcel", "ShardJob", "ShardReport", "collect_shard", "forget"]

# Folder of the files that workers read.
PARCELS = "workers"
# What threads of this process have read, by the parcel and the thread. A model runs in one thread at a time.
_opened: dict[tuple[str, int], Any] = {}


class ClusterError(RuntimeError):
    """A cluster cannot collect what a fit asks for: a worker lacks the store or a module, or the cluster was closed."""


@dataclass(frozen=True)
class Parcel:
    """A pickled object in a file of the store.

    Attributes
    ----------
    digest : str
        SHA-256 of the file: nothing else is unpickled.
    what : str
        What it is, for messages.
    """

    digest: str
    what: str

    @classmethod
    def write(cls, files: StoreFiles, data: bytes, what: str) -> Parcel:
        """Write a pickle to the store."""
        parcel = cls(hashlib.sha256(data).hexdigest(), what)
        files.write(parcel._name, data)
        return parcel

    def open(self, files: StoreFiles) -> Any:
        """The object. It is read once by each thread.

        Raises
        ------
        ClusterError
            If this worker does not see the file, or cannot unpickle it.
        """
        key = self.digest, threading.get_ident()
        if key not in _opened:
            _opened[key] = self._read(files)
        return _opened[key]

    def _read(self, files: StoreFiles) -> Any:
        where = f"the worker {socket.gethostname()}"
        try:
            data = files.read(self._name)
        except StoreError as error:
            raise ClusterError(f"{where}: {error}") from None
        if data is None or hashlib.sha256(data).hexdigest() != self.digest:
            raise ClusterError(
                f"{where} does not see the store {files.address!r}: give a folder that all machines share under this "
                "path, or an address that all can reach, such as 's3://bucket/name'"
            )
        try:
            return pickle.loads(data)  # noqa: S301 - its digest came with the task
        except Exception as error:
            raise ClusterError(
                f"{where} cannot load {self.what} ({type(error).__name__}: {error}): it needs the same modules and "
                "releases as the notebook"
            ) from error

    @property
    def _name(self) -> str:
        return f"{PARCELS}/{self.digest}.pickle"


@dataclass(frozen=True)
class ShardJob:
    """What tasks of one fit have in common; a few hundred bytes.

    Attributes
    ----------
    writer : ShardWriter
    items, dataset : Parcel
        How items are collected, with the model; and the data set.
    length : int
        Items of the data set.
    """

    writer: ShardWriter
    items: Parcel
    dataset: Parcel
    length: int


@dataclass(frozen=True)
class ShardReport:
    """What a worker tells of a shard that it has written.

    Attributes
    ----------
    record : ShardRecord
    notes : MaskNotes
        What its masks leave open.
    """

    record: ShardRecord
    notes: MaskNotes


class _Silent:
    """A bar that shows nothing."""

    def update(self, n: int = 1, /) -> None:
        """Nothing is shown on a worker."""


class _WorkerBuilder(ShardedBuilder):
    """A builder whose fit gives the warnings."""

    def warn_of_randomness(self, index: int) -> None:
        """The record says it."""


def collect_shard(job: ShardJob, number: int, bounds: list[int]) -> ShardReport:
    """Collect the items of a shard and write it: the task that a worker runs.

    Parameters
    ----------
    job : ShardJob
    number : int
    bounds : list of int
        [start, stop) of its items.

    Returns
    -------
    ShardReport
    """
    files = job.writer.files
    items: ItemPass = job.items.open(files)
    dataset: Dataset = job.dataset.open(files)
    notes = MaskNotes()

    records: dict[int, ShardRecord] = {}

    def new_builder(length: int, *given: Any, **options: Any) -> _WorkerBuilder:
        return _WorkerBuilder(job.writer, {number: bounds}, records, (length, *given), **options)

    builder = items.builder(new_builder, job.length)
    with items.collector.running() as segmenter:
        items.run(segmenter, dataset, builder, {}, _Silent(), notes)
    return ShardReport(records[number], notes)


def forget(parcels: list[Parcel]) -> None:
    """Let go of what the threads of this process have read."""
    digests = {parcel.digest for parcel in parcels}
    for key in [key for key in list(_opened) if key[0] in digests]:
        _opened.pop(key, None)
