"""The explorer's panel "Objects on objects": how much covering one object changes the mask on another."""

from __future__ import annotations

from typing import Any

import numpy as np
import traitlets
from numpy.typing import NDArray

from hdm_widgets._masks import without
from hdm_widgets._wire import MESSAGE
from hdm_widgets.hdm.object_influence import ObjectInfluence, Objects
from hdm_widgets.hdm.objects import label_objects
from hdm_widgets.hdm.questions import ComparedMask
from hdm_widgets.hdm.regions import influence_of_objects
from hdm_widgets.hdm.result import HDMResult

__all__ = ["ObjectPanelTraits", "find_influence", "objects_message", "several_objects"]


class ObjectPanelTraits(traitlets.HasTraits):
    """What the screen knows of objects on objects, base of the HDM explorer's traits."""

    # Empty while the panel is closed.
    _object_panel = traitlets.Dict().tag(**MESSAGE)
    # Whether there are two objects or more, of what is explained or of the prediction.
    _several_objects = traitlets.Bool(False).tag(sync=True)


def several_objects(scanned: HDMResult, explained: ComparedMask) -> bool:
    """Whether there is an object to cover and one that may change, and two or more of one kind."""
    if scanned._masks is None:
        return False
    counts = [label_objects(mask)[1] for mask in _masks(scanned, explained)]
    return min(counts) > 0 and max(counts) > 1


def find_influence(scanned: HDMResult, explained: ComparedMask, name: str) -> ObjectInfluence:
    """How objects of what is explained, called so, change objects of the prediction.

    Raises
    ------
    ValueError
        If there is no object, or masks were not kept.
    """
    covered, changed = _masks(scanned, explained)
    return influence_of_objects(scanned, Objects.of_mask(covered, name), Objects.of_mask(changed, "prediction"))


def _masks(scanned: HDMResult, explained: ComparedMask) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """What is covered and what changes, as the stage outlines them."""
    return explained.mask, without(scanned.baseline_mask, explained.ignored)


def objects_message(found: ObjectInfluence) -> dict[str, Any]:
    """Objects on objects for the panel."""
    return {
        "by": found.by.name,
        "on": found.on.name,
        "values": found.values,
        "cells": found.cells.astype(np.int32),
        # A pixel of each object.
        "covered": found.by.pixels.tolist(),
        "changed": found.on.pixels.tolist(),
        "text": found.text,
    }
