"""Distances and masks that earlier scans of the same image measured."""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

from hdm_widgets._bitmasks import MaskPatch
from hdm_widgets.models.fingerprint import fingerprint
from hdm_widgets.models.modules import tensors
from hdm_widgets.models.segmenter import Segmenter

__all__ = ["CACHE_BYTES", "DistanceCache", "Measured", "ScanCache"]

# Bound on what an explainer caches of its scans; the least recently used goes first.
CACHE_BYTES = 64 << 20
# Of a cached cell, beside its key and its mask.
_ENTRY_BYTES = 400


class Measured(NamedTuple):
    """What was measured for an occluded image."""

    distance: float
    mask: MaskPatch


class ScanCache:
    """Measured cells, by scan and by what their discs change, within a bound on memory; threads may share it.

    Parameters
    ----------
    limit : int
        In bytes.

    Attributes
    ----------
    bytes : int
        In use.
    """

    def __init__(self, limit: int = CACHE_BYTES) -> None:
        self.limit = limit
        self.bytes = 0
        self._entries: OrderedDict[tuple[bytes, bytes], Measured] = OrderedDict()
        self._model: Callable[[], object] = _no_model
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[ScanCache], tuple[int]]:
        # A copy, for another process or explainer, begins empty.
        return ScanCache, (self.limit,)

    def for_scan(
        self, segmenter: Segmenter, unchanged: Measured, *dependencies: Tensor | np.ndarray[Any, Any] | str
    ) -> DistanceCache:
        """The cells that scans with the same model and dependencies share.

        Parameters
        ----------
        segmenter : Segmenter
        unchanged : Measured
            For discs that change nothing.
        *dependencies : torch.Tensor, numpy.ndarray or str
            Everything else that a distance depends on; part of the cache key.
        """
        model = segmenter.model
        try:
            reference: Callable[[], object] = weakref.ref(model)
        except TypeError:
            # Nothing tells whether it is the same model as before.
            return DistanceCache(ScanCache(self.limit), b"", unchanged)
        with self._lock:
            if self._model() is not model:
                self._clear()
                self._model = reference
        digest = hashlib.sha256()
        if isinstance(model, nn.Module):
            digest.update(fingerprint(tensors(model)))
        for part in dependencies:
            if isinstance(part, str):
                digest.update(part.encode())
            else:
                array = np.ascontiguousarray(part.cpu().numpy() if isinstance(part, Tensor) else part)
                digest.update(f"{array.dtype}{array.shape}".encode())
                digest.update(array.data)
        return DistanceCache(self, digest.digest(), unchanged)

    def clear(self) -> None:
        """Empty the cache."""
        with self._lock:
            self._clear()

    def get(self, scan: bytes, key: bytes) -> Measured | None:
        """The cell of this key, which counts as used; None if it is not cached."""
        with self._lock:
            found = self._entries.get((scan, key))
            if found is not None:
                self._entries.move_to_end((scan, key))
            return found

    def put(self, scan: bytes, key: bytes, measured: Measured) -> None:
        """Add a cell; the least recently used ones make room for it."""
        with self._lock:
            self._remove((scan, key))
            self._entries[scan, key] = measured
            self.bytes += _size(key, measured)
            while self.bytes > self.limit and len(self._entries) > 1:
                self._remove(next(iter(self._entries)))

    def remove_scan(self, scan: bytes) -> None:
        """Remove all cells of one scan."""
        with self._lock:
            for entry in [entry for entry in self._entries if entry[0] == scan]:
                self._remove(entry)

    def _clear(self) -> None:
        self._entries.clear()
        self.bytes = 0

    def _remove(self, entry: tuple[bytes, bytes]) -> None:
        measured = self._entries.pop(entry, None)
        if measured is not None:
            self.bytes -= _size(entry[1], measured)


def _no_model() -> None:
    """The model of an empty cache."""


class DistanceCache:
    """The cells of one scan in a `ScanCache`.

    Parameters
    ----------
    cache : ScanCache
    scan : bytes
        Which scan.
    unchanged : Measured
        Of discs that change nothing; never removed.
    """

    def __init__(self, cache: ScanCache, scan: bytes, unchanged: Measured) -> None:
        self._cache, self._scan, self._unchanged = cache, scan, unchanged

    def get(self, key: bytes) -> Measured | None:
        """What is cached for what a disc changes; None if nothing is."""
        return self._cache.get(self._scan, key) if key else self._unchanged

    def put(self, key: bytes, measured: Measured) -> None:
        """Add a cell."""
        if key:
            self._cache.put(self._scan, key, measured)

    def clear(self) -> None:
        """Remove all but what no disc changes."""
        self._cache.remove_scan(self._scan)


def _size(key: bytes, measured: Measured) -> int:
    return len(key) + len(measured.mask.bits) + _ENTRY_BYTES
