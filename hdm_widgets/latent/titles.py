"""What columns are called in texts and on screen."""

from __future__ import annotations

import re

__all__ = ["running_title", "title", "unit"]

_TITLES = {
    "iou": "IoU",
    "expected_iou": "IoU by place",  # that of new items is called expected
    "dice": "Dice",
    "precision": "Precision",
    "recall": "Recall",
    "truth_area": "Area of the truth (px)",
    "predicted_area": "Area of the prediction (px)",
    "false_positive_area": "False positive area (px)",
    "false_negative_area": "False negative area (px)",
    "cluster": "Cluster",
    "suspicion": "Suspicion of the truth",
    "mean_entropy": "Mean entropy (bits)",
    "foreground_entropy": "Entropy in the prediction (bits)",
    "boundary_entropy": "Entropy along the boundary (bits)",
    "soft_iou": "Soft IoU",
    "soft_dice": "Soft Dice",
    "largest_probability": "Largest probability",
    **{f"area_at_{level}": f"Fraction of pixels above 0.{level // 10}" for level in (30, 50, 70, 90)},
    "objects": "Predicted objects",
    "largest_object": "Fraction of the prediction in its largest object",
}
# Titles that begin with a capital letter inside a sentence too.
_NAMES = ("iou", "expected_iou", "dice")
_COMPONENT = re.compile(r"pc(\d+)")
_UNIT = re.compile(r" \((bits|px)\)$")


def title(name: str) -> str:
    """A column's name on screen; of one without a title, the name with spaces."""
    component = _COMPONENT.fullmatch(name)
    return f"PC {component[1]}" if component else _TITLES.get(name, name.replace("_", " "))


def running_title(name: str) -> str:
    """A column's name inside a sentence: without its unit, and without a capital letter where it is a common word."""
    text = _UNIT.sub("", title(name))
    return text[0].lower() + text[1:] if name in _TITLES and name not in _NAMES else text


def unit(name: str) -> str:
    """A column's unit, after a space; nothing where it has none."""
    found = _UNIT.search(title(name)) if name in _TITLES else None
    return f" {found[1]}" if found else ""
