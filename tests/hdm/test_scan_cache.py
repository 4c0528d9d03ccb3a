"""What one scan measured, the next ones of the same explainer need not."""

import copy
import warnings

import numpy as np
import pytest
import torch
from architectures import made
from torch import nn
from torch.nn import functional as F
from window_checks import random_image, randomized

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.hdm.backends import Inference

QUIET = {"progress": False}
# Images that a scan runs in any case: that without a disc, twice, to see whether the model is random; and a remembered
# one, to see that the model is the same.
FIRST, AGAIN = 2, 3


class Counting(nn.Module):
    """A network that counts its runs; one image each, with `batch_size=1`."""

    def __init__(self, channels=1, classes=1, seed=0):
        super().__init__()
        self.network = randomized(made(lambda: hw.UNet(channels, classes, 2, 1)), seed)
        self.runs = 0

    def forward(self, images):
        self.runs += 1
        return self.network(images)


# In blobs; of the model's own mask as the segment, every change is seen.
IMAGE = F.interpolate(random_image(2, 5, 6)[None], size=(40, 48), mode="bicubic")[0].clamp(0.05, 1)
_PROBABILITIES = hw.Segmenter(Counting(channels=2)).probabilities(IMAGE[None])[0]
THRESHOLD = float(np.median(_PROBABILITIES))
SEGMENT = _PROBABILITIES > THRESHOLD


@pytest.fixture
def model():
    return Counting(channels=2)


def explainer_for(circle_size=6, offset=8, **options):
    explainer = hdm.HausdorffDistanceMasks(48, 40)
    explainer.generate_masks(circle_size, offset, **options)
    return explainer


def runs_of(explainer, model, image=IMAGE, segment=SEGMENT, **options):
    """How many images a scan runs, and that its values are those of a scan that remembers nothing."""
    options = {"inference": "full", "batch_size": 1, "threshold": THRESHOLD} | options
    before = model.runs
    result = explainer.explain(model, image, segment, **options, **QUIET)
    runs = model.runs - before
    grid = result.grid
    forgetful = explainer_for(grid.circle_size, grid.offset, normalize=explainer.normalize)
    expected = forgetful.explain(model, image, segment, **options, **QUIET)
    np.testing.assert_array_equal(result.values, expected.values)
    np.testing.assert_array_equal(result.measured, expected.measured)
    assert result.complete
    for row, col in np.argwhere(result.measured).tolist():
        np.testing.assert_array_equal(result.output(row, col), expected.output(row, col))
    return runs


def test_a_lower_offset_runs_the_new_cells_only(model):
    explainer = explainer_for(offset=8)
    assert runs_of(explainer, model) == FIRST + 30
    explainer.generate_masks(6, 4)
    assert runs_of(explainer, model) == AGAIN + 120 - 30
    explainer.generate_masks(6, 2)
    assert runs_of(explainer, model) == AGAIN + 480 - 120
    explainer.generate_masks(6, 8)
    assert runs_of(explainer, model) == AGAIN


def test_going_back_costs_nothing(model):
    explainer = explainer_for()
    settings = [{}, {"fill": "mean"}, {"threshold": 0.4}, {"channel": 1}, {"distance": "rows"}]
    for options in settings:
        assert runs_of(explainer, model, **options) == FIRST + 30
    for options in settings:
        assert runs_of(explainer, model, **options) == AGAIN
    explainer.generate_masks(9, 8)
    assert runs_of(explainer, model) == FIRST + 30
    explainer.generate_masks(6, 8)
    assert runs_of(explainer, model) == AGAIN


def test_the_rest_of_a_region(model):
    explainer = explainer_for()
    first = runs_of(explainer, model, region=(0, 0, 20, 48)) - FIRST
    assert 0 < first < 30
    assert runs_of(explainer, model) - AGAIN == 30 - first


def test_a_scan_that_was_left_half_way(model):
    explainer = explainer_for()
    for update in explainer.stream(model, IMAGE, SEGMENT, inference="full", batch_size=1, threshold=THRESHOLD):
        if update.done == 12:
            break
    assert runs_of(explainer, model) == AGAIN + 30 - 12


def test_masks_are_remembered_though_they_were_not_kept(model):
    explainer = explainer_for()
    explainer.explain(
        model, IMAGE, SEGMENT, inference="full", batch_size=1, threshold=THRESHOLD, keep_outputs=False, **QUIET
    )
    assert runs_of(explainer, model) == AGAIN


def test_windows_are_remembered(model, windows):
    explainer = explainer_for()
    for offset, fresh in ((8, 30), (8, 0), (4, 90), (8, 0)):
        explainer.generate_masks(6, offset)
        windows.clear()
        result = explainer.explain(model, IMAGE, SEGMENT, threshold=THRESHOLD, inference="windowed", **QUIET)
        assert result.plan.backend == "windowed"
        assert sum(windows) == fresh
        whole = explainer_for(offset=offset).explain(
            model, IMAGE, SEGMENT, threshold=THRESHOLD, inference="full", **QUIET
        )
        assert len(np.unique(whole.values)) > 3
        np.testing.assert_array_equal(result.values, whole.values)


def test_who_asks_for_whole_images_gets_nothing_of_windows(model):
    explainer = explainer_for()
    explainer.explain(model, IMAGE, SEGMENT, threshold=THRESHOLD, inference="windowed", **QUIET)
    assert runs_of(explainer, model) == FIRST + 30


def test_estimates_are_not_taken_for_what_was_measured(model, windows, monkeypatch):
    # Of so small a network, windows may take longer than whole images.
    monkeypatch.setattr(Inference, "estimates_are_slower", False)
    monkeypatch.setattr(Inference, "drop_slower", lambda self: None)
    explainer = explainer_for(offset=4)
    result = explainer.explain(model, IMAGE, SEGMENT, inference="estimate", **QUIET)
    audits = result.approximation.audits
    # Of the 120 cells 30 are measured, for the error, and some that are certain.
    assert 0 < audits <= 8
    assert sum(windows) == 120 + 30 + audits
    assert result.estimated.sum() == 90 - audits
    # What was measured before is not estimated.
    for inference, fresh in (("windowed", 90 - audits), ("estimate", 0), ("windowed", 0)):
        windows.clear()
        result = explainer.explain(model, IMAGE, SEGMENT, inference=inference, **QUIET)
        assert sum(windows) == fresh
        assert not result.estimated.any()
    whole = explainer_for(offset=4).explain(model, IMAGE, SEGMENT, inference="full", **QUIET)
    np.testing.assert_array_equal(result.values, whole.values)


def test_without_memory_for_activations_nothing_is_estimated(model, monkeypatch):
    monkeypatch.setattr(Inference, "estimates_are_slower", False)
    explainer = explainer_for(offset=4)
    options = {"tolerance": 0.9, "threshold": THRESHOLD}
    estimate = explainer.explain(model, IMAGE, SEGMENT, **options, **QUIET)
    monkeypatch.setattr("hdm_widgets.hdm.plan.free_memory", lambda device: 0)
    result = explainer.explain(model, IMAGE, SEGMENT, **options, **QUIET)
    assert (estimate.plan.tolerance, result.plan.backend) == (0.9, "folded")
    assert result.approximation is result.plan.tolerance is None
    whole = explainer_for(offset=4).explain(model, IMAGE, SEGMENT, threshold=THRESHOLD, inference="full", **QUIET)
    assert (estimate.values != whole.values).any()
    np.testing.assert_array_equal(result.values, whole.values)


def other_image():
    image = IMAGE.clone()
    image[1, 39, 47] = 0.7
    return {"image": image}


def other_segment():
    segment = SEGMENT.copy()
    segment[39, 47] ^= True
    return {"segment": segment}


@pytest.mark.parametrize(
    "other",
    [
        other_image(),
        other_segment(),
        {"threshold": THRESHOLD + 0.01},
        {"fill": "mean"},
        {"fill": "blur"},
        {"fill": -0.25},
        {"channel": 0},
        {"channel": 1},
        {"distance": "rows"},
        {"empty": "nan"},
    ],
    ids=lambda other: " ".join(map(str, *other.items())) if not {"image", "segment"} & set(other) else "-".join(other),
)
def test_another_scan_does_not_take_these_values(model, other):
    explainer = explainer_for()
    runs_of(explainer, model)
    assert runs_of(explainer, model, **other) == FIRST + 30


def test_another_range_does_not_take_these_values(model):
    explainer = explainer_for()
    runs_of(explainer, model)
    explainer.generate_masks(6, 8, normalize=True)
    assert runs_of(explainer, model) == FIRST + 30


def test_another_target_does_not_take_these_values():
    model = Counting(2, 3)
    explainer = explainer_for()
    assert [runs_of(explainer, model, target=target, threshold=None) for target in (0, 1, 0)] == [
        FIRST + 30,
        FIRST + 30,
        AGAIN,
    ]


def test_a_copy_of_the_model_does_not_take_these_values(model):
    explainer = explainer_for()
    runs_of(explainer, model)
    assert runs_of(explainer, copy.deepcopy(model)) == FIRST + 30


@pytest.mark.parametrize("ways", ["full", "windowed"])
@pytest.mark.parametrize("way", ["in place", "through data", "among themselves", "statistics"])
def test_other_weights_do_not_take_these_values(model, ways, way):
    explainer = explainer_for()
    first = explainer.explain(model, IMAGE, SEGMENT, threshold=THRESHOLD, inference=ways, **QUIET)
    weight = model.network.encoder[0][0].weight
    with torch.no_grad():
        if way == "in place":
            weight.mul_(-1)
        elif way == "through data":
            weight.data[:, 0] += 0.5
        elif way == "among themselves":
            weight.data.copy_(weight.data.flip(1))
        else:
            model.network.encoder[0][1].running_mean += 0.4
    second = explainer.explain(model, IMAGE, SEGMENT, threshold=THRESHOLD, inference=ways, **QUIET)
    whole = explainer_for().explain(model, IMAGE, SEGMENT, threshold=THRESHOLD, inference="full", **QUIET)
    np.testing.assert_array_equal(second.values, whole.values)
    for row, col in np.ndindex(5, 6):
        assert (second.output(row, col) != whole.output(row, col)).mean() < 1e-3
    assert any((second.output(row, col) != first.output(row, col)).any() for row, col in np.ndindex(5, 6))


@pytest.mark.parametrize("ways", ["full", "windowed"])
def test_weights_that_only_some_discs_show(ways):
    """Neither the image without a disc tells, nor any cell but the last."""

    class Marked(Counting):
        def __init__(self):
            super().__init__(channels=2)
            self.register_buffer("mark", torch.zeros(1, 1, 40, 48))

        def forward(self, images):
            return super().forward(images) + self.mark * (images[:, :1] == 0)

    model, explainer = Marked(), explainer_for()
    options = {"threshold": THRESHOLD} | QUIET
    first = explainer.explain(model, IMAGE, SEGMENT, inference=ways, **options)
    model.mark.data[..., 32:, 40:] = 20
    second = explainer.explain(model, IMAGE, SEGMENT, inference=ways, **options)
    whole = explainer_for().explain(model, IMAGE, SEGMENT, inference="full", **options)
    np.testing.assert_array_equal(second.values, whole.values)
    np.testing.assert_array_equal(np.argwhere(first.values != second.values), [[4, 5]])


def test_a_distance_of_ones_own_is_asked_every_time(model):
    class Own(hdm.HausdorffDistanceMasks):
        scale = 1.0

        def calculate_distance(self, output, segment):
            return self.scale * float(output[segment].mean())

    explainer = Own(48, 40)
    explainer.generate_masks(6, 8)
    first = explainer.explain(model, IMAGE, SEGMENT, inference="full", **QUIET)
    explainer.scale = 2.0
    second = explainer.explain(model, IMAGE, SEGMENT, inference="full", **QUIET)
    np.testing.assert_allclose(second.values, 2 * first.values, rtol=1e-5)


def test_a_callable_is_remembered_as_long_as_it_is_the_same():
    sizes = []

    def blurred(images):
        sizes.append(len(images))
        return images.mean(1)

    explainer = explainer_for()
    for _ in range(2):
        explainer.explain(blurred, IMAGE, SEGMENT, batch_size=30, **QUIET)
    assert sizes == [1, 1, 1, 2, 30, 1, 1, 1, 2, 1]
    explainer.explain(lambda images: blurred(images), IMAGE, SEGMENT, batch_size=30, **QUIET)
    assert sizes[10:] == [1, 1, 1, 2, 30]


def test_a_small_memory_is_no_wrong_one(model):
    image = IMAGE.clone()
    image[..., 24:] = 0
    explainer = explainer_for(offset=4)
    explainer._cache.limit = 2000
    for ways in ("full", "windowed"):
        result = explainer.explain(model, image, SEGMENT, inference=ways, **QUIET)
        whole = explainer_for(offset=4).explain(model, image, SEGMENT, inference="full", **QUIET)
        np.testing.assert_array_equal(result.values, whole.values)
        assert 0 < explainer._cache.bytes <= 2000
    approximate = explainer.explain(model, image, SEGMENT, tolerance=1e-6, **QUIET)
    np.testing.assert_array_equal(approximate.values, whole.values)


@pytest.mark.parametrize("first", ["exclusive", "independent"])
def test_another_reading_does_not_take_these_values(first):
    """The same maps, target and threshold: only what makes a mask of them differs."""

    def model(images):
        return torch.stack([0.9 * images.mean(1), 0.8 * images.mean(1)], 1)

    classes = [first, "independent" if first == "exclusive" else "exclusive"]
    explainer = explainer_for()
    results = []
    for each in classes:
        segmenter = hw.Segmenter(model, 1, activation="none", classes=each)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # these do not add up to 1
            results.append(explainer.explain(segmenter, IMAGE, SEGMENT, **QUIET))
            alone = explainer_for().explain(segmenter, IMAGE, SEGMENT, **QUIET)
        np.testing.assert_array_equal(results[-1].values, alone.values)
    assert not np.array_equal(results[0].values, results[1].values)
