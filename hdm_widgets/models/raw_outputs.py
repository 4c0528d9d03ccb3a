"""What a Segmenter makes of a model's raw output."""

from __future__ import annotations

from torch import Tensor

from hdm_widgets.models.reader import Activation, OutputReader
from hdm_widgets.models.reading import Reading, Values

__all__ = ["RawOutputs"]


class RawOutputs:
    """Base of `Segmenter`: how its model's raw outputs are read."""

    _reader: OutputReader

    @property
    def activation(self) -> Activation:
        """What turns the output into probabilities; `"auto"` until the first output has decided it."""
        return self._reader.activation

    @property
    def asked_activation(self) -> Activation:
        """What was asked for as `activation`; `"auto"` stays, whatever an output has decided."""
        return self._reader.asked

    @property
    def reading(self) -> Reading:
        """How the model's output is read: what was decided, and why."""
        return self._reader.reading

    def expect(self, values: Values) -> None:
        """Read the first output as these values, whatever their range, if `activation="auto"` is to decide."""
        self._reader.expect(values)

    def target_map(self, raw: Tensor) -> Tensor:
        """The segment's channel (N, H, W) of a raw output."""
        return self._reader.target_map(raw)

    def binarize(self, raw: Tensor) -> Tensor:
        """Masks, bool (N, H, W), from a raw output (N, classes, H, W)."""
        return self._reader.binarize(raw)

    def margin(self, raw: Tensor) -> Tensor:
        """By how much the target's map is above what makes a pixel segment, (N, H, W), in the output's own values."""
        return self._reader.margin(raw)

    def probability(self, raw: Tensor) -> Tensor | None:
        """The segment's probability (N, H, W) in a raw output; None if it has none."""
        return self._reader.probability(raw) if self.reading.has_probabilities else None

    def class_numbers(self, raw: Tensor) -> Tensor:
        """The class of every pixel, (N, H, W), from a raw output (N, classes, H, W) with exclusive classes.

        Raises
        ------
        ModelOutputError
            If there is one map only, or classes are independent.
        """
        return self._reader.class_numbers(raw)

    def no_segment(self, classes: int) -> list[float]:
        """For each class, the value in a raw output that pixels without output have, which makes no segment."""
        return self._reader.no_segment(classes)
