"""Cache of traced models, and of why models cannot be run traced."""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass

from torch import Tensor, nn

from hdm_widgets.models.fingerprint import fingerprint, structure
from hdm_widgets.models.modules import model_dtype, tensors
from hdm_widgets.models.segmenter import Segmenter
from hdm_widgets.windowed import TracedModel, TraceError

__all__ = ["TraceCache", "traced"]

_TRACES_PER_MODEL = 4
# Of a Segmenter: what changes the pipeline.
_SETTINGS = ("pad_to", "output", "align", "layout", "preprocess")


@dataclass(frozen=True, eq=False)
class _Refusal:
    """Why a pipeline is not run traced, and what it was like then.

    Attributes
    ----------
    reason : str
    structure : dict
        Of its modules, but for what they set themselves when they run.
    written : frozenset of (str, str)
        What that is.
    weights : bytes or None
        None if other weights would not help.
    """

    reason: str
    structure: dict[tuple[str, str], str]
    written: frozenset[tuple[str, str]]
    weights: bytes | None

    @classmethod
    def from_pipeline(
        cls, pipeline: nn.Module, reason: str, written: frozenset[tuple[str, str]], *, weights: bool
    ) -> _Refusal:
        """A refusal of the pipeline as it is; without `weights`, whatever its weights are."""
        known = fingerprint(tensors(pipeline)) if weights else None
        return cls(reason, _structure(pipeline, written), written, known)

    def holds(self, pipeline: nn.Module) -> bool:
        """Whether the pipeline is as it was."""
        if self.structure != _structure(pipeline, self.written):
            return False
        return self.weights is None or self.weights == fingerprint(tensors(pipeline))


def _structure(pipeline: nn.Module, written: frozenset[tuple[str, str]]) -> dict[tuple[str, str], str]:
    # The pipeline itself, of no name, is another one in every scan.
    return {key: value for key, value in structure(pipeline).items() if key[0] and key not in written}


class TraceCache:
    """The last few traces of every model that is in use, and refusals; safe to use from several threads.

    A refusal holds until the model changes: its modules, their settings, or the type, shape or identity of a tensor;
    where the traced network gave something else, the values of the weights too. Nothing else of a model is looked at.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: weakref.WeakKeyDictionary[nn.Module, dict[object, TracedModel | _Refusal]] = (
            weakref.WeakKeyDictionary()
        )
        # While a model is traced, others wait for that trace in place of making their own.
        self._tracing: weakref.WeakKeyDictionary[nn.Module, threading.Lock] = weakref.WeakKeyDictionary()

    def has(self, segmenter: Segmenter, image: Tensor) -> bool:
        """Whether there is a trace for images like this one (C, H, W)."""
        return isinstance(self._get(segmenter, image), TracedModel)

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
            If the model cannot be traced, or was refused and has not changed since.
        """
        assert isinstance(segmenter.model, nn.Module)  # nothing else is traced  # noqa: S101
        with self._lock:
            tracing = self._tracing.setdefault(segmenter.model, threading.Lock())
        with tracing:
            return self._current(segmenter, image, fresh=fresh)

    def _current(self, segmenter: Segmenter, image: Tensor, *, fresh: bool) -> TracedModel:
        entry = self._get(segmenter, image)
        pipeline = segmenter.pipeline()
        if isinstance(entry, _Refusal) and entry.holds(pipeline):
            raise TraceError(entry.reason)
        if not isinstance(entry, TracedModel) or fresh or entry.outdated:
            try:
                entry = TracedModel(pipeline, image)
            except TraceError as error:
                self._put(segmenter, image, _Refusal.from_pipeline(pipeline, str(error), error.written, weights=False))
                raise
            self._put(segmenter, image, entry)
        return entry

    def refuse(self, segmenter: Segmenter, image: Tensor, reason: str) -> None:
        """Remember that the traced network gives something else than the model, which is as it was traced."""
        entry = self._get(segmenter, image)
        written = entry.written if entry is not None else frozenset()
        self._put(segmenter, image, _Refusal.from_pipeline(segmenter.pipeline(), reason, written, weights=True))

    def forget(self, segmenter: Segmenter, image: Tensor) -> None:
        """Drop the trace for images like this one, which has turned out to be wrong."""
        with self._lock:
            self._entries_of(segmenter).pop(self._key(segmenter, image), None)

    def _get(self, segmenter: Segmenter, image: Tensor) -> TracedModel | _Refusal | None:
        with self._lock:
            return self._entries_of(segmenter).get(self._key(segmenter, image))

    def _put(self, segmenter: Segmenter, image: Tensor, entry: TracedModel | _Refusal) -> None:
        key = self._key(segmenter, image)
        with self._lock:
            entries = self._entries_of(segmenter)
            entries.pop(key, None)
            while len(entries) >= _TRACES_PER_MODEL:
                del entries[next(iter(entries))]
            entries[key] = entry

    def _entries_of(self, segmenter: Segmenter) -> dict[object, TracedModel | _Refusal]:
        assert isinstance(segmenter.model, nn.Module)  # nothing else is traced  # noqa: S101
        return self._entries.setdefault(segmenter.model, {})

    def _key(self, segmenter: Segmenter, image: Tensor) -> object:
        assert isinstance(segmenter.model, nn.Module)  # nothing else is traced  # noqa: S101
        settings = tuple(getattr(segmenter, name, None) for name in _SETTINGS)
        # Pixels without output have values that make no segment: that depends on what the segment is.
        centered = segmenter.valid_pixels(int(image.shape[-2]), int(image.shape[-1])) is not None
        outside = (segmenter.target, segmenter.threshold, segmenter.activation) if centered else None
        return tuple(image.shape), image.dtype, model_dtype(segmenter.model), image.device, settings, outside


# Shared by all scans.
traced = TraceCache()
