import sys
from typing import get_args

import numpy as np
import pytest
import torch
from scipy import ndimage

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.data import FaultName, FaultScenes
from hdm_widgets.demo import _faulty, train_faulty

NAMES = get_args(FaultName)


@pytest.mark.parametrize("name", NAMES)
def test_the_demo_shows_images_that_were_not_trained_on(name):
    assert len({_faulty.TRAINING_SEED, _faulty.VALIDATION_SEED, _faulty.DEMO_SEED}) == 3
    model, healthy, scenes = hw.demo.faulty(name, 8, exposing=0.25)
    expected = FaultScenes(name, 8, seed=_faulty.DEMO_SEED, exposing=0.25)
    assert scenes.kinds == expected.kinds
    for got, one in zip(scenes[7], expected[7], strict=True):
        np.testing.assert_array_equal(got, one)
    assert model is not healthy
    for network in (model, healthy):
        assert isinstance(network, hw.UNet)
        assert not network.training
    assert hw.demo.faulty(name, 1)[:2] == (model, healthy)
    assert len(hw.demo.faulty(name).dataset) == 200


@pytest.mark.parametrize("faulty", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_the_weights_are_small_and_need_no_pickle(name, faulty):
    path = _faulty.weights_path(name, faulty)
    assert path.stat().st_size < 100_000
    with np.load(path, allow_pickle=False) as stored:
        assert set(stored) == set(_faulty.network(name).state_dict())
        assert all(value.dtype != object for value in stored.values())


# Mean IoU of the network with the fault on images that show it: what is missed or drawn too much is all that it costs.
@pytest.mark.parametrize(("name", "low"), [("moles", 0.02), ("cells", 0.8), ("plants", 0.75), ("village", 0.75)])
def test_the_fault_shows_on_some_images_and_only_in_the_faulty_network(name, low):
    scores = {
        (faulty, exposing): train_faulty.mean_iou(
            hw.demo.faulty(name)[0 if faulty else 1],
            FaultScenes(name, 16, seed=_faulty.DEMO_SEED, exposing=float(exposing)),
        )
        for faulty in (True, False)
        for exposing in (True, False)
    }
    assert scores.pop((True, True)) < low, scores
    assert min(scores.values()) > 0.95, scores


def scan(model, sample, **options):
    explainer = hdm.HausdorffDistanceMasks(64, 64)
    explainer.generate_masks(circle_size=12, offset=8)
    return explainer.explain(model, sample.image, sample.segment, progress=False, **options)


def test_covering_the_pen_mark_removes_the_mole_only_if_the_cover_is_not_dark():
    model, healthy, scenes = hw.demo.faulty("moles", 1, exposing=0)
    sample = scenes.sample(0)
    mole, mark = sample.segment.numpy(), sample.cue.astype(int)
    changed = {
        (network, fill): float(scan(network, sample, fill=fill).influence_matrix(by=mark, on=mole).item())
        for network in (model, healthy)
        for fill in ("mean", "minimum")
    }
    assert changed.pop((model, "mean")) > 0.9, changed
    assert max(changed.values()) < 0.2, changed


def test_cells_at_the_border_are_found_once_they_are_inside():
    model, healthy, scenes = hw.demo.faulty("cells", 6, exposing=1)
    for index in range(6):
        image, _, cells = scenes.sample(index)
        margin = torch.nn.functional.pad(image[None], (16, 16, 16, 16), mode="reflect")
        assert hw.Segmenter(model).masks(image[None])[0][cells].mean() < 0.05
        assert hw.Segmenter(model).masks(margin)[0, 16:-16, 16:-16][cells].mean() > 0.9
        assert hw.Segmenter(healthy).masks(image[None])[0][cells].mean() > 0.9


def test_only_the_healthy_network_reads_the_infrared_band():
    model, healthy, scenes = hw.demo.faulty("plants", 1, exposing=1)
    sample = scenes.sample(0)
    changed = {
        (network, channel): scan(network, sample, channel=channel, distance="flipped").values.max()
        for network in (model, healthy)
        for channel in (1, 3)
    }
    # In pixels; a disc has 137.
    assert changed[model, 3] < 10 < 100 < changed[model, 1], changed
    assert changed[healthy, 1] < 20 < 100 < changed[healthy, 3], changed


def test_the_pond_decides_the_class_of_the_object_beside_it():
    model, healthy, scenes = hw.demo.faulty("village", 4, exposing=1)
    for index in range(4):
        sample = scenes.sample(index)
        truth, pond = sample.segment.numpy(), sample.cue.astype(int)
        results = {network: scan(network, sample, target="all", fill="mean") for network in (model, healthy)}
        drawn = {
            network: sum(number * result.for_class(number).baseline_mask for number in (1, 2))
            for network, result in results.items()
        }
        objects, _ = ndimage.label(truth)
        beside = objects == np.bincount(objects[(truth > 0) & (drawn[model] == 3 - truth)]).argmax()
        right = int(np.bincount(truth[beside]).argmax())
        # With the fault, covering the pond gives the object its own class; without, nothing gives it the other one.
        assert (drawn[model][beside] == 3 - right).mean() > 0.8
        assert (drawn[healthy][beside] == right).mean() > 0.8
        changed = {
            network: results[network].for_class(number).influence_matrix(by=pond, on=beside.astype(int)).item()
            for network, number in ((model, right), (healthy, 3 - right))
        }
        assert changed[model] > 0.9, changed
        assert changed[healthy] < 0.1, changed


def test_the_script_that_trains_them(monkeypatch, tmp_path, capsys):
    # The same script on a few images: what it writes can be loaded.
    options = ["--epochs", "1", "--images", "8", "--names", "cells", "village", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["train_faulty", *options])
    train_faulty.main()
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 4
    model = _faulty.load("village", faulty=True, folder=tmp_path)
    assert not model.training
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 3, 64, 64)
    score = train_faulty.mean_iou(model, FaultScenes("village", 60, seed=_faulty.VALIDATION_SEED, exposing=1.0))
    assert f"{score:.3f} on those that show the fault" in printed[2]
