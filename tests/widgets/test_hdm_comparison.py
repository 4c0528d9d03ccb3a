"""The widget that compares models on one image."""

import gc
import threading
import weakref

import numpy as np
import pytest
import traitlets
from gate import SECONDS, Gate, gone
from on_screen import OnScreen, unpacked

import hdm_widgets as hw
from hdm_widgets import hdm

HEIGHT, WIDTH = 24, 32
IMAGE = np.full((1, HEIGHT, WIDTH), 0.2, np.float32)
IMAGE[:, 6:16, 8:20] = 0.8
TRUTH = np.zeros((HEIGHT, WIDTH), bool)
TRUTH[8:18, 10:20] = True


def before(images):
    return images[:, 0]


def after(images):
    """Without the right half."""
    output = images[:, 0].clone()
    output[:, :, 16:] = 0
    return output


MODELS = {"before": before, "after": after}


@pytest.fixture
def make():
    """Comparisons of one image, which are closed after the test."""
    made = []

    def maker(models=MODELS, image=IMAGE, segment=TRUTH, **options):
        settings = {"circle_size": 6, "offset": 4, "fill": "minimum", "order": "change"}
        comparison = hw.HDMComparison(models, image, segment, **{**settings, **options})
        made.append((comparison, models))
        return comparison

    yield maker
    for comparison, models in made:
        comparison.close()
        for model in models.values():
            if isinstance(model, Gate):
                model.free()
    assert gone()


def compared(segment=TRUTH, circle_size=6, offset=4, **options):
    return hdm.compare_models(MODELS, IMAGE, segment, circle_size, offset, progress=False, **options)


def assert_shows(widget, wanted):
    """All that the browser draws from, and all that Python gives, is of this comparison."""
    screen = OnScreen(widget)
    assert widget.names == tuple(screen["_names"]) == wanted.names
    np.testing.assert_array_equal(widget.difference, wanted.difference)
    np.testing.assert_array_equal(widget.comparison.difference, wanted.difference)
    for name, message in zip(wanted.names, screen["_maps"], strict=True):
        result = wanted.results[name]
        np.testing.assert_array_equal(message["values"], result.values)
        np.testing.assert_array_equal(widget.results[name].values, result.values)
        assert widget.results[name].settings == result.settings
        assert message["baseline"] == result.baseline
        np.testing.assert_array_equal(unpacked(message["prediction"], HEIGHT, WIDTH), result.baseline_mask)
    about = screen["_about"]
    settings = next(iter(wanted.results.values())).settings
    assert (about["measure"], about["label"], about["unit"]) == (settings.distance, settings.name, settings.unit)


def test_scans_every_model_on_its_own(make):
    widget = make()
    assert widget.wait(SECONDS)
    assert (widget.status, widget.progress, widget.error) == ("done", 1.0, "")
    assert_shows(widget, compared())
    np.testing.assert_array_equal(unpacked(OnScreen(widget)["_truth"], HEIGHT, WIDTH), TRUTH)


@pytest.mark.parametrize("settings", [{"circle_size": 8}, {"offset": 3}, {"fill": "mean"}, {"shape": "square"}])
def test_one_set_of_controls_for_all(make, settings):
    widget = make()
    assert widget.wait(SECONDS)
    OnScreen(widget).set(**settings)
    assert widget.wait(SECONDS)
    assert widget.status == "done"
    assert_shows(widget, compared(**settings))


def test_another_measure_runs_no_model(make):
    gates = {name: Gate(model) for name, model in MODELS.items()}
    for gate in gates.values():
        gate.free()
    widget = make(gates)
    assert widget.wait(SECONDS)
    calls = [gate.calls for gate in gates.values()]
    for name in ("iou", "area", "flipped", "hausdorff"):
        OnScreen(widget).set(measure=name)
        assert_shows(widget, compared(distance=name))
    OnScreen(widget).set(explain_by="prediction", measure="mean_surface")
    assert_shows(widget, compared().measure("mean_surface", "prediction"))
    assert [gate.calls for gate in gates.values()] == calls


def test_without_a_truth(make):
    widget = make(segment=None)
    assert widget.wait(SECONDS)
    assert widget.explain_by == "prediction"
    assert_shows(widget, compared(None))
    with pytest.raises(traitlets.TraitError, match="no ground truth"):
        widget.explain_by = "truth"


def test_the_pinned_cell_is_inspected_in_all(make):
    widget = make()
    assert widget.wait(SECONDS)
    widget.cell = (2, 3)
    wanted = compared()
    for name, found in zip(wanted.names, OnScreen(widget)["_inspectors"], strict=True):
        assert found["cell"] == [2, 3]
        assert found["distance"] == wanted.results[name].values[2, 3]
        assert found["prediction"]["iou"] == wanted.results[name].iou(2, 3)
    widget.cell = None
    assert OnScreen(widget)["_inspectors"] == [{}, {}]


def test_the_second_model_runs_after_the_first_and_both_can_be_cancelled(make):
    second = Gate(after)
    widget = make({"before": before, "after": second})
    second.begin()
    # The first is complete, and the second has not answered yet.
    assert (widget.status, widget.progress) == ("running", 0.5)
    assert list(widget.results) == ["before"]
    assert (widget.difference, widget.comparison) == (None, None)
    np.testing.assert_array_equal(widget.results["before"].values, compared().results["before"].values)
    assert OnScreen(widget)["_maps"][1] == {}
    widget.cell = (0, 0)
    assert [found["pending"] for found in OnScreen(widget)["_inspectors"]] == [False, True]
    widget.cancel()
    assert widget.status == "cancelled"
    second.free()
    assert widget.wait(SECONDS)
    assert list(widget.results) == ["before"]
    widget.run()
    assert widget.wait(SECONDS)
    assert_shows(widget, compared())
    assert [found["pending"] for found in OnScreen(widget)["_inspectors"]] == [False, False]


def test_an_error_names_the_model(make):
    def fails(images):
        raise ValueError("no such layer")

    widget = make({"before": before, "after": fails})
    assert widget.wait(SECONDS)
    assert widget.status == "error"
    assert widget.error.startswith("after: on the image without a disc:")
    assert "no such layer" in widget.error
    assert isinstance(widget.exception, hdm.ModelError)
    np.testing.assert_array_equal(widget.results["before"].values, compared().results["before"].values)


def test_an_error_says_what_to_do_for_this_model(make):
    widget = make({"before": before, "after": lambda images: images.repeat(1, 3, 1, 1)})
    assert widget.wait(SECONDS)
    assert widget.error.startswith("after: on the image without a disc:")
    assert widget.error.endswith("for this one alone: hw.Segmenter(model, target=...)")


def test_shows_a_comparison_that_is_ready(make):
    ready = compared(fill="mean")
    widget = hw.HDMComparison(ready)
    assert (widget.status, widget.progress, widget.circle_size, widget.offset, widget.fill) == ("done", 1, 6, 4, "mean")
    assert_shows(widget, ready)
    widget.measure = "iou"
    assert_shows(widget, ready.measure("iou"))
    widget.cell = (2, 3)
    assert [found["pending"] for found in OnScreen(widget)["_inspectors"]] == [False, False]
    with pytest.raises(traitlets.TraitError, match="made of results"):
        widget.circle_size = 8
    with pytest.raises(ValueError, match="made of results"):
        widget.run()
    widget.close()


def test_all_classes(make):
    models = {name: hw.Segmenter(lambda images, model=model: np.stack([1 - model(images), model(images)], 1))
              for name, model in MODELS.items()}  # fmt: skip
    widget = make(models, segment=TRUTH.astype(int), target="all")
    assert widget.wait(SECONDS)
    assert [number for number, _ in OnScreen(widget)["_classes"]] == [0, 1]
    one = widget.results["after"].values
    widget.target = 0
    assert widget.results["after"].settings.target == 0
    assert not np.array_equal(widget.results["after"].values, one)
    with pytest.raises(traitlets.TraitError, match="no class 5"):
        widget.target = 5


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (({"a": before}, IMAGE), ValueError, "at least two"),
        (([before, after], IMAGE), TypeError, "dict with a name for each"),
        ((MODELS,), TypeError, "needs an image"),
        (({"a": before, "b": 3}, IMAGE), TypeError, "^b: "),
        ((MODELS, IMAGE, TRUTH[:5]), ValueError, "segment"),
        ((MODELS, np.zeros((1, 5, 2049), np.float32)), ValueError, "at most 2048 px a side, this one has 5 x 2049 px"),
    ],
)
def test_bad_input(arguments, error, said):
    with pytest.raises(error, match=said):
        hw.HDMComparison(*arguments)
    assert gone()


def test_a_ready_comparison_takes_no_image():
    with pytest.raises(TypeError, match="has its own image"):
        hw.HDMComparison(compared(), IMAGE)


def test_a_closed_comparison_holds_nothing():
    class Model:
        def __call__(self, images):
            return images[:, 0]

    model = Model()
    widget = hw.HDMComparison({"a": model, "b": after}, IMAGE, TRUTH, circle_size=6, offset=8)
    assert widget.wait(SECONDS)
    watched = weakref.ref(model)
    del model
    widget.close()
    assert gone()
    gc.collect()
    assert watched() is None
    assert repr(widget) == "HDMComparison(closed)"
    assert widget._maps == []
    with pytest.raises(RuntimeError, match="make a new HDMComparison"):
        widget.run()
    assert "hdm-explorer" not in {thread.name for thread in threading.enumerate()}


def test_says_what_it_is(make):
    widget = make()
    assert widget.wait(SECONDS)
    assert repr(widget) == (
        "HDMComparison('before', 'after': 24 rows x 32 columns, circle_size=6, offset=4, status='done')"
    )
