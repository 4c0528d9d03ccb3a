"""Two models on one image: results, differences, texts, figures and files."""

import io

import numpy as np
import pytest
import torch
from matplotlib import pyplot
from PIL import Image

import hdm_widgets as hw
from hdm_widgets import hdm
from hdm_widgets.hdm.circle_map import color_table

# A square of 6 px and a marker below it, on 16 x 16 px; cells are 4 px apart.
IMAGE = np.zeros((1, 16, 16), np.float32)
IMAGE[0, 2:8, 2:8] = 1
IMAGE[0, 13:15, 13:15] = 1
TRUTH = np.zeros((16, 16), bool)
TRUTH[2:8, 2:8] = True
GRID = {"circle_size": 2, "offset": 4}


def honest(images):
    """What is bright, without the marker."""
    output = images[:, 0].clone()
    output[:, 10:, 10:] = 0
    return output


def by_the_marker(images):
    """The whole square, wherever it is covered, as long as all of the marker is seen; one column without it."""
    output = torch.zeros_like(images[:, 0])
    output[:, 2:8, 2:3] = 1
    seen = images[:, 0, 13:15, 13:15].amin((1, 2)) > 0.5
    output[seen, 2:8, 2:8] = 1
    return output


MODELS = {"before": honest, "after": by_the_marker}


def compared(**options):
    return hdm.compare_models(
        options.pop("models", MODELS), IMAGE, options.pop("segment", TRUTH), **GRID, progress=False, **options
    )


def scanned(model, segment=TRUTH, **options):
    explainer = hdm.HausdorffDistanceMasks(16, 16)
    explainer.generate_masks(**GRID)
    return explainer.explain(model, IMAGE, segment, progress=False, **options)


def test_worked_by_hand():
    comparison = compared(distance="flipped")
    # Every disc on the square loses the pixels that it covers. The marker is covered by the last cell alone, and then
    # 30 pixels are lost.
    disc = hdm.Grid(16, 16, 2, 4).disc
    square = np.zeros((20, 20), bool)
    square[2:8, 2:8] = True
    lost = [[(square[y : y + 3, x : x + 3] & disc).sum() for x in range(0, 16, 4)] for y in range(0, 16, 4)]
    np.testing.assert_array_equal(comparison.results["before"].values, lost)
    after = np.zeros((4, 4))
    after[3, 3] = 30
    np.testing.assert_array_equal(comparison.results["after"].values, after)
    np.testing.assert_array_equal(comparison.difference, after - lost)
    np.testing.assert_array_equal(comparison.between("after", "before"), lost - after)


@pytest.mark.parametrize("options", [{}, {"distance": "iou"}, {"fill": 0.5}, {"segment": None}, {"distance": "rows"}])
def test_equals_two_scans(options):
    comparison = compared(**options)
    assert comparison.names == ("before", "after")
    for name, model in MODELS.items():
        wanted, got = scanned(model, **options), comparison.results[name]
        np.testing.assert_array_equal(got.values, wanted.values)
        assert (got.baseline, got.settings) == (wanted.baseline, wanted.settings)
    np.testing.assert_array_equal(
        comparison.difference, comparison.results["after"].values - comparison.results["before"].values
    )


@pytest.mark.parametrize("kind", list(hdm.ResultType))
def test_difference_of_each_result_type(kind):
    comparison = compared(distance="mean_surface")
    before, after = (scanned(model, distance="mean_surface").distances(kind) for model in MODELS.values())
    np.testing.assert_array_equal(comparison.between("before", "after", kind), after - before)


@pytest.mark.parametrize("name", ["hausdorff", "hausdorff95", "mean_surface", "iou", "dice", "area", "flipped"])
def test_another_measure_of_all_models(name):
    measured = compared().measure(name)
    wanted = compared(distance=name)
    for one in MODELS:
        np.testing.assert_array_equal(measured.results[one].values, wanted.results[one].values)
    np.testing.assert_array_equal(measured.difference, wanted.difference)


def test_cells_without_a_measurement_have_no_difference():
    comparison = compared(region=(0, 0, 8, 8))
    measured = comparison.results["before"].measured
    assert 0 < measured.sum() < measured.size
    np.testing.assert_array_equal(np.isnan(comparison.difference), ~measured)


def test_two_infinite_distances_do_not_differ():
    nothing = {"a": lambda images: 0 * images[:, 0], "b": lambda images: 0 * images[:, 0]}
    comparison = compared(models=nothing, empty="inf")
    assert np.isposinf(comparison.results["a"].values).all()
    np.testing.assert_array_equal(comparison.difference, np.zeros((4, 4)))


def test_more_than_two_models():
    comparison = compared(models={**MODELS, "again": honest})
    assert comparison.names == ("before", "after", "again")
    np.testing.assert_array_equal(comparison.between("before", "again"), np.zeros((4, 4)))
    assert len(comparison.plot()) == 4
    pyplot.close("all")


def test_classes():
    def two_classes(images):
        return torch.stack([1 - images[:, 0], images[:, 0]], 1)

    models = {"a": two_classes, "b": lambda images: two_classes(images).flip(1)}
    comparison = compared(models=models, segment=TRUTH.astype(int), target="all")
    other = comparison.for_class(0)
    for name, model in models.items():
        wanted = scanned(model, TRUTH.astype(int), target="all").for_class(0)
        np.testing.assert_array_equal(other.results[name].values, wanted.values)


def test_says_what_the_numbers_say():
    comparison = compared(distance="flipped")
    assert comparison.text == str(comparison)
    assert comparison.text == (
        "Flipped area: of 16 discs, after has a larger value than before in "
        "1 (by up to 30 px², in the cell at row 3, column 3) and a smaller one in 3 (by up to 5 px², in the cell at "
        "row 1, column 1)."
    )
    same = compared(models={"a": honest, "b": honest})
    assert same.text == (
        "Hausdorff distance against the truth without a disc: a 0.0 px, b 0.0 px. Of 16 discs, b has a larger value "
        "than a in none and a smaller one in none."
    )
    assert repr(same) == f"ModelComparison('a', 'b': {same.text})"


def test_names_with_dollar_signs_are_drawn_as_they_are():
    axes = compared(models=dict(zip(("$1", "$2"), MODELS.values(), strict=True))).plot()
    assert [ax.get_title().split(":")[0] for ax in axes] == [r"\$1", r"\$2", r"\$2 less \$1"]
    assert r"\$1" in axes[0].figure.get_suptitle()


def test_maps_share_their_colors_and_the_difference_is_around_0():
    comparison = compared(distance="flipped")
    axes = comparison.plot()
    assert [ax.get_title() for ax in axes] == ["before: area that flips", "after: area that flips", "after less before"]
    # What lies on top, and what lies at the bottom: 0 has the first color of the bar in both maps, 30 the last one.
    blues, diverging = color_table("Blues") / 255, color_table("RdBu_r") / 255
    colors = [next(one for one in ax.collections if one.get_gid() == "discs").get_facecolor()[:, :3] for ax in axes]
    before, after, difference = colors
    np.testing.assert_allclose(before[[0, -1]], blues[[0, 5 * 256 // 30]])
    np.testing.assert_allclose(after[[0, -1]], blues[[0, 255]])
    np.testing.assert_allclose(difference[[0, -2, -1]], diverging[[128, (30 - 5) * 256 // 60, 255]])
    labels = [ax.child_axes[0].get_ylabel() for ax in axes]
    assert labels == ["flipped area (px²)", "flipped area (px²)", "difference (px²)"]
    assert [ax.child_axes[0].get_ylim() for ax in axes] == [(0, 30), (0, 30), (-30, 30)]
    own = pyplot.figure().subplots(1, 3)
    assert list(comparison.plot(own, result_type="worse", color_map="magma")) == list(own)
    with pytest.raises(ValueError, match="axes must be 3"):
        comparison.plot(own[:2])
    pyplot.close("all")
    assert Image.open(io.BytesIO(comparison._repr_png_())).width > 900
    assert pyplot.get_fignums() == []


def test_saves_and_loads(tmp_path):
    comparison = compared()
    comparison.save(tmp_path / "both.npz")
    loaded = hdm.ModelComparison.load(tmp_path / "both.npz")
    assert (loaded.names, loaded.text) == (comparison.names, comparison.text)
    for name in MODELS:
        np.testing.assert_array_equal(loaded.results[name].values, comparison.results[name].values)
        np.testing.assert_array_equal(loaded.results[name].output(3, 3), comparison.results[name].output(3, 3))
    np.testing.assert_array_equal(loaded.measure("iou").difference, comparison.measure("iou").difference)
    comparison.results["before"].save(tmp_path / "one.npz")
    with pytest.raises(ValueError, match="not a file of the kind"):
        hdm.ModelComparison.load(tmp_path / "one.npz")
    with pytest.raises(ValueError, match="not a file of the kind"):
        hdm.HDMResult.load(tmp_path / "both.npz")


def test_tells_how_far_it_is():
    told = []
    hdm.compare_models(MODELS, IMAGE, TRUTH, **GRID, progress=lambda name, update: told.append((name, update.done)))
    for name in MODELS:
        assert [done for one, done in told if one == name][:: len(told)] == [0]
        assert max(done for one, done in told if one == name) == 16
    assert [name for name, _ in told] == sorted((name for name, _ in told), reverse=True)


def failing(images):
    raise AssertionError("the model must not run")


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"models": [failing, failing]}, TypeError, "models must be a dict with a name for each"),
        ({"models": {"a": failing}}, ValueError, "models must be at least two, got 1"),
        ({"models": {}}, ValueError, "models must be at least two, got 0"),
        ({"models": {"a": failing, 1: failing}}, TypeError, "the names of models must be texts, got 1"),
        ({"models": {"a": failing, " ": failing}}, ValueError, "must not be empty"),
        ({"models": {"a": failing, "b": 3}}, TypeError, "model"),
        ({"segment": np.zeros((3, 3))}, ValueError, "segment"),
        ({"circle_size": 0}, ValueError, "circle_size must be at least 1"),
        ({"fill": "grey"}, ValueError, "fill must be"),
        ({"distanse": "iou"}, TypeError, "did you mean 'distance'"),
    ],
)
def test_bad_input_is_refused_before_any_run(changes, error, said):
    models = {"a": failing, "b": failing}
    arguments = {"models": models, "image": IMAGE, "segment": TRUTH, **GRID, **changes}
    with pytest.raises(error, match=said):
        hdm.compare_models(**arguments, progress=False)


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda one: [one, one], TypeError, "results must be a dict"),
        (lambda one: {"a": one}, ValueError, "at least two"),
        (lambda one: {"a": one, "b": one.values}, TypeError, r"results\['b'\] must be an HDMResult, got ndarray"),
        (lambda one: {"a": one, "b": one.measure("iou")}, ValueError, "same measure, got hausdorff for 'a' and iou"),
        (lambda one: {"a": one, "b": one.measure("hausdorff", spacing=(2, 2))}, ValueError, "same spacing"),
        (lambda one: {"a": one, "b": one.measure("iou", "prediction").measure("hausdorff")}, ValueError, "same mask"),
    ],
)
def test_results_that_do_not_compare_are_refused(make, error, said):
    with pytest.raises(error, match=said):
        hdm.ModelComparison(make(scanned(honest)))


OTHER_IMAGE = IMAGE * 0.9
SMALLER_TRUTH = TRUTH & (np.arange(16) < 6)
IGNORED = np.arange(256).reshape(16, 16) < 40


@pytest.mark.parametrize(
    ("image", "segment", "options", "said"),
    [
        (OTHER_IMAGE, TRUTH, {}, "of the same image; those of 'a' and 'b'"),
        (np.repeat(IMAGE, 2, 0), TRUTH, {}, "of the same image"),
        (OTHER_IMAGE, None, {}, "of the same image"),
        (IMAGE, SMALLER_TRUTH, {}, "the same ground truth; those of 'a' and 'b' differ"),
        (IMAGE, TRUTH, {"ignore": IGNORED}, "the same ground truth"),
    ],
)
def test_results_of_another_image_or_truth_are_refused(image, segment, options, said):
    explainer = hdm.HausdorffDistanceMasks(16, 16)
    explainer.generate_masks(**GRID)
    other = explainer.explain(honest, image, segment, progress=False, **options)
    one = scanned(honest, None if segment is None else TRUTH)
    with pytest.raises(ValueError, match=said):
        hdm.ModelComparison({"a": one, "b": other})


def test_each_prediction_is_its_own_truth():
    own = {"a": scanned(honest, None), "b": scanned(lambda images: 1 - images[:, 0], None)}
    assert not np.array_equal(own["a"].segment, own["b"].segment)
    assert hdm.ModelComparison(own).names == ("a", "b")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, ""),
        ({"fill": "mean"}, "fill (a minimum, b mean)"),
        ({"fill": "noise", "seed": 3}, "fill (a minimum, b noise)"),
        ({"empty": "inf"}, "empty (a diagonal, b inf)"),
        ({"threshold": 0.25}, "threshold (a 0.5, b 0.25)"),
        ({"region": (0, 0, 8, 8)}, "region (a all, b (0, 0, 8, 8))"),
        ({"channel": 0, "fill": 0.5}, "fill (a minimum, b 0.5), channel (a all, b 0)"),
    ],
)
def test_says_what_differs_besides_the_model(options, said):
    text = hdm.ModelComparison({"a": scanned(honest), "b": scanned(honest, **options)}).text
    assert text.partition(" The scans differ in more than the model: ")[2] == (said and f"{said}.")


def test_other_grids_are_refused():
    explainer = hdm.HausdorffDistanceMasks(16, 16)
    explainer.generate_masks(2, 8)
    other = explainer.explain(honest, IMAGE, TRUTH, progress=False)
    with pytest.raises(ValueError, match="same grid"):
        hdm.ModelComparison({"a": scanned(honest), "b": other})


def fails(images):
    raise ValueError("no such layer")


def three_classes(images):
    return images.repeat(1, 3, 1, 1)


@pytest.mark.parametrize(
    ("model", "error", "said"),
    [
        (fails, hdm.ModelError, "^after: on the image without a disc: .*no such layer"),
        (
            three_classes,
            hdm.ModelError,
            r"^after: .*with target= for all models, or for this one alone: hw\.Segmenter\(model, target=\.\.\.\)$",
        ),
        (3, TypeError, "^after: "),
        (hw.Segmenter(honest), ValueError, "^after: threshold must be set on the Segmenter itself"),
    ],
)
def test_an_error_names_the_model(model, error, said):
    options = {"threshold": 0.4} if isinstance(model, hw.Segmenter) else {}
    with pytest.raises(error, match=said):
        compared(models={"before": honest, "after": model}, **options)


def test_results_in_place_of_models_are_refused():
    one = scanned(honest)
    for make in (hdm.compare_models, hw.HDMComparison):
        with pytest.raises(TypeError, match=r"models\['b'\] is an HDMResult; hdm.ModelComparison\("):
            make({"a": honest, "b": one}, IMAGE)


@pytest.mark.parametrize(("given", "sizes"), [({}, (5, 2)), ({"circle_size": 9}, (9, 2)), ({"offset": 12}, (5, 12))])
def test_discs_are_those_of_the_explorer_by_default(given, sizes):
    image = np.full((1, 60, 48), 0.2, np.float32)
    image[:, :8, :8] = 0.8
    comparison = hdm.compare_models({"a": honest, "b": honest}, image, fill=1.0, progress=False, **given)
    explorer = hw.HDMExplorer(honest, image, fill=1.0, **given)
    explorer.close()
    grid = comparison.results["a"].grid
    assert (grid.circle_size, grid.offset) == sizes == (explorer.circle_size, explorer.offset)


@pytest.mark.parametrize(
    ("distance", "said"),
    [
        ("iou", "1 - IoU against one object of the truth without a disc"),
        ("flipped", "Flipped area near one object of the truth: of "),
    ],
)
def test_the_text_says_that_one_object_is_compared(distance, said):
    results = compared().results
    row, col = np.argwhere(results["before"].segment)[0].tolist()
    objects = {name: one.measure(distance).for_object(row, col) for name, one in results.items()}
    assert hdm.ModelComparison(objects).text.startswith(said)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="there is no model 'later'; the models are 'before', 'after'"):
        compared().between("before", "later")


def test_segmenters_keep_their_settings():
    models = {"half": honest, "strict": hw.Segmenter(lambda images: 0.7 * honest(images), threshold=0.8)}
    comparison = compared(models=models, empty="diagonal")
    assert not comparison.results["strict"].baseline_mask.any()
    assert comparison.results["half"].baseline == 0
    assert comparison.difference[0, 0] == pytest.approx(np.hypot(16, 16) - comparison.results["half"].values[0, 0])
