"""What the HDM explorer opens with, and how its discs are painted."""

import numpy as np
import pytest
import traitlets

import hdm_widgets as hw
from hdm_widgets import hdm

IMAGE = np.random.default_rng(2).random((1, 24, 32), dtype=np.float32)
TRUTH = np.zeros((24, 32), bool)
TRUTH[4:16, 6:20] = True


def first(images):
    return images[:, 0]


class Own(hdm.HausdorffDistanceMasks):
    def calculate_distance(self, output, segment):
        return float(np.abs(output - segment).sum())


class Covering(hdm.HausdorffDistanceMasks):
    def apply_mask(self, image, mask):
        return image * mask


@pytest.fixture
def opened():
    """A function (options) -> an explorer, or a comparison of two models, with nothing but these options."""
    made = []

    def explorer_of(kind=hw.HDMExplorer, **options):
        models = {"a": first, "b": first} if kind is hw.HDMComparison else first
        made.append(kind(models, IMAGE, TRUTH, 6, 4, **options))
        assert made[-1].wait(60)
        return made[-1]

    yield explorer_of
    for explorer in made:
        explorer.close()


def expected(**options):
    explainer = hdm.HausdorffDistanceMasks(32, 24)
    explainer.generate_masks(6, 4)
    return explainer.explain(first, IMAGE, TRUTH, progress=False, **options)


@pytest.mark.parametrize("kind", [hw.HDMExplorer, hw.HDMComparison])
def test_opens_with_what_points_best_at_what_a_model_looks_at(opened, kind):
    explorer = opened(kind)
    assert (explorer.measure, explorer.fill, explorer.order) == ("flipped", "blur", "mean")
    result = explorer.results["b"] if kind is hw.HDMComparison else explorer.result
    np.testing.assert_array_equal(result.values, expected(distance="flipped", fill="blur").values)
    assert len(np.unique(result.values)) > 3


@pytest.mark.parametrize(
    ("options", "measure", "fill"),
    [
        ({"measure": "iou"}, "iou", "minimum"),
        ({"measure": "flipped"}, "flipped", "minimum"),
        ({"distance": "rows"}, "rows", "minimum"),
        ({"fill": "mean"}, "hausdorff", "mean"),
        ({"measure": "hausdorff", "fill": "minimum"}, "hausdorff", "minimum"),
        ({"explainer": Own(32, 24)}, "custom", "minimum"),
        ({"explainer": Covering(32, 24)}, "hausdorff", "minimum"),
        ({"explainer": hdm.HausdorffDistanceMasks(32, 24)}, "flipped", "blur"),
        ({"spacing": (2, 3)}, "flipped", "blur"),
        ({"channel": 0, "keep_outputs": False}, "flipped", "blur"),
        ({"result_type": hdm.RAW, "explain_by": "prediction"}, "flipped", "blur"),
        # What flipped pixels or blurred discs have not.
        ({"result_type": hdm.BETTER_ONLY}, "hausdorff", "minimum"),
        ({"result_type": "worse"}, "hausdorff", "minimum"),
        ({"explain_by": "truth"}, "hausdorff", "minimum"),
        ({"normalize": True}, "hausdorff", "minimum"),
    ],
)
def test_who_says_one_of_measure_and_fill_has_the_others_as_published(opened, options, measure, fill):
    explorer = opened(**options)
    assert (explorer.status, explorer.measure, explorer.fill) == ("done", measure, fill)
    assert explorer.result.settings.distance == measure
    assert explorer.result.settings.fill == fill


def test_the_published_picture_is_a_choice_away(opened):
    explorer = opened()
    explorer.measure, explorer.fill, explorer.order = "hausdorff", "minimum", "change"
    assert explorer.wait(60)
    np.testing.assert_array_equal(explorer.result.values, expected().values)


@pytest.mark.parametrize("kind", [hw.HDMExplorer, hw.HDMComparison])
def test_an_order_that_is_none_is_refused(opened, kind):
    with pytest.raises(traitlets.TraitError, match="order must be one of 'mean', 'change'"):
        opened(kind, order="value")
    explorer = opened(kind, order="change")
    with pytest.raises(traitlets.TraitError, match="'largest'"):
        explorer.order = "largest"
    assert explorer.order == "change"


@pytest.mark.parametrize("order", ["mean", "change"])
def test_what_changes_on_a_brushed_region_is_that_of_the_map(opened, order):
    explorer = opened(order="mean" if order == "change" else "change")
    explorer.region = np.arange(24 * 32).reshape(24, 32) % 32 < 14
    explorer.order = order
    # Without a disc nothing flips: the map is its change.
    fraction = explorer.result.relevance_mass_accuracy(explorer.region, order=order)
    assert explorer._influence["change"] == pytest.approx(fraction, rel=1e-12)
    assert 0 < fraction < 1


def test_a_page_opens_as_the_explorer_is(opened, tmp_path):
    explorer = opened(order="change")
    for order in ("change", "mean"):
        explorer.order = order
        explorer.to_html(tmp_path / "page.html")
        text = (tmp_path / "page.html").read_text(encoding="utf-8")
        assert f'"order":"{order}"' in text
