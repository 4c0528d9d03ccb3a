"""Check what a Segmenter is made of; apart from it, because it is read once and the Segmenter often."""

from __future__ import annotations

from typing import Any

import numpy as np

from hdm_widgets._validation import brief, check_choice, check_whole, is_whole
from hdm_widgets.models.alignment import Align, Layout
from hdm_widgets.models.outputs import check_output_rule
from hdm_widgets.models.reader import Activation, Classes

__all__ = ["check_options"]


def check_options(
    model: object,
    *,
    target: object,
    threshold: Any,
    activation: object,
    output: object,
    classes: object,
    align: object,
    layout: object,
    preprocess: object,
    batch_size: Any,
    pad_to: Any,
) -> None:
    """Check the model and the options of a `Segmenter`, but for those of windows.

    Raises
    ------
    TypeError, ValueError
        For what is wrong, saying what was expected.
    """
    if not callable(model):
        raise TypeError(f"model must be a torch.nn.Module or a callable, got {type(model).__name__}")
    if isinstance(model, type):
        raise TypeError(f"model must be an instance, got the class {model.__name__}; did you forget the parentheses?")
    if target is not None and (not is_whole(target) or target < 0):
        raise ValueError(f"target must be the index of a class, 0 or more, got {brief(target)}")
    if not isinstance(threshold, (int, float, np.number)) or not np.isfinite(threshold):
        raise ValueError(f"threshold must be a finite number, got {brief(threshold)}")
    check_choice("activation", activation, Activation)
    check_choice("classes", classes, Classes)
    check_choice("align", align, Align)
    check_choice("layout", layout, Layout)
    check_output_rule(output)
    if activation == "softmax" and classes == "independent":
        raise ValueError("the softmax is for exclusive classes; for independent ones use activation='sigmoid'")
    if preprocess is not None and (not callable(preprocess) or isinstance(preprocess, type)):
        raise TypeError(f"preprocess must be a function or a Module from images to images, got {brief(preprocess)}")
    for name, value in (("batch_size", batch_size), ("pad_to", pad_to)):
        if value is not None:
            check_whole(name, value, 1)
