"""Scans that run in turn, or in threads, do not disturb one another or whoever uses the model."""

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from architectures import made
from window_checks import random_image, randomized

import hdm_widgets as hw
from hdm_widgets import hdm

QUIET = {"progress": False}


def explainer_for(image, circle_size, offset):
    explainer = hdm.HausdorffDistanceMasks(image.shape[-1], image.shape[-2])
    explainer.generate_masks(circle_size, offset)
    return explainer


def unet(seed=0):
    return randomized(made(lambda: hw.UNet(1, 1, 4, 2)), seed)


def halved(model, image):
    """A threshold that half of the pixels pass, and they as the segment: every change of the mask is seen."""
    probabilities = hw.Segmenter(model).probabilities(image[None])[0]
    threshold = float(np.median(probabilities))
    return {"segment": probabilities > threshold, "threshold": threshold}


def half_dark():
    """A image (1, 40, 48) that is black from column 24 on."""
    image = random_image(1, 40, 48).clamp(min=0.1)
    image[..., 24:] = 0
    return image


@pytest.mark.parametrize("ways", ["full", "windowed"])
def test_two_scans_of_one_explainer_in_turn(ways):
    image = half_dark()
    model = unet()
    options = halved(model, image)
    whole = explainer_for(image, 6, 4).explain(model, image, inference="full", **options, **QUIET)
    explainer = explainer_for(image, 6, 4)
    first, second = (
        explainer.stream(model, image, inference=ways, batch_size=batch_size, **options) for batch_size in (3, 7)
    )
    seen = np.zeros((2, *whole.values.shape), int)
    last = [None, None]
    for news in itertools.zip_longest(first, second):
        for place, update in enumerate(news):
            if update is not None:
                seen[place][update.cells[:, 0], update.cells[:, 1]] += 1
                last[place] = update
    assert (seen == 1).all()
    for update in last:
        assert update.done == update.total == 120
        assert update.result.complete
        np.testing.assert_array_equal(update.result.values, whole.values)


@pytest.mark.parametrize("ways", ["full", "windowed"])
def test_another_model_while_a_scan_is_going_on(ways):
    image = half_dark()
    models = unet(0), unet(1)
    options = [halved(model, image) for model in models]
    wholes = [
        explainer_for(image, 6, 4).explain(model, image, inference="full", **given, **QUIET)
        for model, given in zip(models, options, strict=True)
    ]
    assert not np.array_equal(wholes[0].values, wholes[1].values)
    explainer = explainer_for(image, 6, 4)
    stream = explainer.stream(models[0], image, inference=ways, batch_size=5, **options[0])
    next(stream), next(stream)
    between = explainer.explain(models[1], image, inference=ways, **options[1], **QUIET)
    *_, last = stream
    np.testing.assert_array_equal(between.values, wholes[1].values)
    np.testing.assert_array_equal(last.result.values, wholes[0].values)


def in_threads(*functions):
    """What they return; an error of one is an error here."""
    with ThreadPoolExecutor(len(functions)) as pool:
        return [future.result(timeout=120) for future in [pool.submit(function) for function in functions]]


@pytest.mark.parametrize("explainers", ["one each", "one for all"])
def test_three_scans_at_once(explainers):
    image = half_dark()
    model = unet()
    options = halved(model, image)
    whole = explainer_for(image, 6, 2).explain(model, image, inference="full", **options, **QUIET)
    shared = explainer_for(image, 6, 2)

    def scan():
        explainer = shared if explainers == "one for all" else explainer_for(image, 6, 2)
        *_, last = explainer.stream(model, image, inference="windowed", **options)
        return last.result

    for result in in_threads(scan, scan, scan):
        assert result.plan.backend == "windowed"
        assert result.complete
        np.testing.assert_array_equal(result.values, whole.values)


def test_a_model_that_somebody_else_uses_meanwhile():
    """Tracing must not show: neither fake values nor errors elsewhere."""
    image, segment = half_dark(), np.eye(40, 48)
    model = unet()
    traced, outputs = threading.Event(), []
    with torch.inference_mode():
        expected = model(image[None])

    def use():
        while not traced.is_set():
            with torch.inference_mode():
                outputs.append(model(image[None]))

    def trace():
        try:
            for height in (40, 39, 38):
                explainer = hdm.HausdorffDistanceMasks(48, height)
                explainer.generate_masks(6, 8)
                part = image[:, :height], segment[:height]
                assert explainer.plan(model, *part, inference="windowed").backend == "windowed"
        finally:
            traced.set()

    in_threads(use, trace)
    assert len(outputs) > 3
    for output in outputs:
        assert type(output) is torch.Tensor
        torch.testing.assert_close(output, expected, atol=1e-5, rtol=0)
