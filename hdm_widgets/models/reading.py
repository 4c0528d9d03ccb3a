"""How a model's output is read, as fields and as text."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

__all__ = ["Reading", "Values"]

Values: TypeAlias = Literal["probabilities", "logits", "raw", ""]


@dataclass(frozen=True)
class Reading:
    """How a model's output is read: what was decided, and why.

    `str(reading)` says it in sentences. Everything but the last two fields is decided on the first output. Scans and
    fits check the last two.

    Attributes
    ----------
    form : {"maps", "class numbers", ""}
        "maps": a value for each class and pixel. "class numbers": a whole number for each pixel, which names its class.
        Empty until the model has been run.
    source : str
        Which part of the model's output has the maps; empty if all of it does.
    shape : tuple of int
        Shape of the maps for one image, (classes, rows, cols), in this order for any layout.
    classes : {"one", "exclusive", "independent"}
        "one": a single map. "exclusive": the class with the largest value wins. "independent": the threshold applies to
        each class by itself.
    values : {"probabilities", "logits", "raw", ""}
        What the values mean; "raw" if the threshold is for values as they are (`activation="none"`). Empty for class
        numbers.
    activation : {"none", "sigmoid", "softmax"}
        What turns values into probabilities.
    align : {"same", "resize", "center"}
        "same": maps have the size of the image. "resize": they are resized to it. "center": they are the center of the
        image, because convolutions are not padded, or another part that has its margin cut off.
    layout : {"channels_first", "channels_last"}
        Which axis of the maps counts classes.
    image_size : tuple of int
        Rows and columns of the image that the model is given, with padding.
    image_state : str
        What was done to that image before: "resized" or "cropped" by `preprocess`, "padded" by `pad_to`, or both with
        "and" between them. Empty if it has the size of the user's image.
    window : tuple of int
        Rows and columns of the windows in which the model is run over an image; empty for whole images. Then "the
        image" is a window in all of the above.
    overlap : tuple of int
        Rows and columns by which windows overlap.
    blending : {"constant", "gaussian", ""}
        Weights with which the outputs of windows are averaged where they overlap.
    target : int or None
        The class that is the segment. None for one map, and as long as it has not been said which one it is.
    threshold : float
        A value above it belongs to the segment; for probabilities if there are any. Without effect on exclusive
        classes and class numbers.
    notes : tuple of str
        Reasons for what was decided, and alternatives.
    batch_dependent : bool or None
        Whether an image's output depends on the other images of its batch; if so, images are run one at a time. None
        until it has been checked.
    random : bool or None
        Whether two runs on the same image differ. None until it has been checked.
    """

    form: Literal["maps", "class numbers", ""] = ""
    source: str = ""
    shape: tuple[int, ...] = ()
    classes: Literal["one", "exclusive", "independent"] = "one"
    values: Values = ""
    activation: Literal["none", "sigmoid", "softmax"] = "none"
    align: Literal["same", "resize", "center"] = "same"
    layout: Literal["channels_first", "channels_last"] = "channels_first"
    image_size: tuple[int, ...] = ()
    image_state: str = ""
    window: tuple[int, ...] = ()
    overlap: tuple[int, ...] = ()
    blending: Literal["constant", "gaussian", ""] = ""
    target: int | None = None
    threshold: float = 0.5
    notes: tuple[str, ...] = ()
    batch_dependent: bool | None = None
    random: bool | None = None

    def __str__(self) -> str:
        if not self.form:
            return "The model has not been run yet."
        sentences = [self._form(), self._values(), self._size(), *(note + "." for note in self.notes)]
        if self.window:
            sentences.append(self._windows())
        if self.batch_dependent:
            sentences.append("An image's output depends on the rest of its batch: images are run one at a time.")
        elif self.batch_dependent is not None:
            sentences.append("An image gives the same alone and in a batch.")
        if self.random:
            sentences.append("Two runs on one image differ.")
        elif self.random is not None:
            sentences.append("Two runs on one image are equal.")
        return " ".join(sentences)

    @property
    def has_probabilities(self) -> bool:
        """Whether the output has probabilities, or logits that become some."""
        return self.values in ("probabilities", "logits")

    @property
    def short(self) -> str:
        """The reading in a few words; empty as long as the model has not been run."""
        if not self.form:
            return ""
        if self.form == "class numbers":
            parts = ["class numbers"]
        else:
            kind = "raw values" if self.values == "raw" else self.values
            parts = ["one map" if self.classes == "one" else f"{self.shape[0]} {self.classes} classes", kind]
        if self.window:
            parts.append(f"windows of {self.window[0]} x {self.window[1]} px")
        if self.align != "same":
            parts.append(f"{self.align} of {self.shape[-2]} x {self.shape[-1]} px")
        if self.layout == "channels_last":
            parts.append("channels last")
        if self.batch_dependent:
            parts.append("one image at a time")
        if self.random:
            parts.append("random")
        return ", ".join(parts)

    def noted(self, **changes: Any) -> Reading:
        """A copy with other values of some fields."""
        return replace(self, **changes)

    def _form(self) -> str:
        what = f"maps of {self.shape[0]} classes" if self.shape[0] > 1 else "one map"
        if self.form == "class numbers":
            what = "one class number for each pixel"
        last = ", channels last" if self.layout == "channels_last" else ""
        where = f", taken from {self.source}" if self.source else ""
        return f"The model returns {what}{last}{where}."

    def _values(self) -> str:
        if self.form == "class numbers":
            number = "not 0" if self.target is None else self.target
            return f"A pixel belongs to the segment if its number is {number}."
        kind = {
            "probabilities": "Values are probabilities",
            "raw": "Values are used as they are",
        }.get(self.values, f"Values are logits, and the {self.activation} makes them probabilities")
        rule = {
            "one": f"the threshold of {self.threshold:g} decides",
            "exclusive": "the class with the largest value wins",
            "independent": f"the threshold of {self.threshold:g} decides for each class by itself",
        }[self.classes]
        segment = "" if self.target is None else f" Class {self.target} of {self.shape[0]} (from 0) is the segment."
        return f"{kind}; {rule}.{segment}"

    @property
    def _given(self) -> str:
        """What the model is given."""
        return "window" if self.window else "image"

    def _windows(self) -> str:
        (rows, cols), (down, across) = self.window, self.overlap
        blended = "where they overlap, the mean of their outputs counts, before any activation"
        if self.blending == "gaussian":
            blended += " and with weights that fall to the window's border"
        if self.form == "class numbers":
            blended = "where they overlap, a pixel has the number of the window to whose center it is nearest"
        return (
            f"An image is run in windows of {rows} x {cols} px that overlap by {down} x {across} px (rows x columns); "
            f"{blended}."
        )

    def _size(self) -> str:
        (rows, cols), (height, width) = self.shape[-2:], self.image_size
        image = f"the {self.image_state} {self._given}'s" if self.image_state else f"the {self._given}'s"
        if self.align == "same":
            return f"Maps have {image} {height} x {width} px (rows x columns)."
        if self.align == "resize":
            return f"Maps of {rows} x {cols} px are resized to {image} {height} x {width} px (rows x columns)."
        return (
            f"Maps of {rows} x {cols} px are the center of {image} {height} x {width} px (rows x columns); "
            "pixels outside have no output and do not count."
        )
