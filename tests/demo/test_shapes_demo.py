import copy
import dataclasses
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.data import PlantedCue
from hdm_widgets.demo import _shapes, train_shapes
from hdm_widgets.models.training import evaluate


def folded(model):
    """The same function in half the time: batch norm folded into the convolutions."""
    model = copy.deepcopy(model).eval()
    for block in [module for module in model.modules() if isinstance(module, nn.Sequential)]:
        for index in range(len(block) - 1):
            if isinstance(block[index + 1], nn.BatchNorm2d):
                block[index] = fuse_conv_bn_eval(block[index], block[index + 1])
                block[index + 1] = nn.Identity()
    return model


def test_the_demo_shows_images_that_were_not_trained_on():
    assert len({_shapes.TRAINING_SEED, _shapes.VALIDATION_SEED, _shapes.DEMO_SEED}) == 3
    for index in (0, 11, 999):
        model, image, segment, cue = hw.demo.shapes(index)
        sample = PlantedCue(1000, seed=_shapes.DEMO_SEED).sample(index)
        np.testing.assert_array_equal(image, sample.image)
        np.testing.assert_array_equal(segment, sample.segment)
        np.testing.assert_array_equal(cue, sample.cue)
        assert isinstance(model, hw.UNet)
        assert not model.training
    assert hw.demo.shapes(0).model is hw.demo.shapes(1).model
    with pytest.raises(IndexError, match="1000 is out of range"):
        hw.demo.shapes(1000)


def test_the_weights_are_small_and_need_no_pickle():
    assert _shapes.WEIGHTS.stat().st_size < 1_000_000
    with np.load(_shapes.WEIGHTS, allow_pickle=False) as stored:
        assert set(stored) == set(_shapes.network().state_dict())
        assert all(value.dtype != object for value in stored.values())


@pytest.mark.parametrize("seed", [_shapes.VALIDATION_SEED, _shapes.DEMO_SEED])
def test_iou_on_unseen_images(seed):
    assert evaluate(hw.demo.shapes(0).model, PlantedCue(100, seed=seed)) >= 0.98


def test_the_map_points_at_the_cue():
    masses = []
    model, image, *_ = hw.demo.shapes(0)
    fast = folded(model)
    with torch.inference_mode():
        np.testing.assert_allclose(fast(image[None]), model(image[None]), atol=1e-3)
    for index in range(12):
        _, image, segment, cue = hw.demo.shapes(index)
        explainer = hdm.HausdorffDistanceMasks(128, 128)
        explainer.generate_masks(circle_size=10, offset=5)
        settings = {"batch_size": 25, "progress": False}
        by_rows = explainer.explain(fast, image, segment, "cpu", distance="rows", **settings)
        by_pixels = by_rows.measure("hausdorff")
        if index == 0:
            scanned = explainer.explain(fast, image, segment, "cpu", **settings)
            np.testing.assert_array_equal(by_pixels.values, scanned.values)
            assert by_pixels.baseline == scanned.baseline
            assert by_pixels.relevance_mass_accuracy(cue) == scanned.relevance_mass_accuracy(cue)
        kept = np.array([[by_rows.iou(row, col) for col in range(25)] for row in range(25)])
        before = hw.metrics.iou(by_rows.baseline_mask, by_rows.segment)
        by_iou = dataclasses.replace(by_pixels, values=np.clip(before - kept, 0, None), baseline=0.0)
        masses.append([result.relevance_mass_accuracy(cue) for result in (by_pixels, by_rows, by_iou)])

    hausdorff, rows, iou_drop = np.mean(masses, axis=0)
    # The cue is 1.8 % of the image.
    assert hausdorff >= 0.08, (hausdorff, rows, iou_drop)
    assert hausdorff > rows
    assert hausdorff > iou_drop


def test_the_script_that_trains_it(monkeypatch, tmp_path, capsys):
    # The same script on a few small images: what it writes can be loaded.
    monkeypatch.setattr(
        train_shapes, "PlantedCue", lambda length, **options: PlantedCue(min(length, 8), size=32, **options)
    )
    out = tmp_path / "weights.npz"
    monkeypatch.setattr(sys, "argv", ["train_shapes", "--epochs", "1", "1", "--images", "8", "--out", str(out)])
    train_shapes.main()
    model = _shapes.load(out)
    assert not model.training
    assert model(torch.zeros(1, 1, 32, 32)).shape == (1, 1, 32, 32)
    assert f"validation IoU of the stored weights: {evaluate(model, PlantedCue(8, size=32, seed=2)):.4f}" in (
        capsys.readouterr().out
    )
