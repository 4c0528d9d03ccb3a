"""Cache of traced models."""

from __future__ import annotations

import threading
import weakref

from torch import Tensor, nn

from hdm_widgets.models.modules import model_dtype
from hdm_widgets.models.segmenter import Segmenter
from hdm_widgets.windowed import TracedModel

__all__ = ["TraceCache", "traced"]

_TRACES_PER_MODEL = 4


class TraceCache:
    """The last few traces of every model that is in use; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._traces: weakref.WeakKeyDictionary[nn.Module, dict[object, TracedModel]] = weakref.WeakKeyDictionary()

    def has(self, segmenter: Segmenter, image: Tensor) -> bool:
        """Whether there is a trace for images like this one (C, H, W)."""
        with self._lock:
            return self._key(segmenter, image) in self._traces_of(segmenter)

    def get(self, segmenter: Segmenter, image: Tensor, *, fresh: bool = False) -> TracedModel:
        """The trace for images like this one; traced now if there is none, or if a fresh one is asked for.

        Parameters
        ----------
        segmenter : Segmenter
            Of a `torch.nn.Module`.
        image : torch.Tensor (C, H, W)
        fresh : bool, optional
            Replace the trace that there is.

        Raises
        ------
        TraceError
            If the model cannot be traced.
        """
        key = self._key(segmenter, image)
        with self._lock:
            trace = None if fresh else self._traces_of(segmenter).get(key)
        if trace is None:
            trace = TracedModel(segmenter.pipeline(), image)
            with self._lock:
                traces = self._traces_of(segmenter)
                traces.pop(key, None)
                while len(traces) >= _TRACES_PER_MODEL:
                    del traces[next(iter(traces))]
                traces[key] = trace
        return trace

    def forget(self, segmenter: Segmenter, image: Tensor) -> None:
        """Drop the trace for images like this one, which has turned out to be wrong."""
        with self._lock:
            self._traces_of(segmenter).pop(self._key(segmenter, image), None)

    def _traces_of(self, segmenter: Segmenter) -> dict[object, TracedModel]:
        assert isinstance(segmenter.model, nn.Module)  # nothing else is traced  # noqa: S101
        return self._traces.setdefault(segmenter.model, {})

    def _key(self, segmenter: Segmenter, image: Tensor) -> object:
        assert isinstance(segmenter.model, nn.Module)  # nothing else is traced  # noqa: S101
        return tuple(image.shape), image.dtype, model_dtype(segmenter.model), image.device, segmenter.pad_to


# Shared by all scans.
traced = TraceCache()
