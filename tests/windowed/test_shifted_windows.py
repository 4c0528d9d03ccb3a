"""Attention in windows is exact in estimates too: a change stays in the windows that it touches."""

import pytest
import torch
from global_networks import WIDTH
from shifted_windows import CHANNELS_LAST, NOT_FOLLOWED, SHIFTED_WINDOWS, ShiftedWindows
from window_checks import (
    assert_close,
    assert_windows_equal_the_model,
    boxes_everywhere,
    changed_images,
    outputs_from_windows,
    random_image,
    randomized,
)

from hdm_widgets.windowed import TracedModel, WindowedInference

IMAGE = random_image(WIDTH, 24, 28)


@pytest.mark.parametrize("name", SHIFTED_WINDOWS)
def test_attention_in_windows_is_exact(name):
    model = randomized(SHIFTED_WINDOWS[name]())
    boxes = boxes_everywhere(24, 28, 5)
    images = changed_images(IMAGE, boxes)
    base = WindowedInference(TracedModel(model, IMAGE).estimate, IMAGE)
    with torch.inference_mode():
        whole = torch.cat([model(image[None]) for image in images])
        assert_close(base.output, model(IMAGE[None]))
        assert_close(outputs_from_windows(base, boxes, images), whole)
        assert_close(outputs_from_windows(base, boxes, images, tolerance=0.0), whole)
    rows, cols = base.network.propagation.of_box((9, 9, 11, 11))
    changed = [each.changes[base.network.index(base.network.program.output)] for each in (rows, cols)]
    assert changed[0].size < whole.shape[-2]
    assert changed[1].size < whole.shape[-1]


@pytest.mark.parametrize("name", NOT_FOLLOWED)
def test_windows_in_another_order_are_taken_for_unchanged(name):
    model, boxes = NOT_FOLLOWED[name]().eval(), boxes_everywhere(24, 28, 5)[-3:]
    images = changed_images(IMAGE, boxes)
    base = WindowedInference(TracedModel(model, IMAGE).estimate, IMAGE)
    with torch.inference_mode():
        assert_close(base.output, model(IMAGE[None]))
        assert (model(images) - base.output).abs().max() > 0.01
        assert_close(outputs_from_windows(base, boxes, images), base.output.expand(images.shape))


@pytest.mark.parametrize("name", CHANNELS_LAST)
def test_positions_of_maps_with_channels_last_stay_local(name):
    model = randomized(ShiftedWindows(CHANNELS_LAST[name]()))
    engine = TracedModel(model, IMAGE)
    assert_windows_equal_the_model(model, IMAGE, boxes_everywhere(24, 28, 5), engine)
    assert not engine.network.propagation.global_steps()
