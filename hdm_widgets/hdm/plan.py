"""Which way a scan is computed, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Plan", "Way"]

Way = Literal["windowed", "folded", "model"]


@dataclass(frozen=True)
class Plan:
    """Which way a scan is computed.

    Attributes
    ----------
    way : {"windowed", "folded", "model"}
        "windowed": only what a disc changes is computed, exactly. "folded": the whole picture runs through the
        traced network, with batch norm folded into the convolutions. "model": the model itself is run as it is.
    reason : str
        Why.
    window : tuple of int or None
        Rows and columns of the largest part of the output that a disc of this scan can change, in pixels; None
        if that is not known.
    factor : float or None
        How many times fewer multiplications the windows need than whole pictures, on average over the cells; an
        estimate of the gain.
    measured_factor : float or None
        Time of a whole picture over the time of a windowed disc, as this scan measured them.
    memory : int
        Bytes that the values of the unchanged picture and the windows of one batch take at most.
    verified : int
        Cells that were computed by the model itself too, and compared.
    largest_difference : float
        Between the two, in the model's raw output.
    tolerance : float or None
        Of an approximate scan, else None.
    """

    way: Way
    reason: str
    window: tuple[int, int] | None = None
    factor: float | None = None
    measured_factor: float | None = None
    memory: int = 0
    verified: int = 0
    largest_difference: float = 0.0
    tolerance: float | None = None

    def __str__(self) -> str:
        if self.way == "windowed":
            text = "Only what a disc changes is computed"
            if self.reason.startswith("up to"):
                text += f" {self.reason}"
            if self.window:
                text += f", at most {self.window[0]} × {self.window[1]} px"  # noqa: RUF001 - as on screen
            factor, measured = (self.measured_factor, "") if self.measured_factor else (self.factor, "about ")
            if factor:
                text += f": {measured}{factor:.1f} times faster than whole pictures"
            if self.tolerance is not None:
                text += f"; approximate, tolerance {self.tolerance:g}"
            elif self.verified:
                text += f"; {self.verified} discs also run in full, equal"
            return text
        what = "Whole pictures, batch norm folded" if self.way == "folded" else "The model is run on whole pictures"
        return f"{what}: {self.reason}"
