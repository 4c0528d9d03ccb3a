"""Traced networks of the models that are in use."""

from __future__ import annotations

import threading
import weakref

from torch import Tensor, nn

from hdm_widgets.models.modules import model_dtype
from hdm_widgets.models.segmenter import Segmenter
from hdm_widgets.windowed import Engine

__all__ = ["Engines", "traced"]

_TRACES_PER_MODEL = 4


class Engines:
    """Traced networks of models that are in use, the last few of each."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: weakref.WeakKeyDictionary[nn.Module, dict[object, Engine]] = weakref.WeakKeyDictionary()

    def has(self, segmenter: Segmenter, picture: Tensor) -> bool:
        """Whether pictures like this one (C, H, W) cost no tracing."""
        with self._lock:
            return self._key(segmenter, picture) in self._of(segmenter)

    def get(self, segmenter: Segmenter, picture: Tensor, *, fresh: bool = False) -> Engine:
        """For pictures like this one (C, H, W), traced now if it has not been or is to be afresh.

        Raises
        ------
        TraceError
        """
        key = self._key(segmenter, picture)
        with self._lock:
            engine = None if fresh else self._of(segmenter).get(key)
        if engine is None:
            engine = Engine(segmenter.pipeline(), picture)
            with self._lock:
                engines = self._of(segmenter)
                engines.pop(key, None)
                while len(engines) >= _TRACES_PER_MODEL:
                    del engines[next(iter(engines))]
                engines[key] = engine
        return engine

    def forget(self, segmenter: Segmenter, picture: Tensor) -> None:
        """What was traced for pictures like this one is wrong."""
        with self._lock:
            self._of(segmenter).pop(self._key(segmenter, picture), None)

    def _of(self, segmenter: Segmenter) -> dict[object, Engine]:
        assert isinstance(segmenter.model, nn.Module)  # nothing else is traced  # noqa: S101
        return self._known.setdefault(segmenter.model, {})

    def _key(self, segmenter: Segmenter, picture: Tensor) -> object:
        assert isinstance(segmenter.model, nn.Module)  # nothing else is traced  # noqa: S101
        return tuple(picture.shape), picture.dtype, model_dtype(segmenter.model), picture.device, segmenter.pad_to


traced = Engines()
