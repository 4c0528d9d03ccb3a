"""What earlier scans of the same picture measured."""

from __future__ import annotations

import hashlib
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

from hdm_widgets._bitmasks import MaskPatch
from hdm_widgets.models.fingerprint import fingerprint
from hdm_widgets.models.segmenter import Segmenter

__all__ = ["MEMORY_BYTES", "Known", "Measured", "Memory"]

# All that an explainer remembers of its scans; the longest unused goes first.
MEMORY_BYTES = 64 << 20
# A remembered cell beside its key and its mask.
_ENTRY_BYTES = 400


class Measured(NamedTuple):
    """What was measured for a picture."""

    distance: float
    mask: MaskPatch


class Memory:
    """Measured cells by scan and by what their discs change, within a bound on memory."""

    def __init__(self, limit: int = MEMORY_BYTES) -> None:
        self.limit = limit
        self.bytes = 0
        self._entries: OrderedDict[tuple[bytes, bytes], Measured] = OrderedDict()
        self._model: Callable[[], object] = _nobody

    def __reduce__(self) -> tuple[type[Memory], tuple[int]]:
        # A copy for another process begins with nothing.
        return Memory, (self.limit,)

    def of(self, segmenter: Segmenter, unchanged: Measured, *parts: Tensor | np.ndarray[Any, Any] | str) -> Known:
        """What is known for a model and all else that a cell's distance depends on.

        Parameters
        ----------
        segmenter : Segmenter
        unchanged : Measured
            For discs that change nothing.
        *parts : torch.Tensor, numpy.ndarray or str
            Whatever makes a scan another scan.
        """
        model = segmenter.model
        try:
            reference: Callable[[], object] = weakref.ref(model)
        except TypeError:
            # Nothing tells whether it is the same model as before.
            return Known(Memory(self.limit), b"", unchanged)
        if self._model() is not model:
            self.clear()
            self._model = reference
        digest = hashlib.sha256()
        if isinstance(model, nn.Module):
            digest.update(fingerprint([*model.parameters(), *model.buffers()]))
        for part in parts:
            if isinstance(part, str):
                digest.update(part.encode())
            else:
                array = np.ascontiguousarray(part.cpu().numpy() if isinstance(part, Tensor) else part)
                digest.update(f"{array.dtype}{array.shape}".encode())
                digest.update(array.data)
        return Known(self, digest.digest(), unchanged)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.bytes = 0

    def get(self, scan: bytes, key: bytes) -> Measured | None:
        """What is known; it counts as used."""
        found = self._entries.get((scan, key))
        if found is not None:
            self._entries.move_to_end((scan, key))
        return found

    def put(self, scan: bytes, key: bytes, measured: Measured) -> None:
        """Remember, and forget the longest unused for it."""
        before = self._entries.pop((scan, key), None)
        if before is not None:
            self.bytes -= _size(key, before)
        self._entries[scan, key] = measured
        self.bytes += _size(key, measured)
        while self.bytes > self.limit and len(self._entries) > 1:
            (_, old), forgotten = self._entries.popitem(last=False)
            self.bytes -= _size(old, forgotten)

    def forget(self, scan: bytes) -> None:
        """Forget all cells of one scan."""
        for entry in [entry for entry in self._entries if entry[0] == scan]:
            self.bytes -= _size(entry[1], self._entries.pop(entry))


def _nobody() -> None:
    """The model, while none was used."""


class Known:
    """What is known for one scan.

    Parameters
    ----------
    memory : Memory
    scan : bytes
        Which.
    unchanged : Measured
        Of discs that change nothing: never forgotten.
    """

    def __init__(self, memory: Memory, scan: bytes, unchanged: Measured) -> None:
        self._memory, self._scan, self._unchanged = memory, scan, unchanged

    def get(self, key: bytes) -> Measured | None:
        """What is known of a picture by what a disc changes; None if nothing is."""
        return self._memory.get(self._scan, key) if key else self._unchanged

    def put(self, key: bytes, measured: Measured) -> None:
        """Remember a picture."""
        if key:
            self._memory.put(self._scan, key, measured)

    def clear(self) -> None:
        """Forget all but the unchanged picture."""
        self._memory.forget(self._scan)


def _size(key: bytes, measured: Measured) -> int:
    return len(key) + len(measured.mask.bits) + _ENTRY_BYTES
