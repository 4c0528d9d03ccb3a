"""Background work: one job at a time, the newest one."""

from __future__ import annotations

import atexit
import ctypes
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

__all__ = ["Job", "LatestJob", "released"]

Job: TypeAlias = Callable[[threading.Event], None]

# How long the end of the process waits for jobs that stop by themselves: a batch takes a quarter of a second.
_GRACE_SECONDS = 1.0
# And for one call of a library, which nothing can interrupt.
_LAST_SECONDS = 60.0
# The jobs whose threads run, kept here when nobody else knows them any more.
_running: dict[threading.Thread, LatestJob] = {}
_running_lock = threading.Lock()
_process_ends = False
# What each thread waits for.
_awaited: dict[threading.Thread, LatestJob] = {}
_awaited_lock = threading.Lock()


@atexit.register
def _end_all() -> None:
    """End all jobs before the interpreter goes: a thread that is inside PyTorch then would abort the process.

    A job that does not stop, for instance because it imports a large library, is interrupted by SystemExit.
    """
    global _process_ends
    with _running_lock:
        _process_ends = True
        running = dict(_running)
    for job in running.values():
        job.close()
    last = time.monotonic() + _LAST_SECONDS
    while running and time.monotonic() < last:
        pause = time.monotonic() + _GRACE_SECONDS
        for thread in running:
            thread.join(max(0.0, pause - time.monotonic()))
        running = {thread: job for thread, job in running.items() if thread.is_alive()}
        # Again after each pause: it may have been caught.
        for thread in running:
            _interrupt(thread)


def _interrupt(thread: threading.Thread) -> None:
    """Raise SystemExit in a thread, before its next step in Python."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit))


def _give_back_memory() -> None:
    """Let glibc return what was freed to the system: it keeps the memory of a thread for threads to come."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


@contextmanager
def released(lock: threading.RLock) -> Iterator[None]:
    """Let a lock go that this thread may hold, however many times, and take it again afterwards.

    Who waits for another thread lets go of what that thread may need: an observer is called while the lock is held.
    """
    held = 0
    try:
        while True:
            lock.release()
            held += 1
    except RuntimeError:  # it is not held by this thread any more
        pass
    try:
        yield
    finally:
        for _ in range(held):
            lock.acquire()


class LatestJob:
    """Runs one job at a time in a thread; a newer job stops the running one and takes its place.

    A job is called with an event and should return soon after the event is set. The thread lives as long as there is
    work. Jobs handle their own errors.

    Parameters
    ----------
    name : str
        Name of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._condition = threading.Condition()
        self._next: Job | None = None
        self._stop: threading.Event | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        self._waiting = 0

    def submit(self, job: Job) -> None:
        """Stop the running job, then run this one."""
        with self._condition:
            if self._closed:
                raise RuntimeError("closed")
            self._next = job
            if self._stop is not None:
                self._stop.set()
            if self._thread is None:
                self._start()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
        try:
            with _running_lock:
                if _process_ends:
                    raise RuntimeError("the process ends")
                _running[self._thread] = self
                self._thread.start()
        except BaseException:
            self._rest()
            raise

    def cancel(self) -> None:
        """Ask the running job to stop, and forget one that waits."""
        with self._condition:
            self._next = None
            if self._stop is not None:
                self._stop.set()

    def pause(self) -> bool:
        """Cancel, unless somebody waits for the job or there is none; whether there is something to do again later."""
        with self._condition:
            if self._thread is None or self._waiting:
                return False
            self.cancel()
            return True

    def close(self) -> None:
        """Cancel, and take no further job."""
        with self._condition:
            self._closed = True
            self.cancel()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing runs; False if that took longer than `timeout` seconds.

        True at once where the running job itself asks, or a job that it waits for: that would wait for its own end.
        """
        thread = threading.current_thread()
        with _awaited_lock:
            if self._waits_for(thread):
                return True
            _awaited[thread] = self
        try:
            with self._condition:
                self._waiting += 1
                try:
                    return self._condition.wait_for(lambda: self._thread is None, timeout)
                finally:
                    self._waiting -= 1
        finally:
            with _awaited_lock:
                del _awaited[thread]

    def _waits_for(self, thread: threading.Thread) -> bool:
        """Whether this job runs in a thread, or waits for one that does, and so on."""
        job: LatestJob | None = self
        while job is not None and job._thread is not None:
            if job._thread is thread:
                return True
            job = _awaited.get(job._thread)
        return False

    def _work(self) -> None:
        while True:
            with self._condition:
                job, self._next = self._next, None
                if job is None:
                    self._rest()
                    return
                stop = self._stop = threading.Event()
            try:
                job(stop)
            except BaseException:
                self._rest()
                raise
            if stop.is_set():
                _give_back_memory()

    def _rest(self) -> None:
        """There is no work, and no thread, any more."""
        with self._condition:
            if self._thread is not None:
                _running.pop(self._thread, None)
            self._thread = self._stop = self._next = None
            self._condition.notify_all()
