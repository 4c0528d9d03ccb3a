"""`target="all"`: the masks of all classes are kept, and any class is measured from them without the model."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import hdm_widgets as hw
from hdm_widgets import hdm

HEIGHT, WIDTH, CLASSES = 24, 32, 4
RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.random((3, HEIGHT, WIDTH)).astype(np.float32)
# A row of vertical bands: classes 0, 1, 2 and 3.
TRUTH = np.repeat(np.arange(WIDTH)[None] * CLASSES // WIDTH, HEIGHT, axis=0)
FLAT = torch.full((1, 6, 8), 0.5)
FLAT[:, :, 6:] = 0.9


class Net(nn.Module):
    """Random maps of four classes, with a receptive field of 9 px."""

    def __init__(self, padding=1):
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=padding), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, CLASSES, 3, padding=padding)
        )

    def forward(self, images):
        return 30 * self.layers(images)


class Counting(Net):
    """Counts the images that it is given."""

    seen = 0

    def forward(self, images):
        self.seen += len(images)
        return super().forward(images)


class Numbers(Net):
    """Class numbers in place of maps."""

    def forward(self, images):
        return super().forward(images).argmax(1) * 10


class Resized(Net):
    def forward(self, images):
        return super().forward(F.avg_pool2d(images, 2))


def explain(model, truth=TRUTH, image=IMAGE, circle_size=6, offset=3, **options):
    explainer = hdm.HausdorffDistanceMasks(image.shape[-1], image.shape[-2])
    explainer.generate_masks(circle_size, offset)
    return explainer.explain(model, image, truth, progress=False, **options)


def assert_same(got, wanted):
    """All that two results of one class have."""
    np.testing.assert_array_equal(got.values, wanted.values)
    np.testing.assert_array_equal(got.measured, wanted.measured)
    np.testing.assert_array_equal(got.segment, wanted.segment)
    np.testing.assert_array_equal(got.baseline_mask, wanted.baseline_mask)
    np.testing.assert_equal(got.ignored, wanted.ignored)
    np.testing.assert_equal(got.baseline, wanted.baseline)
    assert got.settings == wanted.settings
    for row, col in np.argwhere(wanted.measured):
        np.testing.assert_array_equal(got.output(row, col), wanted.output(row, col))


HOLE = np.zeros((HEIGHT, WIDTH), bool)
HOLE[5:12, 3:20] = True
IGNORED = np.where(HOLE, 255, TRUTH)
# A truth without class 3, of which one of the two masks is empty or nearly.
WITHOUT = np.where(TRUTH == 3, 0, TRUTH)
# Model, truth, options beside, and the pixels that are ignored then.
CASES = {
    "windows": (Net, TRUTH, {"inference": "windowed"}, None),
    "full": (Net, TRUTH, {"inference": "full"}, None),
    "resized": (Resized, TRUTH, {}, None),
    "region": (Net, TRUTH, {"region": (2, 3, 9, 14), "inference": "windowed"}, None),
    "spacing": (Net, TRUTH, {"spacing": (0.7, 2)}, None),
    "value to ignore": (Net, IGNORED, {"ignore": 255}, HOLE),
    "mask to ignore": (Net, TRUTH, {"ignore": HOLE, "inference": "windowed"}, HOLE),
    "masked array": (Net, np.ma.masked_array(TRUTH, HOLE), {}, HOLE),
    "floats": (Net, TRUTH.astype(np.float32), {}, None),
    "NaN to ignore": (Net, np.where(HOLE, np.nan, TRUTH), {"ignore": float("nan")}, HOLE),
    "diagonal": (Net, WITHOUT, {"empty": "diagonal"}, None),
    "inf": (Net, WITHOUT, {"empty": "inf", "spacing": (2, 1)}, None),
    "nan": (Net, WITHOUT, {"empty": "nan", "region": (0, 0, 5, 5)}, None),
    "fill": (Net, TRUTH, {"fill": "mean"}, None),
    "clipped": (Net, TRUTH, {"image": IMAGE * 2}, None),
    "numbers": (Numbers, TRUTH * 10, {}, None),
    "center": (partial(Net, padding=0), TRUTH, {}, None),
    "center in windows": (partial(Net, padding=0), TRUTH, {"inference": "windowed"}, None),
    "tensor": (Net, torch.tensor(TRUTH), {"batch_size": 3}, None),
}


@pytest.mark.parametrize(("make", "truth", "options", "ignored"), CASES.values(), ids=CASES.keys())
@pytest.mark.filterwarnings("ignore:the segment is empty", "ignore:the image has values up to")
def test_every_class_is_what_a_scan_of_it_alone_gives(make, truth, options, ignored):
    model, align = make(), "auto" if make in (Net, Numbers, Resized) else "center"
    every = explain(hw.Segmenter(model, align=align), truth, target="all", **options)
    labels = np.asarray(truth)
    assert every.classes == tuple(np.arange(CLASSES) * (10 if make is Numbers else 1))
    for number in every.classes:
        alone = explain(
            hw.Segmenter(model, target=number, align=align), labels == number, **{**options, "ignore": ignored}
        )
        assert_same(every.for_class(number), alone)
    # None of that changes the first one.
    assert every.settings.target == every.classes[1]
    assert_same(every.for_class(every.classes[1]), every)


def test_windows_were_used(windows):
    explain(Net(), target="all", inference="windowed")
    assert sum(windows) > 20


def test_the_model_is_not_run_again():
    model = Counting()
    every = explain(model, target="all", inference="full")
    seen = model.seen
    maps = [every.for_class(number).values for number in every.classes]
    assert model.seen == seen
    assert all((a != b).any() for at, a in enumerate(maps) for b in maps[:at])


def test_values_worked_by_hand():
    """The right quarter is class 2 where it is bright; the rest is class 1 where gray, and class 0 where covered."""

    def model(images):
        value = images[:, 0]
        return torch.stack([value < 0.25, (value >= 0.25) & (value < 0.75), value >= 0.75], 1).float()

    truth = torch.where(FLAT[0] > 0.75, 2, 1)
    every = explain(model, truth, FLAT, circle_size=1, offset=2, target="all")
    assert every.classes == (0, 1, 2)
    assert every.settings.target == 1
    assert [every.for_class(number).baseline for number in every.classes] == [0, 0, 0]
    # A disc of 2 x 2 px takes its pixels from a class: the next pixel of that class is one or, in a corner, two away.
    np.testing.assert_array_equal(every.for_class(1).values, [[2, 1, 2, 0], [1, 1, 1, 0], [2, 1, 2, 0]])
    np.testing.assert_array_equal(every.for_class(2).values, [[0, 0, 0, 2], [0, 0, 0, 1], [0, 0, 0, 2]])
    # Class 0 has no pixel in the truth: as soon as it has one in the mask, the distance is the image's diagonal.
    np.testing.assert_array_equal(every.for_class(0).values, np.full((3, 4), 10.0))


FIRST = {
    "the lowest besides 0": (np.where(TRUTH == 1, 0, TRUTH), {}, 2),
    "0 where there is no other": (np.zeros_like(TRUTH), {}, 0),
    "not an ignored one": (TRUTH, {"ignore": 1}, 2),
}


@pytest.mark.parametrize(("truth", "options", "wanted"), FIRST.values(), ids=FIRST.keys())
def test_the_class_that_is_measured_first(truth, options, wanted):
    result = explain(Net(), truth, target="all", **options)
    assert result.settings.target == wanted
    np.testing.assert_array_equal(result.segment, truth == wanted)


def test_class_numbers_are_those_of_outputs_and_truth():
    """A disc lets class 7 appear; the truth has a class 5 that the model never gives, and -1 is no class."""

    def model(images):
        value = images[:, 0]
        return torch.where(value < 0.25, 7, torch.where(value < 0.75, 300, -1))

    truth = torch.where(FLAT[0] > 0.75, 5, 300)
    result = explain(model, truth, FLAT, circle_size=1, offset=2, target="all")
    assert result.classes == (5, 7, 300)
    assert result.settings.target == 5
    assert result.for_class(300).baseline == 0
    assert result.for_class(7).output(0, 0).sum() == 4


def test_there_may_be_many_classes():
    """More than a byte can count."""

    def model(images):
        labels = torch.where(images[:, 0] < 0.25, 256, torch.where(images[:, 0] < 0.75, 0, 299))
        return F.one_hot(labels, 300).movedim(-1, 1).float()

    truth = torch.where(FLAT[0] > 0.75, 299, 0)
    every = explain(model, truth, FLAT, circle_size=1, offset=2, target="all")
    assert every.classes == tuple(range(300))
    assert (every.settings.target, every.baseline) == (299, 0)
    np.testing.assert_array_equal(every.values, [[0, 0, 0, 2], [0, 0, 0, 1], [0, 0, 0, 2]])
    assert every.for_class(256).output(0, 1).nonzero()[1].tolist() == [2, 3, 2, 3]


def test_the_text_names_the_class():
    every = explain(Net(), target="all")
    assert repr(every.for_class(3)).startswith("HDMResult(class 3 of several; 8 x 10 cells")
    assert repr(explain(Net(), TRUTH == 1, target=1)).startswith("HDMResult(8 x 10 cells")


def test_a_saved_result_keeps_the_classes(tmp_path):
    every = explain(Net(), IGNORED, target="all", ignore=255, region=(0, 0, 9, 20))
    for given in (every, every.for_class(3)):
        given.save(tmp_path / "classes.npz")
        read = hdm.HDMResult.load(tmp_path / "classes.npz")
        assert read.classes == every.classes == (0, 1, 2, 3)
        assert_same(read, given)
        for number in every.classes:
            assert_same(read.for_class(number), every.for_class(number))


def test_results_of_a_running_scan_have_all_classes():
    explainer = hdm.HausdorffDistanceMasks(WIDTH, HEIGHT)
    explainer.generate_masks(6, 3)
    updates = explainer.stream(Net(), IMAGE, TRUTH, target="all", inference="full", batch_size=5)
    whole = explain(Net(), TRUTH == 2, target=2, inference="full", batch_size=5)
    shown = [(update.result, update.result.for_class(2)) for update in updates]
    assert len({int(of_two.measured.sum()) for _, of_two in shown}) > 5
    for result, of_two in shown:
        np.testing.assert_array_equal(of_two.measured, result.measured)
        np.testing.assert_array_equal(of_two.values, np.where(result.measured, whole.values, np.nan))
    assert shown[-1][1].complete


def test_a_second_scan_takes_cells_from_the_cache():
    model = Counting()
    explainer = hdm.HausdorffDistanceMasks(WIDTH, HEIGHT)
    explainer.generate_masks(6, 3)

    def run(target, truth):
        before = model.seen
        result = explainer.explain(model, IMAGE, truth, target=target, inference="full", progress=False)
        return result, model.seen - before

    (first, runs), (second, again) = run("all", TRUTH), run("all", TRUTH)
    # The image without a disc, its checks, and one cell to see that the model is still the same.
    assert runs > 80 > 10 > again
    assert_same(second.for_class(3), first.for_class(3))
    # A scan of one class keeps masks of another kind: nothing is shared.
    one, runs = run(1, TRUTH == 1)
    assert runs > 80
    assert_same(one, first)


def test_the_noise_of_a_random_model_is_that_of_the_class(tmp_path):
    """Class 1 gets or loses a column at every run; class 2 does not change."""

    class Flicker(nn.Module):
        turn = 0

        def forward(self, images):
            self.turn += 1
            edge = 10 + self.turn % 2
            cols = torch.arange(WIDTH)
            labels = torch.where(cols < edge, 1, torch.where(cols < 20, 0, 2))
            maps = F.one_hot(labels, 3).movedim(-1, 0).float()
            return maps[None, :, None].expand(len(images), -1, HEIGHT, -1).clone()

    truth = np.where(np.arange(WIDTH) < 10, 1, np.where(np.arange(WIDTH) < 20, 0, 2)) * np.ones((HEIGHT, 1), int)
    with pytest.warns(UserWarning, match="two runs of the model on one image differ"):
        every = explain(Flicker(), truth, target="all", batch_size=1)
    noise = {number: every.for_class(number).noise for number in every.classes}
    assert {number: (each.distance, each.pixels) for number, each in noise.items()} == {
        0: (1, HEIGHT), 1: (1, HEIGHT), 2: (0, 0),
    }  # fmt: skip
    assert every.for_class(2).for_class(1).noise == every.noise
    every.save(tmp_path / "random.npz")
    read = hdm.HDMResult.load(tmp_path / "random.npz")
    assert {number: read.for_class(number).noise for number in read.classes} == noise


def test_a_batch_dependent_model_is_run_singly_in_every_scan():
    """What the first scan learned of a Segmenter holds for the second, of this or of another class."""

    class Mixed(Net):
        def forward(self, images):
            return super().forward(images / images.amax())

    seg = hw.Segmenter(Mixed())
    with pytest.warns(UserWarning, match="depends on the other images"):
        first = explain(seg, target="all", image=IMAGE * np.float32(0.5))
    second = explain(seg, target="all", image=IMAGE * np.float32(0.5))
    assert second.reading.batch_dependent
    alone = explain(seg.model, TRUTH == 3, target=3, image=IMAGE * np.float32(0.5), batch_size=1)
    for result in (first, second):
        np.testing.assert_array_equal(result.for_class(3).values, alone.values)


class Own(hdm.HausdorffDistanceMasks):
    def calculate_distance(self, output, segment):
        return 0.0


def own_distance(**options):
    explainer = Own(WIDTH, HEIGHT)
    explainer.generate_masks(6, 3)
    return explainer.explain(Net(), IMAGE, TRUTH, progress=False, **options)


REFUSED = {
    "masks are not kept": ({"keep_outputs": False}, "measures the classes from the masks that a scan keeps"),
    "rows": ({"distance": "rows"}, "distance='rows' is measured on the raw output"),
    "tolerance": ({"tolerance": 0.01}, "the error of an estimate is measured for one class only"),
    "another word": ({"target": "every"}, "target must be the index of a class, or 'all', got 'every'"),
    "own distance": ({"explain": own_distance}, "calculate_distance of your own measures the raw output"),
    "own target": ({"model": hw.Segmenter(Net(), target=1)}, "the Segmenter's own target is class 1"),
    "one map": ({"model": lambda images: images[:, 0]}, "returned one map: there are no classes to choose from"),
    "independent classes": (
        {"model": hw.Segmenter(Net(), classes="independent")},
        "classes are independent, and a pixel may belong to several",
    ),
    "negative": ({"truth": TRUTH - 1}, "class numbers, 0 or more, got -1; for pixels that do not count, ignore=-1"),
    "probabilities": ({"truth": TRUTH / 3}, "must have class numbers, 0 or more, got 0.333"),
    "NaN": ({"truth": np.where(HOLE, np.nan, TRUTH)}, r"got nan; for pixels that do not count, ignore=float\('nan'\)"),
    "infinity": ({"truth": np.where(HOLE, np.inf, TRUTH)}, "must have class numbers, 0 or more, got inf"),
    "names": ({"truth": np.full((HEIGHT, WIDTH), "road")}, "must have class numbers, got <U4"),
    "255": (
        {"truth": IGNORED},
        "the ground truth has class 255, but the model returned 4 classes, 0 to 3; for pixels that do not count, "
        "ignore=255",
    ),
    "0 and 255": (
        {"truth": np.where(HOLE, 255, 0)},
        "class 255, but the model returned 4 classes, 0 to 3; for pixels of the ground truth that do not count, "
        "ignore=255",
    ),
}


@pytest.mark.parametrize(("given", "message"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.filterwarnings("ignore:the segment has the value 255")
def test_what_cannot_keep_all_classes_says_so(given, message):
    given = {"target": "all", "model": Net(), **given}
    run = given.pop("explain", None)
    if run:
        del given["model"]
    with pytest.raises((ValueError, TypeError), match=message):
        (run or explain)(**given)


def test_a_value_that_may_mark_pixels_is_noticed():
    with pytest.warns(UserWarning, match="has the value 255, which counts as a class; .* ignore=255"):
        result = explain(Numbers(), np.where(HOLE, 255, TRUTH * 10), target="all")
    assert result.classes == (0, 10, 20, 30, 255)


def test_for_class_says_what_there_is():
    every, one = explain(Net(), target="all"), explain(Net(), TRUTH == 1, target=1)
    assert one.classes == ()
    with pytest.raises(ValueError, match=r"explain\(..., target='all'\) keeps all of them"):
        one.for_class(1)
    for number in (4, -1, 1.5, "road", True):
        with pytest.raises(ValueError, match=rf"there is no class {number!r}; the classes are 0, 1, 2, 3"):
            every.for_class(number)
    assert every.for_class(np.int64(2)).settings.target == 2


def test_an_empty_mask_may_be_an_error_for_one_class_only():
    every = explain(Net(), WITHOUT, target="all", empty="raise")
    for _ in range(2):
        with pytest.raises(ValueError, match="empty"):
            every.for_class(3)
    assert_same(every.for_class(2), explain(Net(), WITHOUT == 2, target=2, empty="raise"))


def test_overlaps_and_pairs_are_of_the_class():
    every = explain(Net(), target="all")
    one = explain(Net(), TRUTH == 2, target=2)
    assert every.for_class(2).iou(3, 4) == one.iou(3, 4)
    assert every.for_class(2).pair(3, 4) == one.pair(3, 4)
