"""What mypy checks in api.py also runs, and names everything public."""

import re
from pathlib import Path

import api
import numpy as np
import pytest
import torch

import hdm_widgets as hw

SOURCE = Path(api.__file__).read_text(encoding="utf-8")


@pytest.fixture
def image():
    image = torch.zeros(1, 16, 16)
    image[:, 4:8, 4:8] = 1
    return image


@pytest.fixture
def model(image):
    """A network whose mask is where its image is above one half."""
    network = torch.nn.Conv2d(1, 1, 1)
    with torch.no_grad():
        network.weight.fill_(20.0)
        network.bias.fill_(-10.0)
    return network


def test_ready_made_models_and_data():
    api.demos()
    api.data_sets()
    api.training()
    api.segment_images(np.zeros((3, 1, 16, 16), dtype=np.float32))
    api.compare_masks(np.eye(8, dtype=bool), np.ones((8, 8), dtype=bool))


def test_explanations(model, image, tmp_path):
    result = api.explain(model, image, image[0])
    # Only discs that touch the region are measured: two rows and two columns of the grid, and none above or before it.
    assert result.measured.tolist() == [[True, True, False, False]] * 2 + [[False] * 4] * 2
    api.read_result(result, tmp_path / "result.hdm")
    api.stream(model, image, image[0])
    assert api.compare_fills(model, image, image[0], tmp_path / "fills.npz").repeats == 2
    assert api.explain_many(model, image, image[0], tmp_path / "many").fills == ("mean", "0.5")
    assert api.explain_quickly(model, image, fill=0.5).settings.fill == 0.5
    noise = api.Noise(16, 16)
    noise.generate_masks(4, 8)
    assert noise.explain(model, image, image[0], progress=False).settings.distance == "custom"
    assert api.compare_models(model, image, image[0], tmp_path / "both.npz").names == ("before", "after")
    api.compare_on_screen(model, image, image[0])
    api.compare_fills_on_screen(model, image, image[0])
    api.compare_below_the_map(model, image, image[0])
    two = torch.nn.Sequential(model, torch.nn.Conv2d(1, 2, 1))
    assert api.explain_all_classes(two, image, image[0], tmp_path).settings.target == 0


def test_a_model_that_fails(image):
    def fail(batch):
        raise RuntimeError("no")

    assert api.model_fails(fail, image, image[0]) is None


def test_a_latent_space_and_both_widgets(model, image, tmp_path):
    space = api.latent_space(tmp_path / "space")
    assert space.embedding_.shape == (24, 2)
    api.widgets(model, image, image[0], space)


@pytest.mark.parametrize("module", [hw, hw.hdm, hw.metrics, hw.data, hw.demo], ids=lambda module: module.__name__)
def test_every_public_name_is_checked(module):
    missing = [name for name in module.__all__ if not re.search(rf"\b{name}\b", SOURCE)]
    assert missing == [], f"use them in {api.__file__} as a user would"
