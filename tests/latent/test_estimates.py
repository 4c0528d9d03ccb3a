"""`LatentSpace.estimate`: what it takes, what it gives, what it says."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from layer_helpers import Reads

import hdm_widgets as hw
from hdm_widgets.latent import Estimates
from hdm_widgets.latent.collection import BEFORE_CONFIDENCES
from hdm_widgets.latent.confidences import CONFIDENCES

QUIET = {"progress": False}
FIGURES = ["iou", "low", "high", "distance", "reliable"]


@pytest.fixture(scope="module")
def new(make_groups):
    return make_groups(30, seed=1)


@pytest.fixture(scope="module")
def found(space, groups):
    """Estimates of the map's own items."""
    return space.estimate(groups, **QUIET)


def test_what_is_found(found, space, groups):
    assert isinstance(found, Estimates)
    assert len(found) == 60
    for name in FIGURES:
        assert getattr(found, name).shape == (60,)
    assert ((found.low <= found.iou) & (found.iou <= found.high)).all()
    assert found.mean == pytest.approx(found.iou.mean())
    assert found.mean_low < found.mean < found.mean_high
    assert found.coverage == 0.9
    np.testing.assert_allclose(found.embedding, space.embedding_, atol=1e-5)
    assert found.shift.p_value == 1
    assert not found.shift.shifted
    frame = found.frame()
    assert frame.columns.tolist() == [*FIGURES, "pc1", "pc2", *CONFIDENCES, "item", "group", "number"]
    np.testing.assert_array_equal(frame["iou"], found.iou)
    assert frame["group"].tolist() == groups.columns["group"]
    assert frame.index.name == "index"


def test_what_is_said(found, space):
    first, second, third = found.text.split("\n")
    unreliable = int((~found.reliable).sum())
    far = int((found.distance > 1.5).sum())
    assert unreliable == far
    said = f"{far} of them not reliable ({far} far from the map's items)" if far else "all of them reliable"
    assert first == (
        f"60 items: expected mean IoU {found.mean:.2f} (90% interval {found.mean_low:.2f} to {found.mean_high:.2f}), "
        f"{said}"
    )
    assert second == found.shift.text
    assert third == found.skill == space.estimator_.text
    assert str(found) == found.text
    assert repr(found).startswith(f"Estimates(60 items, mean IoU {found.mean:.2f} [")


def test_other_data_are_told_apart(space, new):
    dark = space.estimate(new.images * 0.3, **QUIET)
    assert dark.shift.shifted
    assert "for unlike data the intervals promise less than they say" in dark.text
    assert "unlike the data of the map" in repr(dark)


def test_of_unlike_data_only_what_is_certain_is_reliable(space, new):
    images = new.images * 0.3
    images[:5] = 0  # the model predicts nothing
    found = space.estimate(images, **QUIET)
    assert found.shift.shifted
    nothing = found.observed.predicted_area == 0
    assert nothing[:5].all()
    np.testing.assert_array_equal(found.reliable, nothing)
    assert (found.doubt[~nothing] > 0.5).all()
    assert (found.iou[nothing] == found.high[nothing]).all()
    assert "so no item is reliable but where the IoU is 0 for certain" in found.text


@pytest.mark.parametrize(
    "given",
    [
        lambda data: data,
        lambda data: data.images,
        lambda data: torch.from_numpy(data.images),
        lambda data: list(torch.from_numpy(data.images)),
        lambda data: [{"image": image} for image in data.images],
        lambda data: [(image, mask[::-1].copy()) for image, mask in zip(data.images, data.masks, strict=True)],
    ],
    ids=["data set", "array", "tensor", "list", "mappings without masks", "other truths"],
)
def test_images_alone_tell(given, space, new):
    np.testing.assert_array_equal(space.estimate(given(new), **QUIET).iou, space.estimate(new, **QUIET).iou)


def test_predict_iou_is_the_estimate(space, new):
    np.testing.assert_array_equal(space.predict_iou(new.images), space.estimate(new, **QUIET).iou)


def test_intervals_grow_with_the_coverage(space, new):
    narrow, wide = (space.estimate(new, coverage=coverage, **QUIET) for coverage in (0.5, 0.9))
    assert ((wide.high - wide.low) >= (narrow.high - narrow.low)).all()
    assert (wide.high - wide.low).mean() > (narrow.high - narrow.low).mean()
    assert wide.mean_high - wide.mean_low > narrow.mean_high - narrow.mean_low
    assert narrow.coverage == 0.5


def test_the_size_of_batches_does_not_matter():
    model, scenes = hw.demo.aerial(54)
    spaces = [hw.LatentSpace(model, batch_size=size).fit(scenes, **QUIET) for size in (1, 16)]
    one, other = (space.estimate(hw.data.AerialScenes(8, seed=3), **QUIET) for space in spaces)
    assert spaces[0].estimator_.skilled
    np.testing.assert_allclose(one.iou, other.iou, atol=2e-3)
    np.testing.assert_allclose(one.low, other.low, atol=1e-2)


def test_a_coverage_that_takes_more_items_than_there_are(space, new):
    found = space.estimate(new, coverage=0.99, **QUIET)
    said = f"intervals of 99 % take 99 items of the map with a prediction and an IoU, there are {found.fitted_items}: "
    assert said in found.text
    something = found.observed.collection.tp + found.observed.collection.fp > 0
    assert (found.low[something] == 0).all()
    assert (found.high[something] == 1).all()
    assert not found.reliable[something].any()


@pytest.mark.parametrize(("empty", "told"), [(1.0, True), (0.5, True), (0.0, False), (float("nan"), False)])
def test_few_items_of_the_map_without_a_prediction_are_told(make_groups, empty, told):
    """Three of 60 have no prediction: where that may earn an IoU, its error takes nine of them."""
    groups = make_groups(60)
    predictions = groups.masks ^ (groups.images[:, 2] > 0.95)
    predictions[:3] = 0
    features = groups.images.mean((2, 3))
    space = hw.LatentSpace.from_features(features, groups, predictions, iou_empty=empty, **QUIET)
    areas = np.array([0, 40])
    estimator = space.estimator_
    said = estimator.shortages(0.9, areas == 0)
    assert said == told * (
        "intervals of 90 % take 9 items of the map without a prediction, there are 3: so nothing is known of the error "
        "where nothing is predicted",
    )
    assert estimator.shortages(0.9, areas == 1) == estimator.shortages(0.7, areas == 0) == ()


@pytest.mark.parametrize("coverage", [0, 1, -0.1, 1.5, "high", None, True, float("nan")])
def test_bad_coverage(coverage, space, new):
    with pytest.raises(ValueError, match="coverage must be above 0 and below 1, got"):
        space.estimate(new, coverage=coverage)


def test_an_older_space_has_to_be_fitted_again(own_space, new):
    state = own_space._fitted
    older = replace(state.map.collection, confidences={}, no_confidences=BEFORE_CONFIDENCES)
    own_space._fitted = replace(state, map=replace(state.map, collection=older))
    for ask in (own_space.estimate, own_space.predict_iou):
        with pytest.raises(ValueError, match="saved before confidences were kept; fit it again"):
            ask(new.images)


def test_a_space_without_iou(groups, new):
    class Nothing(Reads):
        def forward(self, images):
            return super().forward(images) * 0

    empty = [(image, np.zeros_like(mask)) for image, mask in zip(groups.images, groups.masks, strict=True)]
    space = hw.LatentSpace(Nothing(), iou_empty=np.nan).fit(empty, **QUIET)
    assert np.isnan(space.iou_).all()
    with pytest.raises(ValueError, match="no item of the map has an IoU"):
        space.estimate(new, **QUIET)


def test_components_fitted_to_the_map_are_no_shift():
    rng = np.random.default_rng(3)
    old, new = (rng.random((count, 200, 2, 2), dtype=np.float32) for count in (40, 300))
    space = hw.LatentSpace(Reads()).fit([(image, image[1] > 0.5) for image in old], **QUIET)
    shift = space.estimate(new, **QUIET).shift
    assert shift.p_value > 0.05
    assert (shift.shifted, shift.columns) == (False, {})


def test_images_without_object_and_prediction_are_in_no_mean(groups):
    shown = np.arange(60) % 2 == 0
    images = groups.images * shown[:, None, None, None]
    dataset = [(image, mask & there) for image, mask, there in zip(images, groups.masks, shown, strict=True)]
    space = hw.LatentSpace(Reads(), iou_empty=np.nan).fit(dataset, **QUIET)
    found = space.estimate(dataset, **QUIET)
    assert found.mean == pytest.approx(found.iou[shown].mean())
    assert found.mean == pytest.approx(np.nanmean(space.iou_), abs=0.05)
    table = found.by(shown)
    assert table["mean"][True] == pytest.approx(found.mean)
    assert np.isnan(table.loc[False, ["mean", "mean_low", "mean_high"]].astype(float)).all()


def test_a_small_space_says_that_nothing_is_known(make_groups, new):
    found = hw.LatentSpace(Reads()).fit(make_groups(20), **QUIET).estimate(new, **QUIET)
    assert (found.low == 0).all()
    assert (found.high == 1).all()
    assert (found.mean_low, found.mean_high) == (0, 1)
    assert "20 items with a prediction and an IoU are too few to learn from" in found.text


def test_masks_without_probabilities_are_estimated_from_components(groups, new):
    class Masks(Reads):
        def forward(self, images):
            return (super().forward(images) > 0.5).float()

    space = hw.LatentSpace(Masks()).fit(groups, **QUIET)
    assert space.collection_.confidences == {}
    found = space.estimate(new, **QUIET)
    assert found.confidences == {}
    assert np.isfinite(found.iou).all()
    assert set(found.shift.columns) <= {"pc1"}
    assert "pc1" in space.estimate(new.images * 0.3, **QUIET).shift.columns


def test_estimates_of_a_loaded_space_are_the_same(space, new, tmp_path):
    space.save(tmp_path / "space")
    loaded = hw.LatentSpace.load(tmp_path / "space", model=Reads())
    one, other = (each.estimate(new, **QUIET) for each in (space, loaded))
    for name in FIGURES:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.text == other.text


def test_without_a_model(groups):
    masks = groups.images[:, 0] > 0.5
    space = hw.LatentSpace.from_features(groups.features, groups, predictions=masks, **QUIET)
    with pytest.raises(ValueError, match="made of features"):
        space.estimate(groups)


def test_the_space_says_that_it_has_no_skill(groups, space):
    rng = np.random.default_rng(0)
    chance = [(image, rng.random((8, 8)) < rng.random()) for image in groups.images]
    unskilled = hw.LatentSpace(Reads()).fit(chance, **QUIET)
    assert not unskilled.estimator_.skilled
    assert repr(unskilled).endswith("; expected IoU no better than the mean of the data")
    assert "expected IoU" not in repr(space)
    assert "better than the mean of the data" in unskilled.estimate(groups, **QUIET).text


def test_no_images_are_told(space, groups):
    for images in (groups.images[:0], torch.from_numpy(groups.images[:0])):
        with pytest.raises(ValueError, match=r"there are no images: got shape \(0, 6, 8, 8\)"):
            space.estimate(images, **QUIET)


@pytest.mark.parametrize(
    ("count", "reliable", "first", "last"),
    [
        (1, 1, "1 item: expected", ", it is reliable if like the map's data"),
        (1, 0, "1 item: expected", ", it is not reliable (far from the map's items)"),
        (3, 3, "3 items: expected", ", all of them reliable if like the map's data"),
        (
            3,
            1,
            "3 items: expected",
            ", 2 of them not reliable (1 far from the map's items, of 1 the error is not known), the rest only if like "
            "the map's data",
        ),
        (3, 0, "3 items", ", none of them reliable (1 far from the map's items, of 2 the error is not known)"),
    ],
)
def test_counts_are_told_in_plain_english(space, groups, count, reliable, first, last):
    """Whether they are like the map's data takes at least five to tell. The last item is far from the map's."""
    found = space.estimate(groups.images[:count], coverage=0.875, **QUIET)
    places = np.arange(count)
    given = replace(found, reliable=places < reliable, distance=np.where(places == count - 1, 1.6, 1.5))
    said = given.text.split("\n")[0]
    assert said.startswith(first)
    assert "(87.5% interval " in said
    assert said.endswith(last)
