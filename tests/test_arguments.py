"""Plainly wrong arguments of what is public: an error that names the argument, what was expected and what came."""

import inspect
import re
from typing import get_args

import numpy as np
import pytest

import hdm_widgets as hw
from hdm_widgets import data, demo, hdm, metrics
from hdm_widgets._validation import brief, checks_simple_arguments

IMAGE = np.full((1, 16, 16), 0.5, np.float32)
IMAGE[0, 4:9, 4:9] = 0.9
TRUTH = IMAGE[0] > 0.7
ARRAY = np.zeros((2, 2, 2, 2, 2), np.float32)


class NeverRunError(AssertionError):
    """Work has begun on wrong arguments."""


def model(_images):
    raise NeverRunError


SCAN = {"image": IMAGE, "segment": TRUTH, "circle_size": 6, "offset": 4}
ONE = {"model": model, **SCAN}
TWO = {"models": {"a": model, "b": model}, **SCAN}


def explain(**arguments):
    explainer = hdm.HausdorffDistanceMasks(16, 16)
    explainer.generate_masks(6, 4)
    return explainer.explain(**arguments)


class Items:
    def __len__(self):
        raise NeverRunError

    def __getitem__(self, index):
        raise NeverRunError


FAULT = get_args(data.FaultName)[0]
UNET = hw.UNet(width=2, depth=1)
MANY = {"model": model, "dataset": [(IMAGE, TRUTH)], "circle_size": 6, "offset": 4}
NUMBERS = [None, "text", 3.5, ARRAY, True, {}]
SIZES = [*NUMBERS, -1]
FLOATS = [None, "text", ARRAY, True, {}]
FLAGS = [None, "text", 3.5, ARRAY, 1]
DEVICES = ["text", 3.5, ARRAY, {}]
PATHS = [None, 3.5, ARRAY, {}]
DATA = [None, "text", 3.5, ARRAY, {}]
TEXTS = [None, "text", 3.5, ARRAY]
# What is called, with what, which argument is wrong, and with which values.
TABLE = {
    "UNet": (hw.UNet, {}, {"in_channels": SIZES, "classes": SIZES, "width": SIZES, "depth": SIZES}),
    "train": (
        hw.train,
        {"model": UNET, "dataset": Items(), "progress": False},
        {
            "model": DATA,
            "dataset": DATA,
            "validation": DATA[1:],
            "epochs": SIZES,
            "batch_size": SIZES,
            "learning_rate": [*FLOATS, -1],
            "augment": FLAGS,
            "seed": SIZES,
        },
    ),
    "HDMExplorer": (
        hw.HDMExplorer,
        ONE,
        {
            "model": DATA,
            "image": DATA,
            "segment": ["text", 3.5, ARRAY],
            "circle_size": SIZES[1:],
            "offset": SIZES[1:],
            "channel": [None, "text", 3.5, ARRAY],
            "order": TEXTS,
            "opacity": [*FLOATS, 2, -1],
            "normalize": FLAGS[1:],
            "keep_outputs": FLAGS,
            "device": DEVICES,
            "batch_size": SIZES[1:],
        },
    ),
    "HDMComparison": (
        hw.HDMComparison,
        TWO,
        {
            "models": DATA,
            "image": DATA[1:],
            "order": TEXTS,
            "opacity": [*FLOATS, 2],
            "normalize": FLAGS,
            "keep_outputs": FLAGS,
            "device": DEVICES,
        },
    ),
    "Segmenter": (
        hw.Segmenter,
        {"model": UNET},
        {
            "model": ["text", 3.5, ARRAY],
            "target": ["text", 3.5, ARRAY, -1],
            "threshold": [None, "text", ARRAY, {}],
            "activation": TEXTS,
            "device": DEVICES,
            "batch_size": SIZES[1:],
            "pad_to": SIZES[1:],
            "classes": TEXTS,
            "align": TEXTS,
            "layout": TEXTS,
            "preprocess": ["text", 3.5, ARRAY],
            "window": ["text", 3.5, ARRAY, -1],
        },
    ),
    "LatentExplorer": (hw.LatentExplorer, {}, {"space": DATA}),
    "LatentSpace": (
        hw.LatentSpace,
        {"model": UNET},
        {
            "model": ["text", 3.5, ARRAY],
            "pool": TEXTS,
            "n_components": SIZES,
            "random_state": SIZES,
            "thumbnail": SIZES,
            "device": DEVICES,
            "batch_size": SIZES[1:],
        },
    ),
    "LatentSpace.load": (hw.LatentSpace.load, {}, {"path": PATHS}),
    "LatentSpace.open": (hw.LatentSpace.open, {}, {"store": PATHS}),
    "export_marked": (
        hw.export_marked,
        {"space": hw.LatentSpace(UNET), "items": [1], "path": "marked.csv"},
        {"space": DATA, "path": PATHS},
    ),
    "layers": (hw.layers, {"model": UNET, "image": IMAGE}, {"image": DATA, "device": DEVICES}),
    "HausdorffDistanceMasks": (
        hdm.HausdorffDistanceMasks,
        {"image_width": 16, "image_height": 16},
        {"image_width": SIZES, "image_height": SIZES},
    ),
    "explain": (
        explain,
        {"model": model, "image": IMAGE, "segment": TRUTH, "device": "cpu"},
        {"image": DATA, "keep_outputs": FLAGS, "device": DEVICES},
    ),
    "compare_models": (hdm.compare_models, TWO, {"models": DATA, "normalize": FLAGS, "device": DEVICES}),
    "explain_many": (
        hdm.explain_many,
        MANY,
        {"normalize": FLAGS, "of_prediction": FLAGS, "keep_outputs": FLAGS, "device": DEVICES},
    ),
    "AerialScenes": (data.AerialScenes, {}, {"length": SIZES, "size": SIZES, "seed": NUMBERS}),
    "FaultScenes": (
        data.FaultScenes,
        {"name": FAULT},
        {"name": TEXTS, "length": SIZES, "size": SIZES, "seed": NUMBERS, "exposing": FLOATS, "faulty": FLAGS},
    ),
    "PlantedCue": (
        data.PlantedCue,
        {},
        {"length": NUMBERS, "size": SIZES, "seed": NUMBERS, "without_cue": [*FLOATS, -1]},
    ),
    "PlantedFailures": (data.PlantedFailures, {}, {"length": SIZES, "size": SIZES, "seed": NUMBERS}),
    "InriaTiles": (data.InriaTiles, {"root": "folder"}, {"root": PATHS, "patch": NUMBERS, "stride": NUMBERS}),
    "Tiles": (
        data.Tiles,
        {"images": "folder", "masks": "folder"},
        {"images": PATHS, "masks": PATHS, "patch": NUMBERS, "stride": NUMBERS},
    ),
    "aerial": (demo.aerial, {}, {"length": SIZES}),
    "shapes": (demo.shapes, {}, {"index": NUMBERS}),
    "iou": (metrics.iou, {"a": TRUTH, "b": TRUTH}, {"empty": FLOATS}),
    "dice": (metrics.dice, {"a": TRUTH, "b": TRUTH}, {"empty": FLOATS}),
    "row_distance": (
        metrics.row_distance,
        {"output": TRUTH, "segment": TRUTH},
        {"output": ["text", None, {}], "segment": ["text", None, {}]},
    ),
    "hausdorff_percentile": (
        metrics.hausdorff_percentile,
        {"a": TRUTH, "b": TRUTH},
        {"percentile": [*FLOATS, -1, 101]},
    ),
}
CASES = [
    pytest.param(call, right, name, value, id=f"{title}({name}={brief(value)})")
    for title, (call, right, wrong) in TABLE.items()
    for name, values in wrong.items()
    for value in values
]


@pytest.mark.parametrize(("call", "right", "name", "value"), CASES)
def test_wrong_arguments_are_named_before_any_work(call, right, name, value):
    with pytest.raises((TypeError, ValueError)) as caught:
        call(**{**right, name: value})
    said = str(caught.value)
    # By its name or in words.
    assert re.search(name.replace("_", "[_ ]"), said, re.IGNORECASE)
    # What was expected, and what came: its value, type, shape or dtype.
    assert re.search("must|expected|needs|is not|takes", said)
    assert re.search("got|not", said)
    assert "[[[" not in said  # no array in full


@pytest.mark.parametrize(
    ("swapped", "said"),
    [
        (lambda: hw.HDMExplorer(IMAGE, model, TRUTH, 6, 4), "model|image"),
        (lambda: hw.HDMExplorer(model, TRUTH, IMAGE, 6, 4), "image"),
        (lambda: hw.LatentSpace.load(UNET, "space"), "path must be a path, got UNet"),
        (lambda: hw.export_marked("marked.csv", [1], hw.LatentSpace(UNET)), "path must be a path"),
        (lambda: hw.LatentExplorer(UNET, Items()), "expected a LatentSpace, got UNet"),
        (lambda: hw.train(Items(), UNET), "model must be an nn.Module, got"),
    ],
)
def test_swapped_arguments_are_told(swapped, said):
    with pytest.raises((TypeError, ValueError), match=said):
        swapped()


def test_simple_annotations_are_checked():
    @checks_simple_arguments
    def call(count: "int", factor: "float | None" = None, *, name: "str" = "a") -> "str":
        return f"{count} {factor} {name}"

    assert call(np.int64(3), np.float32(0.5), name="b") == "3 0.5 b"
    assert call(3) == "3 None a"
    assert list(inspect.signature(call).parameters) == ["count", "factor", "name"]
    for wrong, said in [
        (lambda: call(True), "count must be a whole number, got True"),
        (lambda: call(1, "2"), "factor must be a number or None, got '2'"),
        (lambda: call(1, name=b"c"), "name must be a text, got b'c'"),
        (lambda: call(np.zeros((2, 3))), r"count must be a whole number, got ndarray of shape \(2, 3\)"),
        (lambda: call(), "missing 1 required positional argument: 'count'"),
    ]:
        with pytest.raises(TypeError, match=said):
            wrong()
