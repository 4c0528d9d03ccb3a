"""What was understood of a model's output, in fields and in words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

__all__ = ["Reading"]


@dataclass(frozen=True)
class Reading:
    """What was understood of a model's output.

    All fields but the last two are decided on the first output; these two are None until they have been checked, by a
    scan or a fit.

    Attributes
    ----------
    form : {"maps", "class numbers", ""}
        "maps": floating numbers for each class. "class numbers": whole numbers that name the class of each pixel. Empty
        as long as the model has not been run.
    source : str
        Where in the model's output the maps are; empty if they are all of it.
    shape : tuple of int
        Of the model's maps for one image, (classes, rows, cols), channels first.
    classes : {"one", "exclusive", "independent"}
        Whether there is one map; or, of several, the largest wins; or each has a threshold of its own.
    activation : {"none", "sigmoid", "softmax"}
        What turns the values into probabilities.
    align : {"same", "resize", "center"}
        The maps have the image's size; are resized to it; or are its center, because convolutions were not padded.
    layout : {"channels_first", "channels_last"}
    image_size : tuple of int
        Rows and columns of the image that the maps are for, with padding.
    notes : tuple of str
        Why something was chosen, and what else it might be.
    batch_dependent : bool or None
        Whether the output for an image depends on the other images of its batch. If so, images are run one at a time.
    random : bool or None
        Whether two runs on one image differ.
    """

    form: Literal["maps", "class numbers", ""] = ""
    source: str = ""
    shape: tuple[int, ...] = ()
    classes: Literal["one", "exclusive", "independent"] = "one"
    activation: Literal["none", "sigmoid", "softmax"] = "none"
    align: Literal["same", "resize", "center"] = "same"
    layout: Literal["channels_first", "channels_last"] = "channels_first"
    image_size: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    batch_dependent: bool | None = None
    random: bool | None = None

    def __str__(self) -> str:
        if not self.form:
            return "The model has not been run yet."
        sentences = [self._form(), self._values(), self._size(), *(note + "." for note in self.notes)]
        if self.batch_dependent:
            sentences.append("An image's output depends on the rest of its batch: images are run one at a time.")
        elif self.batch_dependent is not None:
            sentences.append("An image gives the same alone and in a batch.")
        if self.random:
            sentences.append("Two runs on one image differ.")
        elif self.random is not None:
            sentences.append("Two runs on one image are equal.")
        return " ".join(sentences)

    def noted(self, **changes: Any) -> Reading:
        """The same with other fields."""
        return replace(self, **changes)

    def _form(self) -> str:
        what = f"maps of {self.shape[0]} classes" if self.shape[0] > 1 else "one map"
        if self.form == "class numbers":
            what = "one class number for each pixel"
        where = f", taken from {self.source}" if self.source else ""
        last = ", channels last" if self.layout == "channels_last" else ""
        return f"The model returns {what}{where}{last}."

    def _values(self) -> str:
        if self.form == "class numbers":
            return "The target is compared with the numbers."
        kind = {
            "none": "Values are probabilities",
            "sigmoid": "Values are logits, the sigmoid makes them probabilities",
            "softmax": "Values are logits, the softmax makes them probabilities",
        }[self.activation]
        rule = {
            "one": "the threshold makes the mask",
            "exclusive": "the largest class wins",
            "independent": "classes are independent, each has the threshold",
        }[self.classes]
        return f"{kind}; {rule}."

    def _size(self) -> str:
        (rows, cols), (height, width) = self.shape[-2:], self.image_size
        if self.align == "same":
            return f"Maps have the image's {height} x {width} px (rows x columns)."
        if self.align == "resize":
            return f"Maps of {rows} x {cols} px are resized to the image's {height} x {width} px (rows x columns)."
        return (
            f"Maps of {rows} x {cols} px are the center of the image's {height} x {width} px (rows x columns); "
            "pixels outside have no output and do not count."
        )
