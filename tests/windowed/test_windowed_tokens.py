"""Estimates of transformers with class tokens, with biases of scores, and with attention written as sums."""

import numpy as np
import pytest
import torch
from global_networks import WIDTH, Function
from token_networks import BREADTH, HEIGHT, NOT_FOLLOWED, PARTLY_FOLLOWED, POSITIONS, TOKENS
from window_checks import (
    assert_close,
    assert_computed_together,
    boxes_everywhere,
    changed_images,
    outputs_from_windows,
    random_image,
    randomized,
)

from hdm_widgets.windowed import TracedModel, WindowedInference

IMAGE = random_image(WIDTH, HEIGHT, BREADTH)


def _estimated(model, boxes, images):
    """The output, box by box: boxes near a border would grow to it together, and more tokens with them."""
    base = WindowedInference(TracedModel(model, IMAGE).estimate, IMAGE)
    found = [outputs_from_windows(base, boxes[[each]], images[[each]]) for each in range(len(boxes))]
    return base.output, torch.cat(found)


@pytest.mark.parametrize("name", TOKENS)
def test_tokens_that_are_no_positions_change_and_other_positions_do_not(name):
    model = randomized(TOKENS[name]())
    boxes = boxes_everywhere(HEIGHT, BREADTH, 3)
    images = changed_images(IMAGE, boxes)
    changes = torch.zeros(len(boxes), HEIGHT, BREADTH, dtype=torch.bool)
    for each, (row0, col0, row1, col1) in zip(changes, boxes.tolist(), strict=True):
        each[row0:row1, col0:col1] = True
    with torch.inference_mode():
        changed, unchanged = model.enter(images), model.enter(IMAGE[None])
        all_change = torch.ones(len(boxes), POSITIONS + len(model.extra), dtype=torch.bool)
        positions = [each for each in range(all_change.shape[1]) if each not in model.extra]
        all_change[:, positions] = changes.flatten(1)
        inside = (all_change.T if model.dim == 0 else all_change)[..., None]
        for layer in model.layers:
            unchanged = layer(unchanged)
            changed = torch.where(inside, layer(changed), unchanged)
        expected, whole = model.leave(changed, images), model(images)
        before, found = _estimated(model, boxes, images)
        assert_close(before, model(IMAGE[None]))
        # The last box is the whole image: nothing is left out.
        assert_close(expected[-1], whole[-1])
        if name != "class token everywhere":
            expected = torch.where(changes[:, None], expected, before)
        assert_close(found, expected)
        # Which is not the network itself: the other tokens changed too.
        assert (found - whole).abs().max() > 10 * (found - expected).abs().max()


@pytest.mark.parametrize("name", NOT_FOLLOWED)
def test_tokens_that_are_not_all_positions_are_taken_for_unchanged(name):
    model = randomized(NOT_FOLLOWED[name]())
    boxes = np.array([[0, 0, HEIGHT, BREADTH], [1, 2, 3, 5]])
    images = changed_images(IMAGE, boxes)
    with torch.inference_mode():
        before, found = _estimated(model, boxes, images)
        assert_close(before, model(IMAGE[None]))
        assert (model(images) - before).abs().max() > 0.01
    assert_close(found, before.expand(found.shape))


@pytest.mark.parametrize("name", PARTLY_FOLLOWED)
def test_what_has_no_rule_is_added_as_it_was(name):
    enter, unknown, leave = PARTLY_FOLLOWED[name]
    model = Function(lambda x: leave(enter(x) + unknown(enter(x)), x)).eval()
    boxes = boxes_everywhere(HEIGHT, BREADTH, 3)
    images = changed_images(IMAGE, boxes)
    with torch.inference_mode():
        before, found = _estimated(model, boxes, images)
        assert_close(before, model(IMAGE[None]))
        assert_close(found, leave(enter(images) + unknown(enter(IMAGE[None])), images))


def test_reaches_leave_tokens_that_are_no_positions_whole():
    model = randomized(TOKENS["registers"]())
    boxes = boxes_everywhere(HEIGHT, BREADTH, 3)
    images = changed_images(IMAGE, boxes)
    base = WindowedInference(TracedModel(model, IMAGE).estimate, IMAGE)
    with torch.inference_mode():
        expected = outputs_from_windows(base, boxes, images)
        assert_close(outputs_from_windows(base, boxes, images, tolerance=0.0), expected)


def test_the_output_may_be_tokens():
    model = randomized(TOKENS["class token"]())
    model.leave = lambda tokens, x: tokens
    base = WindowedInference(TracedModel(model, IMAGE).estimate, IMAGE)
    with torch.inference_mode():
        assert_close(base.output, model(IMAGE[None]))


@pytest.mark.parametrize("name", ["class token", "class token, bias", "bias for each head", "registers"])
def test_changes_alike_are_estimated_together_wherever_they_lie(name):
    model = randomized(TOKENS[name]())
    boxes = np.array([(row, col, row + 2, col + 3) for row in range(5) for col in range(5)])
    images = changed_images(IMAGE, boxes)
    base = WindowedInference(TracedModel(model, IMAGE).estimate, IMAGE)
    assert_computed_together(base, boxes, images)
