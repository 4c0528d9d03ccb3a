"""Fills as texts: for a trait, for messages, and what they are called on screen."""

from __future__ import annotations

from typing import get_args

from torch import Tensor

from hdm_widgets._picture import known_range
from hdm_widgets.hdm.occlusion import Fill, FillName, black_of, check_fill
from hdm_widgets.hdm.options import ScanSettings

__all__ = ["fill_choices", "fill_text", "own_fill", "read_fill"]

_NAMES: tuple[str, ...] = get_args(FillName)


def fill_text(fill: object) -> str:
    """A fill as text: its name, its number, or its numbers with commas between them.

    Examples
    --------
    >>> fill_text("mean"), fill_text(1), fill_text((0.25, 0.5))
    ('mean', '1', '0.25, 0.5')
    """
    checked = check_fill(fill)
    if isinstance(checked, str):
        return checked
    numbers = checked if isinstance(checked, tuple) else (checked,)
    return ", ".join(repr(float(number)).removesuffix(".0") for number in numbers)


def read_fill(text: str) -> Fill:
    """The fill that `fill_text` wrote.

    Raises
    ------
    ValueError
        If the text is no fill.
    """
    if text in _NAMES:
        return check_fill(text)
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        return check_fill(text)  # the error that names the choices
    return check_fill(numbers[0] if len(numbers) == 1 else numbers)


def fill_choices(image: Tensor, settings: ScanSettings, *more: str) -> list[list[str]]:
    """Text and label of each fill on offer; none where a subclass covers the image by its own `apply_mask`.

    Parameters
    ----------
    image : torch.Tensor (C, H, W)
    settings : ScanSettings
    *more : str
        Fills besides those that have a name.
    """
    if settings.own_mask:
        return []
    labels = {"minimum": _minimum_label(image, settings)}
    named = [[name, labels.get(name, name)] for name in _NAMES]
    return named + [own_fill(text) for text in more if text not in _NAMES]


def own_fill(text: str) -> list[str]:
    """Text and label of a fill without a name."""
    return [text, "own values" if "," in text else text]


def _minimum_label(image: Tensor, settings: ScanSettings) -> str:
    """What the disc is with fill="minimum", which is black for most images."""
    low, high = (float(value) for value in image.aminmax())
    known = known_range(low, high)
    if settings.own_range:
        black = black_of(image, normalize=settings.normalize)
        return "black" if known or not black.any() else "darkest value"
    edge = -1 if settings.normalize else 0
    # Scaled to [-1, 1], an image may have no value below 0.
    is_black = known is not None and (known[0] == edge or settings.normalize)
    edge_text = str(edge).replace("-", "\N{MINUS SIGN}")
    return f"{'black' if is_black else f'minimum with {edge_text}'} (as published)"
