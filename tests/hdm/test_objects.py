"""One object of a mask explained as if it were alone, and one class against another."""

import numpy as np
import pytest
import torch
from scipy import ndimage

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.hdm.objects import label_objects, nearer_to_others, object_at

HEIGHT, WIDTH = 30, 40
ROWS, COLS = np.indices((HEIGHT, WIDTH))
# Three objects, of which two touch at a corner only and are one.
TRUTH = np.zeros((HEIGHT, WIDTH), bool)
TRUTH[4:12, 5:14] = True
TRUTH[12:16, 14:18] = True
TRUTH[18:27, 24:36] = True
TRUTH[3:6, 32:37] = True
IMAGE = torch.rand(1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1)) * 0.3
IMAGE[0, 5:13, 6:15] = 0.9
IMAGE[0, 17:25, 22:34] = 0.8
IMAGE[0, 2:5, 30:36] = 0.7
FIRST, LARGE = (5, 6), (20, 30)
VOID = COLS > 36


def bright(images):
    """Covered pixels and their neighbors are drawn less."""
    return torch.nn.functional.avg_pool2d(images, 3, stride=1, padding=1)


def scan(segment=TRUTH, model=bright, **options):
    explainer = hdm.HausdorffDistanceMasks(WIDTH, HEIGHT)
    explainer.generate_masks(circle_size=5, offset=3)
    return explainer.explain(model, IMAGE, segment, progress=False, **options)


def alone(mask, pixel, spacing=(1, 1)):
    """An object and the pixels nearer to others, pixel by pixel after the definition."""
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    number = labels[pixel]
    pixels = np.argwhere(mask)
    nearer = np.zeros(mask.shape, bool)
    for row, col in np.ndindex(mask.shape):
        squared = (((pixels - (row, col)) * spacing) ** 2).sum(1)
        own = labels[tuple(pixels.T)] == number
        nearer[row, col] = (~own).any() and squared[~own].min() < squared[own].min()
    return labels == number, nearer


NAMES = ("hausdorff", "hausdorff95", "mean_surface", "iou", "dice", "area", "flipped")
CASES = [(name, {}) for name in NAMES] + [
    ("hausdorff", {"ignore": VOID}),
    ("iou", {"ignore": VOID}),
    *((name, {"spacing": (2, 1)}) for name in NAMES if name not in ("iou", "dice")),
]


@pytest.mark.parametrize("of", ["truth", "prediction"])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_an_object_is_measured_as_by_a_scan_of_its_own(name, options, of):
    whole = scan(distance=name, **options)
    counted = ~VOID if "ignore" in options else np.ones_like(VOID)
    mask = (TRUTH if of == "truth" else whole.baseline_mask) & counted
    one, nearer = alone(mask, LARGE, options.get("spacing", (1, 1)))
    made = scan(one, distance=name, **{**options, "ignore": nearer | ~counted})
    result = whole.for_object(*LARGE, of=of)
    np.testing.assert_array_equal(result.values, made.values)
    assert result.baseline == made.baseline
    np.testing.assert_array_equal(result.segment, one)
    np.testing.assert_array_equal(result.ignored, made.ignored)
    assert result.settings.compared_with == of
    assert len(np.unique(made.values)) > 1


def test_what_happens_at_other_objects_counts_nowhere():
    def also(images):
        maps = bright(images).clone()
        # A disc at the corner takes the first object away.
        maps[..., :14, :18] *= (images[..., -1, -1] > 0).float()[..., None, None]
        return maps

    whole, changed = scan(), scan(model=also)
    assert (whole.values != changed.values).any()
    one = [result.for_object(*LARGE) for result in (whole, changed)]
    np.testing.assert_array_equal(one[0].values, one[1].values)


def test_objects_that_touch_at_a_corner_are_one():
    labels, count = label_objects(TRUTH)
    assert count == 3
    np.testing.assert_array_equal(object_at(TRUTH, *FIRST, "truth"), labels == labels[13, 15])


def test_an_only_object_has_no_pixel_that_is_ignored():
    only = label_objects(TRUTH)[0] == 1
    assert nearer_to_others(only, only, (1, 1)) is None
    pixel = tuple(np.argwhere(only)[0])
    result = scan(only)
    np.testing.assert_array_equal(result.for_object(*pixel).values, result.values)
    assert result.for_object(*pixel).ignored is None


def test_a_pixel_as_near_to_both_counts():
    two = np.zeros((1, 5), bool)
    two[0, [0, 4]] = True
    one = np.array([[True, False, False, False, False]])
    assert nearer_to_others(two, one, (1, 1)).tolist() == [[False, False, False, True, True]]


def test_an_object_stays_what_it_is_in_another_measure_and_in_a_file(tmp_path):
    result = scan().for_object(*LARGE)
    np.testing.assert_array_equal(result.measure("iou").values, scan(distance="iou").for_object(*LARGE).values)
    result.save(tmp_path / "object.npz")
    loaded = hdm.HDMResult.load(tmp_path / "object.npz")
    np.testing.assert_array_equal(loaded.values, result.values)
    np.testing.assert_array_equal(loaded.ignored, result.ignored)


@pytest.mark.parametrize(
    ("pixel", "options", "message"),
    [
        (
            (0, 0),
            {},
            r"pixel \(0, 0\) belongs to none of the 3 objects of the ground truth; the nearest has pixel \(4, 5\)",
        ),
        ((0, 0), {"of": "prediction"}, r"pixel \(0, 0\) belongs to none of the .* objects of the prediction"),
        ((30, 0), {}, r"one of its pixels \(row, col\); the image has 30 x 40 px .*got \(30, 0\)"),
        ((-1, 0), {}, r"got \(-1, 0\)"),
        ((1.5, 0), {}, r"got \(1.5, 0\)"),
        (LARGE, {"of": "model"}, "of must be"),
    ],
)
def test_no_object(pixel, options, message):
    with pytest.raises(ValueError, match=message):
        scan().for_object(*pixel, **options)


def test_an_object_needs_masks_and_a_measure_of_masks():
    with pytest.raises(ValueError, match="the masks were not kept"):
        scan(keep_outputs=False).for_object(*LARGE)

    class Own(hdm.HausdorffDistanceMasks):
        def calculate_distance(self, output, segment):
            return float(output.sum())

    own = Own(WIDTH, HEIGHT)
    own.generate_masks(circle_size=5, offset=6)
    with pytest.raises(ValueError, match=r"write result\.measure\(name\)\.for_object"):
        own.explain(bright, IMAGE, TRUTH, progress=False).for_object(*LARGE)


@pytest.mark.filterwarnings("ignore:the segment is empty:UserWarning")
def test_an_empty_mask_has_no_object():
    with pytest.raises(ValueError, match="the ground truth has no object: it is empty"):
        scan(np.zeros_like(TRUTH)).for_object(*LARGE)


def test_a_class_against_another_by_hand():
    """Three bands; a disc that covers anything of the first makes its band class 2."""
    image = np.zeros((1, 3, 6), np.float32)
    image[:, :, :2] = 1

    def model(images):
        covered = (images[:, 0, :, :2] < 1).any(dim=2).any(dim=1)
        classes = torch.tensor([[0, 0, 1, 1, 2, 2]] * 3).expand(len(images), 3, 6).clone()
        # Two of the three rows turn.
        classes[covered, :2, :2] = 2
        return torch.nn.functional.one_hot(classes, 3).permute(0, 3, 1, 2).float()

    explainer = hdm.HausdorffDistanceMasks(6, 3)
    explainer.generate_masks(circle_size=1, offset=1)
    truth = np.tile([0, 0, 1, 1, 2, 2], (3, 1))
    result = explainer.explain(hw.Segmenter(model), image, truth, progress=False, target="all")
    expected = np.zeros((3, 6))
    expected[:, :2] = 4 / 6
    np.testing.assert_allclose(result.class_change(0, 2), expected)
    assert not result.class_change(0, 1).any()
    assert not result.class_change(2, 0).any()
    # From any class's own result.
    np.testing.assert_allclose(result.for_class(1).class_change(0, 2), expected)
    for a, b, message in [
        (1, 1, "does not turn into itself"),
        (0, 3, "there is no class 3"),
        (7, 0, "there is no class 7"),
    ]:
        with pytest.raises(ValueError, match=message):
            result.class_change(a, b)
    with pytest.raises(ValueError, match="target='all'"):
        scan().class_change(0, 1)


def test_flipped_pixels_are_read_once_for_all_measures(monkeypatch):
    result = scan()
    wanted = result.influence(TRUTH)
    others = [result.measure("iou"), result.measure("hausdorff", np.roll(TRUTH, 1, 0)), result.for_object(*LARGE)]
    monkeypatch.delattr(type(result._masks), "window")
    for other in others[:2]:
        np.testing.assert_array_equal(other.influence(TRUTH), wanted)
    assert np.nanmax(others[2].influence(TRUTH)) > 0
