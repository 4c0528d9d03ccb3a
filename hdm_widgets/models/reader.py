"""Read a model's output as maps of the image's size. The first output decides how; all others are read alike."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from hdm_widgets._validation import warn_user
from hdm_widgets.models.alignment import Align, Alignment, Inspection, Layout, find_alignment, find_layout
from hdm_widgets.models.errors import ModelOutputError
from hdm_widgets.models.outputs import MapSource, OutputRule, find_maps
from hdm_widgets.models.reading import Reading, Values

__all__ = ["Activation", "Classes", "OutputReader"]

Activation = Literal["auto", "none", "sigmoid", "softmax"]
Classes = Literal["exclusive", "independent"]

# Rounding and resampling may move probabilities out of [0, 1], by at most this fraction of their range.
_OUTSIDE = 1e-3
# Largest deviation from 1 of the sum of probabilities of exclusive classes.
_SUM_ERROR = 0.02
# Values between 0 and a maximum in this range are gray levels, not logits.
_GRAY_LEVELS = (100, 255)


class OutputReader:
    """Turns what a model returns into maps, and maps into masks.

    The first output decides everything that is not given; `reading` says what.

    Parameters
    ----------
    target, threshold, activation, output, classes, align, layout
        As for `Segmenter`.

    Attributes
    ----------
    reading : Reading
        What has been decided.
    """

    def __init__(
        self,
        *,
        target: int | None,
        threshold: float,
        activation: Activation,
        output: OutputRule,
        classes: Classes,
        align: Align,
        layout: Layout,
    ) -> None:
        self._target, self._threshold = target, threshold
        self.asked, self._rule, self._classes = activation, output, classes
        self._align, self._layout = align, layout
        self._source: MapSource | None = None
        self._last: bool | None = None
        # One for each pair of sizes of maps and image: the margin may depend on them.
        self._alignments: dict[tuple[tuple[int, int], tuple[int, int]], Alignment] = {}
        # Without a target, the one class number besides 0 that has been seen.
        self._number: int | None = None
        self._expected: Values = ""
        self.reading = Reading()

    # -- maps -----------------------------------------------------------------------------------------

    def maps(self, output: Any, count: int, image: tuple[int, int], device: torch.device) -> Tensor:
        """Find the maps in an output; their values stay as they are.

        Parameters
        ----------
        output : object
            What the model returned.
        count : int
            Number N of images that the model was given.
        image : tuple of int
            Rows and columns of these images, with padding.
        device : torch.device
            Where to put maps that are arrays.

        Returns
        -------
        torch.Tensor, float32 or float64 (N, classes, h, w)

        Raises
        ------
        ModelOutputError
            If the output has no maps for N images, or it is not clear which ones to use.
        """
        taken = self._taken(output, count)
        if isinstance(taken, np.ndarray) and taken.dtype != object:
            taken = torch.from_numpy(np.ascontiguousarray(taken)).to(device)
        if not isinstance(taken, Tensor):
            raise ModelOutputError(f"expected a tensor or an array of maps from the model, got {type(taken).__name__}")
        if taken.is_complex():
            raise ModelOutputError(f"expected real numbers from the model, got {taken.dtype}")
        maps = taken.unsqueeze(1) if taken.ndim == 3 else taken
        if maps.ndim != 4 or maps.shape[0] != count or 0 in maps.shape[1:]:
            more = ""
            if taken.ndim == 5:
                more = f"; of several maps for each image take one, with {self._changed('maps[:, 0]')}"
            elif taken.ndim in (2, 3) and count == 1:
                more = f"; maps of one image without the axis of images get it with {self._changed('maps[None]')}"
            raise ModelOutputError(
                f"for {count} image(s) expected maps (N, H, W) or (N, classes, H, W) with N = {count} "
                f"from the model, got shape {tuple(taken.shape)}{more}"
            )
        if taken.ndim == 4 and self._channels_last(tuple(maps.shape), image):
            maps = maps.permute(0, 3, 1, 2)
        form: Literal["maps", "class numbers"] = "maps"
        if not maps.is_floating_point() and maps.dtype != torch.bool and maps.shape[1] == 1:
            form = "class numbers"
        if not self.reading.form:
            self.reading = self.reading.noted(form=form, shape=tuple(maps.shape[1:]), image_size=image)
        elif self.reading.form != form:
            raise ModelOutputError(f"the model returned {self.reading.form} before, and {form} now")
        return maps.float() if maps.dtype != torch.float64 else maps

    def _taken(self, output: Any, count: int) -> Any:
        if self._source is not None:
            try:
                return self._source.take(output)
            except (LookupError, AttributeError, TypeError):
                # This output has another structure than the first one.
                self._source = None
        source, warning = find_maps(output, self._rule, count)
        if warning:
            warn_user(warning)
        self._source = source
        self.reading = self.reading.noted(source=source.text)
        return source.take(output)

    def _changed(self, code: str) -> str:
        """What to write as `output` so that the maps are changed by `code`, an expression of `maps`."""
        expression = "outputs" if self._source is None else self._source.expression
        if expression == "outputs":
            return f"output=lambda maps: {code}"
        return f"output=lambda outputs: {code.replace('maps', expression)}"

    @contextmanager
    def naming_the_entry(self) -> Iterator[None]:
        """End the messages of errors with the entry that the maps are taken from, if there are others."""
        try:
            yield
        except ModelOutputError as error:
            source = self._source
            if source is not None and source.other and source.other not in str(error):
                error.args = (
                    f"{error}; the maps are {source.text} of what the model returned: for another one write "
                    f"Segmenter(model, {source.other})",
                )
            raise

    def _channels_last(self, shape: tuple[int, ...], image: tuple[int, int]) -> bool:
        if self._last is None:
            layout = find_layout(shape, image) if self._layout == "auto" else self._layout
            self._last = layout == "channels_last"
            self.reading = self.reading.noted(layout=layout)
        return self._last

    def to_size(self, maps: Tensor, image: tuple[int, int], look: Inspection | None = None) -> Tensor:
        """Bring maps to the size of the image, with padding. Pixels without output get values that make no segment.

        Parameters
        ----------
        maps : torch.Tensor (N, classes, h, w)
        image : tuple of int
            Rows and columns.
        look : Inspection, optional
            See `find_alignment`.

        Returns
        -------
        torch.Tensor (N, classes, rows, cols)

        Raises
        ------
        ModelOutputError
            If maps are larger than the image, or it cannot be told which part of it they cover.
        """
        size = (int(maps.shape[-2]), int(maps.shape[-1]))
        if size[0] > image[0] or size[1] > image[1]:
            raise ModelOutputError(
                f"the model returned maps of {size[0]} x {size[1]} px for images of {image[0]} x {image[1]} px "
                "(rows x columns); expected the same size or a smaller one"
            )
        alignment = self._alignments.get((size, image))
        if alignment is None:
            alignment = find_alignment(size, image, self._align, look or Inspection())
            self._alignments[size, image] = alignment
            note = (alignment.note,) if alignment.note else ()
            self.reading = self.reading.noted(
                align=alignment.kind, shape=(maps.shape[1], *size), image_size=image,
                notes=tuple(dict.fromkeys(self.reading.notes + note)),
            )  # fmt: skip
        return self.place(maps, alignment)

    def place(self, maps: Tensor, alignment: Alignment) -> Tensor:
        """Bring maps (N, classes, h, w) to their place; pixels without output get values that make no segment."""
        return alignment.apply(maps, self.no_segment(maps.shape[1]), numbers=self.numbers)

    def no_segment(self, classes: int) -> list[float]:
        """A value for each class that makes no segment; of ordinary size, because large values cost precision."""
        if self.numbers:
            return [0.0 if self._target is None else self._target - 1.0]
        if classes > 1 and not self.independent:
            target = self.target(classes)
            return [-1.0 if at == target else 0.0 for at in range(classes)]
        if self.activation == "none":
            return [min(self._threshold, 0) - 1] * classes
        return [math.log(self._threshold / (1 - self._threshold)) - 1] * classes

    def alignment(self, image: tuple[int, int]) -> Alignment | None:
        """Which part of an image of this size, with padding, the maps cover; None until such an image has been run."""
        return next((each for (_, size), each in self._alignments.items() if size == image), None)

    # -- values ---------------------------------------------------------------------------------------

    @property
    def numbers(self) -> bool:
        """Whether the model returns class numbers."""
        return self.reading.form == "class numbers"

    @property
    def independent(self) -> bool:
        """Whether the threshold applies to each class by itself."""
        return self._classes == "independent" or self.asked == "sigmoid"

    @property
    def activation(self) -> Activation:
        """What has been decided; before the first output, what was asked for."""
        return self.reading.activation if self._decided else self.asked

    _decided = False

    def expect(self, values: Values) -> None:
        """Read the first maps as these values, whatever their range, if `activation="auto"` is to decide."""
        self._expected = values if self.asked == "auto" and values in ("probabilities", "logits") else ""

    def decide(self, maps: Tensor, note: str = "") -> None:
        """Decide, on the first maps (N, classes, h, w), what their values mean; class numbers are checked every time.

        Parameters
        ----------
        maps : torch.Tensor
        note : str
            What else to say in the reading.

        Raises
        ------
        ModelOutputError
            If `target` or `threshold` does not fit the values.
        """
        if self.numbers:
            self._check_numbers(maps)
        if self._decided:
            return
        several = maps.shape[1] > 1
        if self.numbers:
            self.reading = self.reading.noted(classes="exclusive", activation="none", target=self._target)
        else:
            low, high = (float(value) for value in maps.aminmax())
            tolerance = _OUTSIDE * (high - low)
            probabilities = low >= -tolerance and high <= 1 + tolerance
            if self._expected:
                probabilities = self._expected == "probabilities"
            activation = self.asked
            if activation == "auto":
                activation = "none" if probabilities else "softmax" if several and not self.independent else "sigmoid"
            self._check_threshold(maps, low, high, probabilities=probabilities)
            values: Values = "logits"
            if self.asked == "none" or (self.asked == "auto" and probabilities):
                values = "probabilities" if probabilities else "raw"
            self.reading = self.reading.noted(
                classes="one" if not several else "independent" if self.independent else "exclusive",
                values=values,
                activation=activation,
                target=self._segment_class(maps.shape[1]),
                threshold=self._threshold,
                notes=(*self.reading.notes, f"The first output had values from {low:.3g} to {high:.3g}"),
            )
            if self._expected:
                note_expected = f"They were expected to be {self._expected}"
                self.reading = self.reading.noted(notes=(*self.reading.notes, note_expected))
            elif activation == "sigmoid" and self.asked == "auto" and not several and not low < 0 < high:
                one_sign = self._note_one_sign(low)
                self.reading = self.reading.noted(notes=(*self.reading.notes, one_sign))
            if several and not self.independent:
                self.target(maps.shape[1])
            if several and probabilities and activation == "none" and not self.independent:
                self._check_sums(maps)
        if note:
            self.reading = self.reading.noted(notes=(*self.reading.notes, note))
        self._decided = True

    def _check_threshold(self, maps: Tensor, low: float, high: float, *, probabilities: bool) -> None:
        threshold, several = self._threshold, maps.shape[1] > 1
        if several and not self.independent:
            if threshold != 0.5:
                raise ModelOutputError(
                    f"threshold={threshold:g} has no effect on {maps.shape[1]} exclusive classes: the largest value "
                    "wins; leave it out, or write Segmenter(model, classes='independent') if it is for each class by "
                    "itself"
                )
            return
        raw_values = self.asked == "none"
        useless = probabilities and not 0 <= threshold < 1 if raw_values else not 0 < threshold < 1
        if useless:
            kind = "probabilities" if probabilities else "logits, which become probabilities"
            raise ModelOutputError(
                f"threshold={threshold:g} is outside (0, 1), but the model returns {kind}; for raw values write "
                "Segmenter(model, activation='none', threshold=...)"
            )
        if self._expected:
            return
        if self.asked in ("auto", "none") and low >= 0 and threshold <= 1 < high <= _GRAY_LEVELS[1]:
            gray = high >= _GRAY_LEVELS[0]
            whole = self.asked == "auto" and low == 0 and bool((maps == maps.round()).all())
            if gray or whole:
                raise ModelOutputError(
                    f"the model returned values from {low:g} to {high:g}, neither probabilities nor logits; for gray "
                    f"levels write Segmenter(model, {self._changed('maps / 255')}), for class numbers return integers "
                    f"({self._changed('maps.long()')}), for logits write activation='sigmoid'"
                )

    def _note_one_sign(self, low: float) -> str:
        """A note for the reading: no logit is negative, or none is positive; they may be no logits."""
        if low >= 0:
            where = "wherever they are above 0" if low == 0 else "everywhere in this image"
            return (
                f"No value is negative: if they are logits, the segment is {where}; else write "
                f"{self._changed('maps / 100')} for percentages, or activation='none' and a threshold for other scales"
            )
        return (
            "No value is positive: if they are logits, the segment is nowhere in this image; else write "
            f"{self._changed('maps.exp()')} for log-probabilities"
        )

    def _check_sums(self, maps: Tensor) -> None:
        if self._source is not None and "queries" in self._source.text:
            # Scores that are combined from queries need not add up to 1.
            return
        error = float((maps.sum(1) - 1).abs().max())
        if error > _SUM_ERROR:
            warn_user(
                f"the probabilities of {maps.shape[1]} classes do not add up to 1 (by up to {error:.2g}); the class "
                "with the largest wins; if classes are independent, write Segmenter(model, classes='independent')"
            )

    def _check_numbers(self, maps: Tensor) -> None:
        """Without a target, allow a single class number besides 0."""
        if self._target is not None:
            return
        besides = maps[maps != 0]
        if not len(besides):
            return
        low, high = (int(value) for value in besides.aminmax())
        if low != high or self._number not in (None, low):
            seen = sorted({low, high} | ({self._number} if self._number is not None else set()))
            raise ModelOutputError(
                f"the model returned class numbers, among them {seen}; say which one is the segment with target="
            )
        self._number = low

    # -- masks ----------------------------------------------------------------------------------------

    def target(self, classes: int) -> int:
        """The channel of the segment."""
        if self._target is not None:
            if self._target >= classes:
                returned = "one map" if classes == 1 else f"{classes} classes, 0 to {classes - 1}"
                hint = "; for pixels of the ground truth that do not count, ignore=255" if self._target == 255 else ""
                raise ModelOutputError(f"target is class {self._target}, but the model returned {returned}{hint}")
            return self._target
        if classes > 2:
            raise ModelOutputError(f"the model returned {classes} classes; say which one is the segment with target=")
        return classes - 1

    def _segment_class(self, classes: int) -> int | None:
        """The channel of the segment; None for one map, and as long as nobody has said which one it is."""
        if self._target is not None or classes != 2:
            return self._target if classes > 1 else None
        return 1

    def for_target(self, target: int) -> OutputReader:
        """The same reader for another class; what has been decided holds for both."""
        other = copy.copy(self)
        other._target, other._alignments = target, dict(self._alignments)
        if self._decided and (self.numbers or self.reading.classes != "one"):
            other.reading = self.reading.noted(target=target)
        return other

    def class_numbers(self, raw: Tensor) -> Tensor:
        """The class of every pixel, (N, H, W), of a raw output with exclusive classes.

        Raises
        ------
        ModelOutputError
            If there is one map only, or classes are independent.
        """
        if self.numbers:
            return raw[:, 0]
        if raw.shape[1] == 1:
            raise ModelOutputError("the model returned one map: there are no classes to choose from; drop target='all'")
        if self.independent:
            raise ModelOutputError(
                "the model's classes are independent, and a pixel may belong to several: target='all' keeps one class "
                "for each pixel; make one scan for each class, with target=0, 1, ..."
            )
        return raw.argmax(1)

    def target_map(self, raw: Tensor) -> Tensor:
        """The target's map (N, H, W) in a raw output."""
        if self.numbers:
            return self.binarize(raw).to(raw.dtype)
        return raw[:, self.target(raw.shape[1])]

    def binarize(self, raw: Tensor) -> Tensor:
        """Masks, bool (N, H, W), of a raw output (N, classes, H, W)."""
        if self.numbers:
            return raw[:, 0] != 0 if self._target is None else raw[:, 0] == self._target
        if raw.shape[1] > 1 and not self.independent:
            return raw.argmax(1) == self.target(raw.shape[1])
        return self.probability(raw) > self._threshold

    def margin(self, raw: Tensor) -> Tensor:
        """By how much the target's map is above what makes a pixel segment, (N, H, W), in the output's own values.

        That is the threshold, or the largest other map where the largest wins.
        """
        target = self.target_map(raw)
        if self.numbers:
            return target - 0.5
        if raw.shape[1] > 1 and not self.independent:
            others = raw.clone()
            others[:, self.target(raw.shape[1])] = -torch.inf
            return target - others.amax(1)
        threshold = self._threshold
        return target - (math.log(threshold / (1 - threshold)) if self.activation == "sigmoid" else threshold)

    def probability(self, raw: Tensor) -> Tensor:
        """The segment's probability, float32 (N, H, W), of a raw output."""
        if self.numbers:
            return self.binarize(raw).float()
        target = self.target(raw.shape[1])
        if self.activation == "softmax":
            return raw.softmax(1)[:, target].float()
        values = raw[:, target]
        return (values.sigmoid() if self.activation == "sigmoid" else values).float()
