"""How many threads PyTorch uses on a machine whose cores may be taken by others.

The threads of an OpenMP team wait for each other after every operation. If one of them has to share its core with
another process, all wait: on two cores of which one is taken, two threads are four to five times slower than one.
"""

from __future__ import annotations

import ctypes
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import torch
from threadpoolctl import ThreadpoolController
from torch.nn import functional as F

__all__ = ["ThreadChoice", "limited_threads", "seconds_with", "single_thread", "thread_limit"]

# The chosen number stays unless another one takes less than this fraction of its time.
_BETTER = 0.87
# Twice the threads have to be so many times faster: where cores are taken they may seem as fast in the little that is
# timed, one operation over and over, and yet be twice as slow in a model.
_GAIN = 1.25
# Fewer threads are not tried if some have taken so many times as long as more.
_HOPELESS = 1.3
# Nobody disturbs if all threads take at most so many times as long as at best.
_QUIET = 1.3
# Seconds between comparisons; sooner where one has just found another number: that may have been luck. Besides, threads
# of NumPy's and SciPy's matrix products keep their cores for another 0.1 s after the last product (OpenBLAS), so that
# at the end of a fit, or at the start of the next one, the cores look taken.
_PAUSE = 2.0
_SHORT_PAUSE = 0.15
# Comparisons take at most this fraction of the time.
_FRACTION = 0.02
# What is timed: so many convolutions of so many channels, on images of this side, or as many as this time allows. On
# smaller images, two threads are hardly faster than one where nobody disturbs.
_REPEATS, _CHANNELS, _SIDE = 16, 16, 128
_LONGEST = 0.05
# An image for so many threads that are allowed: what is too little for many shows nothing but how they wait.
_THREADS_AN_IMAGE = 2


class ThreadChoice:
    """Chooses a number of threads by how long some work takes: all that are allowed, unless fewer are faster.

    Parameters
    ----------
    most : int
        Threads that are allowed.

    Attributes
    ----------
    most : int
    chosen : int
    """

    def __init__(self, most: int) -> None:
        self.most = self.chosen = most
        # The best time with all threads when they were the fastest.
        self._best = 0.0
        # The larger of two numbers between which the next comparison decides, or 0.
        self._larger = 0
        # Seconds that comparisons took since the last long pause.
        self._spent = 0.0
        self._next = float("-inf")

    def is_due(self, now: float) -> bool:
        """Whether numbers should be compared, at a time in seconds."""
        return self.most > 1 and now >= self._next

    def compare(self, seconds: Callable[[int], float], clock: Callable[[], float]) -> None:
        """Compare numbers of threads, and choose one.

        If another number than the chosen one is the fastest, the smaller of them is chosen until the next comparison,
        soon after, decides.

        Parameters
        ----------
        seconds : callable
            Takes a number of threads, returns how long the work takes with them.
        clock : callable
            Returns the time in seconds.
        """
        started = clock()
        fastest = self._fastest(seconds)
        differs = fastest != self.chosen and not self._larger
        if differs:
            self.chosen, self._larger = sorted((self.chosen, fastest))
        else:
            # A number that is larger than both would have to be found twice, too.
            self.chosen, self._larger = min(fastest, self._larger or fastest), 0
        now = clock()
        self._spent += now - started
        if differs:
            self._next = now + _SHORT_PAUSE
        else:
            self._next, self._spent = now + max(_PAUSE, self._spent / _FRACTION), 0.0

    def _fastest(self, seconds: Callable[[int], float]) -> int:
        taken = {self.most: seconds(self.most)}
        if taken[self.most] <= _QUIET * self._best:
            self._best = min(self._best, taken[self.most])
            return self.most
        for count in _counts(self.most)[1:]:
            taken[count] = seconds(count)
            if count <= self.chosen and taken[count] > _HOPELESS * min(taken.values()):
                break
        gains = {count: _GAIN ** math.log2(count) * (_BETTER if count == self.chosen else 1.0) for count in taken}
        fastest = min(taken, key=lambda count: taken[count] * gains[count])
        if fastest == self.most:
            self._best = taken[self.most]
        return fastest


def _counts(most: int) -> list[int]:
    """Numbers of threads to choose from: all, all but one, half of them, and so on down to one."""
    halves = [most >> power for power in range(1, most.bit_length())]
    return sorted({most, max(1, most - 1), *halves}, reverse=True)


class _Threads(threading.local):
    """What is known in one thread.

    Attributes
    ----------
    allowed : int or None
        Threads that the user allows PyTorch there, while a limit holds.
    """

    allowed: int | None = None


_here = _Threads()
_lock = threading.Lock()
# By the number that is allowed: how busy the machine is concerns all models alike.
_choices: dict[int, ThreadChoice] = {}


@contextmanager
def limited_threads(device: torch.device | None = None) -> Iterator[None]:
    """Use fewer threads of a CPU, in this thread, while that is faster because others take its cores.

    What the user has set is the most, and is put back at the end.

    Parameters
    ----------
    device : torch.device, optional
        Where the work is done, a CPU by default: for others nothing changes.
    """
    allowed = _here.allowed or torch.get_num_threads()
    if allowed == 1 or (device is not None and device.type != "cpu") or not _setters():
        yield
        return
    with thread_limit(_chosen(allowed)):
        yield


@contextmanager
def single_thread() -> Iterator[None]:
    """Let PyTorch use one thread in this thread, where others need the cores; numbers are not compared meanwhile."""
    with thread_limit(1):
        outer, _here.allowed = _here.allowed, 1
        try:
            yield
        finally:
            _here.allowed = outer


def _chosen(allowed: int) -> int:
    """How many threads are the fastest now; numbers are compared if that is due, by one thread at a time."""
    choice = _choices.setdefault(allowed, ThreadChoice(allowed))
    if choice.is_due(time.perf_counter()) and _lock.acquire(blocking=False):
        try:
            choice.compare(lambda threads: seconds_with(threads, allowed), time.perf_counter)
        finally:
            _lock.release()
    return choice.chosen


def seconds_with(threads: int, allowed: int) -> float:
    """How long a convolution takes with so many threads; it is as large as is worth it for all that are allowed."""
    images, weights = _work(-(-allowed // _THREADS_AN_IMAGE))
    with thread_limit(threads), torch.inference_mode():
        F.conv2d(images, weights, padding=1)
        started, done, passed = time.perf_counter(), 0, 0.0
        while done < _REPEATS and passed < _LONGEST:
            F.conv2d(images, weights, padding=1)
            done, passed = done + 1, time.perf_counter() - started
        return passed / done


@cache
def _work(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.inference_mode():
        images = torch.ones(count, _CHANNELS, _SIDE, _SIDE, dtype=torch.float32, device="cpu")
        weights = torch.ones(_CHANNELS, _CHANNELS, 3, 3, dtype=torch.float32, device="cpu")
        return images.contiguous(memory_format=torch.channels_last), weights


@contextmanager
def thread_limit(threads: int) -> Iterator[None]:
    """Let PyTorch use so many threads in this thread; others keep theirs.

    `torch.set_num_threads` would set the number for all threads that start later too. What is set here, for OpenMP and
    MKL, belongs to the calling thread.
    """
    before, setters = torch.get_num_threads(), _setters()
    if threads == before or not setters:
        yield
        return
    outer, _here.allowed = _here.allowed, _here.allowed or before
    undo = [set_threads(threads) for set_threads in setters]
    try:
        yield
    finally:
        _here.allowed = outer
        # What a model sets in its run stays.
        if torch.get_num_threads() == threads:
            for put_back in undo:
                put_back()


Setter = Callable[[int], Callable[[], object]]


@cache
def _setters() -> tuple[Setter, ...]:
    """What sets the threads of the calling thread in PyTorch's OpenMP and MKL, and returns what puts them back.

    Empty where PyTorch's threads are not OpenMP's.
    """
    before = torch.get_num_threads()
    for library in ThreadpoolController().select(user_api="openmp").lib_controllers:
        # There may be several OpenMP libraries: PyTorch's is the one whose number it tells.
        library.set_num_threads(before + 1)
        found = torch.get_num_threads() == before + 1
        library.set_num_threads(before)
        if found:
            return _of_openmp(library.set_num_threads), *_of_mkl()
    return ()


def _of_openmp(set_number: Callable[[int], object]) -> Setter:
    def set_threads(threads: int) -> Callable[[], object]:
        before = torch.get_num_threads()
        set_number(threads)
        return lambda: set_number(before)

    return set_threads


def _of_mkl() -> Iterator[Setter]:
    """Products of matrices by MKL do not follow OpenMP where `torch.set_num_threads` was called."""
    set_local = getattr(ctypes.CDLL(torch._C.__file__), "MKL_Set_Num_Threads_Local", None)
    if set_local is not None:

        def set_threads(threads: int) -> Callable[[], object]:
            before = set_local(threads)
            return lambda: set_local(before)

        yield set_threads
