"""What the model's outputs tell of each item: counts of pixels, confidences, and how far the truth agrees."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hdm_widgets.latent.activations import ActivationHook, LayerError
from hdm_widgets.latent.collection import CollectionBuilder
from hdm_widgets.latent.confidences import confidence_columns
from hdm_widgets.latent.items import Item, counted_pixels
from hdm_widgets.latent.label_quality import block_size, encoded_log_odds, label_quality
from hdm_widgets.models.errors import ModelOutputError
from hdm_widgets.models.segmenter import Segmenter
from hdm_widgets.models.threads import limited_threads

__all__ = ["Measurer"]

# Items with so many pixels are measured in one go. A batch for the model may be smaller: after each run of a network,
# the first use of anything else is slow, because the network has filled the caches.
_PIXELS = 1 << 19
_LARGEST = 64
# They are measured in parts of so many pixels, whose arrays stay in the caches of a CPU.
_PART_PIXELS = 1 << 18


@dataclass(frozen=True, eq=False)
class _Outputs:
    """What the model gave for some items, on its device.

    Attributes
    ----------
    entries : list of (int, Item)
    features : torch.Tensor, float32 (n, d)
    masks : torch.Tensor, bool (n, H, W)
    probabilities : torch.Tensor, float32 (n, H, W), or None
    """

    entries: list[tuple[int, Item]]
    features: Tensor
    masks: Tensor
    probabilities: Tensor | None

    def part(self, items: slice) -> _Outputs:
        """Those of some of the items."""
        probabilities = None if self.probabilities is None else self.probabilities[items]
        return _Outputs(self.entries[items], self.features[items], self.masks[items], probabilities)


class Measurer:
    """Runs the model, and measures what it gives for several batches together.

    Parameters
    ----------
    segmenter : Segmenter
    hook : ActivationHook
        Attached to the layer.
    builder : CollectionBuilder
        Where measured items are added.
    excluded : numpy.ndarray, bool (H, W), or None
        Pixels that count in no item.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        hook: ActivationHook,
        builder: CollectionBuilder,
        excluded: NDArray[np.bool_] | None,
    ) -> None:
        self._segmenter, self._hook, self._builder = segmenter, hook, builder
        self._excluded = excluded
        self._waiting: list[_Outputs] = []
        self._width: int | None = None

    def run(self, entries: list[tuple[int, Item]]) -> None:
        """Run the model on a batch of items; they are added by the next `flush`, if not sooner."""
        self._hook.clear()
        with torch.no_grad(), limited_threads(self._segmenter.run_device):
            # The model may write into its input, which is a copy.
            raw = self._segmenter.raw(torch.stack([item.image for _, item in entries]))
            features = self._hook.take(len(entries))
            if not bool(torch.isfinite(features.sum())) and not bool((finite := torch.isfinite(features)).all()):
                raise ModelOutputError("the activations have NaN or infinity", int((~finite.all(1)).nonzero()[0]))
            self._width = self._width or features.shape[1]
            if features.shape[1] != self._width:
                raise LayerError(f"the layer gave {self._width} features before and {features.shape[1]} now")
            reading = self._segmenter.reading
            self._builder.values = reading.values
            probabilities = self._segmenter.probability(raw)
            if probabilities is not None and reading.activation == "none":
                # A model may write its next output into the same memory.
                probabilities = probabilities.clone()
            if probabilities is not None and reading.classes != "exclusive":
                masks = probabilities > self._segmenter.threshold
            else:
                masks = self._segmenter.binarize(raw)
        self._waiting.append(_Outputs(entries, features, masks, probabilities))
        if sum(len(outputs.entries) for outputs in self._waiting) >= _items(_PIXELS, masks):
            self.flush()

    @contextmanager
    def flushing(self) -> Iterator[None]:
        """Add everything that has run at the end, also after an error."""
        try:
            yield
        finally:
            self.flush()

    def flush(self) -> None:
        """Measure the items that have run, and add them."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        with torch.no_grad(), limited_threads(self._segmenter.run_device):
            outputs = waiting[0]
            if len(waiting) > 1:
                probabilities = [one.probabilities for one in waiting if one.probabilities is not None]
                outputs = _Outputs(
                    [entry for one in waiting for entry in one.entries],
                    torch.cat([one.features for one in waiting]),
                    torch.cat([one.masks for one in waiting]),
                    torch.cat(probabilities) if probabilities else None,
                )
            together = _items(_PART_PIXELS, outputs.masks)
            for start in range(0, len(outputs.entries), together):
                self._measure(outputs.part(slice(start, start + together)))

    def _measure(self, outputs: _Outputs) -> None:
        entries, masks = outputs.entries, outputs.masks
        images = torch.stack([item.image for _, item in entries])
        valid = self._segmenter.valid_pixels(*images.shape[-2:])
        if valid is not None:
            entries = [(index, item.ignoring(~valid)) for index, item in entries]
            masks = masks & torch.from_numpy(valid).to(masks.device)
        # The truths have no ignored pixel.
        truths, predictions = np.stack([item.mask for _, item in entries]), masks.cpu().numpy()
        counted, counts = predictions, None
        if any(item.ignored is not None for _, item in entries):
            counts = counted_pixels(item for _, item in entries)
            counted = predictions & counts
        quality = maps = None
        if (p := outputs.probabilities) is not None:
            on_device = None if counts is None else torch.from_numpy(counts).to(p.device)
            quality = label_quality(p, torch.from_numpy(truths).to(p.device), on_device)
            maps = encoded_log_odds(p, block_size(p.shape[1:]))
        tp, true, drawn = (_areas(part) for part in (counted & truths, truths, counted))
        self._builder.add(
            entries,
            features=outputs.features.cpu().numpy(),
            images=images,
            truths=truths,
            predictions=predictions,
            counts=np.stack([tp, true - tp, drawn - tp]),
            confidences=self._confidences(outputs.probabilities, masks, valid),
            label_quality=quality,
            probability_maps=maps,
        )

    def _confidences(
        self, probabilities: Tensor | None, masks: Tensor, valid: NDArray[np.bool_] | None
    ) -> dict[str, NDArray[np.float64]]:
        """Confidences in predictions. What only a truth ignores counts: new data has no truth."""
        if probabilities is None:
            return {}
        if self._excluded is not None:
            valid = ~self._excluded if valid is None else valid & ~self._excluded
        counted = None if valid is None else torch.from_numpy(valid).to(masks.device)
        return confidence_columns(probabilities, masks, counted)


def _items(pixels: int, masks: Tensor) -> int:
    """How many items have so many pixels, with masks (n, H, W) of their size."""
    return max(1, min(_LARGEST, pixels // (masks.shape[1] * masks.shape[2])))


def _areas(masks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Pixels of each mask (n, H, W): one by one, NumPy counts several times faster than along axes."""
    return np.array([np.count_nonzero(mask) for mask in masks], np.int64)
