"""What kept results depend on: each option of a Segmenter that changes its masks."""

import inspect

import pytest

import hdm_widgets as hw
from hdm_widgets.models.description import describe_segmenter, differences

CHANGED = {
    "target": 1, "threshold": 0.25, "activation": "sigmoid", "pad_to": 16, "output": "out", "classes": "independent",
    "align": "resize", "layout": "channels_last", "preprocess": lambda images: images / 255, "window": 32, "overlap": 8,
    "blending": "gaussian",
}  # fmt: skip


def no_model(images):
    return images


@pytest.mark.parametrize("option", CHANGED)
def test_another_setting_is_another_description(option):
    usual = {"window": 16}
    described = (
        describe_segmenter(hw.Segmenter(no_model, **given)) for given in (usual, usual | {option: CHANGED[option]})
    )
    assert any(option in text for text in differences(*described))


def test_all_options_but_those_of_the_machine_are_described():
    assert {*CHANGED, "model", "device", "batch_size"} == inspect.signature(hw.Segmenter).parameters.keys()
