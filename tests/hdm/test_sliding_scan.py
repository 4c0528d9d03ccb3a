"""Scans with a Segmenter that runs its model in windows: what it measures, and what it runs."""

import itertools
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from architectures import made
from torch import nn
from torch.nn import functional as F
from window_checks import Levelled, random_image, randomized

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.hdm.backends import Inference
from hdm_widgets.hdm.occlusion import Changes
from hdm_widgets.hdm.sliding_backends import changes_in_window
from hdm_widgets.models.errors import ModelError
from hdm_widgets.models.sliding import SlidingWindow
from hdm_widgets.windowed import WindowedInference

QUIET = {"progress": False}


def scene(channels, height, width):
    """Light and dark in blobs."""
    coarse = random_image(channels, height // 8, width // 8)
    return F.interpolate(coarse[None], size=(height, width), mode="bicubic", align_corners=True)[0].clamp(0.02, 1)


def unet(image, classes=1):
    return Levelled(randomized(made(lambda: hw.UNet(len(image), classes, 4, 1))), image)


def unpadded(image):
    torch.manual_seed(0)
    return Levelled(nn.Sequential(nn.Conv2d(len(image), 4, 3), nn.ReLU(), nn.Conv2d(4, 1, 3)), image)


def explainer_for(image, circle_size=9, offset=12, cls=hdm.HausdorffDistanceMasks):
    explainer = cls(image.shape[-1], image.shape[-2])
    explainer.generate_masks(circle_size, offset)
    return explainer


def assert_as_if_run_in_full(result, segmenter, most=0):
    """Every cell: mask and distance as those of the whole occluded image; rounding may flip `most` pixels of a mask."""
    assert result.complete
    cells = np.argwhere(result.measured).tolist()
    masks = segmenter.masks(np.stack([result.occluded(row, col) for row, col in cells]))
    changed = 0
    for (row, col), mask in zip(cells, masks, strict=True):
        ours = result.output(row, col)
        assert (ours != mask).sum() <= most, (row, col)
        expected = hdm.HausdorffDistanceMasks(1, 1).calculate_distance(ours.astype(np.float32), result.segment)
        assert result.values[row, col] == expected
        changed += (mask != result.baseline_mask).any()
    assert changed >= len(cells) / 3


SIZES = {"larger": (56, 48), "one side shorter": (20, 48), "shorter": (16, 20)}


@pytest.mark.parametrize("inference", ["full", "windowed"])
@pytest.mark.parametrize(("overlap", "blending"), [(0.25, "constant"), (0.5, "gaussian"), (0, "constant")])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
def test_equals_masks_of_whole_occluded_images(size, overlap, blending, inference):
    image = scene(1, *size)
    segmenter = hw.Segmenter(unet(image), window=24, overlap=overlap, blending=blending, batch_size=4)
    result = explainer_for(image, 7, 8).explain(
        segmenter, image, segmenter.masks(image[None])[0], inference=inference, **QUIET
    )
    # Folded batch norm and batches round in another way.
    assert_as_if_run_in_full(result, segmenter, most=1)
    assert result.plan.backend == {"full": "model", "windowed": "windowed"}[inference], result.plan
    assert result.plan.sliding == (24, 24)
    assert result.plan.largest_difference <= 1e-4


def blue(images):
    return (images > 0.5).long()[:, 0]


def standardized(images):
    return (images - images.mean((2, 3), keepdim=True)) / (images.std((2, 3), keepdim=True) + 1)


KINDS = {
    "several classes": (lambda image: unet(image, 3), {"target": 1}, {}),
    "class numbers": (lambda _: blue, {"target": 1}, {}),
    "unpadded": (unpadded, {"overlap": 8}, {}),
    "unpadded, with gaps": (unpadded, {"overlap": 0, "blending": "gaussian"}, {"inference": "windowed"}),
    "preprocess": (unet, {"preprocess": standardized, "pad_to": 6}, {}),
    "rectangles": (unet, {"window": (20, 36), "overlap": (3, 0.4)}, {"inference": "windowed"}),
    "mean": (unet, {}, {"fill": "mean"}),
    "blur": (unet, {}, {"fill": "blur", "inference": "windowed"}),
    "inpainted": (unet, {}, {"fill": "inpainted", "inference": "windowed"}),
    "square": (unet, {}, {"shape": "square"}),
    "a region": (unet, {}, {"region": (30, 20, 50, 60), "inference": "windowed"}),
}


@pytest.mark.parametrize(("make", "given", "options"), KINDS.values(), ids=KINDS.keys())
def test_models_fills_and_options(make, given, options):
    image = scene(1, 72, 60)
    segmenter = hw.Segmenter(make(image), **{"window": 32, "batch_size": 2} | given)
    valid = segmenter.masks(image[None])[0]
    result = explainer_for(image, 9, 12).explain(segmenter, image, valid, **options, **QUIET)
    assert_as_if_run_in_full(result, segmenter, most=1)


def test_all_classes():
    image = scene(1, 64, 60)
    model = unet(image, 3)
    segmenter = hw.Segmenter(model, window=32, batch_size=2)
    result = explainer_for(image).explain(segmenter, image, target="all", inference="windowed", **QUIET)
    for number in range(3):
        one = hw.Segmenter(model, number, window=32, batch_size=2)
        alone = result.for_class(number)
        for row, col in np.argwhere(result.measured)[::5].tolist():
            mask = one.masks(result.occluded(row, col)[None])[0]
            assert (alone.output(row, col) != mask).sum() <= 1


class Squares(hdm.HausdorffDistanceMasks):
    """Covers more than the disc, across windows, and measures the raw map of the whole image."""

    def apply_mask(self, image, mask):
        covered = image.clone()
        rows = (mask == 0).any(1).nonzero().flatten()
        covered[:, int(rows[0]) : int(rows[-1]) + 1] *= 0.5
        return covered

    def calculate_distance(self, output, segment):
        assert output.shape == segment.shape == (72, 60)
        return float(output.sum())


def test_an_apply_mask_and_a_distance_of_ones_own():
    image = scene(1, 72, 60)
    segmenter = hw.Segmenter(unet(image), window=32, batch_size=1)
    result = explainer_for(image, 9, 12, Squares).explain(segmenter, image, image[0] > 0.5, inference="full", **QUIET)
    for row, col in np.argwhere(result.measured)[::7].tolist():
        raw = segmenter.raw(torch.from_numpy(result.occluded(row, col))[None])
        assert result.values[row, col] == pytest.approx(float(raw.sum()), abs=1e-2)


def test_estimates_in_windows(monkeypatch):
    monkeypatch.setattr(Inference, "estimates_are_slower", False)
    image = scene(1, 72, 60)
    segmenter = hw.Segmenter(unet(image), window=32)
    truth = segmenter.masks(image[None])[0]
    exact, rough = (
        explainer_for(image, 9, 5).explain(segmenter, image, truth, batch_size=1, **options, **QUIET)
        for options in ({"inference": "windowed"}, {"tolerance": 1e-4})
    )
    assert rough.estimated.any()
    assert rough.plan.tolerance == 1e-4
    assert rough.approximation.cells > 0
    assert np.abs(rough.values - exact.values).max() <= 3


# -- what is run ------------------------------------------------------------------------------------------


class Placed:
    """Draws what is light in the first channel; notes where in the image each window lies, as the second says."""

    def __init__(self):
        self.given = []

    def __call__(self, images):
        self.given += images[:, 1, 0, 0].mul(10_000).round().long().tolist()
        self.shapes = {tuple(images.shape[1:])}
        return images[:, :1]


def placed_image(side):
    places = torch.arange(side * side).reshape(side, side) / 10_000
    return torch.stack([scene(1, side, side)[0], places])


def test_only_windows_that_a_disc_touches_are_run_again():
    side, image = 96, placed_image(96)
    model = Placed()
    segmenter = hw.Segmenter(model, window=32, overlap=8, batch_size=1, activation="none")
    explainer = explainer_for(image, 7, 8)
    region = (40, 40, 56, 56)
    scan = explainer.stream(segmenter, image, image[0] > 0.5, channel=0, region=region, fill=0.9)
    next(scan)
    del model.given[:]
    *_, update = scan
    starts = [0, 24, 48, 64]
    boxes = {row * side + col: (row, col) for row in starts for col in starts}
    runs = {place: model.given.count(place) for place in model.given}
    assert set(runs) <= set(boxes)
    assert model.shapes == {(2, 32, 32)}
    for place, (row, col) in boxes.items():
        touching = 0
        for at in np.argwhere(update.result.measured).tolist():
            rows, cols, _ = explainer.grid.window(*at)
            touching += rows.start < row + 32 and rows.stop > row and cols.start < col + 32 and cols.stop > col
        # Once more where the window is not changed, to be blended with those that are.
        assert touching <= runs.get(place, 0) <= touching + 1
    assert update.done == update.total == 4


def test_activations_are_kept_of_few_windows(monkeypatch):
    image = scene(1, 56, 56)
    segmenter = hw.Segmenter(unet(image), window=24, batch_size=1)
    truth = segmenter.masks(image[None])[0]
    whole = explainer_for(image).explain(segmenter, image, truth, inference="windowed", **QUIET)
    monkeypatch.setattr("hdm_widgets.hdm.sliding_backends._ACTIVATION_BYTES", 1)
    monkeypatch.setattr("hdm_widgets.hdm.sliding_backends._PENDING_BYTES", 1)
    monkeypatch.setattr("hdm_widgets.models.image_windows._OUTPUT_BYTES", 1)
    made, alive = WindowedInference.__init__, weakref.WeakSet()
    counts = []

    def counting(self, *arguments):
        made(self, *arguments)
        alive.add(self)
        counts.append(len(alive))

    monkeypatch.setattr(WindowedInference, "__init__", counting)
    poor = explainer_for(image).explain(segmenter, image, truth, inference="windowed", **QUIET)
    np.testing.assert_array_equal(poor.values, whole.values)
    # More often than there are windows, and one at a time, beside the one that takes its place.
    assert len(counts) > 9
    assert max(counts) <= 2


def test_a_region_costs_as_much_in_any_image(monkeypatch):
    counted = []
    content = Changes.images
    monkeypatch.setattr(Changes, "images", lambda self, items: counted.append(self.size) or content(self, items))
    for side in (96, 192):
        image = placed_image(side)
        model = Placed()
        segmenter = hw.Segmenter(model, window=32, overlap=8, batch_size=1, activation="none")
        explainer = explainer_for(image, 7, 8)
        scan = explainer.stream(segmenter, image, image[0] > 0.5, channel=0, region=(24, 24, 48, 48), fill=0.9)
        next(scan)
        del model.given[:]
        list(scan)
        counted.append(len(model.given))
    sizes, numbers = {each for each in counted if isinstance(each, tuple)}, [n for n in counted if isinstance(n, int)]
    # No occluded image is ever made as a whole.
    assert sizes == {(32, 32)}
    assert numbers[0] == numbers[1] > 16


def test_what_a_window_shows_of_changes():
    image = random_image(1, 20, 50)
    changed = image.clone()
    changed[:, 5:15, 20:30] = 2
    changes = Changes(
        np.array([[5, 20, 15, 30]]), [b"x"],
        lambda items, parts: torch.stack([changed[:, a:c, b:d] for a, b, c, d in parts.tolist()]), (20, 50),
    )  # fmt: skip
    grid = SlidingWindow.from_options(24, 0, "constant").grid(20, 50)
    whole = F.pad(changed, (0, 0, 2, 2))
    # Windows begin in columns 0, 24, 26 and two rows above the image.
    for index, (col, box) in enumerate([(0, [7, 20, 17, 24]), (24, [7, 0, 17, 6]), (26, [7, 0, 17, 4])]):
        inside = changes_in_window(changes, grid, index)
        assert inside.boxes.tolist() == [box]
        assert inside.keys == [b"x"]
        assert inside.size == (24, 24)
        items = np.array([0])
        assert torch.equal(inside.images(items)[0], whole[..., col : col + 24])
        assert torch.equal(
            inside.content(items, inside.boxes)[0], whole[..., box[0] : box[2], col + box[1] : col + box[3]]
        )
    far = SlidingWindow.from_options(10, 0, "constant").grid(20, 50)
    assert changes_in_window(changes, far, 0).boxes.tolist() == [[0, 0, 0, 0]]


# -- around a scan ------------------------------------------------------------------------------------------


def test_windows_that_are_wrong_are_caught(monkeypatch):
    image = scene(1, 72, 60)
    segmenter = hw.Segmenter(unet(image), window=32, batch_size=1)
    truth = segmenter.masks(image[None])[0]
    run = WindowedInference.run

    def wrong(self, *arguments):
        for windows in run(self, *arguments):
            yield replace(windows, values=windows.values + 0.5)

    monkeypatch.setattr(WindowedInference, "run", wrong)
    result = explainer_for(image).explain(segmenter, image, truth, inference="windowed", **QUIET)
    assert result.plan.backend == "model"
    assert result.plan.reason.endswith("every disc was run in full")
    assert str(result.plan).startswith("For each disc, the model is run on the windows of 32")
    assert_as_if_run_in_full(result, segmenter)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"inference": "full"}, "For each disc, the model is run on the windows of 32 × 32 px that it touches: whole"),  # noqa: RUF001
        ({"inference": "windowed"}, "Only what a disc changes is computed, in the windows of 32 × 32 px that it"),  # noqa: RUF001
    ],
)
def test_plans_say_what_is_run(options, text):
    image = scene(1, 72, 60)
    segmenter = hw.Segmenter(unet(image), window=32)
    plan = explainer_for(image).plan(segmenter, image, image[0] > 0.5, **options)
    assert str(plan).startswith(text)
    assert plan.sliding == (32, 32)


def test_an_error_names_the_cell():
    image = scene(1, 72, 60).clamp(0, 0.9)

    def breaks(images):
        if bool((images[:, 0] == 1).any()):
            raise ValueError("too bright")
        return images[:, :1]

    segmenter = hw.Segmenter(breaks, window=32, batch_size=1)
    with pytest.raises(ModelError, match=r"at cell \(row 0, column 0\): the model raised ValueError: too br"):
        explainer_for(image).explain(segmenter, image, image[0] > 0.5, fill=1.0, **QUIET)


def test_a_random_model_is_noticed():
    image = scene(1, 72, 60)
    noise = torch.Generator().manual_seed(0)

    def draws(images):
        return images[:, :1] + 0.1 * torch.randn(images[:, :1].shape, generator=noise)

    segmenter = hw.Segmenter(draws, window=32, activation="none")
    with pytest.warns(UserWarning, match="two runs of the model on one image differ"):
        result = explainer_for(image).explain(segmenter, image, image[0] > 0.5, **QUIET)
    assert result.noise.pixels > 0
    assert result.reading.random


def test_results_are_kept_apart_and_stored(tmp_path):
    image = scene(1, 72, 60)
    model, explainer = unet(image), explainer_for(image)
    truth = image[0] > 0.5
    results = []
    for options in ({}, {"window": 24, "overlap": 0}, {"window": 24, "overlap": 0.5}, {"window": 24}):
        segmenter = hw.Segmenter(model, preprocess=standardized, batch_size=1, **options)
        results.append(explainer.explain(segmenter, image, truth, **QUIET))
        assert_as_if_run_in_full(results[-1], segmenter, most=1)
    for one, other in itertools.pairwise(results):
        assert not np.array_equal(one.values, other.values)
    assert "windows of 24 x 24 px" in results[1].reading.short
    results[1].save(tmp_path / "scan.npz")
    loaded = hdm.HDMResult.load(tmp_path / "scan.npz")
    np.testing.assert_array_equal(loaded.values, results[1].values)
    np.testing.assert_array_equal(loaded.output(2, 2), results[1].output(2, 2))
