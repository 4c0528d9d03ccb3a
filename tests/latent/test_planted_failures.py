"""Failures that are planted in images are found, by the activations and confidences of a trained network alone."""

import numpy as np
import pytest

import hdm_widgets as hw
from hdm_widgets.data import PlantedFailures


@pytest.mark.parametrize("kind", ["new object", "shadow", "resolution", "noise"])
def test_a_kind_that_no_column_tells_is_in_the_top_five(kind):
    scenes = PlantedFailures(160, size=64, seed=1, fractions={kind: 0.25})
    space = hw.LatentSpace(hw.demo.aerial(1).model).fit(scenes, progress=False)
    planted = (np.array(scenes.planted) == kind)[space.items_]
    assert space.iou_[planted].mean() < space.iou_[~planted].mean() - 0.1
    found = [planted[group.indices] for group in space.failures()[:5]]
    # Most of one group is of the kind, and it holds a good part of it.
    assert any(group.mean() > 0.8 and group.sum() / planted.sum() > 0.3 for group in found)
