"""Tasks on the workers of a Dask cluster: what they share travels once, and what fails is tried again.

What tasks share, such as a model and a data set, is pickled once. Where there is a store, workers read it from files
there: a worker that joins late, or in place of one that was lost, finds them too. Without a store it goes to the memory
of the workers, who give it to each other; the scheduler does not keep it.
"""

from __future__ import annotations

import hashlib
import pickle
import queue
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hdm_widgets._store_files import StoreError, StoreFiles

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["PARCELS", "ClusterError", "Workers", "check_client", "why_failed"]

# Folder of the files that workers read.
PARCELS = "workers"
# How often a task is tried, and how often what tasks share is sent again because no worker has it any more.
_TRIES = 3
# How many times more a task is submitted that Dask has given up because workers died: it blames all tasks that a worker
# had, also those that waited behind another one.
_AGAIN = 1
# Tasks that the scheduler knows of, at least, and for each thread of the workers.
_AHEAD, _AHEAD_EACH = 256, 4
# Seconds from one look at the workers to the next.
_LOOK = 1.0
# What threads of this process have opened, by the parcel and the thread. A model runs in one thread at a time.
_opened: dict[tuple[str, int], Any] = {}


class ClusterError(RuntimeError):
    """A cluster cannot do what it is asked: a worker lacks the store or a module, or the cluster was closed."""


def check_client(client: object, num_workers: int = 0) -> Client:
    """A client of a running cluster that can be used.

    Parameters
    ----------
    client : object
    num_workers : int
        As given beside it.

    Raises
    ------
    TypeError
        If it is no `distributed.Client`.
    ValueError
        If the client is closed or asynchronous, or there are processes that read beside it.
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
    if num_workers:
        raise ValueError(
            "num_workers are processes that read for this one; with client= the workers of the cluster read their items"
        )
    if client.asynchronous:
        raise ValueError("client must not be asynchronous: make it without asynchronous=True")
    if client.status != "running":
        raise ValueError(f"client must be connected to a running cluster, its status is {client.status!r}")
    return client


def why_failed(error: Exception, text: str) -> str:
    """Why a task failed: its error as `text`, unless its workers died."""
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        died = (1 + _AGAIN) * (error.allowed_failures + 1)
        return f"{died} workers died while they had it; their logs tell why, as when memory runs out"
    return f"failed {_TRIES} times: {text}"


@dataclass(frozen=True)
class _Parcel:
    """A pickled object that tasks share.

    Attributes
    ----------
    digest : str
        SHA-256 of the pickle: nothing else is unpickled.
    what : str
        What it is, for messages.
    files : StoreFiles or None
        The store that has it in a file.
    """

    digest: str
    what: str
    files: StoreFiles | None

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{PARCELS}/{self.digest}.pickle"

    def open(self, sent: bytes | None) -> Any:
        """The object, of the pickle that was sent or that in the file. It is opened once by each thread.

        Raises
        ------
        ClusterError
            If this worker does not see the file, or cannot unpickle it.
        """
        key = self.digest, threading.get_ident()
        if key not in _opened:
            _opened[key] = self._read(sent)
        return _opened[key]

    def _read(self, sent: bytes | None) -> Any:
        where, data = f"the worker {socket.gethostname()}", sent
        if self.files is not None:
            try:
                data = self.files.read(self.name)
            except StoreError as error:
                raise ClusterError(f"{where}: {error}") from None
        if data is None or hashlib.sha256(data).hexdigest() != self.digest:
            store = "what was sent" if self.files is None else f"the store {self.files.address!r}"
            raise ClusterError(
                f"{where} does not see {store}: give a folder that all machines share under this path, or an address "
                "that all can reach, such as 's3://bucket/name'"
            )
        try:
            return pickle.loads(data)  # noqa: S301 - its digest came with the task
        except Exception as error:
            raise ClusterError(
                f"{where} cannot load {self.what} ({type(error).__name__}: {error}): it needs the same modules and "
                "releases as the notebook"
            ) from error


def _run_task(
    function: Callable[..., Any], parcels: tuple[_Parcel, ...], arguments: tuple[Any, ...], *sent: bytes
) -> Any:
    """What a worker runs: the function, with what tasks share and the task's own arguments."""
    given = sent or (None,) * len(parcels)
    try:
        shared = [parcel.open(data) for parcel, data in zip(parcels, given, strict=True)]
    except ClusterError as error:
        # Returned, not raised: another try is of no use. Once the call has ended, its files are gone and nobody waits
        # for a task that starts late; then the worker's log must not tell of an error.
        return error
    return function(*shared, *arguments)


def _forget(parcels: tuple[_Parcel, ...]) -> None:
    """Let go of what the threads of this process have opened."""
    digests = {parcel.digest for parcel in parcels}
    for key in [key for key in list(_opened) if key[0] in digests]:
        _opened.pop(key, None)


class Workers:
    """The workers of a cluster, for the tasks of one call.

    Parameters
    ----------
    client : distributed.Client
    files : StoreFiles, optional
        A store that all workers see.
    """

    def __init__(self, client: Client, files: StoreFiles | None = None) -> None:
        # Few of its methods have types.
        self._client: Any = client
        self._files = files
        self._parcels: tuple[_Parcel, ...] = ()
        # What was sent, where there is no store: pickles, and Dask's futures of them.
        self._pickles: list[bytes] = []
        self._sent: list[Any] = []
        self._times_sent = 0
        self._lost: set[str] = set()
        self._seen: set[str] = set()
        self._looked = float("-inf")
        self._most = _AHEAD

    @property
    def threads(self) -> int:
        """Threads of all workers that are there now; at least 1."""
        return max(1, int(sum(self._client.nthreads().values())))

    def run(
        self, function: Callable[..., Any], shared: Mapping[str, object], tasks: Mapping[int, tuple[Any, ...]], bar: Any
    ) -> Generator[tuple[int, Any]]:
        """Run tasks, and give the number of each with what it returned, in the order in which they end.

        Close the iterator: that cancels what has not been run.

        Parameters
        ----------
        function : callable
            It is called with what tasks share, and then the arguments of the task. It must be importable on workers.
        shared : mapping of str to object
            What tasks share, by what it is called in messages.
        tasks : mapping of int to tuple
            The arguments of each task; small ones.
        bar : object
            What shows the workers, if it has a `set_postfix_str`.

        Yields
        ------
        tuple of (int, object)
            In place of what a task returned the exception with which it failed for the third time.

        Raises
        ------
        ClusterError
            If a worker does not see the store, or cannot load what is shared, or the cluster was closed.
        TypeError
            If what is shared cannot be pickled.
        """
        pickles = [_pickled(value, what) for what, value in shared.items()]
        self._parcels = tuple(
            _Parcel(hashlib.sha256(data).hexdigest(), what, self._files)
            for what, data in zip(shared, pickles, strict=True)
        )
        try:
            if self._files is None:
                self._pickles = pickles
                self._send()
            else:
                for parcel, data in zip(self._parcels, pickles, strict=True):
                    self._files.write(parcel.name, data)
            del pickles
            yield from self._run(function, dict(tasks), bar)
        finally:
            if self._files is not None:
                self._files.remove(PARCELS)
            self._sent, self._pickles = [], []
            if self._client.status == "running":
                self._client.run(_forget, self._parcels, on_error="ignore")

    def _send(self) -> None:
        """Give what is shared to all workers that are there."""
        self._times_sent += 1
        # Where workers come when there is work, one has to be there first.
        self._client.submit(int, key=f"first-{uuid.uuid4().hex}", pure=False).result()
        self._sent = self._client.scatter(self._pickles, broadcast=True, hash=False)

    def _run(
        self, function: Callable[..., Any], tasks: dict[int, tuple[Any, ...]], bar: Any
    ) -> Generator[tuple[int, Any]]:
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        name = uuid.uuid4().hex
        waiting: dict[str, tuple[int, Any]] = {}
        left = list(reversed(tasks))
        given_up: Counter[int] = Counter()
        try:
            while waiting or left:
                self._look(bar)
                while left and len(waiting) < self._most:
                    number = left.pop()
                    key = f"{function.__name__}-{name}-{number}-{self._times_sent}-{given_up[number]}"
                    future = self._client.submit(
                        _run_task, function, self._parcels, tasks[number], *self._sent,
                        key=key, retries=_TRIES - 1, pure=False,
                    )  # fmt: skip
                    waiting[key] = number, future
                    future.add_done_callback(ended.put)
                try:
                    future = ended.get(timeout=_LOOK)
                except queue.Empty:
                    continue
                if future.key not in waiting:
                    continue
                report = _result(future)
                if isinstance(report, CancelledError):
                    # All workers that had what was sent have died, and with it all that depends on it is forgotten.
                    self._send_again()
                    left.extend(reversed([number for number, _ in waiting.values()]))
                    waiting.clear()
                    continue
                number, _ = waiting.pop(future.key)
                if _workers_died(report) and given_up[number] < _AGAIN:
                    # After all others, so that what kills workers keeps none of them from being collected.
                    given_up[number] += 1
                    left.insert(0, number)
                    future.release()
                    continue
                try:
                    yield number, report
                finally:
                    # The scheduler lets go of what no future refers to; the traceback of an error keeps the future.
                    future.release()
        finally:
            if waiting:
                self._client.cancel([future for _, future in waiting.values()])

    def _send_again(self) -> None:
        if self._client.status != "running" or self._files is not None or self._times_sent > _TRIES:
            raise ClusterError("the cluster has cancelled the work: its scheduler was closed, or the client")
        self._send()

    def _look(self, bar: Any) -> None:
        """See how many workers there are, and show it beside the bar."""
        now = time.monotonic()
        if now < self._looked + _LOOK:
            return
        self._looked = now
        self._most = max(_AHEAD, _AHEAD_EACH * self.threads)
        if not hasattr(bar, "set_postfix_str") or bar.disable:
            return
        running = {address: len(tasks) for address, tasks in self._client.processing().items()}
        self._lost = (self._lost | (self._seen - running.keys())) - running.keys()
        self._seen |= running.keys()
        busy = sum(1 for tasks in running.values() if tasks)
        lost = f", {len(self._lost)} lost" if self._lost else ""
        bar.set_postfix_str(f"{len(running)} workers, {busy} busy{lost}")


def _result(future: Any) -> Any:
    """What a task returned, or the error with which it failed the last time."""
    try:
        # Where its worker died meanwhile, the task is run again first.
        report = future.result()
    except Exception as error:  # noqa: BLE001 - of anything that ran on a worker
        return error
    if isinstance(report, ClusterError):
        raise report
    return report


def _workers_died(report: object) -> bool:
    """Whether Dask gave up a task because too many of the workers that had it died."""
    from distributed import KilledWorker

    return isinstance(report, KilledWorker)


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
