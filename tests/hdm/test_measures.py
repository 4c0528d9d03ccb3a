"""What a scan measures of every mask, and what its masks answer afterwards without another run."""

import warnings

import numpy as np
import pytest
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
from scipy import ndimage

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.metrics import dice, hausdorff_distance, hausdorff_percentile, iou, mean_surface_distance, row_distance

HEIGHT, WIDTH = 36, 48
ROWS, COLS = np.indices((HEIGHT, WIDTH))
IMAGE = torch.rand(3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
VOID = COLS < 9
SPACING = (2, 1)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    network = hw.UNet(3, 1, width=4, depth=2).eval()
    with torch.no_grad():
        network.head.bias -= network(IMAGE[None]).median()
    return network


@pytest.fixture(scope="module")
def truth(model):
    return np.roll(hw.Segmenter(model).masks(IMAGE[None])[0], 5, 1)


def explain(model, truth, image=IMAGE, offset=4, **options):
    explainer = hdm.HausdorffDistanceMasks(WIDTH, HEIGHT)
    explainer.generate_masks(circle_size=9, offset=offset)
    return explainer.explain(model, image, truth, progress=False, **options)


@pytest.fixture(scope="module")
def scan(model, truth):
    return explain(model, truth)


def area(mask, truth, spacing=(1, 1)):
    return (np.count_nonzero(mask) - np.count_nonzero(truth)) * np.prod(spacing)


def missing(overlap):
    return lambda mask, truth, spacing=(1, 1): 1 - overlap(mask, truth)


# Each by its definition on whole masks.
WHOLE = {
    "hausdorff": hausdorff_distance,
    "hausdorff95": lambda mask, truth, **spacing: hausdorff_percentile(mask, truth, 95, **spacing),
    "mean_surface": mean_surface_distance,
    "iou": missing(iou),
    "dice": missing(dice),
    "area": area,
    "rows": row_distance,
}
LENGTHS = ("hausdorff", "hausdorff95", "mean_surface")


@pytest.mark.parametrize("name", WHOLE)
def test_every_measure_of_the_kept_masks(name, scan, truth):
    measured = scan.measure(name)
    for row, col in np.ndindex(scan.grid.shape):
        expected = WHOLE[name](scan.output(row, col), truth)
        assert measured.values[row, col] == pytest.approx(expected, abs=1e-12)
    assert measured.baseline == pytest.approx(WHOLE[name](scan.baseline_mask, truth), abs=1e-12)
    # So few pixels flip that a percentile hardly moves.
    assert len(np.unique(measured.values)) > 1 or name == "hausdorff95"


NAMES = ("hausdorff95", "mean_surface", "iou", "dice", "area", "flipped")
OPTIONS = {"plain": {}, "ignore": {"ignore": VOID}, "spacing": {"spacing": SPACING}}
# What has no length has no spacing.
ASKED = [
    (name, key) for name in NAMES for key in OPTIONS if (name, key) not in {("iou", "spacing"), ("dice", "spacing")}
]


@pytest.fixture(scope="module", params=["full", "windowed"])
def inference(request):
    return request.param


@pytest.fixture(scope="module")
def scans(inference, model, truth):
    """Without and with ignored pixels."""
    return {key: explain(model, truth, offset=6, inference=inference, **OPTIONS[key]) for key in ("plain", "ignore")}


@pytest.mark.parametrize(("name", "key"), ASKED)
def test_a_scan_made_with_a_measure_is_the_same(name, key, inference, scans, model, truth):
    made = explain(model, truth, offset=6, distance=name, inference=inference, **OPTIONS[key])
    measured = scans["plain" if key == "spacing" else key].measure(name, spacing=OPTIONS[key].get("spacing"))
    np.testing.assert_array_equal(made.values, measured.values)
    assert (made.baseline, made.settings) == (measured.baseline, measured.settings)
    assert repr(made) == repr(measured)


def test_rows_of_masks_are_those_of_a_model_that_returns_masks(truth):
    def binary(images):
        return (images[:, :1] > 0.5).float()

    made, measured = explain(binary, truth, distance="rows"), explain(binary, truth).measure("rows")
    np.testing.assert_array_equal(made.values, measured.values)
    back = made.measure("hausdorff")
    np.testing.assert_array_equal(back.values, explain(binary, truth).values)


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")  # MONAI's own
@pytest.mark.parametrize(
    ("name", "oracle"),
    [
        ("hausdorff95", lambda a, b: compute_hausdorff_distance(a, b, include_background=True, percentile=95)),
        ("mean_surface", lambda a, b: compute_average_surface_distance(a, b, include_background=True, symmetric=True)),
    ],
)
def test_surface_distances_are_monais(name, oracle, scan, truth):
    measured = scan.measure(name)
    for row, col in [(0, 0), (3, 5), (8, 11)]:
        given = [torch.from_numpy(mask)[None, None] for mask in (scan.output(row, col), truth)]
        assert measured.values[row, col] == pytest.approx(float(oracle(*given)), rel=1e-6)


def test_flipped_counts_pixels_that_differ_from_the_prediction(scan):
    flipped = scan.measure("flipped")
    for row, col in np.ndindex(scan.grid.shape):
        assert flipped.values[row, col] == np.count_nonzero(scan.output(row, col) != scan.baseline_mask)
    assert flipped.baseline == 0


def test_area_is_signed_and_better_means_nearer_to_the_truth():
    image = torch.zeros(1, HEIGHT, WIDTH)
    image[:, 4:12, 4:12] = 1
    truth = np.zeros((HEIGHT, WIDTH), bool)
    truth[4:12, 4:8] = True
    result = explain(lambda images: images, truth, image).measure("area")
    assert result.baseline == 32  # 64 px drawn, 32 px true
    assert result.values.max() == 32
    assert result.values[1, 1] == 64 - 32 - np.count_nonzero(result.grid.mask(1, 1)[4:12, 4:12])
    better = result.distances(hdm.BETTER_ONLY)
    np.testing.assert_array_equal(better, np.maximum(32 - np.abs(result.values), 0))
    assert result.settings.label == "area difference (px²)"


@pytest.mark.parametrize("name", WHOLE)
def test_empty_masks(name):
    """Nothing is drawn under some discs: equal to nothing where the truth is empty, else as empty= says."""
    image = torch.zeros(1, HEIGHT, WIDTH)
    image[:, 5:8, 5:8] = 1
    for truth in (np.zeros((HEIGHT, WIDTH), bool), image[0].numpy() > 0):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the segment is empty
            result = explain(lambda images: images, truth, image).measure(name)
        assert not result.output(0, 0).any()
        expected = 0 if name != "area" and not truth.any() else None
        if expected is None:
            expected = {"iou": 1, "dice": 1, "area": -int(truth.sum()), "rows": 3**0.5}.get(name, np.hypot(36, 48))
        assert result.values[0, 0] == pytest.approx(expected)


def test_the_prediction_in_place_of_a_truth(model, scan):
    alone = explain(model, None)
    assert alone.baseline == 0
    assert alone.settings.of_prediction
    np.testing.assert_array_equal(alone.segment, scan.baseline_mask)
    for row, col in [(0, 0), (4, 4), (8, 11)]:
        assert alone.values[row, col] == hausdorff_distance(alone.output(row, col), alone.baseline_mask)
    measured = scan.measure("hausdorff", "prediction")
    np.testing.assert_array_equal(measured.values, alone.values)
    assert measured.settings == alone.settings
    assert "prediction" in repr(alone)


def test_without_a_truth_pixels_may_be_ignored_by_a_mask_only(model):
    result = explain(model, None, ignore=VOID)
    assert not (result.segment & VOID).any()
    assert result.baseline == 0
    with pytest.raises(ValueError, match="ignore=255 is a value of a ground truth, and segment=None gives none"):
        explain(model, None, ignore=255)


def test_another_truth(model, scan, truth):
    other = np.roll(truth, 3, 0)
    measured, made = scan.measure("hausdorff", other), explain(model, other)
    np.testing.assert_array_equal(measured.values, made.values)
    np.testing.assert_array_equal(measured.segment, other)
    np.testing.assert_array_equal(measured.measure("iou").values, made.measure("iou").values)
    assert scan.measure("hausdorff") is scan


class Classes(torch.nn.Module):
    """Three classes by brightness of three channels."""

    def forward(self, images):
        return ndimage_blur(images) * 9


def ndimage_blur(images):
    return torch.nn.functional.avg_pool2d(images, 5, 1, 2)


@pytest.mark.parametrize("name", ["hausdorff", "iou", "mean_surface", "flipped"])
def test_all_classes_at_once(name):
    truth = np.roll(ndimage_blur(IMAGE[None]).argmax(1)[0].numpy(), 4, 1)
    every = explain(Classes(), truth, offset=6, target="all").measure(name)
    made = explain(Classes(), truth, offset=6, target="all", distance=name)
    for number in (0, 1, 2):
        one = explain(hw.Segmenter(Classes(), target=number), truth == number, offset=6, distance=name)
        np.testing.assert_array_equal(every.for_class(number).values, one.values)
        np.testing.assert_array_equal(made.for_class(number).values, one.values)
        np.testing.assert_array_equal(every.for_class(number).measure("dice").values, one.measure("dice").values)
        region = ROWS < 20
        np.testing.assert_array_equal(every.for_class(number).influence(region), one.influence(region))


def test_a_region_keeps_its_meaning(model, truth):
    part = explain(model, truth, region=(8, 8, 20, 20)).measure("iou")
    whole = explain(model, truth).measure("iou")
    np.testing.assert_array_equal(part.values[part.measured], whole.values[part.measured])
    assert (part.values[~part.measured] == part.baseline).all()
    assert not part.measured.all()
    assert np.isnan(part.influence(truth)[~part.measured]).all()


def test_a_random_models_noise_is_in_the_same_measure(truth):
    generator = torch.Generator().manual_seed(0)

    def model(images):
        return (images.mean(1) - 0.5) + 0.05 * torch.randn(images.shape[2:], generator=generator)

    with pytest.warns(UserWarning, match="two runs of the model on one image differ"):
        result = explain(model, truth)
    noise = result.measure("flipped").noise
    assert noise.pixels == result.noise.pixels
    assert 0 < noise.distance <= noise.pixels


def test_what_is_kept_in_a_file_answers_too(tmp_path, scan, truth):
    scan.save(tmp_path / "scan.npz")
    loaded = hdm.HDMResult.load(tmp_path / "scan.npz")
    for name in ("mean_surface", "iou", "flipped"):
        np.testing.assert_array_equal(loaded.measure(name).values, scan.measure(name).values)
    measured = scan.measure("area", "prediction")
    measured.save(tmp_path / "area.npz")
    assert repr(hdm.HDMResult.load(tmp_path / "area.npz")) == repr(measured)
    np.testing.assert_array_equal(loaded.influence(truth), scan.influence(truth))


# -- influence ------------------------------------------------------------------------------------------


def worked():
    """5 x 5 px, discs of 2 x 2 px; the model draws what is bright, the right part only if pixel (0, 0) is bright."""
    image = torch.zeros(1, 5, 5)
    image[0, 0, 0] = 1
    image[0, 2:4, 1:4] = 1

    def model(images):
        lit = images[:, :, :1, :1]
        return torch.cat([images[..., :3], images[..., 3:] * lit], -1)

    explainer = hdm.HausdorffDistanceMasks(5, 5)
    explainer.generate_masks(circle_size=1, offset=1)
    return explainer.explain(model, image, image[0].numpy() > 0, progress=False)


def test_influence_by_hand():
    result = worked()
    assert result.grid.disc.all()
    assert result.grid.disc.shape == (2, 2)
    region = np.zeros((5, 5), bool)
    region[2:4, 2:4] = True
    influence = result.influence(region)
    expected = np.zeros((5, 5))
    expected[0, 0] = 0.5  # covers (0, 0): the two pixels of column 3 go
    # Discs on the region itself take what they cover.
    for row, col in np.ndindex(5, 5):
        covered = {(r, c) for r in (row, row + 1) for c in (col, col + 1)} & {(2, 2), (2, 3), (3, 2), (3, 3)}
        expected[row, col] = max(expected[row, col], len(covered) / 4)
    np.testing.assert_array_equal(influence, expected)


REGIONS = {
    "a pixel in a corner": (slice(0, 1), slice(0, 1)),
    "a pixel in the middle": (slice(HEIGHT // 2, HEIGHT // 2 + 1), slice(WIDTH // 2, WIDTH // 2 + 1)),
    "a strip": (slice(HEIGHT - 4, HEIGHT), slice(None)),
    "half of the image": (slice(HEIGHT // 2), slice(None)),
    "all of it": (slice(None), slice(None)),
}


@pytest.mark.parametrize("region", REGIONS.values(), ids=REGIONS)
@pytest.mark.parametrize("asked_before", [False, True])
def test_influence_on_regions_of_any_size_against_every_mask(model, truth, region, asked_before):
    # A scan of its own: what it is asked first is answered from fewer masks.
    scan = explain(model, truth)
    if asked_before:
        scan.influence(np.ones((HEIGHT, WIDTH), bool))
    brushed = np.zeros((HEIGHT, WIDTH), bool)
    brushed[region] = True
    expected = np.empty(scan.grid.shape)
    for row, col in np.ndindex(scan.grid.shape):
        expected[row, col] = (scan.output(row, col) != scan.baseline_mask)[brushed].mean()
    np.testing.assert_allclose(scan.influence(brushed), expected, rtol=1e-12)


def test_objects_on_objects_by_hand():
    result = worked()
    by, on = np.zeros((5, 5), int), np.zeros((5, 5), int)
    by[0, 0], by[4, 4], by[2:4, 1] = 1, 2, 7
    on[2:4, 3], on[2:4, 1:3] = 1, 3
    # The cue moves all of the right part; the lower right corner one pixel of it (the disc at (3, 3)); covering the
    # left column takes all of it and, with the disc beside it, its neighbors.
    np.testing.assert_array_equal(result.influence_matrix(by, on), [[1, 0], [0.5, 0], [0, 1]])


def test_objects_on_objects_against_every_mask(scan, truth):
    objects, count = ndimage.label(truth)
    others, n_others = ndimage.label(scan.baseline_mask)
    expected = np.full((count, n_others), np.nan)
    for row, col in np.ndindex(scan.grid.shape):
        flips = scan.output(row, col) != scan.baseline_mask
        fractions = [flips[others == number].mean() for number in range(1, n_others + 1)]
        for number in np.unique(objects[scan.grid.mask(row, col)]):
            if number:
                expected[number - 1] = np.fmax(expected[number - 1], fractions)
    np.testing.assert_allclose(scan.influence_matrix(objects, others), expected)


REFUSED = {
    "no such measure": (lambda scan: scan.measure("hd95"), "name must be"),
    "spacing of no length": (lambda scan: scan.measure("iou", spacing=(2, 2)), "'iou' is no length"),
    "a word": (
        lambda scan: scan.measure("iou", "model"),
        "segment must be one of 'prediction', got 'model'; or give a mask",
    ),
    "another size": (lambda scan: scan.measure("iou", VOID[1:]), r"expected a segment of the image's size \(36, 48\)"),
    "an empty region": (lambda scan: scan.influence(VOID & ~VOID), "the region has no pixel that counts"),
    "a region of another size": (lambda scan: scan.influence(VOID.T), r"expected a region of the image's size"),
    "no object": (lambda scan: scan.influence_matrix(VOID * 0, VOID * 1), "by has no object"),
    "objects of fractions": (lambda scan: scan.influence_matrix(VOID / 2, VOID), "by must be a label map of whole"),
    "objects of another size": (lambda scan: scan.influence_matrix(VOID * 1, VOID.T * 1), "expected a on of the"),
}


@pytest.mark.parametrize(("ask", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_asked(ask, message, scan):
    with pytest.raises((TypeError, ValueError), match=message):
        ask(scan)


@pytest.mark.parametrize("ask", [lambda result: result.measure("iou"), lambda result: result.influence(VOID)])
def test_masks_that_were_not_kept(ask, model, truth):
    with pytest.raises(ValueError, match="the masks were not kept; explain"):
        ask(explain(model, truth, keep_outputs=False))
