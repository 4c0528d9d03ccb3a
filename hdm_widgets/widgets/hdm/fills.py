"""The trait `fill`: what the discs of an explorer show, as text."""

from __future__ import annotations

from typing import Any

import traitlets

from hdm_widgets.hdm.fill_names import fill_text, read_fill
from hdm_widgets.hdm.occlusion import check_fill_length

__all__ = ["FillTrait", "check_fill_text"]


class FillTrait(traitlets.Unicode[str, Any]):
    """A fill as text; a number or a sequence of numbers may be assigned too."""

    def validate(self, obj: Any, value: Any) -> str:
        """The text of a fill."""
        if not isinstance(value, str):
            try:
                value = fill_text(value)
            except ValueError as error:
                raise traitlets.TraitError(str(error)) from None
        text: str = super().validate(obj, value)
        return text


def check_fill_text(text: str, channels: int) -> str:
    """The text of a fill for an image with so many channels, in its usual form."""
    fill = read_fill(text)
    check_fill_length(fill, channels)
    return fill_text(fill)
